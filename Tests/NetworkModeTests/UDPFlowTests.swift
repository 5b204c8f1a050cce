// UDP flows over real sockets on loopback: answers, sizes, refusals, floods.

import Balancing
import Glibc
import LinuxIO
import Serving
import Synchronization
import Testing

@testable import NetworkMode

/// Sends every datagram back, with a tag in front when given.
final class DatagramEcho: Sendable {
    let endpoint: Endpoint
    private let socket: TestSocket
    private let isOver = Flag()

    init(_ at: Endpoint = loopback(), tag: [UInt8] = []) throws {
        socket = TestSocket.bound(at, .udp)
        endpoint = socket.local
        let socket = socket
        let isOver = isOver
        _ = try DataPlaneThread(name: "udp-echo", processor: nil) {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                var peer = sockaddr_storage()
                var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let count = withUnsafeMutablePointer(to: &peer) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(socket.fd, &buffer, buffer.count, 0, $0, &length)
                    }
                }
                // A shut UDP socket reads as empty for ever.
                if isOver.isRaised { return }
                if count < 0 {
                    if errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED { continue }
                    return
                }
                let answer = tag + buffer[..<count]
                _ = withUnsafePointer(to: &peer) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(socket.fd, answer, answer.count, 0, $0, length)
                    }
                }
            }
        }
    }

    deinit {
        isOver.raise()
        shutdown(socket.fd, Int32(SHUT_RDWR))
    }
}

@Suite struct `UDP flows` {
    @Test(arguments: [0, 1, 1_200, 9_000, 65_507])
    func `a datagram of any size comes back`(count: Int) throws {
        let server = try DatagramEcho()
        let balancer = try TestBalancer()
        let listener = try balancer.listen("127.0.0.1", .udp)
        try balancer.route(to: [server.endpoint])
        let client = try #require(TestSocket.connect(listener, .udp))
        let sent = pattern(count)
        #expect(send(client.fd, sent, count, 0) == count)
        #expect(client.receive() == sent)
        #expect(eventually { balancer.total(.targetBytesUDP) == UInt64(count) })
        #expect(balancer.total(.activeUDPFlows) == 1)
    }

    @Test func `each of many clients gets its own answers`() throws {
        let server = try DatagramEcho()
        let balancer = try TestBalancer(workerCount: 2)
        let listener = try balancer.listen("127.0.0.1", .udp)
        try balancer.route(to: [server.endpoint])
        let clients = try (0..<200).map { _ in try #require(TestSocket.connect(listener, .udp)) }
        for round in 0..<3 {
            for (index, client) in clients.enumerated() {
                client.send([UInt8(round), UInt8(index)])
            }
            for (index, client) in clients.enumerated() {
                #expect(client.receive() == [UInt8(round), UInt8(index)])
            }
        }
        #expect(balancer.total(.newUDPFlows) == 200)
    }

    @Test func `a burst of equal datagrams arrives one by one and in order`() throws {
        let server = try DatagramEcho()
        let balancer = try TestBalancer()
        let listener = try balancer.listen("127.0.0.1", .udp)
        try balancer.route(to: [server.endpoint])
        let client = try #require(TestSocket.connect(listener, .udp))
        for round in 0..<20 {
            for index in 0..<40 { client.send([UInt8(round), UInt8(index)] + pattern(298)) }
            client.send([UInt8(round), 40])
            for index in 0...40 {
                let answer = try #require(client.receive())
                #expect(Array(answer.prefix(2)) == [UInt8(round), UInt8(index)])
                #expect(answer.count == (index == 40 ? 2 : 300))
            }
        }
    }

    @Test(arguments: [("0.0.0.0", ["127.0.0.2", "127.0.0.3"]), ("::", ["::1"])])
    func `answers of a wildcard listener leave from the address that was asked`(
        wildcard: String, asked: [String]
    ) throws {
        let server = try DatagramEcho()
        let balancer = try TestBalancer()
        let listener = try balancer.listen(wildcard, .udp)
        try balancer.route(to: [server.endpoint])
        for address in asked {
            // A connected socket takes datagrams from the asked address only.
            let client = try #require(TestSocket.connect(loopback(listener.port, address), .udp))
            client.send([1, 2, 3])
            #expect(client.receive() == [1, 2, 3])
        }
    }

    @Test func `a refusing target is reported and its flows move to another`() throws {
        let gone = TestSocket.bound(loopback(), .udp)
        let dead = gone.local
        gone.close()
        let server = try DatagramEcho()
        let balancer = try TestBalancer()
        let listener = try balancer.listen("127.0.0.1", .udp)
        try balancer.route(to: [dead, server.endpoint])
        for _ in 0..<20 {
            let client = try #require(TestSocket.connect(listener, .udp))
            client.setTimeout(milliseconds: 100)
            // The first datagram may meet the refusal; whoever speaks UDP repeats itself.
            #expect(
                eventually {
                    client.send([9])
                    return client.receive() == [9]
                })
        }
        #expect(balancer.sink.numbers.withLock { $0 }.allSatisfy { $0 == TargetNumber(0) })
        #expect(!balancer.sink.numbers.withLock { $0 }.isEmpty)
    }

