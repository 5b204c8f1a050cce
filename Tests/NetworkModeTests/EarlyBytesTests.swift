// What a client does before its connection is taken: the first read comes before the target is connected.

import Balancing
import LinuxIO
import Synchronization
import Testing

@testable import NetworkMode

@Suite struct `Early bytes` {
    @Test(arguments: [1, 4_095, 4_096, 4_097, 100_000])
    func `bytes that wait with the connection arrive whole, and so does the end behind them`(count: Int)
        throws
    {
        let server = try TestServer { connection in
            if let bytes = connection.receiveToEnd() { connection.send(bytes) }
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        let sent = pattern(count)
        var client: TestSocket?
        try balancer.route(to: [server.endpoint]) {
            client = try #require(TestSocket.connect(listener))
            client?.send(sent)
            client?.finishWriting()
        }
        let isWhole = client?.receiveToEnd() == sent
        #expect(isWhole)
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.total(.clientBytesTCP) == UInt64(count))
        #expect(balancer.total(.targetBytesTCP) == UInt64(count))
    }

    @Test func `an end without a byte before it passes on, and the answer comes back`() throws {
        let server = try TestServer { connection in
            if connection.receiveToEnd() == [] { connection.send([5]) }
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        var client: TestSocket?
        try balancer.route(to: [server.endpoint]) {
            client = try #require(TestSocket.connect(listener))
            client?.finishWriting()
        }
        #expect(client?.receiveToEnd() == [5])
        #expect(eventually { balancer.isQuiet() })
    }

    @Test func `a client that is gone before its connection is taken costs no target a connection`() throws {
        let connectionCount = Mutex(0)
        let server = try TestServer { _ in connectionCount.withLock { $0 += 1 } }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint]) {
            let client = try #require(TestSocket.connect(listener))
            client.reset()
        }
        #expect(eventually { balancer.total(.newTCPFlows) == 1 })
        #expect(balancer.total(.clientResets) == 1)
        #expect(eventually { balancer.isQuiet() })
        #expect(connectionCount.withLock { $0 } == 0)
    }

    @Test func `bytes read before a target refused reach the next one`() throws {
        let refusing = TestSocket.bound(loopback(), .tcp)
        let refusingEndpoint = refusing.local
        refusing.close()
        let server = try TestServer.echo()
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        var clients: [TestSocket] = []
        try balancer.route(to: [refusingEndpoint, server.endpoint]) {
            for index in 0..<16 {
                let client = try #require(TestSocket.connect(listener))
                client.send(pattern(64, seed: UInt64(index)))
                clients.append(client)
            }
        }
        for (index, client) in clients.enumerated() {
            #expect(client.receive(exactly: 64) == pattern(64, seed: UInt64(index)))
            client.close()
        }
        #expect(balancer.total(.connectFailures) > 0)
        #expect(eventually { balancer.isQuiet() })
    }
}
