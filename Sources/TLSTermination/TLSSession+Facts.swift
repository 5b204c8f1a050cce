// What is known of an established session, for logs, status and PROXY protocol. Allocates: once a flow at most.

import Balancing
import COpenSSL
import Glibc

/// What a handshake agreed on.
package struct TLSFacts: Hashable, Sendable {
    /// As ELBv2 logs it, such as `TLSv1.3`.
    package let version: String
    /// The IANA name, such as `TLS_AES_128_GCM_SHA256`.
    package let cipher: String
    /// OpenSSL's name, as ELBv2 logs it; the same from TLS 1.3 on.
    package let cipherInOpenSSL: String
    /// The name that the client asked for.
    package let serverName: String?
    package let applicationProtocol: String?
    package let isResumed: Bool
    /// The group of the key exchange, such as `x25519`; nil when there was none.
    package let namedGroup: String?
    package let peer: PeerCertificate?
}

/// The other side's certificate.
package struct PeerCertificate: Hashable, Sendable {
    /// RFC 2253.
    package let subject: String
    package let issuer: String
    package let commonName: String?
    /// Hexadecimal, upper case.
    package let serial: String
    package let validity: ClosedRange<Int64>
    /// Such as `RSA2048` or `EC256`, as PROXY protocol names keys.
    package let key: String
    /// Such as `SHA256`, as PROXY protocol names digests of signatures.
    package let signatureDigest: String?
    /// True when it was verified against a bundle, or none was asked for.
    package let isAccepted: Bool
}

extension TLSSession {
    /// Nil before the handshake is done.
    package var facts: TLSFacts? {
        guard let handle = unsafe handle, isEstablished else { return nil }
        let cipher = unsafe SSL_get_current_cipher(handle)
        let version = unsafe TLSVersion(rawValue: UInt16(truncatingIfNeeded: SSL_version(handle)))
        return unsafe TLSFacts(
            version: version?.name ?? "unknown",
            cipher: string(SSL_CIPHER_standard_name(cipher)) ?? "unknown",
            cipherInOpenSSL: string(SSL_CIPHER_get_name(cipher)) ?? "unknown",
            serverName: string(SSL_get_servername(handle, TLSEXT_NAMETYPE_host_name)),
            applicationProtocol: applicationProtocol,
            isResumed: isResumed,
            namedGroup: string(weir_ssl_group_name(handle)),
            peer: peerCertificate)
    }

    /// The other side's certificate; nil when there is none, as after a ticket of a session without one.
    package var peerCertificate: PeerCertificate? {
        guard let handle = unsafe handle, let certificate = unsafe SSL_get0_peer_certificate(handle)
        else { return nil }
        return unsafe PeerCertificate(
            certificate, isAccepted: SSL_get_verify_result(handle) == X509_V_OK)
    }

    /// Whether a ticket took the place of certificates.
    package var isResumed: Bool { unsafe handle.map { unsafe SSL_session_reused($0) == 1 } ?? false }

