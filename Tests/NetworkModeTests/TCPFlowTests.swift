// TCP flows over real sockets on loopback: bytes, ends, resets, retries, limits.

import Balancing
import Glibc
import LinuxIO
import Serving
import Synchronization
import Testing

@testable import NetworkMode

@Suite struct `TCP flows` {
    @Test(arguments: [1, 100, 16_384, 16_385, 1_000_000, 20_000_000])
    func `bytes come back whole through an echo server`(count: Int) throws {
        let server = try TestServer.echo()
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        let sent = pattern(count)
        let client = try #require(TestSocket.connect(listener))
        _ = try DataPlaneThread(name: "writer", processor: nil) {
            client.send(sent)
            client.finishWriting()
        }
        let received = client.receiveToEnd()
        // Not in the expectation: a failure would print megabytes.
        let isWhole = received == sent
        #expect(isWhole, "\(received?.count ?? -1) of \(count) bytes, errno \(client.lastError)")
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.total(.clientBytesTCP) == UInt64(count))
        #expect(balancer.total(.targetBytesTCP) == UInt64(count))
        #expect(balancer.total(.newTCPFlows) == 1)
    }

    @Test func `each side may close its half and go on receiving`() throws {
        let server = try TestServer { connection in
            // Answers only after the client's end.
            guard let request = connection.receiveToEnd() else { return }
            connection.send(request.reversed())
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        let client = try #require(TestSocket.connect(listener))
        client.send([1, 2, 3])
        client.finishWriting()
        #expect(client.receiveToEnd() == [3, 2, 1])

        let serverFirst = try TestServer { connection in
            connection.send([9])
            connection.finishWriting()
            let rest = connection.receiveToEnd()
            if rest != [7, 8] { connection.reset() }
        }
        try balancer.route(to: [serverFirst.endpoint])
        let second = try #require(TestSocket.connect(listener))
        #expect(second.receiveToEnd() == [9])
        second.send([7])
        second.send([8])
        second.finishWriting()
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.total(.targetResets) == 0)
    }

    @Test func `a client's reset reaches the target as a reset, and the other way round`() throws {
        let outcome = Mutex<Int32?>(nil)
        let server = try TestServer { connection in
            _ = connection.receive(exactly: 1)
            connection.send([1])
            while let bytes = connection.receive(), !bytes.isEmpty {}
            outcome.withLock { $0 = connection.lastError }
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        let client = try #require(TestSocket.connect(listener))
        client.send([1])
        #expect(client.receive(exactly: 1) == [1])
        client.reset()
        #expect(eventually { outcome.withLock { $0 } != nil })
        #expect(outcome.withLock { $0 } == ECONNRESET)
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.total(.clientResets) == 1)

        let resetting = try TestServer { connection in
            _ = connection.receive(exactly: 1)
            connection.reset()
        }
        try balancer.route(to: [resetting.endpoint])
        let victim = try #require(TestSocket.connect(listener))
        victim.send([1])
        #expect(victim.receive() == nil)
        #expect(victim.lastError == ECONNRESET)
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.total(.targetResets) == 1)
    }

    @Test func `a refusing target is passed over for a healthy one`() throws {
        let server = try TestServer.echo()
        let refusing = TestSocket.bound(loopback(), .tcp)
        let dead = refusing.local
        refusing.close()
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [dead, server.endpoint, dead])
        for index in 0..<50 {
            let client = try #require(TestSocket.connect(listener))
            client.send([UInt8(index)])
            #expect(client.receive(exactly: 1) == [UInt8(index)])
        }
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.workers.total(.connectFailures, target: TargetNumber(0)) > 0)
    }

    @Test func `a client whose every target refuses is reset`() throws {
        let refusing = TestSocket.bound(loopback(), .tcp)
        let dead = refusing.local
        refusing.close()
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [dead, dead])
        let client = try #require(TestSocket.connect(listener))
        #expect(client.receive() == nil)
        #expect(client.lastError == ECONNRESET)
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.total(.balancerResets) == 1)
    }

    @Test func `a stalled reader stops the sender and keeps no more than a pipe`() throws {
        let received = Mutex(0)
        let mayRead = Flag()
        let server = try TestServer { connection in
            _ = eventually { mayRead.isRaised }
            while let bytes = connection.receive(), !bytes.isEmpty {
                received.withLock { $0 += bytes.count }
            }
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        let client = try #require(TestSocket.connect(listener))
        _ = fcntl(client.fd, F_SETFL, O_NONBLOCK)
        let chunk = pattern(65_536)
        var sentCount = 0
        var stallCount = 0
        while stallCount < 100, sentCount < 200 << 20 {
            let result = chunk.withUnsafeBytes {
                send(client.fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if result > 0 {
                sentCount += result
                stallCount = 0
            } else {
                stallCount += 1
                usleep(2_000)
            }
        }
        // Two sockets' buffers on each side and one pipe: far from the 200 MiB on offer.
        #expect(sentCount < 40 << 20)
        mayRead.raise()
        client.finishWriting()
        #expect(eventually { received.withLock { $0 } == sentCount })
        client.close()
        #expect(eventually { balancer.isQuiet() })
    }

    @Test func `small messages that pile up before a stalled reader arrive whole and in order`() throws {
        let mayRead = Flag()
        let received = Mutex<[UInt8]>([])
        let isDone = Flag()
        let server = try TestServer { connection in
            _ = eventually { mayRead.isRaised }
            let bytes = connection.receiveToEnd() ?? []
            received.withLock { $0 = bytes }
            isDone.raise()
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        let client = try #require(TestSocket.connect(listener))
        // Each message is read by itself, so that copying never turns to splicing, until the target's socket
        // is full and Weir holds one back; the last ones wait in the client's socket.
        var sent: [UInt8] = []
        var isHeld = false
        while !isHeld, sent.count < 64 << 20 {
            let message = pattern(9_000, seed: UInt64(sent.count + 1))
            client.send(message)
            sent += message
            let deadline = Instant.now.advanced(byMilliseconds: 300)
            while balancer.total(.clientBytesTCP) < UInt64(sent.count), !isHeld {
                isHeld = Instant.now >= deadline
            }
        }
        #expect(isHeld)
        let last = pattern(5_000, seed: 7)
        client.send(last)
        sent += last
        mayRead.raise()
        client.finishWriting()
        #expect(eventually { isDone.isRaised })
        let isWhole = received.withLock { $0 == sent }
        #expect(isWhole)
    }

    @Test func `connections beyond the flow limit are shed and the live ones stay`() throws {
        let server = try TestServer.echo()
        var settings = TestBalancer.smallSettings
        settings.tcpFlowCountMax = 8
        let balancer = try TestBalancer(settings: settings)
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        var live: [TestSocket] = []
        for _ in 0..<8 {
            let client = try #require(TestSocket.connect(listener))
            client.send([5])
            #expect(client.receive(exactly: 1) == [5])
            live.append(client)
        }
        let extra = try #require(TestSocket.connect(listener))
        #expect(extra.receive() == nil)
        #expect(balancer.workers.total(WorkerCounter.shedSlabFull) == 1)
        for client in live {
            client.send([6])
            #expect(client.receive(exactly: 1) == [6])
            client.close()
        }
        #expect(eventually { balancer.isQuiet() })
        let next = try #require(TestSocket.connect(listener))
        next.send([7])
        #expect(next.receive(exactly: 1) == [7])
    }

    @Test func `an IPv6 client reaches an IPv4 target and the other way round`() throws {
        let v4 = try TestServer.echo()
        let v6 = try TestServer(loopback(0, "::1")) { connection in
            while let bytes = connection.receive(), !bytes.isEmpty { connection.send(bytes) }
        }
        let balancer = try TestBalancer()
        let onV6 = try balancer.listen("::1")
        let onV4 = try balancer.listen("127.0.0.1")
        try balancer.route(to: [v4.endpoint])
        let first = try #require(TestSocket.connect(onV6))
        first.send([1])
        #expect(first.receive(exactly: 1) == [1])
        try balancer.route(to: [v6.endpoint])
        let second = try #require(TestSocket.connect(onV4))
        second.send([2])
        #expect(second.receive(exactly: 1) == [2])
    }

    @Test func `two workers share a listener and a publication leaves live flows alone`() throws {
        let first = try TestServer.echo()
        let second = try TestServer.echo()
        let balancer = try TestBalancer(workerCount: 2)
        let listener = try balancer.listen()
        try balancer.route(to: [first.endpoint, second.endpoint])
        var clients: [TestSocket] = []
        for index in 0..<40 {
            let client = try #require(TestSocket.connect(listener))
            client.send([UInt8(index)])
            #expect(client.receive(exactly: 1) == [UInt8(index)])
            clients.append(client)
        }
        try balancer.route(to: [first.endpoint, second.endpoint], .init(eligible: [1]))
        let before = first.acceptedCount.withLock { $0 }
        #expect(before > 0)
        for client in clients {
            client.send([200])
            #expect(client.receive(exactly: 1) == [200])
        }
        for _ in 0..<40 {
            let client = try #require(TestSocket.connect(listener))
            client.send([1])
            #expect(client.receive(exactly: 1) == [1])
        }
        #expect(first.acceptedCount.withLock { $0 } == before)
        let isEvicted = Flag()
        balancer.workers.evict(TargetNumber(0), .all) { isEvicted.raise() }
        #expect(eventually { isEvicted.isRaised })
        #expect(balancer.workers.total(.activeTCPFlows, target: TargetNumber(0)) == 0)
    }

    @Test func `source addresses are used in turn`() throws {
        let seen = Mutex<Set<IPAddress>>([])
        let server = try TestServer { connection in
            var peer = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            _ = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getpeername(connection.fd, $0, &length)
                }
            }
            seen.withLock { _ = $0.insert(IPAddress(v4: UInt32(bigEndian: peer.sin_addr.s_addr))) }
            connection.send([1])
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        let sources = ["127.0.5.1", "127.0.5.2"].compactMap { IPAddress($0) }
        try balancer.route(to: [server.endpoint], .init(sourceAddresses: sources))
        for _ in 0..<30 {
            let client = try #require(TestSocket.connect(listener))
            #expect(client.receive(exactly: 1) == [1])
        }
        #expect(seen.withLock { $0 } == Set(sources))
    }

    @Test func `a flow without a byte for its idle timeout is reset on both sides`() throws {
        let seen = Mutex<Int32?>(nil)
        let server = try TestServer { connection in
            while let bytes = connection.receive(), !bytes.isEmpty { connection.send(bytes) }
            seen.withLock { $0 = connection.lastError }
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint], .init(idleTimeoutSeconds: 1))
        let client = try #require(TestSocket.connect(listener))
        client.send([1])
        #expect(client.receive(exactly: 1) == [1])
        #expect(client.receive() == nil)
        #expect(client.lastError == ECONNRESET)
        #expect(eventually { seen.withLock { $0 } == ECONNRESET })
        #expect(eventually { balancer.isQuiet() })
        #expect(balancer.total(.balancerResets) == 1)
    }

    @Test func `bytes around an urgent mark are not taken for the end`() throws {
        let received = Mutex<[UInt8]>([])
        let server = try TestServer { connection in
            while let bytes = connection.receive(), !bytes.isEmpty { received.withLock { $0 += bytes } }
            connection.send([1])
        }
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        for _ in 0..<20 {
            received.withLock { $0 = [] }
            let client = try #require(TestSocket.connect(listener))
            client.send(pattern(300))
            // The urgent byte itself travels outside of the stream.
            _ = send(client.fd, [0xFF], 1, Int32(MSG_OOB))
            client.send(pattern(5_000))
            client.finishWriting()
            #expect(client.receive(exactly: 1) == [1])
            #expect(received.withLock { $0 } == pattern(300) + pattern(5_000))
        }
    }

    @Test func `a source address out of ports gives way to the next, and the target is not blamed`() throws {
        let server = try TestServer.echo()
        let balancer = try TestBalancer()
        let listener = try balancer.listen()
        // This machine does not have the first: binding to it fails as an exhausted one fails at connect.
        let sources = ["192.0.2.1", "127.0.0.9"].compactMap { IPAddress($0) }
        try balancer.route(to: [server.endpoint], .init(attemptCountMax: 1, sourceAddresses: sources))
        for index in 0..<10 {
            let client = try #require(TestSocket.connect(listener))
            client.send([UInt8(index)])
            #expect(client.receive(exactly: 1) == [UInt8(index)])
        }
        #expect(balancer.workers.total(WorkerCounter.portAllocationErrors) > 0)
        #expect(balancer.workers.total(.connectFailures, target: TargetNumber(0)) == 0)
    }
}
