// Messages of a hand-over: what is read back, what is refused, and open files that go along.

import Balancing
import Glibc
import LinuxIO
import Testing

@Suite struct `Hand-over frames` {
    @Test(arguments: HandoverFrame.Kind.allCases)
    func `a frame is read as it was written`(kind: HandoverFrame.Kind) throws {
        for (payload, count, hasMore) in [
            ([], 0, false), ([1, 2, 3], 253, true),
            ([UInt8](repeating: 7, count: HandoverFrame.payloadByteCountMax), 1, false),
        ] {
            let frame = HandoverFrame(kind: kind, hasMore: hasMore, descriptorCount: count, payload: payload)
            #expect(try HandoverFrame(parsing: frame.bytes, descriptorCount: count) == frame)
        }
    }

    private static func bytes(
        of frame: HandoverFrame = HandoverFrame(kind: .offer, descriptorCount: 2, payload: [1, 2, 3]),
        _ change: (inout [UInt8]) -> Void = { _ in }
    ) -> [UInt8] {
        var bytes = frame.bytes
        change(&bytes)
        return bytes
    }

    private static let broken: [([UInt8], HandoverFormatError)] = [
        ([], .truncated(byteCount: 0)),
        (Array(bytes().prefix(15)), .truncated(byteCount: 15)),
        (Array(bytes().dropLast()), .truncated(byteCount: 2)),
        (bytes() + [0], .truncated(byteCount: 4)),
        (bytes { $0[0] ^= 1 }, .notAHandover),
        (bytes { $0[4] = 9 }, .version(9)),
        (bytes { $0[6] = 99 }, .unknownKind(99)),
        (bytes { ($0[12], $0[13], $0[14]) = (255, 255, 255) }, .oversized(byteCount: 0xFF_FFFF)),
        (bytes { $0[10] = 3 }, .descriptorCount(said: 3, arrived: 2)),
    ]

    @Test(arguments: broken)
    func `what does not fit is refused with its reason`(bytes: [UInt8], error: HandoverFormatError) {
        #expect(throws: error) { try HandoverFrame(parsing: bytes, descriptorCount: 2) }
        #expect(!error.description.isEmpty && !error.description.hasSuffix("."))
    }

    @Test func `a newer release can always say why it does not start`() throws {
        var bytes = HandoverFrame(kind: .failed, payload: [42]).bytes
        bytes[4] = 77
        #expect(try HandoverFrame(parsing: bytes, descriptorCount: 0).payload == [42])
    }

    @Test func `any truncation and any changed byte gives an error or a frame, never a trap`() {
        let whole = Self.bytes()
        for count in 0..<whole.count {
            #expect(throws: HandoverFormatError.self) {
                try HandoverFrame(parsing: Array(whole.prefix(count)), descriptorCount: 2)
            }
        }
        for position in whole.indices {
            for value in [UInt8(0), 1, 127, 128, 255] {
                var changed = whole
                changed[position] = value
                _ = try? HandoverFrame(parsing: changed, descriptorCount: 2)
            }
        }
    }
}

@Suite struct `Hand-over channel` {
    private var soon: Instant { Instant.now.advanced(bySeconds: 10) }

    /// Sends on one thread what the test receives on another: a long message needs its reader.
    private func send(_ message: HandoverMessage, on channel: HandoverChannel) throws -> DataPlaneThread {
        let deadline = soon
        return try DataPlaneThread(name: "sender", processor: nil) {
            try? channel.send(message, until: deadline)
        }
    }

    @Test func `a long message with many descriptors arrives whole and in order`() throws {
        let (near, far) = try HandoverChannel.pair()
        let sockets = try (0..<600).map { _ in
            let socket = try Descriptor.socket(.udp, .v4)
            #expect(socket.bind(to: Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0)) == nil)
            return socket
        }
        let payload = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
        let thread = try send(
            HandoverMessage(kind: .offer, payload: payload, descriptors: sockets), on: near)
        let message = try far.receive(until: soon)
        thread.join()
        #expect(message.kind == .offer && message.payload == payload)
        #expect(message.descriptors.count == sockets.count)
        for (sent, arrived) in zip(sockets, message.descriptors) {
            #expect(sent != arrived && sent.localEndpoint() == arrived.localEndpoint())
            #expect(fcntl(arrived.rawValue, F_GETFD) & FD_CLOEXEC != 0)
            sent.close()
            arrived.close()
        }
    }

    @Test func `a queued connection survives the end of the process that listened`() throws {
        let (near, far) = try HandoverChannel.pair()
        let listener = try Descriptor.socket(.tcp, .v4)
        #expect(listener.bind(to: Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0)) == nil)
        #expect(listener.listen(backlog: 8) == nil)
        let at = try #require(listener.localEndpoint())
        let client = OwnedDescriptor(try Descriptor.socket(.tcp, .v4))
        _ = client.descriptor.connect(to: at)
        try near.send(HandoverMessage(kind: .offer, descriptors: [listener]), until: soon)
        listener.close()
        let inherited = try #require(try far.receive(until: soon).descriptors.first)
        let description = try #require(inherited.describeSocket())
        #expect(description.address == .network(at) && description.transport == .tcp)
        #expect(description.isListening && !description.sharesPort)
        guard case .accepted(let accepted, _) = inherited.accept() else {
            Issue.record("the queue belongs to the socket, not to the process")
            return
        }
        accepted.close()
        inherited.close()
    }

    @Test func `an end, a silence and nonsense are told apart`() throws {
        let (near, far) = try HandoverChannel.pair()
        #expect {
            try far.receive(until: Instant.now.advanced(byMilliseconds: 20))
        } throws: { error in
            if case .timedOut = error as? HandoverError { true } else { false }
        }
        var nonsense: [UInt8] = [1, 2, 3]
        #expect(Glibc.send(near.descriptor.rawValue, &nonsense, 3, 0) == 3)
        #expect {
            try far.receive(until: soon)
        } throws: { error in
            if case .format(.truncated(3)) = error as? HandoverError { true } else { false }
        }
        #expect(shutdown(near.descriptor.rawValue, Int32(SHUT_RDWR)) == 0)
        #expect {
            try far.receive(until: soon)
        } throws: { error in
            if case .closed = error as? HandoverError { true } else { false }
        }
        #expect {
            try far.send(HandoverMessage(kind: .ready), until: soon)
        } throws: { error in
            if case .closed = error as? HandoverError { true } else { false }
        }
    }

    @Test func `a file that is no program is refused and an ended one tells its status`() throws {
        let (_, far) = try HandoverChannel.pair()
        #expect(throws: SystemCallError.self) {
            try Successor.start(
                path: "/nonexistent", arguments: ["x"], environment: [], inheriting: far.descriptor)
        }
        let script =
            "test \"$(readlink /proc/self/fd/\(far.descriptor.rawValue) | cut -d: -f1)\" = socket && exit 7"
        let successor = try Successor.start(
            path: "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH=/usr/bin:/bin"],
            inheriting: far.descriptor)
        #expect(successor.exitStatus(until: soon) == 7)
        let endless = try Successor.start(
            path: "/bin/sleep", arguments: ["sleep", "600"], environment: [], inheriting: far.descriptor)
        #expect(endless.exitStatus(until: Instant.now.advanced(byMilliseconds: 20)) == nil)
        endless.end()
        #expect(kill(endless.processID, 0) != 0, "it is gone, and nothing is left of it")
    }
}
