// Answers to HTTP probes and what must be made of them, for the tests of the parser.

import HTTPCore
import Testing

struct ProbeResponseExample: CustomTestStringConvertible {
    let name: String
    let text: String
    var isClosed = false
    var code: Int?
    var state: ProbeResponseParser.State
    var body = ""

    var testDescription: String { name }

    static let all = wellFormed + malformed

    static let wellFormed = [
        ProbeResponseExample(
            name: "Content-Length", text: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", code: 200,
            state: .complete, body: "hello"),
        ProbeResponseExample(
            name: "until close", text: "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhello", isClosed: true, code: 200,
            state: .complete, body: "hello"),
        ProbeResponseExample(
            name: "until close, still open", text: "HTTP/1.0 200 OK\r\n\r\nhello", code: 200, state: .body,
            body: "hello"),
        ProbeResponseExample(
            name: "chunked",
            text:
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\nhel\r\n0002 \r\nlo\r\n0\r\n\r\n",
            code: 200, state: .complete, body: "hello"),
        ProbeResponseExample(
            name: "chunked outranks a length",
            text:
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n",
            code: 200, state: .complete, body: "x"),
        ProbeResponseExample(
            name: "no reason phrase, bare LF", text: "HTTP/1.1 503\nContent-Length: 0\n\n", code: 503,
            state: .complete),
        ProbeResponseExample(
            name: "interim answers are skipped",
            text: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\nContent-Length: 9\r\n\r\n"
                + "HTTP/1.1 204 None\r\n\r\n",
            code: 204, state: .complete),
        ProbeResponseExample(
            name: "304 has no body", text: "HTTP/1.1 304 Same\r\nContent-Length: 7\r\n\r\n", code: 304,
            state: .complete),
        ProbeResponseExample(
            name: "the same length twice", text: "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
            code: 200,
            state: .complete, body: "ab"),
        ProbeResponseExample(
            name: "a folded field",
            text: "HTTP/1.1 200 OK\r\nX-Other: a\r\n\tb\r\nContent-Length:\r\n 1\r\n\r\nx", code: 200,
            state: .complete, body: "x"),
        ProbeResponseExample(name: "an empty answer", text: "", isClosed: true, state: .head),
        ProbeResponseExample(
            name: "cut off in its body", text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            isClosed: true, code: 200, state: .body, body: "hello"),
        ProbeResponseExample(
            name: "cut off in its header", text: "HTTP/1.1 200 OK\r\nContent", isClosed: true, state: .head),
    ]

    static let malformed = [
        malformed("another protocol", "SSH-2.0-OpenSSH_9\r\n", notHTTP),
        malformed("an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", notHTTP),
        malformed("HTTP/2", "HTTP/2 200\r\n\r\n", notHTTP),
        malformed("a TLS alert", "\u{15}\u{3}\u{3}\0\u{2}\u{2}\n", "it speaks TLS"),
        malformed("version 1.2", "HTTP/1.2 200 OK\r\n", badStatusLine),
        malformed("a short code", "HTTP/1.1 20 OK\r\n", badStatusLine),
        malformed("a long code", "HTTP/1.1 2000 OK\r\n", badStatusLine),
        malformed("no code", "HTTP/1.1\r\n", badStatusLine),
        malformed("code 099", "HTTP/1.1 099 Low\r\n", badStatusLine),
        malformed("101 unasked", "HTTP/1.1 101 Switch\r\n\r\n", "it switches protocols without being asked"),
        malformed("no colon", "HTTP/1.1 200 OK\r\nserver\r\n", badField),
        malformed("space before the colon", "HTTP/1.1 200 OK\r\nserver : x\r\n", badField),
        malformed("no name", "HTTP/1.1 200 OK\r\n: x\r\n", badField),
        malformed("a fold first", "HTTP/1.1 200 OK\r\n x\r\n", "its header begins with a space"),
        malformed("a NUL", "HTTP/1.1 200 OK\r\na: b\0c\r\n", "its header has a control character (0)"),
        malformed("a CR within a line", "HTTP/1.1 200 O\rK\r\n", "its header has a control character (13)"),
        malformed(
            "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", badLength),
        malformed("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", badLength),
        malformed(
            "a huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", badLength),
        malformed("a chunk size that is none", chunked + "hello\r\n", badChunkSize, code: 200),
        malformed("a huge chunk size", chunked + "FFFFFFFFFFFFFFFF\r\n", badChunkSize, code: 200),
        malformed(
            "a chunk too long", chunked + "1\r\nxy\r\n", "a chunk of its body is longer than announced",
            code: 200, body: "x"),
        malformed(
            "a chunk size without end", chunked + "1;" + String(repeating: "x", count: 300),
            "a chunk size of its body has no end", code: 200),
    ]

    private static let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    private static let notHTTP = "it does not begin with \"HTTP/1.\""
    private static let badStatusLine = "its status line is not one of HTTP/1.0 or HTTP/1.1"
    private static let badField = "its header has a line that is no \"name: value\""
    private static let badLength = "its Content-Length is no single number"
    private static let badChunkSize = "a chunk size of its body is no hexadecimal number"

    private static func malformed(
        _ name: String, _ text: String, _ what: String, code: Int? = nil, body: String = ""
    ) -> ProbeResponseExample {
        ProbeResponseExample(name: name, text: text, code: code, state: .malformed(what), body: body)
    }
}
