// What a hostile peer sends, frame by frame, and where the session ends it.

import Balancing
import HTTPCore
import Testing

@Suite("HTTP/2 floods")
struct HTTP2FloodTests {
    /// Sends the same bytes again and again, each time told which round it is, until the session has had enough.
    private func rounds(
        max roundCountMax: Int, to server: TestEndpoint = TestEndpoint(isServer: true),
        readsAnswers: Bool = true, _ body: (Int, inout FrameWriter) -> Void
    ) -> (count: Int, failure: HTTP2Failure?, server: TestEndpoint) {
        var writer = FrameWriter.client()
        for round in 0..<roundCountMax {
            body(round, &writer)
            server.receive(writer.takeBytes())
            _ = server.takeEvents()
            if server.failure != nil { return (round, server.failure, server) }
            if readsAnswers { _ = server.output() }
            if server.failure != nil { return (round, server.failure, server) }
        }
        return (roundCountMax, nil, server)
    }

    private func expectGoAway(_ server: TestEndpoint, code: HTTP2ErrorCode = .enhanceYourCalm) {
        let goAway = SentFrame.all(in: server.output()).last { $0.kind == .goAway }
        #expect(goAway?.code == code.rawValue)
        _ = server.takeEvents()
        #expect(server.session.wantsToClose)
        // Nothing revives it.
        server.receive([0])
        #expect(server.takeEvents() == [] && server.output() == [])
    }

    @Test func `rapid resets are ended`() {
        let (count, failure, server) = rounds(max: 2_000) { round, writer in
            writer.request(stream: Int32(round * 2 + 1))
            writer.reset(stream: Int32(round * 2 + 1))
        }
        #expect(failure == .resetFlood && count == Limits.http2ResetsAtOnceMax)
        expectGoAway(server)
    }

    @Test func `resets that the session must make count too`() {
        // A window overflow on an open stream: one frame makes the server reset it.
        let (count, failure, server) = rounds(max: 2_000) { round, writer in
            writer.request(stream: Int32(round * 2 + 1), "POST", "/", [], endsStream: false)
            writer.windowUpdate(stream: Int32(round * 2 + 1), by: 0x7FFF_FFFF)
        }
        #expect(failure == .resetFlood && count == Limits.http2ResetsAtOnceMax)
        expectGoAway(server)
    }

    @Test func `content beyond its length counts as a reset`() {
        let (count, failure, _) = rounds(max: 2_000) { round, writer in
            writer.request(
                stream: Int32(round * 2 + 1), "POST", "/", [TestField("content-length", "1")],
                endsStream: false)
            writer.data(stream: Int32(round * 2 + 1), [1, 2])
        }
        #expect(failure == .resetFlood && count == Limits.http2ResetsAtOnceMax)
    }

    @Test func `malformed requests count as resets`() {
        let (count, failure, server) = rounds(max: 2_000) { round, writer in
            writer.request(stream: Int32(round * 2 + 1), "GET", "/#")
        }
        #expect(failure == .resetFlood && count == Limits.http2ResetsAtOnceMax)
        expectGoAway(server)
    }

    @Test func `requests beyond the granted streams count as resets`() {
        let (count, failure, _) = rounds(max: 2_000, readsAnswers: false) { round, writer in
            writer.request(stream: Int32(round * 2 + 1))
        }
        #expect(failure == .resetFlood)
        #expect(count == Limits.http2ResetsAtOnceMax + Limits.http2ConcurrentStreamsMax)
    }

    @Test func `resets at a leisurely pace are a client's right`() {
        let server = TestEndpoint(isServer: true)
        let (count, failure, _) = rounds(max: 3_000, to: server) { round, writer in
            server.now = server.now.advanced(byMilliseconds: 40)
            writer.request(stream: Int32(round * 2 + 1))
            writer.reset(stream: Int32(round * 2 + 1))
        }
        #expect(count == 3_000 && failure == nil)
    }