    /// The protocol id that was agreed on, if any.
    package var applicationProtocol: String? {
        var bytes: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(handle, &bytes, &count)
        guard count > 0 else { return nil }
        return unsafe String(decoding: UnsafeBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
    }

    /// Offers one protocol in place of the context's, before the handshake; see SSL_set_alpn_protos(3).
    package func offer(_ name: String) {
        let wire = [UInt8(clamping: name.utf8.count)] + Array(name.utf8)
        _ = unsafe SSL_set_alpn_protos(handle, wire, UInt32(wire.count))
    }

    /// Whether that is this one. Allocates nothing.
    package func speaks(_ name: StaticString) -> Bool {
        var bytes: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(handle, &bytes, &count)
        guard let bytes = unsafe bytes, Int(count) == name.utf8CodeUnitCount else { return false }
        for index in 0..<Int(count) where unsafe bytes[index] != name.utf8Start[index] { return false }
        return true
    }

    /// The other side's certificate in DER, to be handed on; nil when there is none.
    package var peerCertificateDER: [UInt8]? {
        guard let certificate = unsafe SSL_get0_peer_certificate(handle) else { return nil }
        let count = unsafe i2d_X509(certificate, nil)
        guard count > 0 else { return nil }
        var der = [UInt8](repeating: 0, count: Int(count))
        unsafe der.withUnsafeMutableBufferPointer { buffer in
            var end = buffer.baseAddress
            _ = unsafe i2d_X509(certificate, &end)
        }
        return der
    }

    /// The other side's certificate in PEM, its chain behind it if asked for, as the other side showed it; empty
    /// without one. A resumed session knows no chain.
    package func peerCertificatePEM(withChain: Bool) -> [UInt8] {
        guard let certificate = unsafe SSL_get0_peer_certificate(handle),
            let bio = unsafe BIO_new(BIO_s_mem())
        else { return [] }
        defer { unsafe BIO_free(bio) }
        _ = unsafe PEM_write_bio_X509(bio, certificate)
        // Of a server's session, the chain is without the certificate itself; see SSL_get_peer_cert_chain(3).
        if withChain, let chain = unsafe SSL_get_peer_cert_chain(handle) {
            for index in 0..<max(0, unsafe weir_certificates_count(chain)) {
                _ = unsafe PEM_write_bio_X509(bio, weir_certificates_at(chain, index))
            }
        }
        var bytes: UnsafeMutablePointer<CChar>?
        let count = unsafe weir_bio_memory(bio, &bytes)
        return unsafe [UInt8](UnsafeRawBufferPointer(start: bytes, count: max(0, count)))
    }

    /// Lends the name that the client asked for; empty when it gave none. Allocates nothing.
    package func withServerName<Result>(_ body: (Span<UInt8>) -> Result) -> Result {
        guard let handle = unsafe handle,
            let name = unsafe SSL_get_servername(handle, TLSEXT_NAMETYPE_host_name)
        else {
            let none: [UInt8] = []
            return body(none.span)
        }
        // OpenSSL keeps the name, which holds no NUL, as long as the session.
        return unsafe name.withMemoryRebound(to: UInt8.self, capacity: strlen(name)) { start in
            unsafe body(UnsafeBufferPointer(start: start, count: Int(strlen(name))).span)
        }
    }

    /// Whether the kernel encrypts what is sent.
    package var isKernelSend: Bool {
        unsafe handle.map { unsafe weir_bio_has_kernel_send(SSL_get_wbio($0)) } ?? false
    }

    /// Whether the kernel decrypts what arrives.
    package var isKernelReceive: Bool {
        unsafe handle.map { unsafe weir_bio_has_kernel_receive(SSL_get_rbio($0)) } ?? false
    }
}

extension PeerCertificate {
    init(_ certificate: OpaquePointer, isAccepted: Bool) {
        let start = unsafe unixSeconds(X509_get0_notBefore(certificate)) ?? .min
        let end = unsafe unixSeconds(X509_get0_notAfter(certificate)) ?? .max
        subject = unsafe text(X509_get_subject_name(certificate))
        issuer = unsafe text(X509_get_issuer_name(certificate))
        commonName = unsafe TLSTermination.commonName(of: certificate)
        serial = unsafe serialText(certificate)
        validity = min(start, end)...end
        let publicKey = unsafe X509_get0_pubkey(certificate)
        key = unsafe "\(string(EVP_PKEY_get0_type_name(publicKey)) ?? "key")\(EVP_PKEY_get_bits(publicKey))"
        var digest: Int32 = 0
        let isKnown = unsafe X509_get_signature_info(certificate, &digest, nil, nil, nil) == 1
        signatureDigest = unsafe isKnown && digest != NID_undef ? string(OBJ_nid2sn(digest)) : nil
        self.isAccepted = isAccepted
    }
}

private func string(_ text: UnsafePointer<CChar>?) -> String? {
    unsafe text.map { unsafe String(cString: $0) }
}
