// The system calls as Weir sees them, on real descriptors.

import Balancing
import CLinux
import LinuxIO
import Testing

@Suite struct `Descriptors` {
    private let loopback = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0)

    @Test func `an owned descriptor is closed at the end of its life and not when released`() throws {
        let first = try Descriptor.socket(.udp, .v4)
        do {
            let owned = OwnedDescriptor(first)
            #expect(owned.descriptor == first)
        }
        // The lowest free number is given out again, so the first was closed.
        let second = try Descriptor.socket(.udp, .v4)
        let released = OwnedDescriptor(second).release()
        #expect(released.bind(to: loopback) == nil)
        released.close()
    }

    @Test func `errors carry their name and the system's sentence`() {
        #expect(Errno.permissionDenied.description == "Permission denied (EACCES)")
        #expect(Errno(4_000).name == "errno")
        #expect(
            SystemCallError("bind", .addressInUse).description == "bind: Address already in use (EADDRINUSE)")
        #expect(Errno.tooManyOpenFiles.isExhaustion && !Errno.connectionReset.isExhaustion)
    }

    @Test func `a connection is accepted with its client's endpoint, bytes and end`() throws {
        let listener = OwnedDescriptor(try Descriptor.socket(.tcp, .v4))
        #expect(listener.descriptor.bind(to: loopback) == nil)
        #expect(listener.descriptor.listen(backlog: 8) == nil)
        guard case .wouldBlock = listener.descriptor.accept() else {
            Issue.record("an empty queue would block")
            return
        }
        let at = try #require(listener.descriptor.localEndpoint())
        let client = OwnedDescriptor(try Descriptor.socket(.tcp, .v4))
        let errno = client.descriptor.connect(to: at)
        #expect(errno == nil || errno == .inProgress)
        guard case .accepted(let accepted, let from) = listener.descriptor.accept() else {
            Issue.record("a connection on loopback is queued at once")
            return
        }
        let server = OwnedDescriptor(accepted)
        #expect(from == client.descriptor.localEndpoint())
        guard case .moved(3) = client.descriptor.send([1, 2, 3]) else {
            Issue.record("three bytes fit")
            return
        }
        var bytes: [UInt8] = []
        guard case .moved(3) = server.descriptor.receive(byteCountMax: 10, into: &bytes) else {
            Issue.record("three bytes are there")
            return
        }
        #expect(bytes == [1, 2, 3])
        guard case .wouldBlock = server.descriptor.receive(byteCountMax: 10, into: &bytes) else {
            Issue.record("nothing more is there")
            return
        }
        #expect(client.descriptor.shutdownWrite() == nil)
        guard case .endOfStream = server.descriptor.receive(byteCountMax: 10, into: &bytes) else {
            Issue.record("the end is there")
            return
        }
    }

    @Test(arguments: ["127.0.0.1", "::1"])
    func `endpoints survive the way through the kernel`(text: String) throws {
        let address = try #require(IPAddress(text))
        let socket = OwnedDescriptor(try Descriptor.socket(.udp, address.family))
        #expect(socket.descriptor.bind(to: Endpoint(address: address, port: 0)) == nil)
        let bound = try #require(socket.descriptor.localEndpoint())
        #expect(bound.address == address && bound.port != 0)
    }
}

@Suite struct `Memory that is reserved once` {
    @Test func `a slab reads as zero, keeps what is written and refuses nothing in range`() {
        var slab = MappedSlab(count: 1_000, of: UInt64.self)
        #expect((0..<1_000).allSatisfy { slab[$0] == 0 })
        for index in 0..<1_000 { slab[index] = UInt64(index) }
        #expect((0..<1_000).allSatisfy { slab[$0] == UInt64($0) })
    }

    @Test func `lends room to be filled and bytes to be parsed, and nothing beside them`() {
        let region = ByteRegion(byteCount: 4_096)
        let count = region.fill(at: 100, byteCountMax: 3) { output in
            #expect(output.freeCapacity == 3)
            output.append(5)
            output.append(6)
        }
        #expect(count == 2)
        #expect(region.parse(at: 99, byteCount: 4) { [$0[0], $0[1], $0[2], $0[3]] } == [0, 5, 6, 0])
        #expect(region.fill(at: 4_096, byteCountMax: 0) { _ in } == 0)
        #expect(region.parse(at: 4_096, byteCount: 0) { $0.count } == 0)
    }

    @Test func `discarded bytes read as zero`() throws {
        let region = ByteRegion(byteCount: 64 << 10)
        let (source, sink) = try connectedPair()
        defer {
            source.close()
            sink.close()
        }
        _ = source.send([7, 7, 7, 7])
        guard case .moved(4) = sink.receive(into: region, at: 4_096, byteCountMax: 4) else {
            Issue.record("four bytes are there")
            return
        }
        region.discard(at: 4_096, byteCount: 4_096)
        guard case .moved(4) = sink.send(from: region, at: 4_096, byteCount: 4) else {
            Issue.record("four bytes fit")
            return
        }
        var bytes: [UInt8] = []
        _ = source.receive(byteCountMax: 4, into: &bytes)
        #expect(bytes == [0, 0, 0, 0])
    }

    @Test func `counters add, take back and are read`() {
        let table = CounterTable(rowCount: 2, columnCount: 3)
        table.add(5, row: 1, column: 2)
        table.add(-2, row: 1, column: 2)
        table.set(9, row: 0, column: 0)
        #expect(table.load(row: 1, column: 2) == 3)
        #expect(table.load(row: 0, column: 0) == 9)
        #expect(table.load(row: 0, column: 1) == 0)
    }

    @Test func `a pool lends the pipe that came back last and counts what is open`() {
        var pool = PipePool(idleCountMax: 1)
        guard let first = pool.borrow(), let second = pool.borrow() else {
            Issue.record("the system has descriptors for two pipes")
            return
        }
        let lentCount = pool.openCount
        pool.giveBack(first)
        pool.giveBack(second)
        let keptCount = pool.openCount
        let third = pool.borrow()
        #expect(lentCount == 2)
        #expect(keptCount == 1, "only one idle pipe is kept")
        #expect(third?.readEnd == first.readEnd)
    }

    private func connectedPair() throws -> (Descriptor, Descriptor) {
        let loopback = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0)
        let first = try Descriptor.socket(.udp, .v4)
        let second = try Descriptor.socket(.udp, .v4)
        #expect(first.bind(to: loopback) == nil && second.bind(to: loopback) == nil)
        let firstAt = try #require(first.localEndpoint())
        let secondAt = try #require(second.localEndpoint())
        #expect(first.connect(to: secondAt) == nil && second.connect(to: firstAt) == nil)
        return (first, second)
    }
}

@Suite struct `The machine` {
    @Test func `this process may use at least one processor`() {
        #expect(!Machine.allowedProcessors().isEmpty)
    }

    @Test func `seeds differ from draw to draw`() throws {
        #expect(try Machine.randomSeed() != Machine.randomSeed())
    }

    @Test func `the descriptor limit is never lowered`() {
        let before = Machine.raiseDescriptorLimit(to: 1)
        #expect(Machine.raiseDescriptorLimit(to: 1) == before)
        #expect(Machine.raiseDescriptorLimit(to: before) == before)
    }

    @Test func `the monotonic clock does not go back`() {
        let first = Instant.now
        #expect(first <= Instant.now)
    }

    @Test func `unknown users are unknown`() {
        #expect(UserIdentity("nobody")?.name == "nobody")
        #expect(UserIdentity("no-such-user") == nil)
        #expect(UserIdentity("nobody:no-such-group") == nil)
        #expect(UserIdentity("") == nil)
    }
}
