// PROXY protocol headers in front of UDP flows: which datagrams carry one, and what it says.

import Balancing
import Glibc
import LinuxIO
import Testing

@testable import NetworkMode

@Suite struct `PROXY protocol headers of UDP flows` {
    private struct Received: Equatable {
        var source: Endpoint?
        var destination: Endpoint?
        var payload: [UInt8]
    }

    /// The next datagram of a target, taken apart if it begins with a header.
    private func receive(_ target: TestSocket) throws -> Received {
        let bytes = try #require(target.receive())
        guard case .header(let header, let byteCount) = ProxyHeaderParser.parse(bytes.span) else {
            return Received(payload: bytes)
        }
        #expect(header.isChecksummed)
        #expect(header.uniqueID?.count == 16)
        guard case .relayed(let source, let destination, .udp) = header.origin else {
            Issue.record("\(header.origin) is no relayed datagram")
            return Received(payload: bytes)
        }
        return Received(source: source, destination: destination, payload: Array(bytes[byteCount...]))
    }

    private func makeBalancer(
        _ targets: [Endpoint], host: String = "127.0.0.1", isAsked: Bool = true
    ) throws -> (TestBalancer, Endpoint) {
        let balancer = try TestBalancer()
        let listener = try balancer.listen(host, .udp)
        try balancer.route(to: targets, TestBalancer.Options(sendsProxyProtocol: isAsked))
        return (balancer, listener)
    }

    @Test(arguments: ["127.0.0.1", "::1"])
    func `the first datagram of a flow says whose it is, and no other does`(host: String) throws {
        let target = TestSocket.bound(loopback(0, host), .udp)
        let (balancer, listener) = try makeBalancer([target.local], host: host)
        for _ in 0..<2 {
            let client = try #require(TestSocket.connect(listener, .udp))
            client.send([1, 2, 3])
            #expect(
                try receive(target)
                    == Received(source: client.local, destination: listener, payload: [1, 2, 3]))
            client.send([4])
            #expect(try receive(target) == Received(payload: [4]))
        }
        // Payload alone is counted.
        #expect(eventually { balancer.total(.clientBytesUDP) == 8 })
        #expect(balancer.total(.clientDatagrams) == 4)
    }

    @Test func `a group that does not ask gets none`() throws {
        let target = TestSocket.bound(loopback(), .udp)
        let (balancer, listener) = try makeBalancer([target.local], isAsked: false)
        let client = try #require(TestSocket.connect(listener, .udp))
        client.send([1])
        #expect(try receive(target) == Received(payload: [1]))
        #expect(eventually { balancer.total(.clientBytesUDP) == 1 })
    }

    @Test func `an empty first datagram becomes a header alone`() throws {
        let target = TestSocket.bound(loopback(), .udp)
        let (balancer, listener) = try makeBalancer([target.local])
        let client = try #require(TestSocket.connect(listener, .udp))
        #expect(send(client.fd, [], 0, 0) == 0)
        #expect(try receive(target) == Received(source: client.local, destination: listener, payload: []))
        #expect(eventually { balancer.total(.clientDatagrams) == 1 })
    }

    /// The kernel joins what a client sends as one segmented message; only its first datagram has the header.
    @Test(arguments: [1, 2, 7]) func `of datagrams that arrive joined the first alone carries it`(
        count: Int
    ) throws {
        let target = TestSocket.bound(loopback(), .udp)
        let (balancer, listener) = try makeBalancer([target.local])
        let client = try #require(TestSocket.connect(listener, .udp))
        var segmentByteCount: Int32 = 100
        // UDP_SEGMENT of udp(7), whose name the module does not show.
        #expect(
            setsockopt(
                client.fd, Int32(IPPROTO_UDP), 103, &segmentByteCount, socklen_t(MemoryLayout<Int32>.size))
                == 0)
        let bytes = pattern(100 * (count - 1) + 30)
        client.send(bytes)
        for index in 0..<count {
            let part = Array(bytes[(100 * index)..<min(100 * (index + 1), bytes.count)])
            let expected =
                index == 0
                ? Received(source: client.local, destination: listener, payload: part)
                : Received(payload: part)
            #expect(try receive(target) == expected)
        }
        #expect(eventually { balancer.total(.clientDatagrams) == UInt64(count) })
        #expect(balancer.total(.clientBytesUDP) == UInt64(bytes.count))
    }

    @Test func `a datagram without room for the header is dropped and the next one carries it`() throws {
        let target = TestSocket.bound(loopback(), .udp)
        let (balancer, listener) = try makeBalancer([target.local])
        let client = try #require(TestSocket.connect(listener, .udp))
        client.send(pattern(65_507))
        #expect(eventually { balancer.total(.droppedDatagrams) == 1 })
        // 16 fixed, 12 of addresses, 19 of the unique id, 7 of the checksum.
        let fitting = pattern(65_507 - 54)
        client.send(fitting)
        #expect(
            try receive(target) == Received(source: client.local, destination: listener, payload: fitting))
        #expect(balancer.total(.clientDatagrams) == 1)
        #expect(balancer.total(.droppedDatagrams) == 1)
    }

    @Test func `another target is told anew`() throws {
        let refusing = TestSocket.bound(loopback(), .udp)
        let dead = refusing.local
        refusing.close()
        let target = TestSocket.bound(loopback(), .udp)
        target.setTimeout(milliseconds: 100)
        let (balancer, listener) = try makeBalancer([dead, target.local])
        // Whichever target a client is given first, what arrives at the living one begins with a header.
        for number in UInt8(0)..<20 {
            let client = try #require(TestSocket.connect(listener, .udp))
            var first: [UInt8]?
            #expect(
                eventually {
                    client.send([number])
                    first = target.receive()
                    return first != nil
                })
            guard let first, case .header(let header, _) = ProxyHeaderParser.parse(first.span) else {
                Issue.record("no header in front of \(first ?? [])")
                return
            }
            guard case .relayed(client.local, listener, .udp) = header.origin else {
                Issue.record("\(header.origin)")
                return
            }
        }
        #expect(!balancer.sink.numbers.withLock { $0 }.isEmpty)
    }
}
