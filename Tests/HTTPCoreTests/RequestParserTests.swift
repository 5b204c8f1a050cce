// Heads of requests: what is read, what is refused and why.

import Balancing
import HTTPCore
import Testing

@Suite struct `Request parser` {
    @Test func `reads a common request`() {
        let text =
            "GET /a/b?c=d?e HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent:\t curl/8 \t\r\nAccept: */*\r\n"
            + "X_Odd: 1\r\nEmpty:\r\n\r\nrest"
        let request = ReadRequest(text)
        #expect(request.outcome == .complete)
        #expect(request.method == "GET" && request.version == .http11)
        #expect(request.target == "/a/b?c=d?e" && request.path == "/a/b" && request.query == "c=d?e")
        #expect(request.authority == "example.com:8080")
        #expect(request.fields.map(\.name) == ["Host", "User-Agent", "Accept", "X_Odd", "Empty"])
        #expect(request.fields.map(\.value) == ["example.com:8080", "curl/8", "*/*", "1", ""])
        #expect(request.fields.map(\.id) == [.host, .userAgent, .other, .other, .other])
        #expect(request.fields.map(\.hasUnusualName) == [false, false, false, true, false])
        #expect(request.hopByHopNames == [])
        #expect(request.framing == .none && request.isPersistent && request.desync == .compliant)
        #expect(request.byteCount == text.utf8.count - 4)
    }
}
