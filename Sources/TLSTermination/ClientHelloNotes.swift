// What the access log tells of a ClientHello, in fixed room: the name, and the protocols in the client's order.
//
// OpenSSL keeps neither beyond the handshake, and a failed handshake has no session to ask. So the notes are taken
// while the hello is at hand, and only for a handshake whose caller lends the room for them.

import COpenSSL

/// Notes of one ClientHello: trivial, and valid when all zero.
@safe
package struct ClientHelloNotes: BitwiseCopyable, Sendable {
    /// A well-formed ClientHello came.
    package private(set) var isPresent = false
    private var nameCount: UInt8 = 0
    private var protocolByteCount: UInt16 = 0
    private var nameBytes = InlineArray<255, UInt8>(repeating: 0)
    /// As on the wire: each protocol behind its length. What does not fit as a whole is left out.
    private var protocolBytes = InlineArray<256, UInt8>(repeating: 0)

    package init() {}

    /// As sent, at most 255 bytes; empty when no name was sent.
    package var serverName: [UInt8] { (0..<Int(nameCount)).map { nameBytes[$0] } }

    /// In the client's order of preference.
    package var protocols: [[UInt8]] {
        var protocols: [[UInt8]] = []
        var position = 0
        while position < Int(protocolByteCount) {
            let end = position + 1 + Int(protocolBytes[position])
            protocols.append((position + 1..<end).map { protocolBytes[$0] })
            position = end
        }
        return protocols
    }

    /// - Parameters:
    ///   - serverName: The body of the extension server_name (RFC 6066 section 3); empty when there is none.
    ///   - protocols: The body of the extension ALPN (RFC 7301 section 3.1); empty when there is none.
    package mutating func take(serverName: Span<UInt8>, protocols: Span<UInt8>) {
        self = ClientHelloNotes()
        isPresent = true
        takeName(serverName)
        takeProtocols(protocols)
    }

    private mutating func takeName(_ list: Span<UInt8>) {
        // Length of the list, kind of the first name (0: a host name), its length.
        guard list.count >= 5, list[2] == 0 else { return }
        let count = Int(list[3]) << 8 | Int(list[4])
        guard count <= list.count - 5, count <= nameBytes.count else { return }
        for index in 0..<count { nameBytes[index] = list[5 + index] }
        nameCount = UInt8(count)
    }

    private mutating func takeProtocols(_ list: Span<UInt8>) {
        var source = 2
        var end = 0
        while source < list.count {
            let byteCount = 1 + Int(list[source])
            guard byteCount <= list.count - source, byteCount <= protocolBytes.count - end else { break }
            for index in 0..<byteCount { protocolBytes[end + index] = list[source + index] }
            source += byteCount
            end += byteCount
        }
        protocolByteCount = UInt16(end)
    }

    /// Where a session carries the address of its notes while a step of its handshake runs.
    fileprivate static let slot = weir_ssl_new_slot()
}

extension TLSSession {
    /// A step of the handshake, as `handshake()`, that takes notes of the ClientHello when it comes.
    package mutating func handshake(noting notes: inout ClientHelloNotes) -> TLSStep {
        unsafe withUnsafeMutablePointer(to: &notes) { pointer in
            // Without memory for the slot there are no notes, but a handshake.
            _ = unsafe SSL_set_ex_data(handle, ClientHelloNotes.slot, pointer)
            let step = handshake()
            // The room is lent for this step alone.
            _ = unsafe SSL_set_ex_data(handle, ClientHelloNotes.slot, nil)
            return step
        }
    }
}

/// See SSL_CTX_set_client_hello_cb(3).
func noteClientHello(
    _ session: OpaquePointer?, _ alert: UnsafeMutablePointer<Int32>?, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
    if let room = unsafe SSL_get_ex_data(session, ClientHelloNotes.slot) {
        // The slot holds what `handshake(noting:)` put there, whose call is still under way.
        let notes = unsafe room.assumingMemoryBound(to: ClientHelloNotes.self)
        let name = unsafe body(ofExtension: TLSEXT_TYPE_server_name, session)
        let protocols = unsafe body(
            ofExtension: TLSEXT_TYPE_application_layer_protocol_negotiation, session)
        unsafe notes.pointee.take(serverName: name.span, protocols: protocols.span)
    }
    return SSL_CLIENT_HELLO_SUCCESS
}

/// The body of an extension of the ClientHello at hand, alive during the callback; empty when it has none.
private func body(ofExtension type: Int32, _ session: OpaquePointer?) -> UnsafeBufferPointer<UInt8> {
    var start: UnsafePointer<UInt8>?
    var count = 0
    guard unsafe SSL_client_hello_get0_ext(session, UInt32(type), &start, &count) == 1 else {
        return unsafe UnsafeBufferPointer(start: nil, count: 0)
    }
    return unsafe UnsafeBufferPointer(start: start, count: count)
}
