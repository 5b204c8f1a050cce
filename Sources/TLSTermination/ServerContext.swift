// What a TLS listener presents: one context for all workers, immutable once built.
//
// A new configuration or certificate is a new context, swapped as a whole: sessions keep the one they began
// with until they end. One SSL_CTX stands for each combination of certificates that answers for a name, since
// OpenSSL chooses between key types (RSA, ECDSA) within a context, but not between names. The first is the
// default and the one that every session begins with; the server name moves the session to another.

import Balancing
import COpenSSL
import LinuxIO

/// How a TLS listener is set up.
package struct ServerSettings: Sendable {
    package var policy: SecurityPolicy
    /// The first is the default: it answers for names that no certificate has, and when no name is given.
    package var certificates: [CertificateFiles]
    package var alpn: ALPNPolicy
    package var clients: ClientAuthentication
    /// Only for a process that ignores SIGPIPE; see `KernelTLS.isOffered()`.
    package var usesKernelTLS: Bool

    package init(
        policy: SecurityPolicy = .default, certificates: [CertificateFiles], alpn: ALPNPolicy = .none,
        clients: ClientAuthentication = .off, usesKernelTLS: Bool = false
    ) {
        self.policy = policy
        self.certificates = certificates
        self.alpn = alpn
        self.clients = clients
        self.usesKernelTLS = usesKernelTLS
    }
}

/// The context of a TLS listener. Any thread may make sessions of it.
@safe
package final class ServerContext: @unchecked Sendable {
    // Sendable: set in init, never changed; OpenSSL counts the references to a context atomically.
    private let context: OpaquePointer
    private let usesKernelTLS: Bool
    /// As configured, in that order.
    package let certificates: [CertificateDescription]

    /// Reads and checks every file; on the first problem nothing is left behind.
    package init(_ settings: ServerSettings, ticketKeys: TicketKeyRing) throws(TLSConfigurationError) {
        guard !settings.certificates.isEmpty else { throw .noCertificates }
        guard settings.certificates.count <= Limits.certificatesPerListenerMax else {
            throw .tooManyCertificates(count: settings.certificates.count)
        }
        var loaded: [Certificate] = []
        for files in settings.certificates { loaded.append(try Certificate(files)) }
        let groups = CertificateGroups(loaded.map(\.description))
        let state = ContextState(names: groups.names, alpn: settings.alpn, ticketKeys: ticketKeys)
        for members in groups.members {
            let group = members.map { loaded[$0] }
            unsafe try state.contexts.append(makeContext(settings, group, state))
            state.staples.append(contentsOf: group.compactMap(Staple.init))
        }
        // The state frees them with itself; this one is held beyond that, and holds the state.
        unsafe context = unsafe state.contexts[0]
        unsafe SSL_CTX_up_ref(context)
        unsafe state.bind(to: context)
        usesKernelTLS = settings.usesKernelTLS
        certificates = loaded.map(\.description)
    }

    deinit {
        unsafe SSL_CTX_free(context)
    }

    /// A session for an accepted connection, which stays the caller's; nil when memory is short.
    package func makeSession(on descriptor: Descriptor) -> TLSSession? {
        unsafe makeTLSSession(of: context, on: descriptor, isServer: true, usesKernelTLS: usesKernelTLS)
    }
}

/// A new session of either side.
func makeTLSSession(
    of context: OpaquePointer, on descriptor: Descriptor, isServer: Bool, usesKernelTLS: Bool
) -> TLSSession? {
    clearErrors()
    guard let session = unsafe SSL_new(context) else {
        ERR_clear_error()
        return nil
    }
    let attach = unsafe usesKernelTLS ? SocketTransport.attachForKernel : SocketTransport.attach
    guard unsafe attach(descriptor, session) else {
        unsafe SSL_free(session)
        ERR_clear_error()
        return nil
    }
    if isServer { unsafe SSL_set_accept_state(session) } else { unsafe SSL_set_connect_state(session) }
    return unsafe TLSSession(session)
}

// MARK: - Which certificates answer for which name

/// Certificates that share a context: at most one of each key type.
struct CertificateGroups {
    /// Indices of certificates; the first group is the default.
    private(set) var members: [[Int]] = []
    /// From a server name to one of `members`.
    let names: ServerNameTable

    init(_ certificates: [CertificateDescription]) {
        var byName: [String: [Int]] = [:]
        var order: [String] = []
        for (index, certificate) in certificates.enumerated() {
            for name in certificate.names {
                if byName[name] == nil { order.append(name) }
                let taken = (byName[name] ?? []).map { certificates[$0].keyType }
                // The first certificate of a kind wins, so that the order of configuration decides.
                guard !taken.contains(certificate.keyType) else { continue }
                byName[name, default: []].append(index)
            }
        }
        // The default certificate is joined by those of other key types that answer for one of its names.
        var fallback = [0]
        for name in certificates[0].names {
            for index in byName[name] ?? []
            where !fallback.contains(where: { certificates[$0].keyType == certificates[index].keyType }) {
                fallback.append(index)
            }
        }
        var groups = [fallback]
        let pairs = order.compactMap { name -> (ServerNamePattern, Int)? in
            let wanted = byName[name] ?? fallback
            let group = groups.firstIndex(of: wanted) ?? groups.count
            if group == groups.count { groups.append(wanted) }
            return ServerNamePattern(name).map { ($0, group) }
        }
        members = groups
        names = ServerNameTable(pairs)
    }
}

