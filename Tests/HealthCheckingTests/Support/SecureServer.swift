// A server on loopback that ends TLS and plays a script on each connection. Each runs on threads of its own.

import Balancing
import Foundation
import Glibc
import LinuxIO
import TLSTermination
import TestCertificates

final class SecureServer: Sendable {
    enum Step: Sendable {
        /// Reads until the end of the request's header.
        case readRequest
        case send(String)
        /// One record per byte.
        case sendBytewise(String)
        /// Reads until the client's end, and answers it with close_notify.
        case awaitEnd
    }

    /// What a client did.
    struct Visit: Sendable {
        /// What came before the handshake.
        var preamble: [UInt8] = []
        var serverName: String?
        /// Everything read, decrypted.
        var request: [UInt8] = []
        /// Nil unless the handshake failed.
        var refusal: TLSFailure?
        /// What the last read said; `endOfStream` is a close_notify.
        var end: TLSTransfer?
    }

    let endpoint: Endpoint
    /// Visits that have ended, in that order.
    let visits = Observed<[Visit]>([])
    private let socket: Int32

    /// - Parameters:
    ///   - certificate: One that `TestAuthority` made.
    ///   - preambleByteCount: So many bytes come before the handshake.
    init(
        _ steps: [Step], certificate: String = "exact", clients: ClientAuthentication = .off,
        policy: SecurityPolicy = .default, preambleByteCount: Int = 0
    ) throws {
        let ring = TicketKeyRing()
        try ring.advance(to: Instant(nanoseconds: 1))
        let context = try ServerContext(
            ServerSettings(
                policy: policy, certificates: [TestAuthority.shared.files(certificate)], clients: clients),
            ticketKeys: ring)
        (socket, endpoint) = try bindToLoopback(SOCK_STREAM)
        listen(socket, 64)
        Thread.detachNewThread { [socket, visits] in
            while true {
                let connection = accept(socket, nil, nil)
                guard connection >= 0 else { break }
                Thread.detachNewThread {
                    let visit = Self.serve(connection, steps, context, preambleByteCount)
                    close(connection)
                    visits.change { $0.append(visit) }
                }
            }
            close(socket)
        }
    }

    deinit {
        // Wakes accept, which then fails for good.
        shutdown(socket, Int32(SHUT_RDWR))
    }

    /// The sockets block, so that no call here asks to be repeated.
    private static func serve(
        _ connection: Int32, _ steps: [Step], _ context: ServerContext, _ preambleByteCount: Int
    ) -> Visit {
        var visit = Visit()
        var byte: UInt8 = 0
        while visit.preamble.count < preambleByteCount, recv(connection, &byte, 1, 0) == 1 {
            visit.preamble.append(byte)
        }
        guard var session = context.makeSession(on: Descriptor(rawValue: connection)) else { return visit }
        defer { session.free() }
        if case .failed(let failure) = session.handshake() {
            visit.refusal = failure
            return visit
        }
        visit.serverName = session.facts?.serverName
        for step in steps { play(step, &session, &visit) }
        return visit
    }

    private static func play(_ step: Step, _ session: inout TLSSession, _ visit: inout Visit) {
        switch step {
        case .readRequest:
            while !visit.request.suffix(4).elementsEqual("\r\n\r\n".utf8), receive(&session, &visit) {}
        case .send(let text):
            _ = session.write(from: Array(text.utf8).span.bytes)
        case .sendBytewise(let text):
            for byte in text.utf8 { _ = session.write(from: [byte].span.bytes) }
        case .awaitEnd:
            while receive(&session, &visit) {}
            _ = session.shutdown()
        }
    }

    /// One read; false at the end.
    private static func receive(_ session: inout TLSSession, _ visit: inout Visit) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 4_096)
        var span = bytes.mutableSpan
        var room = span.mutableBytes
        let result = session.read(into: &room)
        visit.end = result
        guard case .moved(let count) = result else { return false }
        visit.request += bytes[..<count]
        return true
    }
}
