// Two network modes with real sockets between them: one hands over, the other takes over.

import Balancing
import Glibc
import LinuxIO
import Serving
import Synchronization
import Testing

@testable import NetworkMode

/// Answers with the source port that it saw, so that the client can tell one flow from another.
private func portTeller() throws -> (endpoint: Endpoint, stop: () -> Void) {
    let socket = TestSocket.bound(loopback(), .udp)
    let isOver = Flag()
    _ = try DataPlaneThread(name: "port-teller", processor: nil) {
        var buffer = [UInt8](repeating: 0, count: 2_048)
        while !isOver.isRaised {
            var peer = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(socket.fd, &buffer, buffer.count, 0, $0, &length)
                }
            }
            guard count >= 0 else { continue }
            let port = UInt16(bigEndian: peer.sin_port)
            let answer = [UInt8(port >> 8), UInt8(port & 0xFF)]
            _ = withUnsafePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(socket.fd, answer, 2, 0, $0, length)
                }
            }
        }
    }
    return (
        socket.local,
        {
            isOver.raise()
            shutdown(socket.fd, Int32(SHUT_RDWR))
        }
    )
}

private func ask(_ client: TestSocket) -> UInt16? {
    client.send([1])
    guard let answer = client.receive(), answer.count == 2 else { return nil }
    return UInt16(answer[0]) << 8 | UInt16(answer[1])
}

private func wait(_ begin: (@escaping @Sendable () -> Void) -> Void) {
    let isDone = Flag()
    begin { isDone.raise() }
    #expect(eventually { isDone.isRaised })
}

/// What is on its way: sockets and flows as the other process gets them.
private struct Passed {
    let shares: [ListenerShare]
    let sockets: [InheritedSocket]
    var flows: [AdoptedFlow] = []
}

private func duplicate(_ descriptor: Descriptor) -> Descriptor {
    Descriptor(rawValue: fcntl(descriptor.rawValue, F_DUPFD_CLOEXEC, 0))
}

private func inode(of descriptor: Descriptor) -> ino_t? {
    var status = stat()
    return fstat(descriptor.rawValue, &status) == 0 ? status.st_ino : nil
}

private func offer(_ balancer: TestBalancer) -> Passed {
    let collector = HandOverCollector()
    wait { balancer.workers.listShares(into: collector, onComplete: $0) }
    let shares = collector.shares
    return Passed(
        shares: shares,
        sockets: shares.map {
            InheritedSocket(
                endpoint: $0.binding.endpoint, transport: $0.binding.transport, socket: duplicate($0.socket),
                sharesPort: true)
        })
}

private func handOver(_ balancer: TestBalancer, _ passed: inout Passed) -> HandOverCollector {
    let collector = HandOverCollector()
    wait { balancer.workers.handOver(to: collector, onComplete: $0) }
    passed.flows = collector.flows.map { given in
        var flow = given.flow
        flow.socketIndex =
            passed.shares.firstIndex {
                $0.binding == given.binding && $0.worker == given.worker && $0.share == given.share
            } ?? -1
        var record: [UInt8] = []
        flow.append(to: &record)
        #expect(HandedOverFlow.records(in: record) == [flow])
        return AdoptedFlow(flow: flow, target: flow.target, socket: duplicate(given.socket))
    }
    return collector
}

@Suite struct `Hand-over` {
    /// A balancer that takes over what `old` offered, and routes like it, but does not serve yet.
    private func successor(
        of old: TestBalancer, _ passed: Passed, workerCount: Int, targets: [Endpoint]
    ) throws -> TestBalancer {
        let new = try TestBalancer(workerCount: workerCount, isHolding: true)
        new.bindings = old.bindings
        let inherited = InheritedSockets(passed.sockets)
        new.workers.inherit(inherited)
        try new.route(to: targets)
        #expect(inherited.closeUnclaimed() == [])
        return new
    }

