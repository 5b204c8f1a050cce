// One side of an HTTP/2 conversation for tests: a session whose events are kept as values.

import Balancing
import HTTPCore

/// A field as text.
struct TestField: Equatable, CustomStringConvertible {
    var name: String
    var value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    var description: String { "\(name): \(value)" }
}

/// An event, with the bytes it had its places in.
enum TestEvent: Equatable {
    case request(Int32, method: String, target: String, fields: [TestField], endsStream: Bool)
    case refusal(Int32, HTTP2Refusal, endsStream: Bool)
    case malformed(Int32, HTTP2MessageFault)
    case response(Int32, statusCode: Int, fields: [TestField], endsStream: Bool)
    case content(Int32, [UInt8])
    case trailers(Int32, [TestField])
    case endOfStream(Int32)
    case reset(Int32, HTTP2ErrorCode, HTTP2Reset.Origin, isUnprocessed: Bool)
    case closed(Int32, tag: UInt64)
    case writable(Int32)
    case goAway(lastStream: Int32, HTTP2ErrorCode)
    case settings
}

final class TestEndpoint {
    let pool: HTTP2Pool
    var inbox = HTTP2Inbox()
    var session: HTTP2Session
    var block = HTTP2FieldBlock()
    var now = Instant(nanoseconds: 1_000_000_000)
    var events: [TestEvent] = []
    /// The last heads, whole.
    var requestHeads: [Int32: RequestHead] = [:]
    var responseHeads: [Int32: ResponseHead] = [:]
    var trailers: [Int32: [HeadField]] = [:]
    var failure: HTTP2Failure?
    /// Content is told back as consumed when it comes.
    var consumesContent = true
    /// How much `output` asks for at a time.
    var room = 64 << 10
    var pauseCount = 0

    init(isServer: Bool, isCountingMemory: Bool = false) {
        let pool = HTTP2Pool()
        if isCountingMemory { pool.countMemory() }
        let made =
            isServer ? HTTP2Session(asServerIn: pool, at: now) : HTTP2Session(asClientIn: pool, at: now)
        session = made ?? .none
        self.pool = pool
    }

    deinit {
        session.free()
    }

    /// The events since the last call.
    func takeEvents() -> [TestEvent] {
        defer { events = [] }
        return events
    }

    // MARK: Bytes

    func receive(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while true {
            let part = Array(rest)
            let reception = session.receive(part.span, into: &inbox, at: now)
            note(contentIn: part)
            switch reception {
            case .complete: return
            case .paused(let byteCount):
                rest = rest.dropFirst(byteCount)
                pauseCount += 1
            case .failed(let failure):
                self.failure = failure
                return
            }
        }
    }

    /// Everything that it wants to send now.
    func output() -> [UInt8] {
        var bytes: [UInt8] = []
        while session.wantsToSend {
            let part = [UInt8](capacity: room) { output in
                _ = session.nextOutput(into: &output, inbox: &inbox)
            }
            note(contentIn: [])
            if part.isEmpty { break }
            bytes += part
        }
        if let failure = session.failure { self.failure = failure }
        return bytes
    }

    private func note(contentIn input: [UInt8]) {
        for event in inbox.events {
            events.append(value(of: event, contentIn: input))
        }
    }