    @Test func `one page load that is cancelled is nothing`() {
        let (_, failure, _) = rounds(max: 1) { _, writer in
            for index in 0..<Limits.http2ConcurrentStreamsMax { writer.request(stream: Int32(index * 2 + 1)) }
            for index in 0..<Limits.http2ConcurrentStreamsMax { writer.reset(stream: Int32(index * 2 + 1)) }
        }
        #expect(failure == nil)
    }

    @Test(arguments: [
        HTTP2Failure.pingFlood, .settingsFlood, .priorityFlood, .windowUpdateFlood, .emptyFrameFlood,
    ])
    func `frames that do nothing are ended`(flood: HTTP2Failure) {
        let (count, failure, server) = rounds(max: 5_000) { round, writer in
            switch flood {
            case .pingFlood: writer.ping()
            case .settingsFlood: writer.settings()
            case .priorityFlood: writer.frame(.priority, stream: Int32(round * 2 + 3), [0, 0, 0, 0, 10])
            case .windowUpdateFlood: writer.windowUpdate(stream: 0, by: 1)
            default:
                if round == 0 { writer.request(stream: 1, "POST", "/", [], endsStream: false) }
                writer.data(stream: 1, [])
            }
        }
        #expect(failure == flood)
        // The settings of the preface, and what a request explains.
        #expect(abs(count - Limits.http2ControlFramesAtOnceMax) <= 5)
        expectGoAway(server)
    }

    @Test func `acknowledged pings and settings count as well`() {
        #expect(rounds(max: 5_000) { _, writer in writer.ping(isAck: true) }.failure == .pingFlood)
    }

    @Test func `a ping a second is a keep-alive`() {
        let server = TestEndpoint(isServer: true)
        let (count, failure, _) = rounds(max: 10_000, to: server) { _, writer in
            server.now = server.now.advanced(bySeconds: 1)
            writer.ping()
        }
        #expect(count == 10_000 && failure == nil)
    }

    @Test func `window updates for what was sent are not a flood`() {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.request()
        conversation.exchange()
        server.respond(1, endsStream: false)
        // 64 MiB to a client that takes every byte at once.
        let content = [UInt8](repeating: 7, count: Limits.http2QueueByteCountMax)
        for _ in 0..<1_024 {
            #expect(server.write(content, stream: 1) == content.count)
            conversation.exchange()
            client.events = []
        }
        #expect(server.failure == nil && client.failure == nil)
    }

    @Test func `unread answers are ended`() {
        let server = TestEndpoint(isServer: true)
        let (count, failure, _) = rounds(max: 10_000, to: server, readsAnswers: false) { _, writer in
            server.now = server.now.advanced(bySeconds: 1)
            writer.ping()
        }
        #expect(failure == .unreadAnswers && count <= Limits.http2UnsentAnswerCountMax + 2)
    }

    @Test(arguments: [0, 1])
    func `a head in endless parts is ended`(partByteCount: Int) {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        writer.frame(
            .headers, flags: FrameWriter.endStream, stream: 1, FrameWriter.block(FrameWriter.requestHead()))
        let part = partByteCount == 0 ? [] : FrameWriter.block([TestField("a", "b")])
        for _ in 0..<100 { writer.frame(.continuation, stream: 1, part) }
        server.receive(writer.takeBytes())
        #expect(server.failure == .continuationFlood)
        #expect(!server.takeEvents().contains { if case .request = $0 { true } else { false } })
        expectGoAway(server)
    }

