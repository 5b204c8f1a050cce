// Content by count, by chunks and until the end.

import HTTPCore
import Testing

@Suite struct `Body reader` {
    @Test func `reads chunks, swallows their extensions and returns trailers`() {
        let body = ReadBody(
            "5\r\nhello\r\n6;a=\"b;c\";d\r\n world\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\nGET", .chunked)
        #expect(body.isComplete && body.fault == nil)
        #expect(body.text == "hello world")
        #expect(body.trailers.map(\.name) == ["X-Sum", "Host"])
        #expect(body.trailers.map(\.isHopByHop) == [false, true])
        #expect(body.restByteCount == 3)
    }

    @Test func `counts content and leaves what follows`() {
        let body = ReadBody("helloGET /", .counted(5))
        #expect(body.isComplete && body.text == "hello" && body.restByteCount == 5)
    }
}