    private func value(of event: HTTP2Event, contentIn input: [UInt8]) -> TestEvent {
        switch event {
        case .request(let stream, let head, let endsStream):
            let head = inbox.requestHeads[head]
            requestHeads[stream] = head
            return .request(
                stream, method: text(head.methodBytes), target: text(head.target),
                fields: fields(head.fields),
                endsStream: endsStream)
        case .refusal(let stream, let reason, let endsStream):
            return .refusal(stream, reason, endsStream: endsStream)
        case .malformed(let stream, let fault): return .malformed(stream, fault)
        case .response(let stream, let head, let endsStream):
            let head = inbox.responseHeads[head]
            responseHeads[stream] = head
            return .response(
                stream, statusCode: head.statusCode, fields: fields(head.fields), endsStream: endsStream)
        case .content(let stream, let place):
            if consumesContent { session.consumed(stream: stream, byteCount: Int(place.count)) }
            return .content(stream, Array(input[place.range]))
        case .trailers(let stream, let section):
            trailers[stream] = inbox.trailerSections[section]
            return .trailers(stream, fields(inbox.trailerSections[section].filter { !$0.isHopByHop }))
        case .endOfStream(let stream): return .endOfStream(stream)
        case .reset(let stream, let reset):
            return .reset(stream, reset.code, reset.origin, isUnprocessed: reset.isUnprocessed)
        case .closed(let stream, let tag): return .closed(stream, tag: tag)
        case .writable(let stream): return .writable(stream)
        case .goAway(let lastStream, let code): return .goAway(lastStream: lastStream, code)
        case .settings: return .settings
        }
    }

    func text(_ place: ByteRange) -> String { String(decoding: inbox.fieldBytes[place.range], as: UTF8.self) }

    private func fields(_ fields: [HeadField]) -> [TestField] {
        fields.map { TestField(text($0.name), text($0.value)) }
    }

    // MARK: Messages

    @discardableResult
    func request(
        _ method: String = "GET", _ path: String = "/", authority: String = "weir.example",
        fields: [TestField] = [], endsStream: Bool = true, tag: UInt64 = 0
    ) -> Int32? {
        block.beginRequest(
            method: Array(method.utf8).span, isSecure: true, authority: Array(authority.utf8).span,
            path: Array(path.utf8).span)
        append(fields)
        return session.submitRequest(block, endsStream: endsStream, tag: tag)
    }

    @discardableResult
    func respond(
        _ stream: Int32, statusCode: Int = 200, fields: [TestField] = [], endsStream: Bool = true,
        isInterim: Bool = false
    ) -> Bool {
        block.beginResponse(statusCode: statusCode)
        append(fields)
        return session.submitResponse(block, stream: stream, endsStream: endsStream, isInterim: isInterim)
    }

    @discardableResult
    func write(_ content: [UInt8], stream: Int32) -> Int { session.write(content.span, stream: stream) }

    @discardableResult
    func submitTrailers(_ fields: [TestField], stream: Int32) -> Bool {
        block.beginTrailers()
        append(fields)
        return session.submitTrailers(block, stream: stream)
    }

    private func append(_ fields: [TestField]) {
        for field in fields {
            block.append(Array(field.name.utf8).span, value: Array(field.value.utf8).span)
        }
    }
}

extension [UInt8] {
    /// Filled through a span of that many bytes.
    fileprivate init(capacity: Int, _ body: (inout OutputSpan<UInt8>) -> Void) {
        self.init(unsafeUninitializedCapacity: capacity) { buffer, count in
            var output = OutputSpan(buffer: buffer, initializedCount: 0)
            body(&output)
            count = output.finalize(for: buffer)
        }
    }
}

/// A client and a server that hand each other their bytes.
struct TestConversation {
    let client: TestEndpoint
    let server: TestEndpoint
    /// Bytes arrive in pieces of this many.
    let pieceByteCount: Int

    init(pieceByteCount: Int = .max, isCountingMemory: Bool = false) {
        client = TestEndpoint(isServer: false, isCountingMemory: isCountingMemory)
        server = TestEndpoint(isServer: true, isCountingMemory: isCountingMemory)
        self.pieceByteCount = pieceByteCount
    }

    /// Until neither has anything more to say.
    func exchange() {
        for _ in 0..<10_000 {
            let toServer = client.output()
            hand(toServer, to: server)
            let toClient = server.output()
            hand(toClient, to: client)
            if toServer.isEmpty, toClient.isEmpty { return }
        }
    }

    private func hand(_ bytes: [UInt8], to endpoint: TestEndpoint) {
        var rest = bytes[...]
        while !rest.isEmpty {
            endpoint.receive(Array(rest.prefix(pieceByteCount)))
            rest = rest.dropFirst(pieceByteCount)
        }
    }
}
