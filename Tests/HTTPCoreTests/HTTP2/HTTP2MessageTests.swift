// What is a request and a response in HTTP/2, and what is not; RFC 9113 section 8.

import Balancing
import HTTPCore
import Testing

@Suite("HTTP/2 messages")
struct HTTP2MessageTests {
    /// What a server's session says to a client that sends one head.
    private func events(
        head fields: [TestField], endsStream: Bool = true, content: [UInt8]? = nil
    ) -> (events: [TestEvent], server: TestEndpoint) {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        writer.headers(stream: 1, fields, endsStream: endsStream && content == nil)
        if let content { writer.data(stream: 1, content, endsStream: true) }
        server.receive(writer.takeBytes())
        return (server.takeEvents().filter { $0 != .settings }, server)
    }

    private static let head = FrameWriter.requestHead()

    private static let malformed: [(String, [TestField], HTTP2MessageFault)] = [
        ("no method", head.filter { $0.name != ":method" }, .message),
        ("no path", head.filter { $0.name != ":path" }, .message),
        ("no scheme", head.filter { $0.name != ":scheme" }, .message),
        ("no authority", FrameWriter.requestHead(authority: nil), .message),
        ("two methods", head + [TestField(":method", "GET")], .message),
        ("two paths", head + [TestField(":path", "/")], .message),
        ("an empty path", FrameWriter.requestHead("GET", ""), .message),
        ("a status", head + [TestField(":status", "200")], .message),
        ("an unknown pseudo-header", head + [TestField(":version", "1.1")], .message),
        ("a pseudo-header after a field", [TestField("a", "b")] + head, .message),
        ("an upper-case name", head + [TestField("Accept", "*/*")], .message),
        ("Connection", head + [TestField("connection", "close")], .message),
        ("Keep-Alive", head + [TestField("keep-alive", "timeout=5")], .message),
        ("Proxy-Connection", head + [TestField("proxy-connection", "close")], .message),
        ("Transfer-Encoding", head + [TestField("transfer-encoding", "chunked")], .message),
        ("Upgrade", head + [TestField("upgrade", "websocket")], .message),
        ("TE with more than trailers", head + [TestField("te", "trailers, gzip")], .message),
        ("a length that is none", head + [TestField("content-length", "+5")], .message),
        (
            "two lengths", head + [TestField("content-length", "0"), TestField("content-length", "0")],
            .message
        ),
        (
            "a length of too many digits", head + [TestField("content-length", "1000000000000000000")],
            .message
        ),
        ("a line break in a value", head + [TestField("a", "b\r\nc: d")], .field),
        ("a NUL in a value", head + [TestField("a", "b\0c")], .field),
        ("a space at the end of a value", head + [TestField("a", "b ")], .field),
        ("a space in a name", head + [TestField("a b", "c")], .field),
        ("a colon in a name", head + [TestField("a:b", "c")], .field),
        ("an empty name", head + [TestField("", "c")], .field),
        ("a line break in the path", FrameWriter.requestHead("GET", "/ HTTP/1.1\r\nHost: x"), .message),
        ("a space in the path", FrameWriter.requestHead("GET", "/a b"), .message),
        ("a space in the method", FrameWriter.requestHead("GET /x"), .message),
        ("a line break in the authority", FrameWriter.requestHead(authority: "a\r\nb"), .message),
        ("a relative path", FrameWriter.requestHead("GET", "a/b"), .message),
        ("an absolute URI as path", FrameWriter.requestHead("GET", "http://x/"), .message),
        ("an asterisk without OPTIONS", FrameWriter.requestHead("GET", "*"), .message),
        ("a fragment", FrameWriter.requestHead("GET", "/a#b"), .path),
        ("another scheme", FrameWriter.requestHead("GET", "/", scheme: "ftp"), .scheme),
        ("a path in the scheme", FrameWriter.requestHead("GET", "/", scheme: "https://x/?"), .message),
        ("user information", FrameWriter.requestHead(authority: "u@weir.example"), .authority),
        ("a path in the authority", FrameWriter.requestHead(authority: "weir.example/a"), .message),
        ("a port that is none", FrameWriter.requestHead(authority: "weir.example:x"), .authority),
        ("a length with a leading zero", head + [TestField("content-length", "00")], .field),
        ("two authorities", FrameWriter.requestHead(authority: "a,b"), .authority),
        ("another host", head + [TestField("host", "other.example")], .hostMismatch),
        (
            "two hosts", head + [TestField("host", "weir.example"), TestField("host", "weir.example")],
            .message
        ),
    ]

