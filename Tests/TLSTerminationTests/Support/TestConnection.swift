// Two TLS sessions over a pair of sockets in one thread, driven step by step.

import Balancing
import CLinux
import COpenSSL
import Foundation
import LinuxIO
import TestCertificates
import Testing

@testable import TLSTermination

/// A client and a server, with every byte between them in the hands of the test.
final class TestConnection {
    var client: TLSSession
    var server: TLSSession
    private var clientStep = TLSStep.wantRead
    private var serverStep = TLSStep.wantRead

    /// The sessions' ends, and the ends that the test holds. Joined directly, both are the same pair.
    private let clientSocket: Descriptor
    private let serverSocket: Descriptor
    private var clientRelay = Descriptor.none
    private var serverRelay = Descriptor.none
    /// How many bytes each side has sent through the relay.
    private(set) var clientByteCount = 0
    private(set) var serverByteCount = 0

    /// With `isRelayed`, bytes only move when the test says so.
    init(_ clientContext: ClientContext, _ serverContext: ServerContext, isRelayed: Bool = false) throws {
        let (first, second) = try socketPair()
        clientSocket = first
        if isRelayed {
            let (third, fourth) = try socketPair()
            (clientRelay, serverRelay, serverSocket) = (second, third, fourth)
        } else {
            serverSocket = second
        }
        client = try #require(clientContext.makeSession(on: clientSocket))
        server = try #require(serverContext.makeSession(on: serverSocket))
    }

    deinit {
        client.free()
        server.free()
        for socket in [clientSocket, serverSocket, clientRelay, serverRelay] where socket.isOpen {
            socket.close()
        }
    }

    /// Steps both sides until both are through or neither goes on; relays whatever they send.
    @discardableResult
    func handshake() -> (client: TLSStep, server: TLSStep) {
        for _ in 0..<50 {
            stepClient()
            relay(fromClient: .max)
            stepServer()
            relay(fromServer: .max)
            if !isWaiting(clientStep), !isWaiting(serverStep) { break }
        }
        return (clientStep, serverStep)
    }

    func stepClient() { if isWaiting(clientStep) { clientStep = client.handshake() } }
    func stepServer() { if isWaiting(serverStep) { serverStep = server.handshake() } }
    var steps: (client: TLSStep, server: TLSStep) { (clientStep, serverStep) }

    private func isWaiting(_ step: TLSStep) -> Bool { step == .wantRead || step == .wantWrite }

    // MARK: The relay

    /// Moves at most so many bytes on; returns them.
    @discardableResult
    func relay(fromClient byteCountMax: Int) -> [UInt8] {
        guard clientRelay.isOpen else { return [] }
        let bytes = move(from: clientRelay, to: serverRelay, byteCountMax)
        clientByteCount += bytes.count
        return bytes
    }

    @discardableResult
    func relay(fromServer byteCountMax: Int) -> [UInt8] {
        guard serverRelay.isOpen else { return [] }
        let bytes = move(from: serverRelay, to: clientRelay, byteCountMax)
        serverByteCount += bytes.count
        return bytes
    }

    /// Leaves no room for anything from the server, by bytes that no session made.
    func fillFromServer() {
        let block = pattern(4_096)
        for size in [4_096, 512, 64, 1] {
            while case .moved = serverSocket.send(block[..<size]) {}
        }
    }

    /// What stands in the way from the server, kept from the client.
    func takeFromServer() -> [UInt8] {
        var bytes: [UInt8] = []
        while case .moved = serverRelay.receive(byteCountMax: 65_536, into: &bytes) {}
        return bytes
    }

    /// What the client sent, kept from the server.
    func takeFromClient() -> [UInt8] {
        var bytes: [UInt8] = []
        while case .moved = clientRelay.receive(byteCountMax: 65_536, into: &bytes) {}
        return bytes
    }

    private func move(from source: Descriptor, to sink: Descriptor, _ byteCountMax: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < byteCountMax,
            case .moved = source.receive(byteCountMax: min(byteCountMax - bytes.count, 65_536), into: &bytes)
        {}
        _ = sink.send(bytes[...])
        return bytes
    }

    /// The client is gone without a word, after what it sent.
    func abandonClient() { _ = (serverRelay.isOpen ? serverRelay : clientSocket).shutdownWrite() }
    /// The server likewise.
    func abandonServer() { _ = (clientRelay.isOpen ? clientRelay : serverSocket).shutdownWrite() }
    /// Bytes to the server that no session made.
    func sendRaw(_ bytes: [UInt8]) { _ = (serverRelay.isOpen ? serverRelay : clientSocket).send(bytes[...]) }
}

/// Two connected stream sockets that do not block; see socketpair(2).
func socketPair() throws -> (Descriptor, Descriptor) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
    return (Descriptor(rawValue: ends[0]), Descriptor(rawValue: ends[1]))
}

extension TLSSession {
    /// Writes all of `bytes` while it can; how many were taken.
    mutating func send(_ bytes: [UInt8]) -> Int {
        var sent = 0
        while sent < bytes.count {
            let outcome = bytes[sent...].withUnsafeBytes { write(from: $0.bytes) }
            guard case .moved(let count) = outcome else { break }
            sent += count
        }
        return sent
    }

    /// One read of at most `byteCountMax` bytes.
    mutating func receive(_ byteCountMax: Int = 65_536) -> (outcome: TLSTransfer, bytes: [UInt8]) {
        var buffer = [UInt8](repeating: 0, count: byteCountMax)
        let outcome = buffer.withUnsafeMutableBytes { pointer in
            var bytes = pointer.mutableBytes
            return read(into: &bytes)
        }
        guard case .moved(let count) = outcome else { return (outcome, []) }
        return (outcome, Array(buffer[..<count]))
    }

    /// Reads until there is nothing; the last outcome and everything before it.
    mutating func receiveAll() -> (outcome: TLSTransfer, bytes: [UInt8]) {
        var all: [UInt8] = []
        while true {
            let (outcome, bytes) = receive()
            guard case .moved = outcome else { return (outcome, all) }
            all += bytes
        }
    }
}

/// A ring that has a key.
func makeRing() throws -> TicketKeyRing {
    let ring = TicketKeyRing()
    try ring.advance(to: Instant(nanoseconds: 1))
    return ring
}

func serverContext(
    _ names: [String] = ["fallback"], policy: SecurityPolicy = .default, alpn: ALPNPolicy = .none,
    clients: ClientAuthentication = .off, ring: TicketKeyRing? = nil
) throws -> ServerContext {
    let settings = ServerSettings(
        policy: policy, certificates: names.map { TestAuthority.shared.files($0) }, alpn: alpn,
        clients: clients)
    return try ServerContext(settings, ticketKeys: ring ?? makeRing())
}

/// A policy of one version and one cipher, or of all that Weir knows.
func offer(_ versions: ClosedRange<TLSVersion> = .v12 ... .v13, _ ciphers: [String]? = nil) -> SecurityPolicy
{
    let everything = SecurityPolicy.named("ELBSecurityPolicy-TLS13-1-0-2021-06")?.ciphers ?? []
    return SecurityPolicy(name: "offer", versions: versions, ciphers: ciphers ?? everything)
}

func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }
