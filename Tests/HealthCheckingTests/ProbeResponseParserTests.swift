// The parser of HTTP probe answers: tables, every split, and seeded garbage.

import HTTPCore
import HealthChecking
import Testing

@Suite struct `Probe response parser` {
    /// A response and what must be made of it.
    struct Example: CustomTestStringConvertible {
        let name: String
        let text: String
        var isClosed = false
        var code: Int?
        var state: ProbeResponseParser.State
        var body = ""

        var testDescription: String { name }
    }

    static let wellFormed = [
        Example(
            name: "Content-Length", text: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", code: 200,
            state: .complete, body: "hello"),
        Example(
            name: "until close", text: "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhello", isClosed: true, code: 200,
            state: .complete, body: "hello"),
        Example(
            name: "until close, still open", text: "HTTP/1.0 200 OK\r\n\r\nhello", code: 200, state: .body,
            body: "hello"),
        Example(
            name: "chunked",
            text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nhel\r\n0002 \r\nlo\r\n0\r\n\r\n",
            code: 200, state: .complete, body: "hello"),
        Example(
            name: "chunked outranks a length",
            text: "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n",
            code: 200, state: .complete, body: "x"),
        Example(
            name: "no reason phrase, bare LF", text: "HTTP/1.1 503\nContent-Length: 0\n\n", code: 503,
            state: .complete),
        Example(
            name: "interim answers are skipped",
            text: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\nContent-Length: 9\r\n\r\n"
                + "HTTP/1.1 204 None\r\n\r\n",
            code: 204, state: .complete),
        Example(name: "304 has no body", text: "HTTP/1.1 304 Same\r\nContent-Length: 7\r\n\r\n", code: 304, state: .complete),
        Example(
            name: "the same length twice", text: "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", code: 200,
            state: .complete, body: "ab"),
        Example(
            name: "a folded field",
            text: "HTTP/1.1 200 OK\r\nX-Other: a\r\n\tb\r\nContent-Length:\r\n 1\r\n\r\nx", code: 200,
            state: .complete, body: "x"),
        Example(name: "an empty answer", text: "", isClosed: true, state: .head),
        Example(
            name: "cut off in its body", text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            isClosed: true, code: 200, state: .body, body: "hello"),
        Example(name: "cut off in its header", text: "HTTP/1.1 200 OK\r\nContent", isClosed: true, state: .head),
    ]

