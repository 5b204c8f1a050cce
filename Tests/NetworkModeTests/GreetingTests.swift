// What clients say before they have a target: late, in pieces, too many at once, or never to the end.

import Balancing
import Glibc
import LinuxIO
import Serving
import Testing

@testable import NetworkMode

@Suite struct `Greetings` {
    private static let header = Array("PROXY TCP4 192.0.2.7 192.0.2.8 4321 443\r\n".utf8)

    private static func trusting(_ range: String = "127.0.0.0/8") throws -> ProxyProtocolSettings {
        ProxyProtocolSettings(accepts: [.v1, .v2], trusted: [try #require(IPPrefix(range))])
    }

    /// A server that says a byte, then echoes.
    private static func named(_ name: UInt8) throws -> TestServer {
        try TestServer { connection in
            connection.send([name])
            while let bytes = connection.receive(), !bytes.isEmpty { connection.send(bytes) }
        }
    }

    private static func settings(
        timeoutSeconds: Int = 10, countMax: Int = 1_000
    ) -> WorkerSettings {
        var settings = TestBalancer.smallSettings
        settings.handshakeTimeoutSeconds = timeoutSeconds
        settings.handshakeCountMax = countMax
        return settings
    }

    /// A ClientHello of TLS 1.2 that names a server (RFC 8446 section 4.1.2, RFC 6066 section 3).
    private static func hello(for name: String) -> [UInt8] {
        func sized<Number: FixedWidthInteger>(_ body: [UInt8], _: Number.Type) -> [UInt8] {
            withUnsafeBytes(of: Number(body.count).bigEndian) { Array($0) } + body
        }
        let names = sized([0] + sized(Array(name.utf8), UInt16.self), UInt16.self)
        let extensions = sized([0, 0] + sized(names, UInt16.self), UInt16.self)
        let body =
            [3, 3] + [UInt8](repeating: 7, count: 32) + sized([], UInt8.self)
            + sized([0xC0, 0x2F], UInt16.self) + sized([0], UInt8.self) + extensions
        return [22, 3, 1] + sized([1, 0] + sized(body, UInt16.self), UInt16.self)
    }

    private static func byName(
        _ name: String, to target: Int
    ) throws -> (condition: PassthroughCondition, target: Int) {
        (condition: .serverName([try #require(ServerNamePattern(name))]), target: target)
    }

    /// A client that sends two parts, the second when the worker has met the first.
    private func connect(
        to listener: Endpoint, of balancer: TestBalancer, sending bytes: [UInt8], splitAt position: Int
    ) throws -> TestSocket {
        #expect(eventually { balancer.isQuiet() })
        let before = balancer.workers.total(WorkerCounter.events)
        let client = try #require(TestSocket.connect(listener))
        client.send(Array(bytes[..<position]))
        // One event takes the connection, one its first bytes.
        #expect(eventually { balancer.workers.total(WorkerCounter.events) >= before + 2 })
        client.send(Array(bytes[position...]))
        return client
    }

    /// True when the connection ends without a byte, by whatever means.
    private func isCutOff(_ client: TestSocket) -> Bool {
        guard let bytes = client.receive() else { return client.lastError == ECONNRESET }
        return bytes.isEmpty
    }

    // MARK: Headers

    @Test func `half a header at the deadline ends the connection and reaches no target`() throws {
        let server = try TestServer.echo()
        let balancer = try TestBalancer(settings: Self.settings(timeoutSeconds: 1))
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint], .init(proxyProtocol: try Self.trusting()))
        let client = try #require(TestSocket.connect(listener))
        client.send(Array(Self.header.prefix(20)))
        #expect(isCutOff(client))
        #expect(eventually { balancer.total(.proxyHeaderFailures) == 1 && balancer.isQuiet() })
        #expect(balancer.total(.newTCPFlows) == 0)
        #expect(server.acceptedCount.withLock { $0 } == 0)
    }

    @Test func `a header may come in pieces of any size`() throws {
        let server = try TestServer.echo()
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint], .init(proxyProtocol: try Self.trusting()))
        for position in 1..<Self.header.count {
            let client = try connect(
                to: listener, of: balancer, sending: Self.header + [9], splitAt: position)
            #expect(client.receive(exactly: 1) == [9], "split at \(position)")
        }
        #expect(balancer.total(.proxyHeaderFailures) == 0)
    }

    @Test(arguments: [false, true]) func `a client that leaves midway frees its place`(isReset: Bool) throws {
        let server = try TestServer.echo()
        let balancer = try TestBalancer(settings: Self.settings(countMax: 1))
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint], .init(proxyProtocol: try Self.trusting()))
        for round in UInt64(1)...5 {
            let leaver = try #require(TestSocket.connect(listener))
            leaver.send(Array(Self.header.prefix(20)))
            if isReset { leaver.reset() } else { leaver.close() }
            #expect(eventually { balancer.total(.proxyHeaderFailures) == round && balancer.isQuiet() })
        }
        let client = try #require(TestSocket.connect(listener))
        client.send(Self.header + [1])
        #expect(client.receive(exactly: 1) == [1])
        #expect(balancer.workers.total(WorkerCounter.shedHandshakes) == 0)
    }

    @Test func `clients beyond the bound are reset, and one that is done makes room`() throws {
        let server = try TestServer.echo()
        let balancer = try TestBalancer(settings: Self.settings(countMax: 3))
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint], .init(proxyProtocol: try Self.trusting()))
        let waiting = try (0..<3).map { _ in try #require(TestSocket.connect(listener)) }
        #expect(eventually { balancer.workers.census.count(.tcp) == 3 })
        let refused = try #require(TestSocket.connect(listener))
        #expect(isCutOff(refused))
        #expect(eventually { balancer.workers.total(WorkerCounter.shedHandshakes) == 1 })
        #expect(eventually { balancer.total(.rejectedFlows) == 1 })
        waiting[0].send(Self.header + [1])
        #expect(waiting[0].receive(exactly: 1) == [1])
        let next = try #require(TestSocket.connect(listener))
        next.send(Self.header + [2])
        #expect(next.receive(exactly: 1) == [2])
        // Those that waited are none the worse for it.
        waiting[1].send(Self.header + [3])
        #expect(waiting[1].receive(exactly: 1) == [3])
    }

    @Test func `a client that says all it has at once, its end included, is heard to the end`() throws {
        let server = try TestServer { connection in
            connection.send(connection.receiveToEnd() ?? [])
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        var early: TestSocket?
        try balancer.route(to: [server.endpoint], .init(proxyProtocol: try Self.trusting())) {
            // Queued whole before any worker looks.
            let client = try #require(TestSocket.connect(listener))
            client.send(Self.header + [1, 2, 3])
            client.finishWriting()
            early = client
        }
        #expect(early?.receiveToEnd() == [1, 2, 3])
    }

    @Test func `who is not trusted is taken as it comes, and its header is data`() throws {
        let server = try TestServer.echo()
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint], .init(proxyProtocol: try Self.trusting("192.0.2.0/24")))
        let client = try #require(TestSocket.connect(listener))
        client.send(Self.header)
        #expect(client.receive(exactly: Self.header.count) == Self.header)
    }

    // MARK: ClientHellos

    @Test func `a hello that is split at any byte chooses the same target and arrives whole`() throws {
        let (other, named) = (try Self.named(1), try Self.named(2))
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(
            to: [other.endpoint, named.endpoint],
            .init(eligible: [0], rule: try Self.byName("www.example.com", to: 1)))
        let hello = Self.hello(for: "www.example.com")
        for position in 1..<hello.count {
            let client = try connect(to: listener, of: balancer, sending: hello, splitAt: position)
            #expect(client.receive(exactly: 1 + hello.count) == [2] + hello, "split at \(position)")
        }
        let client = try #require(TestSocket.connect(listener))
        client.send(Self.hello(for: "example.com"))
        #expect(client.receive(exactly: 1) == [1])
        #expect(balancer.total(.clientHandshakeFailures) == 0)
    }

    @Test func `half a hello goes to the default action at the deadline or at the client's end`() throws {
        let (other, named) = (try Self.named(1), try Self.named(2))
        let balancer = try TestBalancer(settings: Self.settings(timeoutSeconds: 1))
        let listener = try balancer.listen()
        try balancer.route(
            to: [other.endpoint, named.endpoint],
            .init(eligible: [0], rule: try Self.byName("www.example.com", to: 1)))
        let half = Array(Self.hello(for: "www.example.com").prefix(30))
        let silent = try #require(TestSocket.connect(listener))
        silent.send(half)
        #expect(silent.receive(exactly: 31) == [1] + half)
        let finished = try #require(TestSocket.connect(listener))
        finished.send(half)
        finished.finishWriting()
        #expect(finished.receiveToEnd() == [1] + half)
        #expect(named.acceptedCount.withLock { $0 } == 0)
    }

    @Test func `a header comes before the hello, and is not part of it`() throws {
        let (other, named) = (try Self.named(1), try Self.named(2))
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(
            to: [other.endpoint, named.endpoint],
            .init(
                eligible: [0], proxyProtocol: try Self.trusting(),
                rule: try Self.byName("www.example.com", to: 1)))
        let hello = Self.hello(for: "www.example.com")
        for position in [1, Self.header.count, Self.header.count + 1, Self.header.count + 50] {
            let client = try connect(
                to: listener, of: balancer, sending: Self.header + hello, splitAt: position)
            #expect(client.receive(exactly: 1 + hello.count) == [2] + hello, "split at \(position)")
        }
    }
}
