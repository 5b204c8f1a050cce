// TLS towards targets and health checks.
//
// As ELBv2 does, certificates of targets are not verified unless a CA file is given: the network between is the
// operator's. Then the name is checked too, since a valid certificate of another host proves nothing.

import Balancing
import COpenSSL
import LinuxIO

/// How Weir speaks TLS to a target group.
package struct ClientSettings: Sendable {
    package var policy: SecurityPolicy
    /// Sent as SNI and, with `trust`, expected in the certificate. An address is not sent, only expected.
    package var serverName: String?
    /// Nil: certificates are taken as they come.
    package var trust: TrustStore?
    /// Shown to targets that ask for one.
    package var certificate: CertificateFiles?
    /// ALPN ids, most preferred first; none when empty.
    package var protocols: [String]
    package var usesKernelTLS: Bool

    package init(
        policy: SecurityPolicy = SecurityPolicy.default.towardsTargets, serverName: String? = nil,
        trust: TrustStore? = nil, certificate: CertificateFiles? = nil, protocols: [String] = [],
        usesKernelTLS: Bool = false
    ) {
        self.policy = policy
        self.serverName = serverName
        self.trust = trust
        self.certificate = certificate
        self.protocols = protocols
        self.usesKernelTLS = usesKernelTLS
    }
}

/// The context of a target group's TLS. Any thread may make sessions of it.
@safe
package final class ClientContext: @unchecked Sendable {
    // Sendable: set in init, never changed; OpenSSL counts the references to a context atomically.
    let context: OpaquePointer
    /// Ends in zero; empty when none is sent.
    private let sentName: ContiguousArray<CChar>
    private let usesKernelTLS: Bool
    package let certificate: CertificateDescription?

    package init(_ settings: ClientSettings) throws(TLSConfigurationError) {
        clearErrors()
        let certificate = try settings.certificate.map { (files) throws(TLSConfigurationError) in
            try Certificate(files)
        }
        let address = settings.serverName.flatMap { IPAddress($0) }
        if let name = settings.serverName, address == nil, ServerName(name) == nil {
            throw .badServerName(name)
        }
        guard let context = unsafe SSL_CTX_new(TLS_client_method()) else {
            throw .outOfMemory(detail: takeErrorText())
        }
        unsafe self.context = unsafe context
        sentName = address == nil ? ContiguousArray(settings.serverName?.utf8CString ?? []) : []
        usesKernelTLS = settings.usesKernelTLS
        self.certificate = certificate?.description
        // From here on deinit frees the context when something is thrown.
        unsafe try apply(settings.policy, to: context)
        unsafe applyCommonSettings(to: context, usesKernelTLS: usesKernelTLS)
        unsafe try certificate?.install(in: context)
        unsafe SSL_CTX_set_cert_cb(context, noteDemand, nil)
        if !settings.protocols.isEmpty {
            let wire = wireFormat(of: settings.protocols)
            // Zero is success here, unlike everywhere else in OpenSSL.
            guard unsafe SSL_CTX_set_alpn_protos(context, wire, UInt32(wire.count)) == 0 else {
                throw .outOfMemory(detail: takeErrorText())
            }
        }
        guard let trust = settings.trust else {
            unsafe SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
            return
        }
        unsafe try trust.install(in: context, announcing: false)
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, trust.judge)
        guard let name = settings.serverName else { return }
        guard expect(name, isAddress: address != nil) else { throw .badServerName(name) }
    }

    deinit {
        unsafe SSL_CTX_free(context)
    }

    private func expect(_ name: String, isAddress: Bool) -> Bool {
        let expectations = unsafe SSL_CTX_get0_param(context)
        if isAddress { return unsafe X509_VERIFY_PARAM_set1_ip_asc(expectations, name) == 1 }
        return unsafe X509_VERIFY_PARAM_set1_host(expectations, name, 0) == 1
    }

    /// A session for a connection to a target, which stays the caller's; nil when memory is short.
    package func makeSession(on descriptor: Descriptor) -> TLSSession? {
        let made = unsafe makeTLSSession(
            of: context, on: descriptor, isServer: false, usesKernelTLS: usesKernelTLS)
        guard var session = made, !sentName.isEmpty else { return made }
        let isNamed = unsafe sentName.withUnsafeBufferPointer { name in
            unsafe weir_ssl_set_server_name(session.handle, name.baseAddress)
        }
        if isNamed { return session }
        session.free()
        ERR_clear_error()
        return nil
    }
}

// MARK: - Whether the other side asked for a certificate

/// See SSL_CTX_set_cert_cb(3): on the side of the client it is called when a certificate is asked for.
private func noteDemand(_ session: OpaquePointer?, _ argument: UnsafeMutableRawPointer?) -> Int32 {
    // Slot 0 is every session's own from the start; see SSL_get_app_data. Without memory for it nothing is noted.
    _ = unsafe SSL_set_ex_data(session, 0, UnsafeMutableRawPointer(bitPattern: 1))
    return 1
}

extension TLSSession {
    /// Whether the other side may still refuse this side's certificate, though the handshake is done here.
    ///
    /// From TLS 1.3 on a client is through before the server has seen its certificate (RFC 8446 section 2): a
    /// refusal, also of having none, comes as an alert in answer to what is sent next. Stays true once it is.
    package var mayBeRefused: Bool {
        guard let handle = unsafe handle, unsafe SSL_is_server(handle) == 0 else { return false }
        return unsafe SSL_version(handle) >= TLS1_3_VERSION && SSL_get_ex_data(handle, 0) != nil
    }
}