    @Test(arguments: [(1, 1), (2, 1), (2, 3), (3, 2)])
    func `datagram flows keep their sockets whatever the number of workers`(
        before: Int, after: Int
    ) throws {
        let target = try portTeller()
        defer { target.stop() }
        let old = try TestBalancer(workerCount: before)
        let listener = try old.listen("127.0.0.1", .udp)
        try old.route(to: [target.endpoint])
        let clients = try (0..<40).map { _ in try #require(TestSocket.connect(listener, .udp)) }
        let ports = clients.map { ask($0) }
        #expect(Set(ports).count == 40 && !ports.contains(nil))

        var passed = offer(old)
        #expect(passed.shares.count == before)
        let new = try successor(of: old, passed, workerCount: after, targets: [target.endpoint])
        let collector = handOver(old, &passed)
        #expect(passed.flows.count == 40 && old.workers.census.count(.udp) == 0)
        // Nobody reads now: what arrives waits.
        for client in clients { client.send([2]) }
        wait { new.workers.adopt(passed.flows, onComplete: $0) }
        wait { new.workers.resume(onComplete: $0) }
        wait { old.workers.release(onComplete: $0) }
        for flow in collector.flows { flow.socket.close() }
        for (client, port) in zip(clients, ports) {
            #expect(client.receive()?.count == 2)
            #expect(ask(client) == port)
        }
        #expect(new.total(.activeUDPFlows) == 40 && new.total(.newUDPFlows) == 40)
        #expect(new.workers.total(.activeUDPFlows, target: TargetNumber(0)) == 40)
        #expect(old.total(.activeUDPFlows) == 0)
        #expect(old.workers.total(.activeUDPFlows, target: TargetNumber(0)) == 0)
        // A further socket would divert datagrams of live flows.
        #expect(new.workers.openLackingShares().isEmpty)
        let collected = HandOverCollector()
        wait { new.workers.listShares(into: collected, onComplete: $0) }
        #expect(collected.shares.count == before)
    }

    @Test func `what was handed over is taken back when nobody came to serve`() throws {
        let target = try portTeller()
        defer { target.stop() }
        let old = try TestBalancer(workerCount: 2)
        let listener = try old.listen("127.0.0.1", .udp)
        try old.route(to: [target.endpoint])
        let clients = try (0..<20).map { _ in try #require(TestSocket.connect(listener, .udp)) }
        let ports = clients.map { ask($0) }
        for _ in 0..<3 {
            let collector = HandOverCollector()
            wait { old.workers.handOver(to: collector, onComplete: $0) }
            #expect(collector.flows.count == 20)
            for client in clients { client.send([2]) }
            wait { old.workers.takeBack(collector, onComplete: $0) }
            wait { old.workers.resume(onComplete: $0) }
            for (client, port) in zip(clients, ports) {
                #expect(client.receive()?.count == 2)
                #expect(ask(client) == port)
            }
        }
        #expect(old.total(.activeUDPFlows) == 20)
    }

    /// handOver ── connections arrive ── resume of the other ── release
    @Test func `connections that arrive between two processes wait for the second`() throws {
        let server = try TestServer.echo()
        let old = try TestBalancer(workerCount: 2)
        let listener = try old.listen()
        try old.route(to: [server.endpoint])
        let early = try #require(TestSocket.connect(listener))
        early.send([1])
        #expect(early.receive() == [1])

        var passed = offer(old)
        let new = try successor(of: old, passed, workerCount: 1, targets: [server.endpoint])
        _ = handOver(old, &passed)
        let waiting = try (0..<20).map { _ in try #require(TestSocket.connect(listener)) }
        for client in waiting { client.send([2]) }
        waiting[0].setTimeout(milliseconds: 50)
        #expect(waiting[0].receive() == nil, "nobody serves yet")
        waiting[0].setTimeout(milliseconds: sharedTimeoutSeconds * 1_000)
        wait { new.workers.resume(onComplete: $0) }
        wait { old.workers.release(onComplete: $0) }
        for client in waiting { #expect(client.receive() == [2]) }
        #expect(new.total(.activeTCPFlows) == 20 && old.total(.activeTCPFlows) == 1)
        // The flow of the first process goes on there.
        early.send([3])
        #expect(early.receive() == [3])
        early.finishWriting()
        #expect(early.receiveToEnd() == [])
        #expect(eventually { old.isQuiet() })
    }

    @Test func `workers without a share of an inherited listener get one of their own`() throws {
        let server = try TestServer.echo()
        let old = try TestBalancer(workerCount: 1)
        let listener = try old.listen()
        try old.route(to: [server.endpoint])
        var passed = offer(old)
        let new = try successor(of: old, passed, workerCount: 3, targets: [server.endpoint])
        _ = handOver(old, &passed)
        wait { new.workers.resume(onComplete: $0) }
        wait { old.workers.release(onComplete: $0) }
        #expect(new.workers.openLackingShares().isEmpty)
        let collector = HandOverCollector()
        wait { new.workers.listShares(into: collector, onComplete: $0) }
        #expect(Set(collector.shares.map(\.worker)) == [0, 1, 2])
        for _ in 0..<30 {
            let client = try #require(TestSocket.connect(listener))
            client.send([1])
            #expect(client.receive() == [1])
        }
    }

    @Test func `an inherited socket that no listener wants is closed and named`() throws {
        let balancer = try TestBalancer()
        let spare = TestSocket.bound(loopback(), .tcp)
        let passed = duplicate(Descriptor(rawValue: spare.fd))
        let identity = inode(of: passed)
        #expect(identity != nil)
        let inherited = InheritedSockets([
            InheritedSocket(endpoint: spare.local, transport: .tcp, socket: passed, sharesPort: false)
        ])
        balancer.workers.inherit(inherited)
        _ = try balancer.listen()
        try balancer.route(to: [])
        #expect(inherited.closeUnclaimed() == ["TCP \(spare.local)"])
        // Closed, or by now the number of another test's descriptor.
        #expect(inode(of: passed) != identity)
    }

    @Test func `inherited sockets go to the workers of the mode whose listener wants them`() throws {
        let server = try TestServer.echo()
        let modes = try [TestBalancer(), TestBalancer()]
        let sockets = (0..<2).map { _ in TestSocket.bound(loopback(), .tcp) }
        let inherited = InheritedSockets(
            sockets.map {
                InheritedSocket(
                    endpoint: $0.local, transport: .tcp, socket: duplicate(Descriptor(rawValue: $0.fd)),
                    sharesPort: false)
            })
        for (mode, socket) in zip(modes, sockets) {
            mode.workers.inherit(inherited)
            mode.bindings = [
                ListenerBinding(
                    number: ListenerNumber(0), endpoint: socket.local, transport: .tcp, isFreebind: false)
            ]
            try mode.route(to: [server.endpoint])
        }
        #expect(inherited.closeUnclaimed() == [])
        for (mode, socket) in zip(modes, sockets) {
            let client = try #require(TestSocket.connect(socket.local))
            client.send([1])
            #expect(client.receive() == [1])
            #expect(mode.total(.newTCPFlows) == 1)
        }
    }

    @Test func `an address of another mode's workers can be taken over, and a stranger's cannot`() throws {
        let (served, taking) = (try TestBalancer(), try TestBalancer())
        let endpoint = try served.listen()
        try served.route(to: [])
        let binding = ListenerBinding(
            number: ListenerNumber(0), endpoint: endpoint, transport: .tcp, isFreebind: false,
            mode: .application)
        #expect(throws: ListenerOpenErrors.self) { try taking.workers.prepare([binding]) }
        let ticket = try taking.workers.prepare([binding], besides: [served.workers])
        taking.workers.abandon(ticket: ticket)
    }

    @Test func `records that are cut off or have no address are refused`() {
        let flow = HandedOverFlow(
            socketIndex: 3,
            key: FlowKey(client: loopback(5), local: loopback(6), transport: .udp), target: TargetNumber(9),
            isAnswered: true, isAssured: false, owesProxyHeader: true, startedAt: Instant(nanoseconds: 1),
            lastActivityAt: Instant(nanoseconds: .max), clientByteCount: 7, targetByteCount: 8)
        var bytes: [UInt8] = []
        flow.append(to: &bytes)
        flow.append(to: &bytes)
        #expect(HandedOverFlow.records(in: bytes) == [flow, flow])
        #expect(HandedOverFlow.records(in: []) == [])
        #expect(HandedOverFlow.records(in: Array(bytes.dropLast())) == nil)
        bytes[0] = 5
        #expect(HandedOverFlow.records(in: bytes) == nil)
    }
}