    @Test func `a flood of sources takes neither the table nor a live flow`() throws {
        let server = try DatagramEcho()
        var settings = TestBalancer.smallSettings
        settings.udpFlowCountMax = 100
        let balancer = try TestBalancer(settings: settings)
        let listener = try balancer.listen("127.0.0.1", .udp)
        try balancer.route(to: [server.endpoint])
        let live = try #require(TestSocket.connect(listener, .udp))
        for _ in 0..<2 {
            live.send([1])
            #expect(live.receive() == [1])
        }
        // Kept open, so that each has a port of its own.
        let strangers = try (0..<500).map { _ in try #require(TestSocket.connect(listener, .udp)) }
        for (round, stranger) in strangers.enumerated() {
            stranger.send([2])
            if round % 50 == 0 {
                live.send([3])
                #expect(live.receive() == [3])
            }
        }
        #expect(eventually { balancer.total(.newUDPFlows) == 501 })
        #expect(balancer.total(.activeUDPFlows) <= 100)
        #expect(balancer.workers.total(WorkerCounter.recycledFlows) > 0)
        live.send([4])
        #expect(live.receive() == [4])
    }

    /// Each message looks at a bounded part of the slots, so that no list holds up a turn.
    @Test(arguments: [10_000, 300, 0])
    func `a list of flows is made of parts and counts what it leaves out`(countMax: Int) throws {
        _ = Machine.raiseDescriptorLimit(to: 4_096)
        let server = try DatagramEcho()
        let balancer = try TestBalancer(workerCount: 2)
        let listener = try balancer.listen("127.0.0.1", .udp)
        try balancer.route(to: [server.endpoint])
        let flowCount = 700
        let clients = try (0..<flowCount).map { _ in try #require(TestSocket.connect(listener, .udp)) }
        for client in clients {
            client.send([1])
            #expect(client.receive() == [1])
        }
        let part = 32
        let collector = FlowCollector(countMax: countMax, workerCount: 2, slotsPerMessage: part)
        var messageCount = 0
        while messageCount == 0 || !collector.isComplete {
            let before = collector.result.flows.count
            let isDone = Flag()
            balancer.workers.list(into: collector) { isDone.raise() }
            #expect(eventually { isDone.isRaised })
            #expect(collector.result.flows.count - before <= 2 * part)
            messageCount += 1
        }
        let (flows, omittedCount) = collector.result
        #expect(flows.count == min(countMax, flowCount))
        #expect(omittedCount == flowCount - flows.count)
        #expect(Set(flows.map(\.key)).count == flows.count)
        // No more messages than the fuller worker's slots need.
        #expect(messageCount <= flowCount / part + 1)
    }
}
