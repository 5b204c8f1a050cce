// Heads of responses: status lines, framing, and what a target must not say.

import HTTPCore
import Testing

@Suite struct `Response parser` {
    @Test func `reads a common response`() {
        let text =
            "HTTP/1.1 404 Not  Found\r\nServer: x\r\nContent-Length: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nhello"
        let response = ReadResponse(text)
        #expect(response.outcome == .complete)
        #expect(response.statusCode == 404 && response.reason == "Not  Found" && response.version == .http11)
        #expect(response.fields.map(\.id) == [.server, .contentLength, .connection, .other])
        #expect(response.fields.map(\.isHopByHop) == [false, false, true, true])
        #expect(response.framing == .counted(5) && response.isPersistent)
        #expect(response.byteCount == text.utf8.count - 5)
    }

    /// RFC 9112 section 6.3.
    @Test(arguments: [
        ("200", "Content-Length: 5", HTTPMethod.get, BodyFraming.counted(5), true),
        ("200", "Content-Length: 5", .head, .none, true), ("304", "Content-Length: 5", .get, .none, true),
        ("204", "Content-Length: 5", .get, .none, true), ("100", "Content-Length: 5", .get, .none, true),
        ("103", "", .get, .none, true), ("101", "", .get, .none, true), ("204", "", .post, .none, true),
        ("200", "Transfer-Encoding: chunked", .get, .chunked, true),
        ("200", "Transfer-Encoding: chunked", .head, .none, true),
        ("304", "Transfer-Encoding: chunked", .get, .none, true),
        ("200", "Transfer-Encoding: chunked\r\nContent-Length: 5", .get, .chunked, false),
        ("200", "Content-Length: 5\r\nTransfer-Encoding: chunked", .get, .chunked, false),
        ("200", "Content-Length: 5\r\nContent-Length: 5", .get, .counted(5), true),
        ("200", "Content-Length: 0", .get, .counted(0), true), ("200", "", .get, .untilClose, false),
        ("500", "", .post, .untilClose, false), ("200", "", .head, .none, true),
        ("200", "Connection: close\r\nContent-Length: 5", .get, .counted(5), false),
    ])
    func `frames by status, method and fields`(
        status: String, fields: String, method: HTTPMethod, framing: BodyFraming, isPersistent: Bool
    ) {
        let response = ReadResponse(
            "HTTP/1.1 \(status) X\r\n" + (fields.isEmpty ? "" : fields + "\r\n") + "\r\n", answering: method)
        #expect(response.outcome == .complete)
        #expect(response.framing == framing)
        #expect(response.isPersistent == isPersistent)
        // Whoever copies what is not hop-by-hop sends one length at most, and none beside chunked.
        let lengths = response.fields.filter { $0.id == .contentLength && !$0.isHopByHop }
        switch response.framing {
        case .counted: #expect(lengths.count == 1)
        case .none: #expect(lengths.count <= 1 && (lengths.isEmpty || status == "304" || method == .head))
        case .chunked, .untilClose, .streamed: #expect(lengths.isEmpty)
        }
        #expect(response.fields.allSatisfy { $0.id != .transferEncoding || $0.isHopByHop })
    }

    @Test(arguments: [
        ("HTTP/1.0 200 OK\r\n\r\n", false), ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
    ])
    func `HTTP/1.0 persists only when it says so and can`(text: String, isPersistent: Bool) {
        #expect(ReadResponse(text).isPersistent == isPersistent)
    }

    @Test(arguments: [
        ("HTTP/1.1 200\r\n\r\n", 200, ""), ("HTTP/1.1 200 \r\n\r\n", 200, ""),
        ("HTTP/1.1 999 x\r\n\r\n", 999, "x"), ("HTTP/1.1 200 caf\u{E9}\tx\r\n\r\n", 200, "caf\u{E9}\tx"),
        ("HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\n\r\n", 200, "OK"),
    ])
    func `is lenient where it costs nothing`(text: String, status: Int, reason: String) {
        let response = ReadResponse(text)
        #expect(response.outcome == .complete && response.statusCode == status && response.reason == reason)
    }

    static let refused: [(String, HeadFault)] = [
        ("ICY 200 OK\r\n\r\n", .badStatusLine), ("HTTP/2.0 200 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.2 200 OK\r\n\r\n", .badStatusLine), ("http/1.1 200 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", .badStatusLine), ("HTTP/1.1 2000 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", .badStatusLine), ("HTTP/1.1 099 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 2x0 OK\r\n\r\n", .badStatusLine), ("HTTP/1.1\t200 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", .badStatusLine), ("HTTP/1.1 200 OK\n\r\n", .bareLineFeed),
        ("HTTP/1.1 200 OK\r\r\n", .bareCarriageReturn), ("\r\nHTTP/1.1 200 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\n\r\n", .bareLineFeed),
        ("HTTP/1.1 200 OK\r\nX: 1\r\n Y: 2\r\n\r\n", .foldedField),
        ("HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", .whitespaceBeforeColon),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", .conflictingContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", .badContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", .badContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .unsupportedTransferCoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", .badTransferEncoding),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            .repeatedChunked
        ),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
        ("HTTP/1.1 200 OK\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n", .suspiciousFraming),
        ("\u{15}\u{3}\u{3}", .badStatusLine), ("SSH-2.0", .badStatusLine),
    ]

    @Test(arguments: refused)
    func `refuses what could be read in two ways, from any beginning`(text: String, fault: HeadFault) {
        #expect(ReadResponse(text).outcome == .refused(fault))
        let bytes = Array(text.utf8)
        for count in 0..<bytes.count {
            let outcome = ReadResponse(Array(bytes[..<count])).outcome
            #expect(outcome == .needMore || outcome == .refused(fault), "after \(count)")
        }
    }

    @Test func `any beginning of a good one needs more`() {
        let bytes = Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\n\r\nhello".utf8)
        let whole = ReadResponse(bytes)
        for count in 0..<whole.byteCount {
            #expect(ReadResponse(Array(bytes[..<count])).outcome == .needMore)
        }
        #expect(ReadResponse(Array(bytes[..<whole.byteCount])) == whole)
    }

    @Test func `a head above its bounds is refused`() {
        let fields = String(repeating: "X: " + String(repeating: "a", count: 1_019) + "\r\n", count: 33)
        #expect(ReadResponse("HTTP/1.1 200 OK\r\n" + fields + "\r\n").outcome == .refused(.headTooLong))
        let line = "HTTP/1.1 200 " + String(repeating: "a", count: 17_000)
        #expect(ReadResponse(line).outcome == .refused(.requestLineTooLong))
    }
}
