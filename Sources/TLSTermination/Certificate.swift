// A certificate with its chain and key, read from files and checked before anything uses it.

import Balancing
import COpenSSL
import Glibc
import LinuxIO

/// What people want to know of a certificate.
package struct CertificateDescription: Hashable, Sendable {
    package let file: String
    /// RFC 2253.
    package let subject: String
    /// Hexadecimal, upper case.
    package let serial: String
    /// Host names that it answers for, in lower case.
    package let names: [String]
    package let keyType: KeyType
    /// Seconds since 1970, both inclusive.
    package let validity: ClosedRange<Int64>

    package func hasExpired(atUnixSeconds now: Int64) -> Bool { now > validity.upperBound }
    package func isNotYetValid(atUnixSeconds now: Int64) -> Bool { now < validity.lowerBound }
}

package enum KeyType: String, Hashable, Sendable {
    case rsa = "RSA"
    case ecdsa = "ECDSA"
    case ed25519 = "Ed25519"
}

/// A loaded certificate; owns its OpenSSL objects.
@safe
final class Certificate {
    // All alive from init to deinit.
    let leaf: OpaquePointer
    let chain: OpaquePointer
    let key: OpaquePointer
    let description: CertificateDescription
    /// DER, empty when nothing is stapled.
    let staple: [UInt8]

    init(_ files: CertificateFiles) throws(TLSConfigurationError) {
        clearErrors()
        let pem = try readFile(files.certificate, byteCountMax: Limits.certificateFileByteCountMax)
        let (leaf, chain) = unsafe try readCertificates(pem, file: files.certificate)
        // Owned from here on, so that deinit frees them whatever is thrown below.
        unsafe self.leaf = unsafe leaf
        unsafe self.chain = unsafe chain
        do throws(TLSConfigurationError) {
            unsafe key = try readPrivateKey(files.privateKey)
        } catch {
            unsafe X509_free(leaf)
            unsafe weir_certificates_free(chain)
            throw error
        }
        do throws(TLSConfigurationError) {
            guard unsafe X509_check_private_key(leaf, key) == 1 else {
                ERR_clear_error()
                throw .keyMismatch(certificate: files.certificate, privateKey: files.privateKey)
            }
            description = unsafe try describe(leaf, key, file: files.certificate)
            staple =
                try files.ocspResponse.map { (file) throws(TLSConfigurationError) in
                    unsafe try readStaple(file, for: leaf, issuer: weir_certificates_at(chain, 0))
                } ?? []
            unsafe CertificateRegister.enter(description, on: leaf)
        } catch {
            unsafe X509_free(leaf)
            unsafe weir_certificates_free(chain)
            unsafe EVP_PKEY_free(key)
            throw error
        }
    }

    deinit {
        unsafe X509_free(leaf)
        unsafe weir_certificates_free(chain)
        unsafe EVP_PKEY_free(key)
    }

    /// Adds the certificate to `context`, beside those of other key types.
    func install(in context: OpaquePointer) throws(TLSConfigurationError) {
        guard unsafe SSL_CTX_use_certificate(context, leaf) == 1 else {
            throw .badCertificate(file: description.file, detail: takeErrorText())
        }
        guard unsafe SSL_CTX_use_PrivateKey(context, key) == 1 else {
            throw .badPrivateKey(file: description.file, detail: takeErrorText())
        }
        guard unsafe weir_ssl_ctx_set_chain(context, chain) else {
            throw .badChain(file: description.file, detail: takeErrorText())
        }
    }
}

// MARK: - Reading

/// Lends `bytes` to OpenSSL as a BIO that reads them.
func withMemory<Result>(
    _ bytes: [UInt8], _ body: (OpaquePointer?) throws(TLSConfigurationError) -> Result
) throws(TLSConfigurationError) -> Result {
    // The BIO reads straight from the array, which outlives it.
    let bio = unsafe BIO_new(BIO_s_mem())
    defer { unsafe BIO_free(bio) }
    var written = 0
    _ = unsafe bytes.withUnsafeBytes { unsafe BIO_write_ex(bio, $0.baseAddress, $0.count, &written) }
    return try unsafe body(bio)
}

/// Never asks: there is nobody to type a passphrase.
private func refusePassphrase(
    _ buffer: UnsafeMutablePointer<CChar>?, _ count: Int32, _ isWriting: Int32,
    _ asked: UnsafeMutableRawPointer?
) -> Int32 {
    unsafe asked?.storeBytes(of: true, as: Bool.self)
    return -1
}

private func readCertificates(
    _ pem: [UInt8], file: String
) throws(TLSConfigurationError) -> (leaf: OpaquePointer, chain: OpaquePointer) {
    unsafe try withMemory(pem) { (bio) throws(TLSConfigurationError) in
        guard let leaf = unsafe PEM_read_bio_X509_AUX(bio, nil, refusePassphrase, nil) else {
            throw .badCertificate(file: file, detail: takeErrorText())
        }
        guard let chain = unsafe weir_certificates_new() else {
            unsafe X509_free(leaf)
            throw .outOfMemory(detail: takeErrorText())
        }
        do throws(TLSConfigurationError) {
            while let next = unsafe try nextCertificate(bio, file: file) {
                guard unsafe weir_certificates_push(chain, next) else {
                    unsafe X509_free(next)
                    throw .outOfMemory(detail: takeErrorText())
                }
            }
        } catch {
            unsafe X509_free(leaf)
            unsafe weir_certificates_free(chain)
            throw error
        }
        return unsafe (leaf, chain)
    }
}

/// The next certificate of `bio`; nil at its end.
private func nextCertificate(
    _ bio: OpaquePointer?, file: String
) throws(TLSConfigurationError) -> OpaquePointer? {
    if let next = unsafe PEM_read_bio_X509(bio, nil, refusePassphrase, nil) { return unsafe next }
    // The end of the file shows as "no start line"; a broken certificate as anything else.
    let error = ERR_peek_last_error()
    if error & 0x7F_FFFF == UInt(PEM_R_NO_START_LINE) {
        ERR_clear_error()
        return nil
    }
    throw .badChain(file: file, detail: takeErrorText())
}

func readPrivateKey(_ file: String) throws(TLSConfigurationError) -> OpaquePointer {
    var pem = try readFile(file, byteCountMax: Limits.certificateFileByteCountMax, isSecret: true)
    defer { unsafe pem.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) } }
    var asked = false
    let key = unsafe try withMemory(pem) { (bio) throws(TLSConfigurationError) in
        unsafe PEM_read_bio_PrivateKey(bio, nil, refusePassphrase, &asked)
    }
    guard let key = unsafe key else {
        if asked {
            ERR_clear_error()
            throw .encryptedPrivateKey(file: file)
        }
        throw .badPrivateKey(file: file, detail: takeErrorText())
    }
    return unsafe key
}

/// Every certificate of a PEM file, one at least, to be freed by the caller.
func readAuthorities(_ file: String) throws(TLSConfigurationError) -> OpaquePointer {
    let pem = try readFile(file, byteCountMax: Limits.authorityFileByteCountMax)
    do throws(TLSConfigurationError) {
        let (first, rest) = unsafe try readCertificates(pem, file: file)
        guard unsafe weir_certificates_push(rest, first) else {
            unsafe X509_free(first)
            unsafe weir_certificates_free(rest)
            throw .outOfMemory(detail: takeErrorText())
        }
        return unsafe rest
    } catch .badCertificate(_, let detail), .badChain(_, let detail) {
        throw .badAuthorities(file: file, detail: detail)
    }
}

// MARK: - Describing

private func describe(
    _ leaf: OpaquePointer, _ key: OpaquePointer, file: String
) throws(TLSConfigurationError) -> CertificateDescription {
    let keyType: KeyType
    switch unsafe EVP_PKEY_get_base_id(key) {
    case EVP_PKEY_RSA, EVP_PKEY_RSA_PSS: keyType = .rsa
    case EVP_PKEY_EC: keyType = .ecdsa
    case EVP_PKEY_ED25519: keyType = .ed25519
    default: throw .badPrivateKey(file: file, detail: "its kind of key is not supported")
    }
    let start = unsafe unixSeconds(X509_get0_notBefore(leaf)) ?? .min
    let end = unsafe unixSeconds(X509_get0_notAfter(leaf)) ?? .max
    return unsafe CertificateDescription(
        file: file, subject: text(X509_get_subject_name(leaf)), serial: serialText(leaf),
        names: hostNames(of: leaf), keyType: keyType, validity: min(start, end)...end)
}

/// RFC 2253, such as `CN=example.com,O=Example`.
func text(_ name: OpaquePointer?) -> String {
    let bio = unsafe BIO_new(BIO_s_mem())
    defer { unsafe BIO_free(bio) }
    unsafe weir_print_name(bio, name)
    var bytes: UnsafeMutablePointer<CChar>?
    let count = unsafe weir_bio_memory(bio, &bytes)
    return unsafe String(decoding: UnsafeRawBufferPointer(start: bytes, count: max(0, count)), as: UTF8.self)
}

func serialText(_ certificate: OpaquePointer) -> String {
    let number = unsafe ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nil)
    defer { unsafe BN_free(number) }
    guard let text = unsafe BN_bn2hex(number) else { return "" }
    defer { unsafe CRYPTO_free(text, nil, 0) }
    return unsafe String(cString: text)
}

func unixSeconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
    var parts = unsafe tm()
    guard unsafe ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
    return unsafe Int64(timegm(&parts))
}

/// The DNS names of a certificate, or its common name when it has none.
private func hostNames(of certificate: OpaquePointer) -> [String] {
    var result: [String] = []
    if let raw = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) {
        let names = OpaquePointer(raw)
        defer { unsafe weir_general_names_free(names) }
        for index in 0..<max(0, unsafe weir_general_names_count(names)) {
            var bytes: UnsafePointer<UInt8>?
            let count = unsafe weir_general_names_dns(names, index, &bytes)
            guard count > 0 else { continue }
            let name = unsafe String(
                decoding: UnsafeBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
            if let pattern = ServerNamePattern(name) { result.append(pattern.description) }
        }
    }
    if result.isEmpty, let common = unsafe commonName(of: certificate),
        let pattern = ServerNamePattern(common)
    {
        result.append(pattern.description)
    }
    return result
}

func commonName(of certificate: OpaquePointer) -> String? {
    let subject = unsafe X509_get_subject_name(certificate)
    let index = unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
    guard index >= 0 else { return nil }
    let data = unsafe X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index))
    var bytes: UnsafeMutablePointer<UInt8>?
    let count = unsafe ASN1_STRING_to_UTF8(&bytes, data)
    guard count >= 0 else { return nil }
    defer { unsafe CRYPTO_free(bytes, nil, 0) }
    return unsafe String(decoding: UnsafeBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
}