    @Test(arguments: malformed.indices)
    func `a malformed request is reset and never seen`(index: Int) {
        let (what, fields, fault) = Self.malformed[index]
        let (events, server) = events(head: fields)
        #expect(events == [.malformed(1, fault)], "\(what)")
        let resets = SentFrame.all(in: server.output()).filter { $0.kind == .resetStream }
        #expect(resets.map(\.stream) == [1] && resets.first?.code == 1, "\(what)")
        #expect(server.failure == nil && server.session.openStreamCount == 0, "\(what)")
        #expect(server.takeEvents() == [], "\(what)")
    }

    @Test(arguments: [(1, "a"), (0, "abcd"), (5, "abcd"), (3, "abcd")])
    func `content that belies its length is never whole`(length: Int, content: String) {
        let (events, server) = events(
            head: FrameWriter.requestHead("POST") + [TestField("content-length", "\(length)")],
            content: Array(content.utf8))
        guard length != content.utf8.count else { return #expect(events.last == .endOfStream(1)) }
        #expect(!events.contains(.endOfStream(1)))
        _ = server.output()
        let told = events + server.takeEvents()
        #expect(told.contains(.reset(1, .protocolError, .violation, isUnprocessed: false)))
        #expect(told.last == .closed(1, tag: 0))
    }

    @Test func `content without its announced bytes is a violation`() {
        let (events, server) = events(
            head: FrameWriter.requestHead("POST") + [TestField("content-length", "5")], endsStream: true)
        #expect(events == [.malformed(1, .message)])
        #expect(SentFrame.all(in: server.output()).contains { $0.kind == .resetStream && $0.code == 1 })
    }

    @Test func `cookie crumbs become one field`() throws {
        let (_, server) = events(
            head: Self.head + [
                TestField("cookie", "a=1"), TestField("accept", "*/*"), TestField("cookie", "b=2"),
                TestField("x-y", "z"), TestField("cookie", "c=3"),
            ])
        let head = try #require(server.requestHeads[1])
        #expect(
            head.fields.map { server.text($0.name) + ": " + server.text($0.value) } == [
                "host: weir.example", "cookie: a=1; b=2; c=3", "accept: */*", "x-y: z",
            ])
        #expect(head.fields.map(\.id) == [.host, .cookie, .other, .other])
    }

    @Test func `a host without an authority is the authority`() throws {
        let (_, server) = events(
            head: FrameWriter.requestHead(authority: nil)
                + [TestField("a", "b"), TestField("host", "Weir.Example:8443")])
        let head = try #require(server.requestHeads[1])
        #expect(server.text(head.authority) == "Weir.Example:8443")
        #expect(head.fields.map { server.text($0.name) } == ["host", "a"])
    }

    @Test func `an equal host is not told twice`() throws {
        let (_, server) = events(head: Self.head + [TestField("host", "WEIR.example")])
        let head = try #require(server.requestHeads[1])
        #expect(head.fields.map { server.text($0.value) } == ["weir.example"])
    }

