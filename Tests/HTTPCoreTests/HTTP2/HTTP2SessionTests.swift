// Two sessions that talk to each other in memory.

import Balancing
import HTTPCore
import Testing

@Suite("HTTP/2 sessions")
struct HTTP2SessionTests {
    @Test func `a request and its response reach the other side`() throws {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        let stream = try #require(
            client.request("GET", "/a?b=c", fields: [TestField("Accept", "*/*")], tag: 7))
        conversation.exchange()
        #expect(
            server.takeEvents() == [
                .settings,
                .request(
                    1, method: "GET", target: "/a?b=c",
                    fields: [TestField("host", "weir.example"), TestField("accept", "*/*")], endsStream: true),
            ])
        let head = try #require(server.requestHeads[1])
        #expect(head.version == .http2 && head.method == .get && head.framing == .none)
        #expect(server.text(head.path) == "/a" && server.text(head.query) == "b=c" && head.hasQuery)

        server.respond(1, fields: [TestField("Content-Type", "text/plain")], endsStream: false)
        #expect(server.write(Array("hello".utf8), stream: 1) == 5)
        server.session.finish(stream: 1)
        conversation.exchange()
        #expect(
            client.takeEvents() == [
                .settings,
                .response(
                    stream, statusCode: 200, fields: [TestField("content-type", "text/plain")],
                    endsStream: false),
                .content(stream, Array("hello".utf8)),
                .endOfStream(stream),
                .closed(stream, tag: 7),
            ])
        #expect(server.takeEvents() == [.closed(1, tag: 0)])
        #expect(client.session.openStreamCount == 0 && server.session.openStreamCount == 0)
        #expect(client.failure == nil && server.failure == nil)
    }

    // MARK: Bytes in pieces

    /// A conversation with everything in it, and what each side saw.
    private func rich(pieceByteCount: Int, room: Int) -> (client: [TestEvent], server: [TestEvent]) {
        let conversation = TestConversation(pieceByteCount: pieceByteCount)
        let (client, server) = (conversation.client, conversation.server)
        client.room = room
        server.room = room
        client.request("POST", "/upload", fields: [TestField("te", "trailers")], endsStream: false, tag: 1)
        client.write(Array("first ".utf8), stream: 1)
        client.write(Array("second".utf8), stream: 1)
        client.submitTrailers([TestField("x-sum", "12")], stream: 1)
        client.request(
            "GET", "/big", fields: (0..<40).map { TestField("f\($0)", String(repeating: "v", count: 900)) },
            tag: 3)
        conversation.exchange()
        server.respond(1, statusCode: 103, fields: [TestField("link", "</a>")], isInterim: true)
        server.respond(1, fields: [TestField("grpc-status", "0")], endsStream: false)
        server.write(Array("answer".utf8), stream: 1)
        server.submitTrailers([TestField("grpc-message", "ok")], stream: 1)
        server.respond(
            3, fields: (0..<40).map { TestField("r\($0)", String(repeating: "w", count: 900)) },
            endsStream: true)
        conversation.exchange()
        return (client.takeEvents().joined(), server.takeEvents().joined())
    }

    @Test(arguments: [(1, 10), (1, 64 << 10), (7, 33), (100, 11), (5_000, 100), (Int.max, 16)])
    func `bytes may come in any pieces and leave in any room`(pieceByteCount: Int, room: Int) {
        let whole = rich(pieceByteCount: Int.max, room: 64 << 10)
        let parts = rich(pieceByteCount: pieceByteCount, room: room)
        #expect(whole.client.count == 8 && whole.server.count == 7)
        #expect(whole.client.contains(.trailers(1, [TestField("grpc-message", "ok")])))
        #expect(whole.server.contains(.trailers(1, [TestField("x-sum", "12")])))
        #expect(whole.client.filter { if case .closed = $0 { true } else { false } }.count == 2)
        // Heads of 36 KiB: a difference is not worth printing.
        let isClientSame = parts.client.sortedByStream() == whole.client.sortedByStream()
        let isServerSame = parts.server.sortedByStream() == whole.server.sortedByStream()
        #expect(isClientSame && isServerSame)
    }

    @Test func `a head cut anywhere is the same head`() throws {
        var writer = FrameWriter.client()
        writer.request(
            stream: 1, "POST", "/a?b",
            [TestField("cookie", "a=1"), TestField("x", "y"), TestField("cookie", "b=2")], endsStream: false)
        writer.data(stream: 1, Array("content".utf8), endsStream: true)
        let bytes = writer.takeBytes()
        let whole = TestEndpoint(isServer: true)
        whole.receive(bytes)
        let expected = whole.takeEvents().joined()
        #expect(expected.count == 4)
        for cut in 1..<bytes.count {
            let server = TestEndpoint(isServer: true)
            server.receive(Array(bytes[..<cut]))
            server.receive(Array(bytes[cut...]))
            #expect(server.takeEvents().joined() == expected, "cut at \(cut)")
        }
    }

    @Test func `many large heads at once are read with a pause`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        // Each repeats one long field of the dynamic table many times: few bytes on the wire.
        let value = String(repeating: "v", count: 3_900)
        for index in 0..<40 {
            let first = index == 0 ? FrameWriter.indexed(TestField("x-long", value)) : [0xBE]
            let block =
                FrameWriter.block(FrameWriter.requestHead("GET", "/\(index)")) + first
                + [UInt8](repeating: 0xBE, count: 14)
            writer.frame(
                .headers, flags: FrameWriter.endHeaders | FrameWriter.endStream, stream: Int32(index * 2 + 1),
                block)
        }
        server.receive(writer.takeBytes())
        let events = server.takeEvents().dropFirst()
        #expect(server.pauseCount > 1 && server.failure == nil)
        #expect(events.count == 40)
        for (index, event) in events.enumerated() {
            guard case .request(_, _, let target, let fields, _) = event else { return #expect(Bool(false)) }
            #expect(target == "/\(index)" && fields.count == 16 && fields[15].value == value)
        }
    }

    @Test func `many small heads at once are read with a pause`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        for index in 0..<Limits.http2ConcurrentStreamsMax {
            writer.request(stream: Int32(index * 2 + 1), "GET", "/\(index)")
        }
        server.receive(writer.takeBytes())
        let targets = server.takeEvents().compactMap { event -> String? in
            if case .request(_, _, let target, _, _) = event { target } else { nil }
        }
        #expect(targets == (0..<Limits.http2ConcurrentStreamsMax).map { "/\($0)" })
        #expect(server.pauseCount == 1)
    }

    // MARK: Content and windows

    @Test func `large content arrives whole and in full frames`() throws {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.request()
        conversation.exchange()
        server.respond(1, endsStream: false)
        let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        var sent = 0
        var frames: [SentFrame] = []
        for _ in 0..<1_000 where server.session.openStreamCount > 0 {
            sent += server.write(Array(content[sent...]), stream: 1)
            if sent == content.count { server.session.finish(stream: 1) }
            let bytes = server.output()
            frames += SentFrame.all(in: bytes).filter { $0.kind == .data }
            client.receive(bytes)
            server.receive(client.output())
        }
        #expect(client.takeEvents().joined().contains(.content(1, content)))
        #expect(frames.filter { $0.payload.count == 16_384 }.count > frames.count / 2)
        #expect(server.session.openStreamCount == 0 && server.pool.queuedPieceCount == 0)
    }

    @Test func `who does not take content is sent no more than the window`() {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.consumesContent = false
        client.request()
        conversation.exchange()
        server.respond(1, endsStream: false)
        var sent = 0
        for _ in 0..<10 {
            sent += server.write([UInt8](repeating: 1, count: 100_000), stream: 1)
            conversation.exchange()
        }
        // A window at the client, a queue at the server.
        #expect(sent == Limits.http2StreamWindowByteCount + Limits.http2QueueByteCountMax)
        let received = client.takeEvents().joined().compactMap { event -> Int? in
            if case .content(_, let bytes) = event { bytes.count } else { nil }
        }
        #expect(received == [Limits.http2StreamWindowByteCount])
        #expect(server.session.roomToWrite(stream: 1) == 0)
        _ = server.takeEvents()

        client.session.consumed(stream: 1, byteCount: Limits.http2StreamWindowByteCount)
        conversation.exchange()
        #expect(server.takeEvents() == [.writable(1)])
        #expect(server.session.roomToWrite(stream: 1) == Limits.http2QueueByteCountMax)
        #expect(server.write([1], stream: 1) == 1)
    }

    @Test func `what a closed stream left untaken does not narrow the connection`() {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.consumesContent = false
        // Each leaves a window's worth; all together much more than the connection's window.
        for index in 0..<40 {
            let stream = Int32(index * 2 + 1)
            client.request()
            conversation.exchange()
            server.respond(stream, endsStream: false)
            #expect(server.write([UInt8](repeating: 1, count: 60_000), stream: stream) == 60_000)
            server.session.finish(stream: stream)
            conversation.exchange()
            #expect(client.takeEvents().contains(.closed(stream, tag: 0)), "\(stream)")
        }
    }

    @Test func `a window of nothing holds back content and nothing else`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter()
        writer.settings([(id: 4, value: 0)])
        server.receive(FrameWriter.preface + writer.takeBytes())
        writer.request(stream: 1)
        server.receive(writer.takeBytes())
        server.respond(1, endsStream: false)
        #expect(server.write([1, 2, 3], stream: 1) == 3)
        server.session.finish(stream: 1)
        #expect(!SentFrame.all(in: server.output()).contains { $0.kind == .data })
        #expect(!server.session.wantsToSend)
        writer.windowUpdate(stream: 1, by: 2)
        server.receive(writer.takeBytes())
        #expect(SentFrame.all(in: server.output()).filter { $0.kind == .data }.map(\.payload) == [[1, 2]])
        writer.windowUpdate(stream: 1, by: 1)
        server.receive(writer.takeBytes())
        #expect(SentFrame.all(in: server.output()).last?.flags == FrameWriter.endStream)
        #expect(server.takeEvents().last == .closed(1, tag: 0))
    }

    // MARK: Ends before the time

    @Test func `a reset by the client ends the exchange`() {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.request("POST", "/", endsStream: false, tag: 5)
        conversation.exchange()
        server.respond(1, endsStream: false)
        server.write([1, 2, 3], stream: 1)
        client.session.reset(stream: 1, code: .cancel)
        _ = client.takeEvents()
        _ = server.takeEvents()
        conversation.exchange()
        #expect(client.takeEvents() == [.closed(1, tag: 5)])
        #expect(
            server.takeEvents() == [
                .reset(1, .cancel, .peer, isUnprocessed: false), .closed(1, tag: 0),
            ])
        #expect(server.write([1], stream: 1) == 0 && !server.session.isOpen(stream: 1))
        #expect(server.pool.queuedPieceCount == 0)
    }

    @Test func `a reset by the server ends the exchange`() {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.request("POST", "/", endsStream: false, tag: 5)
        client.write([1, 2, 3], stream: 1)
        conversation.exchange()
        server.session.setTag(8, stream: 1)
        #expect(server.session.tag(stream: 1) == 8)
        server.session.reset(stream: 1, code: .internalError)
        _ = client.takeEvents()
        _ = server.takeEvents()
        conversation.exchange()
        #expect(server.takeEvents() == [.closed(1, tag: 8)])
        #expect(
            client.takeEvents() == [
                .reset(1, .internalError, .peer, isUnprocessed: false), .closed(1, tag: 5),
            ])
    }

    @Test func `a request is cancelled before it left`() throws {
        let conversation = TestConversation()
        let client = conversation.client
        conversation.exchange()
        _ = client.takeEvents()
        let stream = try #require(client.request("POST", "/", endsStream: false, tag: 4))
        #expect(client.write([1], stream: stream) == 1)
        client.session.reset(stream: stream, code: .cancel)
        conversation.exchange()
        #expect(client.takeEvents() == [.closed(stream, tag: 4)])
        #expect(client.session.openStreamCount == 0)
        #expect(conversation.server.takeEvents() == [.settings])
    }

    @Test func `an early response makes a client leave its request`() {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.request("POST", "/", endsStream: false, tag: 5)
        client.write([UInt8](repeating: 1, count: 60_000), stream: 1)
        conversation.exchange()
        _ = client.takeEvents()
        server.respond(1, statusCode: 413, endsStream: false)
        server.write(Array("too large".utf8), stream: 1)
        server.session.discardContent(stream: 1)
        server.session.finish(stream: 1)
        _ = server.takeEvents()
        conversation.exchange()
        #expect(server.takeEvents() == [.closed(1, tag: 0)])
        #expect(
            client.takeEvents() == [
                .response(1, statusCode: 413, fields: [], endsStream: false),
                .content(1, Array("too large".utf8)), .endOfStream(1),
                .reset(1, .none, .peer, isUnprocessed: false), .closed(1, tag: 5),
            ])
    }

    @Test func `a stream that the peer did not look at can go elsewhere`() {
        let client = TestEndpoint(isServer: false)
        for tag in 1...3 as ClosedRange<UInt64> { client.request(tag: tag) }
        _ = client.output()
        var writer = FrameWriter.server()
        writer.reset(stream: 1, code: 7)
        writer.goAway(lastStream: 3)
        client.receive(writer.takeBytes())
        #expect(
            client.takeEvents() == [
                .settings, .reset(1, .refusedStream, .peer, isUnprocessed: true), .closed(1, tag: 1),
                .goAway(lastStream: 3, .none),
                .reset(5, .refusedStream, .peer, isUnprocessed: true), .closed(5, tag: 3),
            ])
        #expect(client.session.availableStreamCount == 0 && client.request() == nil)
        #expect(!client.session.wantsToClose)
        writer.headers(stream: 3, [TestField(":status", "204")])
        client.receive(writer.takeBytes())
        _ = client.output()
        #expect(client.takeEvents().last == .closed(3, tag: 2) && client.session.wantsToClose)
    }

    @Test func `a shutdown lets everything end that has come`() throws {
        let conversation = TestConversation()
        let (client, server) = (conversation.client, conversation.server)
        client.request()
        conversation.exchange()
        server.session.announceShutdown()
        // On its way while the announcement is.
        client.request()
        conversation.exchange()
        #expect(client.takeEvents().contains(.goAway(lastStream: .max, .none)))
        #expect(client.request() == nil)
        server.session.goAway()
        conversation.exchange()
        #expect(client.takeEvents() == [.goAway(lastStream: 3, .none)])
        #expect(!server.session.wantsToClose)
        server.respond(1)
        server.respond(3)
        conversation.exchange()
        #expect(server.session.wantsToClose && client.session.wantsToClose)
        #expect(server.failure == nil && client.failure == nil)
    }

    // MARK: Streams at a time

    @Test func `a client keeps to the streams it is granted`() {
        let client = TestEndpoint(isServer: false)
        var writer = FrameWriter()
        writer.settings([(id: 3, value: 2)])
        client.receive(writer.takeBytes())
        #expect(client.takeEvents() == [.settings] && client.session.availableStreamCount == 2)
        #expect(client.request() == 1 && client.request() == 3 && client.request() == nil)
        _ = client.output()
        writer.headers(stream: 1, [TestField(":status", "200")])
        client.receive(writer.takeBytes())
        #expect(client.session.availableStreamCount == 1 && client.request() == 5)
    }

    @Test func `requests beyond the streams of a server are refused for another try`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        // The client has not seen the settings.
        for index in 0...Limits.http2ConcurrentStreamsMax { writer.request(stream: Int32(index * 2 + 1)) }
        server.receive(writer.takeBytes())
        let last = Int32(Limits.http2ConcurrentStreamsMax * 2 + 1)
        #expect(server.takeEvents().last == .malformed(last, .tooManyStreams))
        #expect(server.session.openStreamCount == Limits.http2ConcurrentStreamsMax)
        let resets = SentFrame.all(in: server.output()).filter { $0.kind == .resetStream }
        #expect(resets.map(\.stream) == [last] && resets.first?.code == 7 && server.failure == nil)
    }

    @Test func `a server's settings say what it bears`() {
        let server = TestEndpoint(isServer: true)
        let settings = SentFrame.all(in: server.output()).first { $0.kind == .settings }
        let values = settings.map { frame in
            stride(from: 0, to: frame.payload.count, by: 6).map { start in
                frame.payload[start..<start + 6].map(Int.init)
            }
        }
        #expect(
            values?.map { $0[0] << 8 | $0[1] } == [4, 6, 9, 3],
            "initial window, header list size, no priorities of RFC 7540, concurrent streams")
    }
}

extension [TestEvent] {
    /// Pieces of content that follow each other as one.
    func joined() -> [TestEvent] {
        var result: [TestEvent] = []
        for event in self {
            if case .content(let stream, let bytes) = event, case .content(stream, let before) = result.last {
                result[result.count - 1] = .content(stream, before + bytes)
            } else {
                result.append(event)
            }
        }
        return result
    }

    /// Streams are independent of each other: only the order within each counts.
    func sortedByStream() -> [Int32: [TestEvent]] {
        Dictionary(grouping: self) { event in
            switch event {
            case .request(let stream, _, _, _, _), .refusal(let stream, _, _), .malformed(let stream, _),
                .response(let stream, _, _, _), .content(let stream, _), .trailers(let stream, _),
                .endOfStream(let stream), .reset(let stream, _, _, _), .closed(let stream, _),
                .writable(let stream):
                stream
            case .goAway, .settings: 0
            }
        }.mapValues { $0.joined() }
    }
}