    static let malformed = [
        Example(name: "another protocol", text: "SSH-2.0-OpenSSH_9\r\n", state: .malformed("it does not begin with \"HTTP/1.\"")),
        Example(name: "an empty line first", text: "\r\nHTTP/1.1 200 OK\r\n\r\n", state: .malformed("it does not begin with \"HTTP/1.\"")),
        Example(name: "HTTP/2", text: "HTTP/2 200\r\n\r\n", state: .malformed("it does not begin with \"HTTP/1.\"")),
        Example(name: "a TLS alert", text: "\u{15}\u{3}\u{3}\0\u{2}\u{2}\n", state: .malformed("it speaks TLS")),
        Example(name: "version 1.2", text: "HTTP/1.2 200 OK\r\n", state: .malformed("its status line is not one of HTTP/1.0 or HTTP/1.1")),
        Example(name: "a short code", text: "HTTP/1.1 20 OK\r\n", state: .malformed("its status line is not one of HTTP/1.0 or HTTP/1.1")),
        Example(name: "a long code", text: "HTTP/1.1 2000 OK\r\n", state: .malformed("its status line is not one of HTTP/1.0 or HTTP/1.1")),
        Example(name: "no code", text: "HTTP/1.1\r\n", state: .malformed("its status line is not one of HTTP/1.0 or HTTP/1.1")),
        Example(name: "code 099", text: "HTTP/1.1 099 Low\r\n", state: .malformed("its status line is not one of HTTP/1.0 or HTTP/1.1")),
        Example(name: "101 unasked", text: "HTTP/1.1 101 Switch\r\n\r\n", state: .malformed("it switches protocols without being asked")),
        Example(name: "no colon", text: "HTTP/1.1 200 OK\r\nserver\r\n", state: .malformed("its header has a line that is no \"name: value\"")),
        Example(name: "space before the colon", text: "HTTP/1.1 200 OK\r\nserver : x\r\n", state: .malformed("its header has a line that is no \"name: value\"")),
        Example(name: "no name", text: "HTTP/1.1 200 OK\r\n: x\r\n", state: .malformed("its header has a line that is no \"name: value\"")),
        Example(name: "a fold first", text: "HTTP/1.1 200 OK\r\n x\r\n", state: .malformed("its header begins with a space")),
        Example(name: "a NUL", text: "HTTP/1.1 200 OK\r\na: b\0c\r\n", state: .malformed("its header has a control character (0)")),
        Example(name: "a CR within a line", text: "HTTP/1.1 200 O\rK\r\n", state: .malformed("its header has a control character (13)")),
        Example(name: "two lengths", text: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", state: .malformed("its Content-Length is no single number")),
        Example(name: "a negative length", text: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", state: .malformed("its Content-Length is no single number")),
        Example(name: "a huge length", text: "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", state: .malformed("its Content-Length is no single number")),
        Example(
            name: "a chunk size that is none",
            text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", code: 200,
            state: .malformed("a chunk size of its body is no hexadecimal number")),
        Example(
            name: "a huge chunk size",
            text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n", code: 200,
            state: .malformed("a chunk size of its body is no hexadecimal number")),
        Example(
            name: "a chunk too long", text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
            code: 200, state: .malformed("a chunk of its body is longer than announced"), body: "x"),
        Example(
            name: "a chunk size without end",
            text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + String(repeating: "x", count: 300),
            code: 200, state: .malformed("a chunk size of its body has no end")),
    ]

    @Test(arguments: wellFormed + malformed)
    func `an answer is read whole`(example: Example) {
        expect(example, of: parse([Array(example.text.utf8)], isClosed: example.isClosed))
    }

    @Test(arguments: wellFormed + malformed)
    func `how an answer is cut changes nothing`(example: Example) {
        let bytes = Array(example.text.utf8)
        expect(example, of: parse(bytes.map { [$0] }, isClosed: example.isClosed))
        for cut in bytes.indices {
            expect(
                example, of: parse([Array(bytes[..<cut]), Array(bytes[cut...])], isClosed: example.isClosed))
        }
    }

    @Test func `without need for the body the head completes`() {
        var parser = ProbeResponseParser()
        parser.feed(Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe".utf8)[...])
        #expect(parser.state == .complete)
        #expect(parser.body.isEmpty)
    }

    @Test func `fields are looked up without case and keep their lines apart`() {
        var parser = ProbeResponseParser(keeping: ["X-State"])
        parser.feed(
            Array("HTTP/1.1 200 OK\r\nx-STATE: \tdrain \r\nOther: 1\r\nX-State:a\r\n b\r\n\r\n".utf8)[...])
        #expect(parser.values(of: "x-state") == ["drain", "a b"])
        #expect(parser.values(of: "other") == [])
    }

    @Test func `a longer body than may be kept is complete at the bound`() {
        var parser = ProbeResponseParser(isBodyWanted: true)
        parser.feed(Array("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".utf8)[...])
        let piece = [UInt8](repeating: 120, count: 1_000)
        for _ in 0..<65 { parser.feed(piece[...]) }
        #expect(parser.state == .body)
        for _ in 0..<1_000 { parser.feed(piece[...]) }
        #expect(parser.state == .complete)
        #expect(parser.body.count == 65_536)
    }

    @Test(arguments: ["X: y\r\n", "HTTP/1.1 100 More\r\n\r\n", "x"])
    func `a header without end is refused at the bound`(piece: String) {
        var parser = ProbeResponseParser(keeping: ["X"])
        parser.feed(Array((piece.hasPrefix("HTTP") ? "" : "HTTP/1.1 200 OK\r\n").utf8)[...])
        for _ in 0..<70_000 { parser.feed(Array(piece.utf8)[...]) }
        #expect(parser.state == .malformed("its header has more than 65536 bytes"))
        #expect(parser.statusCode == nil)
    }

    @Test(arguments: UInt64(0)..<256)
    func `garbage never traps and never depends on how it was cut`(seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        for _ in 0..<20 {
            let bytes = garbage(using: &generator)
            let whole = parse([bytes], isClosed: true)
            let single = parse(bytes.map { [$0] }, isClosed: true)
            #expect(whole.state == single.state)
            #expect(whole.statusCode == single.statusCode)
            #expect(whole.body == single.body)
        }
    }

    /// A good answer with some of its bytes exchanged, doubled or dropped.
    private func garbage(using generator: inout SplitMix64) -> [UInt8] {
        let examples = Self.wellFormed + Self.malformed
        var bytes = Array((examples.randomElement(using: &generator)?.text ?? "").utf8)
        for _ in 0..<Int.random(in: 0...6, using: &generator) where !bytes.isEmpty {
            let index = Int.random(in: bytes.indices, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
            case 1: bytes.remove(at: index)
            case 2: bytes.insert(contentsOf: bytes[index...].prefix(20), at: index)
            default: bytes[index] = "\r\n:;, 0F9\0\u{7F}".utf8.randomElement(using: &generator) ?? 0
            }
        }
        return bytes
    }

    private func parse(_ pieces: [[UInt8]], isClosed: Bool) -> ProbeResponseParser {
        var parser = ProbeResponseParser(isBodyWanted: true)
        for piece in pieces { parser.feed(piece[...]) }
        if isClosed { parser.finish() }
        return parser
    }

    private func expect(_ example: Example, of parser: ProbeResponseParser) {
        #expect(parser.state == example.state)
        #expect(parser.statusCode == example.code)
        #expect(String(decoding: parser.body, as: UTF8.self) == example.body)
    }
}