    @Test func `fields have their marks`() throws {
        let (_, server) = events(
            head: FrameWriter.requestHead("POST", "/a?b?c") + [
                TestField("te", "trailers"), TestField("expect", "100-Continue"), TestField("x_y", "1"),
                TestField("content-length", "3"), TestField("x-forwarded-for", "192.0.2.1"),
                TestField("http2-settings", "AAA"),
            ], content: Array("abc".utf8))
        let head = try #require(server.requestHeads[1])
        #expect(head.acceptsTrailers && head.expectsContinue && head.upgrade == .none && head.isPersistent)
        #expect(head.framing == .counted(3))
        #expect(
            head.fields.map(\.id)
                == [.host, .te, .expect, .other, .contentLength, .forwardedFor, .http2Settings])
        #expect(head.fields.map(\.isHopByHop) == [false, true, false, false, false, false, true])
        #expect(head.fields.map(\.hasUnusualName) == [false, false, false, true, false, false, false])
        #expect(server.text(head.path) == "/a" && server.text(head.query) == "b?c")
        #expect(server.text(head.target) == "/a?b?c" && head.byteCount > 60)
    }

    @Test func `a disguised framing field is not passed on`() throws {
        let (_, server) = events(
            head: FrameWriter.requestHead("POST", "/") + [
                TestField("transfer_encoding", "chunked"), TestField("content.length", "3"),
                TestField("x-transfer-encoding", "1"),
            ], content: Array("abc".utf8))
        let head = try #require(server.requestHeads[1])
        #expect(head.fields.map(\.isHopByHop) == [false, true, true, false])
    }

    @Test(arguments: [
        ("GET", "/", nil, true, BodyFraming.none), ("POST", "/", nil, false, .streamed),
        ("POST", "/", "7", false, .counted(7)), ("POST", "/", "0", true, .counted(0)),
        ("OPTIONS", "*", nil, true, .none), ("BREW", "/pot", nil, true, .none),
    ])
    func `a head tells how its content ends`(
        method: String, path: String, length: String?, endsStream: Bool, framing: BodyFraming
    ) throws {
        let (_, server) = events(
            head: FrameWriter.requestHead(method, path)
                + (length.map { [TestField("content-length", $0)] } ?? []), endsStream: endsStream)
        let head = try #require(server.requestHeads[1])
        #expect(head.framing == framing)
        #expect(server.text(head.methodBytes) == method && server.text(head.path) == path)
    }

    @Test func `CONNECT is refused with a status`() {
        let (events, server) = events(
            head: [TestField(":method", "CONNECT"), TestField(":authority", "weir.example:443")],
            endsStream: false)
        #expect(events == [.refusal(1, .connectMethod, endsStream: false)])
        server.respond(1, statusCode: HTTP2Refusal.connectMethod.statusCode)
        server.session.discardContent(stream: 1)
        let frames = SentFrame.all(in: server.output()).filter { $0.stream == 1 }
        #expect(frames.map(\.kind) == [.headers, .resetStream] && frames.last?.code == 0)
        #expect(server.takeEvents() == [.closed(1, tag: 0)])
    }

    @Test(arguments: [
        (nil, nil, DesyncFinding.Reason.none), ("content-length", "0", .getHeadZeroContentLength),
        ("transfer_encoding", "chunked", .suspiciousHeader), ("content_length", "5", .suspiciousHeader),
        ("x-name", "\u{E4}", .nonCompliantHeader),
    ])
    func `a request is judged as in earlier versions`(
        name: String?, value: String?, reason: DesyncFinding.Reason
    ) throws {
        let (_, server) = events(head: Self.head + (name.map { [TestField($0, value ?? "")] } ?? []))
        let head = try #require(server.requestHeads[1])
        #expect(head.desync.reason == reason)
        if reason == .suspiciousHeader { #expect(head.fields[1].isHopByHop) }
    }

    @Test func `extended CONNECT is off`() {
        let (events, _) = events(
            head: [
                TestField(":method", "CONNECT"), TestField(":protocol", "websocket"),
                TestField(":scheme", "https"), TestField(":path", "/"), TestField(":authority", "a"),
            ], endsStream: false)
        #expect(events == [.malformed(1, .message)])
    }

    @Test(arguments: [2, 300])
    func `a head beyond the limits is refused with a status`(fieldCount: Int) {
        let value = String(repeating: "v", count: (70 << 10) / fieldCount)
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        let block = FrameWriter.block(
            Self.head + (0..<fieldCount).map { TestField("f\($0)", fieldCount == 2 ? value : "v") })
        writer.frame(
            .headers, flags: FrameWriter.endStream | (block.count <= 16_384 ? FrameWriter.endHeaders : 0),
            stream: 1, Array(block.prefix(16_384)))
        var rest = block.dropFirst(16_384)
        while !rest.isEmpty {
            writer.frame(
                .continuation, flags: rest.count <= 16_384 ? FrameWriter.endHeaders : 0, stream: 1,
                Array(rest.prefix(16_384)))
            rest = rest.dropFirst(16_384)
        }
        writer.request(stream: 3, "GET", "/after")
        server.receive(writer.takeBytes())
        let events = server.takeEvents()
        #expect(events[1] == .refusal(1, .headTooLarge, endsStream: true))
        // The compression state is still right.
        #expect(server.requestHeads[3].map { server.text($0.target) } == "/after")
        #expect(server.respond(1, statusCode: 431))
        #expect(server.failure == nil)
    }

    @Test func `trailers say nothing about what came before`() throws {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        writer.request(stream: 1, "POST", "/", [], endsStream: false)
        writer.data(stream: 1, Array("abc".utf8))
        writer.headers(
            stream: 1,
            [
                TestField("x-sum", "1"), TestField("transfer-coding", "x"),
                TestField("host", "other.example"),
                TestField("content-length", "3"), TestField("cookie", "a=b"),
            ])
        server.receive(writer.takeBytes())
        #expect(
            server.takeEvents().suffix(2) == [
                .content(1, Array("abc".utf8)),
                .trailers(1, [TestField("x-sum", "1"), TestField("transfer-coding", "x")]),
            ])
        // The others are there, marked as not to be passed on.
        #expect(server.trailers[1]?.map(\.isHopByHop) == [false, false, true, true, true])
    }

    @Test func `trailers that do not end the stream are a violation`() {
        let server = TestEndpoint(isServer: true)
        var writer = FrameWriter.client()
        writer.request(stream: 1, "POST", "/", [], endsStream: false)
        writer.headers(stream: 1, [TestField("x-sum", "1")], endsStream: false)
        server.receive(writer.takeBytes())
        #expect(server.takeEvents().last == .reset(1, .protocolError, .violation, isUnprocessed: false))
        _ = server.output()
        #expect(server.takeEvents() == [.closed(1, tag: 0)])
    }

    // MARK: Responses

    private static let malformedResponses: [(String, [TestField])] = [
        ("no status", [TestField("a", "b")]),
        ("a status of two digits", [TestField(":status", "20")]),
        ("a status of four digits", [TestField(":status", "2000")]),
        ("a status below 100", [TestField(":status", "099")]),
        ("101", [TestField(":status", "101")]),
        ("a signed status", [TestField(":status", "+20")]),
        ("two statuses", [TestField(":status", "200"), TestField(":status", "200")]),
        ("a pseudo-header of requests", [TestField(":status", "200"), TestField(":path", "/")]),
        ("Connection", [TestField(":status", "200"), TestField("connection", "close")]),
        ("Transfer-Encoding", [TestField(":status", "200"), TestField("transfer-encoding", "chunked")]),
        ("a line break in a value", [TestField(":status", "200"), TestField("location", "/\r\nx: y")]),
        ("a length it does not have", [TestField(":status", "200"), TestField("content-length", "5")]),
        ("an interim response that ends", [TestField(":status", "103")]),
    ]

    @Test(arguments: malformedResponses.indices)
    func `a malformed response resets its stream`(index: Int) throws {
        let (what, fields) = Self.malformedResponses[index]
        let client = TestEndpoint(isServer: false)
        let stream = try #require(client.request(tag: 9))
        _ = client.output()
        var writer = FrameWriter.server()
        writer.headers(stream: stream, fields)
        client.receive(writer.takeBytes())
        _ = client.output()
        #expect(
            client.takeEvents() == [
                .settings, .reset(stream, .protocolError, .violation, isUnprocessed: false),
                .closed(stream, tag: 9),
            ], "\(what)")
    }

    @Test(arguments: [("HEAD", 200), ("GET", 304)])
    func `a response without content may have a length`(method: String, statusCode: Int) throws {
        let client = TestEndpoint(isServer: false)
        let stream = try #require(client.request(method))
        _ = client.output()
        var writer = FrameWriter.server()
        writer.headers(
            stream: stream, [TestField(":status", "\(statusCode)"), TestField("content-length", "5")])
        client.receive(writer.takeBytes())
        #expect(client.responseHeads[stream]?.framing == BodyFraming.none)
        #expect(client.takeEvents().last == .closed(stream, tag: 0))
    }
}
