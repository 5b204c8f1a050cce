// What the callbacks of a context need, and the callbacks: server name, ALPN, stapling, tickets.
//
// They run inside SSL_do_handshake on any worker, only read, and allocate nothing but what OpenSSL keeps.

import Balancing
import COpenSSL

/// A response to staple, and the certificate that it is about.
struct Staple {
    /// Compared, never followed.
    let leaf: UInt
    let response: [UInt8]

    init?(_ certificate: Certificate) {
        guard !certificate.staple.isEmpty else { return nil }
        leaf = unsafe UInt(bitPattern: certificate.leaf)
        response = certificate.staple
    }
}

/// Belongs to the default SSL_CTX, which every session of a listener refers to from beginning to end, and so
/// lives as long as any session that could ask it.
@safe
final class ContextState {
    let names: ServerNameTable
    /// Protocol ids as on the wire, most preferred first; empty when ALPN is off.
    let protocols: [UInt8]
    let ticketKeys: TicketKeyRing?
    /// One for each group of certificates. This state owns a reference to each but the first, once bound.
    var contexts: [OpaquePointer] = unsafe []
    var staples: [Staple] = []
    private var isBound = false

    init(names: ServerNameTable, alpn: ALPNPolicy, ticketKeys: TicketKeyRing?) {
        self.names = names
        protocols = wireFormat(of: alpn.protocols)
        self.ticketKeys = ticketKeys
    }

    deinit {
        // The first owns this state by then: its reference is gone, or this would not run.
        let first = isBound ? 1 : 0
        for index in unsafe first..<max(first, contexts.count) { unsafe SSL_CTX_free(contexts[index]) }
    }

    /// From here on the default context owns this state. Gives up the reference to that context, which would
    /// otherwise keep itself alive through it.
    func bind(to context: OpaquePointer) {
        isBound = true
        _ = unsafe SSL_CTX_set_ex_data(context, Self.ownerSlot, Unmanaged.passRetained(self).toOpaque())
        unsafe SSL_CTX_free(context)
    }

    /// Unowned, on every context of a listener.
    fileprivate static let slot = weir_ssl_ctx_new_slot(nil)
    /// Owned, on the default context alone.
    private static let ownerSlot = unsafe weir_ssl_ctx_new_slot(releaseState)

    /// The state of the listener that a context is part of; nil for a context of the client side.
    static func of(_ context: OpaquePointer?) -> ContextState? {
        guard let pointer = unsafe SSL_CTX_get_ex_data(context, slot) else { return nil }
        return unsafe Unmanaged<ContextState>.fromOpaque(pointer).takeUnretainedValue()
    }
}

/// See CRYPTO_get_ex_new_index(3): the last user of a default context is gone.
private func releaseState(
    _ parent: UnsafeMutableRawPointer?, _ state: UnsafeMutableRawPointer?,
    _ slots: UnsafeMutablePointer<CRYPTO_EX_DATA>?,
    _ slot: Int32, _ number: Int, _ argument: UnsafeMutableRawPointer?
) {
    guard let state = unsafe state else { return }
    unsafe Unmanaged<ContextState>.fromOpaque(state).release()
}

func wireFormat(of protocols: [String]) -> [UInt8] {
    protocols.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + Array($0.utf8) }
}

/// Sets the callbacks of one context of a listener. The state outlives every call.
func installCallbacks(in context: OpaquePointer, _ state: ContextState) {
    let pointer = unsafe Unmanaged.passUnretained(state).toOpaque()
    _ = unsafe SSL_CTX_set_ex_data(context, ContextState.slot, pointer)
    unsafe SSL_CTX_set_client_hello_cb(context, noteClientHello, nil)
    unsafe weir_ssl_ctx_set_servername_callback(context, chooseCertificates, pointer)
    if !state.protocols.isEmpty { unsafe SSL_CTX_set_alpn_select_cb(context, chooseProtocol, pointer) }
    unsafe weir_ssl_ctx_set_status_callback(context, stapleResponse, pointer)
    _ = unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(context, sealOrOpenTicket)
    _ = unsafe SSL_CTX_set_timeout(context, TicketKeyRing.ticketLifetimeSeconds)
    // One is enough for clients that come back one by one, and each costs a record and its sealing.
    _ = unsafe SSL_CTX_set_num_tickets(context, 1)
}

/// See SSL_CTX_set_tlsext_servername_callback(3).
private func chooseCertificates(
    _ session: OpaquePointer?, _ alert: UnsafeMutablePointer<Int32>?, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
    guard let argument = unsafe argument,
        let name = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name)
    else { return SSL_TLSEXT_ERR_NOACK }
    let state = unsafe Unmanaged<ContextState>.fromOpaque(argument).takeUnretainedValue()
    var count = 0
    while count < 256, unsafe name[count] != 0 { count += 1 }
    let bytes = unsafe UnsafeRawBufferPointer(start: name, count: count).assumingMemoryBound(to: UInt8.self)
    let found = unsafe state.names.value(for: bytes.span)
    guard let group = found else { return SSL_TLSEXT_ERR_NOACK }
    guard group > 0 else { return SSL_TLSEXT_ERR_OK }
    guard unsafe SSL_set_SSL_CTX(session, state.contexts[group]) != nil else {
        return SSL_TLSEXT_ERR_ALERT_FATAL
    }
    return SSL_TLSEXT_ERR_OK
}

/// See SSL_CTX_set_alpn_select_cb(3).
private func chooseProtocol(
    _ session: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ chosenCount: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?, _ offeredCount: UInt32,
    _ argument: UnsafeMutableRawPointer?
) -> Int32 {
    guard let argument = unsafe argument, let chosen = unsafe chosen, let offered = unsafe offered else {
        return SSL_TLSEXT_ERR_NOACK
    }
    let state = unsafe Unmanaged<ContextState>.fromOpaque(argument).takeUnretainedValue()
    let isShared = unsafe state.protocols.withUnsafeBufferPointer { ours in
        // The answer points into `ours`, which lives as long as the session, or into `offered`, as OpenSSL wants.
        var answer: UnsafeMutablePointer<UInt8>?
        let result = unsafe SSL_select_next_proto(
            &answer, chosenCount, ours.baseAddress, UInt32(ours.count), offered, offeredCount)
        unsafe chosen.pointee = UnsafePointer(answer)
        return result == OPENSSL_NPN_NEGOTIATED
    }
    return isShared ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK
}

/// See SSL_CTX_set_tlsext_status_cb(3).
private func stapleResponse(_ session: OpaquePointer?, _ argument: UnsafeMutableRawPointer?) -> Int32 {
    guard let argument = unsafe argument else { return SSL_TLSEXT_ERR_NOACK }
    let state = unsafe Unmanaged<ContextState>.fromOpaque(argument).takeUnretainedValue()
    guard !state.staples.isEmpty else { return SSL_TLSEXT_ERR_NOACK }
    let leaf = unsafe UInt(bitPattern: SSL_get_certificate(session))
    guard let staple = state.staples.first(where: { $0.leaf == leaf }) else { return SSL_TLSEXT_ERR_NOACK }
    let isSet = unsafe staple.response.withUnsafeBytes { bytes in
        unsafe weir_ssl_set_status(session, bytes.baseAddress, bytes.count)
    }
    return isSet ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK
}