    @Test func `a head in endless parts on a stream that is over is ended`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        writer.request(stream: 1, "POST", "/", [], endsStream: false)
        writer.reset(stream: 1)
        writer.frame(.headers, stream: 1, [])
        for _ in 0..<100 { writer.frame(.continuation, stream: 1, FrameWriter.block([TestField("a", "b")])) }
        server.receive(writer.takeBytes())
        #expect(server.failure == .continuationFlood)
    }

    @Test func `a bomb of repeated fields is ended`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        let first = FrameWriter.indexed(TestField("x-long", String(repeating: "v", count: 3_900)))
        let block =
            FrameWriter.block(FrameWriter.requestHead()) + first + [UInt8](repeating: 0xBE, count: 10_000)
        writer.frame(
            .headers, flags: FrameWriter.endHeaders | FrameWriter.endStream, stream: 1, block)
        server.receive(writer.takeBytes())
        #expect(server.failure == .headerBomb)
        expectGoAway(server)
    }

    @Test func `a bomb of empty fields is ended`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        // Static entry 60: www-authenticate without a value, one byte on the wire.
        let block = FrameWriter.block(FrameWriter.requestHead()) + [UInt8](repeating: 0xBD, count: 16_000)
        writer.frame(
            .headers, flags: FrameWriter.endHeaders | FrameWriter.endStream, stream: 1, block)
        server.receive(writer.takeBytes())
        #expect(server.failure == .headerBomb)
    }

    @Test func `a dynamic table beyond the settings is a compression error`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        // A table of 64 KiB.
        writer.frame(
            .headers, flags: FrameWriter.endHeaders | FrameWriter.endStream, stream: 1,
            [0x20 | 0x1F] + Array(FrameWriter.integer(65_536, prefix: 5).dropFirst()))
        server.receive(writer.takeBytes())
        expectGoAway(server, code: .compressionError)
        #expect(server.failure == .compression)
    }

    @Test func `pushed responses are not taken`() throws {
        let client = TestEndpoint(isServer: false)
        let stream = try #require(client.request())
        _ = client.output()
        var writer = FrameWriter.server()
        writer.frame(
            .pushPromise, flags: FrameWriter.endHeaders, stream: stream,
            [0, 0, 0, 2] + FrameWriter.block(FrameWriter.requestHead()))
        client.receive(writer.takeBytes())
        expectGoAway(client, code: .protocolError)
    }

    private static let violations: [(String, @Sendable (inout FrameWriter) -> Void, HTTP2Failure)] = [
        ("DATA on no stream", { $0.data(stream: 0, [1]) }, .protocolViolation),
        ("DATA on a stream that never was", { $0.data(stream: 5, [1]) }, .protocolViolation),
        ("HEADERS on an even stream", { $0.request(stream: 2) }, .protocolViolation),
        ("HEADERS on no stream", { $0.request(stream: 0) }, .protocolViolation),
        ("SETTINGS on a stream", { $0.frame(.settings, stream: 1) }, .protocolViolation),
        ("SETTINGS of five bytes", { $0.frame(.settings, [0, 1, 0, 0, 0]) }, .frameSize),
        ("too many settings", { $0.settings((0..<33).map { _ in (id: 1, value: 4_096) }) }, .unreadAnswers),
        ("a window of 2^31", { $0.settings([(id: 4, value: 1 << 31)]) }, .flowControl),
        ("a frame size of 1", { $0.settings([(id: 5, value: 1)]) }, .protocolViolation),
        ("PING of seven bytes", { $0.frame(.ping, [0, 0, 0, 0, 0, 0, 0]) }, .frameSize),
        ("a window update of zero", { $0.windowUpdate(stream: 0, by: 0) }, .protocolViolation),
        (
            "a window beyond 2^31",
            {
                $0.windowUpdate(stream: 0, by: 0x7FFF_FFFF)
                $0.windowUpdate(stream: 0, by: 0x7FFF_FFFF)
            }, .flowControl
        ),
        ("RST_STREAM of a stream that never was", { $0.reset(stream: 7) }, .protocolViolation),
        ("CONTINUATION of nothing", { $0.frame(.continuation, stream: 1) }, .protocolViolation),
        (
            "a frame between parts of a head",
            {
                $0.frame(.headers, stream: 1, FrameWriter.block(FrameWriter.requestHead()))
                $0.ping()
            }, .protocolViolation
        ),
        (
            "a frame larger than allowed",
            { $0.frame(.data, stream: 1, [UInt8](repeating: 0, count: 16_385)) }, .frameSize
        ),
        (
            "PUSH_PROMISE by a client", { $0.frame(.pushPromise, flags: 4, stream: 1, [0, 0, 0, 2]) },
            .protocolViolation
        ),
        (
            "a field that no table has", { $0.frame(.headers, flags: 5, stream: 1, [0xFF, 0x80, 0x01]) },
            .compression
        ),
        (
            "padding longer than its frame", { $0.frame(.headers, flags: 0xD, stream: 1, [200, 0, 0]) },
            .protocolViolation
        ),
    ]

    @Test(arguments: violations.indices)
    func `a broken connection says goodbye and why`(index: Int) {
        let (what, body, failure) = Self.violations[index]
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        body(&writer)
        writer.ping()
        server.receive(writer.takeBytes())
        let goAway = SentFrame.all(in: server.output()).filter { $0.kind == .goAway }
        #expect(goAway.count == 1 && goAway.first?.code != 0, "\(what)")
        #expect(server.failure == failure, "\(what)")
        #expect(server.session.wantsToClose, "\(what)")
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "\u{16}\u{3}\u{1}\0\0\0\0",
    ])
    func `what is no preface is no connection`(bytes: String) {
        let server = TestEndpoint(isServer: true)
        server.receive(Array(bytes.utf8) + [UInt8](repeating: 0, count: 30))
        #expect(server.failure == .preface && server.takeEvents() == [])
        _ = server.output()
        #expect(server.session.wantsToClose)
    }

    @Test func `more content than the window is a violation`() {
        let server = TestEndpoint(isServer: true)
        server.consumesContent = false
        var writer = FrameWriter.client()
        writer.settings(isAck: true)
        writer.request(stream: 1, "POST", "/", [], endsStream: false)
        for _ in 0..<5 { writer.data(stream: 1, [UInt8](repeating: 1, count: 16_384)) }
        _ = server.output()
        server.receive(writer.takeBytes())
        let content = server.takeEvents().joined().compactMap { event -> Int? in
            if case .content(_, let bytes) = event { bytes.count } else { nil }
        }
        #expect(content == [Limits.http2StreamWindowByteCount])
        #expect(
            SentFrame.all(in: server.output()).contains {
                ($0.kind == .resetStream || $0.kind == .goAway)
                    && $0.code == HTTP2ErrorCode.flowControlError.rawValue
            })
    }

    @Test func `all streams together send no more than the connection's window`() {
        let server = TestEndpoint(isServer: true)
        server.consumesContent = false
        var writer = FrameWriter.client()
        writer.settings(isAck: true)
        _ = server.output()
        for index in 0..<20 {
            writer.request(stream: Int32(index * 2 + 1), "POST", "/", [], endsStream: false)
            for _ in 0..<4 { writer.data(stream: Int32(index * 2 + 1), [UInt8](repeating: 1, count: 16_384)) }
        }
        server.receive(writer.takeBytes())
        let content = server.takeEvents().reduce(0) { sum, event in
            if case .content(_, let bytes) = event { sum + bytes.count } else { sum }
        }
        #expect(content <= Limits.http2ConnectionWindowByteCount)
        _ = server.output()
        #expect(server.failure == .flowControl)
    }

    @Test func `queued content of all streams is bounded`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        writer.settings([(id: 4, value: 0)])
        for index in 0..<Limits.http2ConcurrentStreamsMax { writer.request(stream: Int32(index * 2 + 1)) }
        server.receive(writer.takeBytes())
        let content = [UInt8](repeating: 1, count: 1 << 20)
        for index in 0..<Limits.http2ConcurrentStreamsMax {
            server.respond(Int32(index * 2 + 1), endsStream: false)
            #expect(server.write(content, stream: Int32(index * 2 + 1)) == Limits.http2QueueByteCountMax)
            #expect(server.write(content, stream: Int32(index * 2 + 1)) == 0)
        }
        #expect(
            server.pool.queuedPieceCount * Limits.http2QueuePieceByteCount
                < Limits.http2ConcurrentStreamsMax * Limits.http2QueueByteCountMax * 2)
        server.session.free()
        #expect(server.pool.queuedPieceCount == 0)
    }
}
