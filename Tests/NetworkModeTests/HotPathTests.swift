// What a unit of work costs, in allocations and system calls, as exact counts.
//
// Counts, not times: they are the same on every machine. A change that adds a call to each connection or an
// allocation to each chunk fails here.

import Balancing
import CAllocationCount
import CLinux
import LinuxIO
import Testing

@testable import NetworkMode

extension `Instrumented workers` {
    @Suite struct `Hot path` {
        /// Either a request is there when its connection is taken, and an option joins it to the handshake
        /// towards the target, or the first read finds nothing: one call both ways, so they count together.
        private static let receiveOrOption = WEIR_CALL_RECEIVE.rawValue | WEIR_CALL_OPTION.rawValue
        private static let everyCall: [UInt32] =
            [
                WEIR_CALL_SOCKET, WEIR_CALL_BIND, WEIR_CALL_ACCEPT, WEIR_CALL_CONNECT, WEIR_CALL_SHUTDOWN,
                WEIR_CALL_SEND, WEIR_CALL_PIPE, WEIR_CALL_SPLICE, WEIR_CALL_EPOLL_ADD,
                WEIR_CALL_RECEIVE_DATAGRAMS, WEIR_CALL_SEND_DATAGRAMS,
            ].map(\.rawValue) + [receiveOrOption]

        private func makeBalancer() throws -> TestBalancer {
            try TestBalancer {
                weir_fault_take_part(true)
                allocation_count_take_part(true)
            }
        }

        /// How often each of `calls` is made while `work` runs, which is run once for each of them.
        private func count(
            _ calls: [UInt32], _ balancer: TestBalancer, _ work: () throws -> Void
        ) rethrows -> [UInt32: UInt64] {
            var counts: [UInt32: UInt64] = [:]
            for call in calls {
                weir_fault_arm(call, .max, 0)
                try work()
                let isQuiet = eventually { balancer.isQuiet() }
                #expect(isQuiet)
                counts[call] = weir_fault_call_count()
                _ = weir_fault_disarm()
            }
            return counts.filter { $0.value > 0 }
        }

        @Test func `a connection of one request and one answer takes no call more than these`() throws {
            // The target answers and waits for the client's end, so that every event comes alone.
            let server = try TestServer { connection in
                guard let request = connection.receive(exactly: 64) else { return }
                connection.send(request)
                _ = connection.receiveToEnd()
            }
            let balancer = try makeBalancer()
            let listener = try balancer.listen()
            try balancer.route(to: [server.endpoint])
            let connectionCount = 20
            let counts = try count(Self.everyCall, balancer) {
                for _ in 0..<connectionCount {
                    let client = try #require(TestSocket.connect(listener))
                    client.send(pattern(64))
                    #expect(client.receive(exactly: 64)?.count == 64)
                    client.close()
                }
            }
            let perConnection = counts.mapValues { Double($0) / Double(connectionCount) }
            #expect(
                perConnection == [
                    WEIR_CALL_ACCEPT.rawValue: 1,
                    WEIR_CALL_SOCKET.rawValue: 1,
                    WEIR_CALL_CONNECT.rawValue: 1,
                    WEIR_CALL_EPOLL_ADD.rawValue: 2,
                    // Request, answer, both ends, and the one explained above.
                    Self.receiveOrOption: 5,
                    WEIR_CALL_SEND.rawValue: 2,
                    WEIR_CALL_SHUTDOWN.rawValue: 1,
                ])
        }

        @Test func `a round trip on a live flow takes two reads, two writes and no allocation`() throws {
            let server = try TestServer.echo()
            let balancer = try makeBalancer()
            let listener = try balancer.listen()
            try balancer.route(to: [server.endpoint])
            let client = try #require(TestSocket.connect(listener))
            let message = pattern(64)
            func exchange(_ times: Int) {
                for _ in 0..<times {
                    client.send(message)
                    #expect(client.receive(exactly: 64)?.count == 64)
                }
            }
            exchange(10)
            let before = allocation_count()
            for (call, expected) in [
                (WEIR_CALL_RECEIVE, 200), (WEIR_CALL_SEND, 200), (WEIR_CALL_OPTION, 0), (WEIR_CALL_SPLICE, 0),
                (WEIR_CALL_EPOLL_ADD, 0),
            ] {
                weir_fault_arm(call.rawValue, .max, 0)
                exchange(100)
                #expect(weir_fault_call_count() == UInt64(expected), "call \(call.rawValue)")
                _ = weir_fault_disarm()
            }
            #expect(allocation_count() - before == 0)
        }

        @Test func `bulk moves by splice without an allocation per chunk`() throws {
            let server = try TestServer { connection in
                while let bytes = connection.receive(1 << 20), !bytes.isEmpty {}
            }
            let balancer = try makeBalancer()
            let listener = try balancer.listen()
            try balancer.route(to: [server.endpoint])
            let client = try #require(TestSocket.connect(listener))
            let block = pattern(4 << 20)
            // The least of three: the first use of a path makes metadata, which a debug build does late.
            var allocationCounts: [UInt64] = []
            var copyCounts: [UInt64] = []
            var sentByteCount = 0
            for _ in 0..<3 {
                let before = allocation_count()
                weir_fault_arm(WEIR_CALL_RECEIVE.rawValue | WEIR_CALL_SEND.rawValue, .max, 0)
                for _ in 0..<10 { sentByteCount += client.send(block) }
                #expect(eventually { balancer.total(.clientBytesTCP) == UInt64(sentByteCount) })
                copyCounts.append(weir_fault_call_count())
                _ = weir_fault_disarm()
                allocationCounts.append(allocation_count() - before)
            }
            // 2,560 reads of 16 KiB would copy it all; some short ones may follow a lull.
            #expect(copyCounts.allSatisfy { $0 < 300 })
            #expect(allocationCounts.min() == 0)
        }

        @Test func `a datagram on a live flow allocates nothing`() throws {
            let server = try DatagramEcho()
            let balancer = try makeBalancer()
            let listener = try balancer.listen("127.0.0.1", .udp)
            try balancer.route(to: [server.endpoint])
            let client = try #require(TestSocket.connect(listener, .udp))
            func exchange(_ times: Int) {
                for _ in 0..<times {
                    client.send([1, 2, 3])
                    #expect(client.receive() == [1, 2, 3])
                }
            }
            exchange(10)
            let before = allocation_count()
            weir_fault_arm(WEIR_CALL_SEND_DATAGRAMS.rawValue, .max, 0)
            exchange(100)
            #expect(weir_fault_call_count() == 200)
            _ = weir_fault_disarm()
            #expect(allocation_count() - before == 0)
        }

        @Test func `a new flow allocates no more than a small constant`() throws {
            let server = try TestServer.echo()
            let balancer = try makeBalancer()
            let listener = try balancer.listen()
            try balancer.route(to: [server.endpoint])
            func connect(_ times: Int) throws {
                for _ in 0..<times {
                    let client = try #require(TestSocket.connect(listener))
                    client.send([1])
                    #expect(client.receive(exactly: 1) == [1])
                }
                #expect(eventually { balancer.isQuiet() })
            }
            try connect(10)
            let before = allocation_count()
            try connect(100)
            #expect(allocation_count() - before <= 100 * 4)
        }
    }
}
