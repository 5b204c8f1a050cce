// Small servers on loopback that do as they are told, well or badly. Each runs on threads of its own.

import Balancing
import Foundation
import Glibc
import LinuxIO

/// Accepts TCP connections and plays a script on each.
final class ScriptedServer: Sendable {
    enum Step: Sendable {
        /// Reads until the end of the request's header.
        case readRequest
        case readBytes(Int)
        case send(String)
        /// One byte per segment.
        case sendBytewise(String)
        /// Sends nothing more and waits for the peer's end.
        case hold
        case reset
    }

    let endpoint: Endpoint
    private let socket: Int32
    /// What is played on the next connection.
    let script: Observed<[Step]>
    /// Headers of the requests read.
    let requests = Observed<[String]>([])
    /// The same as bytes, and what else was read.
    let received = Observed<[[UInt8]]>([])
    let acceptedCount = Observed(0)
    /// How many connections have ended.
    let endedCount = Observed(0)

    init(_ steps: [Step], backlog: Int32 = 64) throws {
        script = Observed(steps)
        (socket, endpoint) = try bindToLoopback(SOCK_STREAM)
        listen(socket, backlog)
        Thread.detachNewThread { [socket, script, requests, received, acceptedCount, endedCount] in
            while true {
                let connection = accept(socket, nil, nil)
                guard connection >= 0 else { break }
                acceptedCount.change { $0 += 1 }
                let steps = script.current
                Thread.detachNewThread {
                    for step in steps { Self.play(step, on: connection, requests, received) }
                    close(connection)
                    endedCount.change { $0 += 1 }
                }
            }
            close(socket)
        }
    }

    deinit {
        // Wakes accept, which then fails for good.
        shutdown(socket, Int32(SHUT_RDWR))
    }

    private static func play(
        _ step: Step, on connection: Int32, _ requests: Observed<[String]>, _ received: Observed<[[UInt8]]>
    ) {
        switch step {
        case .readRequest:
            var request: [UInt8] = []
            var byte: UInt8 = 0
            while !request.suffix(4).elementsEqual("\r\n\r\n".utf8), recv(connection, &byte, 1, 0) == 1 {
                request.append(byte)
            }
            requests.change { $0.append(String(decoding: request, as: UTF8.self)) }
            received.change { [request] in $0.append(request) }
        case .readBytes(let count):
            var bytes: [UInt8] = []
            var byte: UInt8 = 0
            while bytes.count < count, recv(connection, &byte, 1, 0) == 1 { bytes.append(byte) }
            received.change { [bytes] in $0.append(bytes) }
        case .send(let text):
            let bytes = Array(text.utf8)
            _ = Glibc.send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        case .sendBytewise(let text):
            var isOn: Int32 = 1
            setsockopt(
                connection, Int32(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(MemoryLayout<Int32>.size))
            for byte in text.utf8 { _ = Glibc.send(connection, [byte], 1, Int32(MSG_NOSIGNAL)) }
        case .hold:
            var byte: UInt8 = 0
            while recv(connection, &byte, 1, 0) == 1 {}
        case .reset:
            var abortive = linger(l_onoff: 1, l_linger: 0)
            setsockopt(connection, SOL_SOCKET, SO_LINGER, &abortive, socklen_t(MemoryLayout<linger>.size))
        }
    }
}

/// Answers each datagram with what a closure makes of it; an empty list is silence.
final class DatagramServer: Sendable {
    let endpoint: Endpoint
    private let socket: Int32

    init(_ answers: @escaping @Sendable ([UInt8]) -> [[UInt8]]) throws {
        (socket, endpoint) = try bindToLoopback(SOCK_DGRAM)
        Thread.detachNewThread { [socket] in
            var buffer = [UInt8](repeating: 0, count: 2_048)
            while true {
                var peer = sockaddr_storage()
                var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let count = withSocketAddress(&peer) {
                    recvfrom(socket, &buffer, buffer.count, 0, $0, &length)
                }
                guard count > 0 else { break }
                for answer in answers(Array(buffer[..<count])) {
                    _ = withSocketAddress(&peer) { sendto(socket, answer, answer.count, 0, $0, length) }
                }
            }
            close(socket)
        }
    }

    deinit {
        // Wakes recvfrom with an end, though the socket has no peer.
        shutdown(socket, Int32(SHUT_RDWR))
    }
}

/// A port on which nothing listens; for TCP it stays bound, so that nobody else takes it meanwhile.
final class DeadPort: Sendable {
    let endpoint: Endpoint
    private let socket: Int32?

    init(_ transport: Transport) throws {
        let (socket, endpoint) = try bindToLoopback(transport == .tcp ? SOCK_STREAM : SOCK_DGRAM)
        self.endpoint = endpoint
        if transport == .tcp {
            self.socket = socket
        } else {
            close(socket)
            self.socket = nil
        }
    }

    deinit {
        if let socket { close(socket) }
    }
}

/// Listens, but its queue is full: the kernel drops every further connection attempt.
final class ClosedGate: Sendable {
    let endpoint: Endpoint
    private let sockets: [Descriptor]

    init() throws {
        let (socket, endpoint) = try bindToLoopback(SOCK_STREAM)
        listen(socket, 0)
        self.endpoint = endpoint
        var sockets = [Descriptor(rawValue: socket)]
        for _ in 0..<4 {
            let client = try Descriptor.socket(.tcp, .v4)
            _ = client.connect(to: endpoint)
            sockets.append(client)
        }
        self.sockets = sockets
    }

    deinit {
        for socket in sockets { socket.close() }
    }
}

struct SocketError: Error {
    let call: String
    let code = errno
}

func bindToLoopback(_ type: __socket_type) throws -> (Int32, Endpoint) {
    let socket = Glibc.socket(AF_INET, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw SocketError(call: "socket") }
    var storage = sockaddr_storage()
    withUnsafeMutablePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
            $0.pointee.sin_family = sa_family_t(AF_INET)
            $0.pointee.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        }
    }
    let bound = withSocketAddress(&storage) { bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    guard bound == 0, let endpoint = Descriptor(rawValue: socket).localEndpoint() else {
        throw SocketError(call: "bind")
    }
    return (socket, endpoint)
}

private func withSocketAddress<Result>(
    _ storage: inout sockaddr_storage, _ body: (UnsafeMutablePointer<sockaddr>) -> Result
) -> Result {
    withUnsafeMutablePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
    }
}