// MARK: - Building one SSL_CTX

private func makeContext(
    _ settings: ServerSettings, _ certificates: [Certificate], _ state: ContextState
) throws(TLSConfigurationError) -> OpaquePointer {
    guard let context = unsafe SSL_CTX_new(TLS_server_method()) else {
        throw .outOfMemory(detail: takeErrorText())
    }
    do throws(TLSConfigurationError) {
        unsafe try apply(settings.policy, to: context)
        unsafe applyCommonSettings(to: context, usesKernelTLS: settings.usesKernelTLS)
        unsafe weir_ssl_ctx_set_server_options(context)
        for certificate in certificates { unsafe try certificate.install(in: context) }
        unsafe try apply(settings.clients, to: context)
    } catch {
        unsafe SSL_CTX_free(context)
        throw error
    }
    unsafe installCallbacks(in: context, state)
    if case .passthrough = settings.clients {
        // A ticket keeps a client's certificate, but not the chain behind it, which targets are to get.
        unsafe weir_ssl_ctx_disable_tickets(context)
    }
    return unsafe context
}

/// Versions, ciphers, groups and security level of `policy`, for either side.
func apply(_ policy: SecurityPolicy, to context: OpaquePointer) throws(TLSConfigurationError) {
    // TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL has at level 0 only; otherwise level 2: 112 bits and more.
    unsafe SSL_CTX_set_security_level(context, policy.versions.lowerBound < .v12 ? 0 : 2)
    let versions = policy.versions
    let legacy = policy.legacyCiphers
    let groups = policy.isFIPS ? "P-256:P-384:P-521" : "X25519:P-256:P-384:P-521"
    let (oldest, newest) = (Int32(versions.lowerBound.rawValue), Int32(versions.upperBound.rawValue))
    guard unsafe weir_ssl_ctx_set_versions(context, oldest, newest),
        unsafe SSL_CTX_set_ciphersuites(context, policy.ciphersuites.joined(separator: ":")) == 1,
        unsafe legacy.isEmpty || SSL_CTX_set_cipher_list(context, legacy.joined(separator: ":")) == 1,
        unsafe weir_ssl_ctx_set_groups(context, groups)
    else { throw .badPolicy(name: policy.name, detail: takeErrorText()) }
}

/// What holds for both sides: small idle sessions, no compression, no early data.
func applyCommonSettings(to context: OpaquePointer, usesKernelTLS: Bool) {
    unsafe weir_ssl_ctx_set_common_options(context, usesKernelTLS)
    unsafe weir_ssl_ctx_set_mode(
        context,
        Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_ENABLE_PARTIAL_WRITE)
            | Int(SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER) | Int(SSL_MODE_NO_AUTO_CHAIN))
    // One recv for head and body of a record. Kernel TLS hands out whole records and cannot read ahead.
    unsafe weir_ssl_ctx_set_read_ahead(context, !usesKernelTLS)
    unsafe weir_ssl_ctx_disable_session_cache(context)
    unsafe SSL_CTX_set_max_early_data(context, 0)
    unsafe SSL_CTX_set_recv_max_early_data(context, 0)
}

private func apply(_ clients: ClientAuthentication, to context: OpaquePointer) throws(TLSConfigurationError) {
    switch clients {
    case .off: break
    case .passthrough:
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, judgeNothing)
    case .verify(let trust):
        unsafe try trust.install(in: context, announcing: trust.advertisesNames)
        unsafe SSL_CTX_set_verify(
            context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, trust.judge)
        unsafe SSL_CTX_set_verify_depth(context, Int32(Limits.clientChainDepthMax))
    }
    unsafe weir_ssl_ctx_set_max_cert_list(context, Limits.clientChainByteCountMax)
    // A ticket is good only where the same was asked of the client, or it would carry a stranger past a bundle.
    let id = try sessionContext(of: clients)
    let isSet = unsafe id.withUnsafeBufferPointer { bytes in
        unsafe SSL_CTX_set_session_id_context(context, bytes.baseAddress, UInt32(bytes.count)) == 1
    }
    guard isSet else { throw .outOfMemory(detail: takeErrorText()) }
}

/// 32 bytes that are the same for the same demands, on every appliance.
private func sessionContext(of clients: ClientAuthentication) throws(TLSConfigurationError) -> [UInt8] {
    var material: [UInt8]
    switch clients {
    case .off: material = Array("off".utf8)
    case .passthrough: material = Array("passthrough".utf8)
    case .verify(let trust):
        material = Array("verify \(trust.ignoresExpiry)".utf8)
        for file in [trust.authorities] + trust.revocationLists {
            let bytes = try readFile(file, byteCountMax: Limits.authorityFileByteCountMax)
            material += Array("\n\(bytes.count)\n".utf8) + bytes
        }
    }
    var digest = [UInt8](repeating: 0, count: 32)
    var count: UInt32 = 0
    let isDone = unsafe digest.withUnsafeMutableBufferPointer { output in
        unsafe EVP_Digest(material, material.count, output.baseAddress, &count, EVP_sha256(), nil) == 1
    }
    guard isDone, count == 32 else { throw .outOfMemory(detail: takeErrorText()) }
    return digest
}
