// Whatever Weir accepts, llhttp (as SwiftNIO carries it) reads as the same messages.
//
// One way only: Weir refuses more. The exceptions are those in which it is more lenient, and each is then written
// anew so that no target sees it.

import HTTPCore
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

/// One message in the terms that both have.
private struct Message: Equatable {
    var start = ""
    var fields: [String] = []
    var content: [UInt8] = []
    var trailers: [String] = []
    var isWhole = false
}

@Suite struct `Differential with llhttp` {
    @Test func `requests that are accepted are the same for both`() throws {
        var accepted = 0
        for seed in 0..<MessageDice.seedCount * 16 {
            var dice = MessageDice(seed: seed)
            let bytes = dice.requests()
            let ours = readRequests(bytes)
            guard !ours.isEmpty else { continue }
            let theirs = try llhttpRequests(bytes)
            for (index, message) in ours.enumerated() {
                accepted += 1
                guard index < theirs.count else {
                    Issue.record("seed \(seed): message \(index) is not read: \(escaped(bytes))")
                    break
                }
                #expect(message == theirs[index], "seed \(seed): \(escaped(bytes))")
            }
        }
        // Most of what is made up is well-formed.
        #expect(accepted > Int(MessageDice.seedCount) * 8)
    }

    @Test func `responses that are accepted are the same for both`() throws {
        var accepted = 0
        for seed in 0..<MessageDice.seedCount * 8 {
            var dice = MessageDice(seed: seed ^ 0x5EED)
            let isHead = dice.isRare(6)
            let bytes = dice.response()
            guard let ours = readResponse(bytes, answering: isHead ? .head : .get) else { continue }
            accepted += 1
            let theirs = try llhttpResponse(bytes, answering: isHead ? .HEAD : .GET)
            #expect(ours == theirs, "seed \(seed) \(isHead): \(escaped(bytes))")
        }
        #expect(accepted > Int(MessageDice.seedCount) * 4)
    }

    // MARK: Weir

    private func readRequests(_ bytes: [UInt8]) -> [Message] {
        var rest = bytes
        var messages: [Message] = []
        var head = RequestHead()
        while true {
            let read = ReadRequest(rest, into: &head)
            guard read.outcome == .complete, !isException(read) else { return messages }
            var message = Message()
            message.start = "\(read.method) \(read.target) \(read.version)"
            message.fields = read.fields.map { "\($0.name): \($0.value)" }
            let body = ReadBody(Array(rest[read.byteCount...]), read.framing)
            message.content = body.content
            message.trailers = body.trailers.map { "\($0.name): \($0.value)" }
            message.isWhole = body.isComplete
            if body.fault == nil { messages.append(message) }
            // NIO's decoder stops at an upgrade and at the end of a connection, which llhttp sees in HTTP/1.0 where a
            // tab stands behind keep-alive.
            guard body.isComplete, read.isPersistent, read.upgrade == .none, read.version == .http11 else {
                return messages
            }
            rest = Array(rest.suffix(body.restByteCount))
        }
    }

    /// What Weir takes and llhttp does not.
    private func isException(_ read: ReadRequest) -> Bool {
        // Any token is a method (RFC 9110 section 9.1); llhttp knows a list.
        let hasOtherMethod = !MessageDice.methods.contains(read.method)
        // Browsers percent-encode what is beyond ASCII, other clients send it as it is: it ends nothing.
        let hasHighBytes = read.target.utf8.contains { $0 >= 0x80 }
        // Equal lengths become one, and a length beside chunked is dropped: ELBv2 forwards both kinds.
        let lengthCount = read.fields.count { $0.id == .contentLength }
        return hasOtherMethod || hasHighBytes || lengthCount > 1
            || (read.framing == .chunked && lengthCount > 0)
    }

    private func readResponse(_ bytes: [UInt8], answering method: HTTPCore.HTTPMethod) -> Message? {
        let read = ReadResponse(bytes, answering: method)
        guard read.outcome == .complete else { return nil }
        let lengths = read.fields.filter { $0.id == .contentLength }
        if lengths.count > 1 || (!lengths.isEmpty && read.fields.contains { $0.id == .transferEncoding }) {
            return nil
        }
        let body = ReadBody(
            Array(bytes[read.byteCount...]), read.framing, isClosed: read.framing == .untilClose)
        guard body.fault == nil else { return nil }
        return Message(
            start: "\(read.version) \(read.statusCode)",
            fields: read.fields.map { "\($0.name): \($0.value)" }, content: body.content,
            trailers: body.trailers.map { "\($0.name): \($0.value)" }, isWhole: body.isComplete)
    }

    // MARK: llhttp

    private func llhttpRequests(_ bytes: [UInt8]) throws -> [Message] {
        let channel = EmbeddedChannel()
        try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(HTTPRequestDecoder()))
        // What stands before the fault has been read, which is all that is asked.
        _ = try? channel.writeInbound(ByteBuffer(bytes: bytes))
        var messages: [Message] = []
        while let part = try? channel.readInbound(as: HTTPServerRequestPart.self) {
            switch part {
            case .head(let head):
                messages.append(
                    Message(
                        start: "\(head.method.rawValue) \(head.uri) \(version(head.version))",
                        fields: lines(head.headers)))
            case .body(let content):
                messages[messages.count - 1].content += content.readableBytesView
            case .end(let trailers):
                messages[messages.count - 1].trailers = trailers.map(lines) ?? []
                messages[messages.count - 1].isWhole = true
            }
        }
        _ = try? channel.finish(acceptAlreadyClosed: true)
        return messages
    }

    private func llhttpResponse(_ bytes: [UInt8], answering method: NIOHTTP1.HTTPMethod) throws -> Message? {
        let channel = EmbeddedChannel()
        // The pair, so that the decoder knows what the response answers.
        try channel.pipeline.syncOperations.addHandlers([
            HTTPRequestEncoder(), ByteToMessageHandler(HTTPResponseDecoder()),
        ])
        let request = HTTPRequestHead(version: .http1_1, method: method, uri: "/")
        try channel.writeOutbound(HTTPClientRequestPart.head(request))
        _ = try? channel.writeInbound(ByteBuffer(bytes: bytes))
        // The end of content without a length is the end of the connection.
        _ = try? channel.finish(acceptAlreadyClosed: true)
        var message: Message?
        while let part = try? channel.readInbound(as: HTTPClientResponsePart.self) {
            switch part {
            case .head(let head):
                guard message == nil else { return message }
                message = Message(
                    start: "\(version(head.version)) \(head.status.code)",
                    fields: lines(head.headers))
            case .body(let content): message?.content += content.readableBytesView
            case .end(let trailers):
                message?.trailers = trailers.map(lines) ?? []
                message?.isWhole = true
                return message
            }
        }
        return message
    }

    private func version(_ version: NIOHTTP1.HTTPVersion) -> HTTPCore.HTTPVersion {
        version.minor == 0 ? .http10 : .http11
    }

    /// Without the whitespace behind a value, which llhttp leaves to its users.
    private func lines(_ headers: HTTPHeaders) -> [String] {
        headers.map { name, value in
            "\(name): " + value.reversed().drop { $0 == " " || $0 == "\t" }.reversed()
        }
    }

    private func escaped(_ bytes: [UInt8]) -> String {
        String(decoding: bytes, as: UTF8.self).debugDescription
    }
}
