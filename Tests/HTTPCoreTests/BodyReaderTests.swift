// Content by count, by chunks and until the end. Malformed chunks stand in the table of hostile requests.

import HTTPCore
import Testing

@Suite struct `Body reader` {
    @Test func `reads chunks, swallows their extensions and returns trailers`() {
        let body = ReadBody(
            "5\r\nhello\r\n6;a=\"b;c\";d\r\n world\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nX_Y: 1\r\n\r\nGET",
            .chunked)
        #expect(body.isComplete && body.fault == nil)
        #expect(body.text == "hello world")
        #expect(body.trailers.map(\.name) == ["X-Sum", "Host", "X_Y"])
        #expect(body.trailers.map(\.isHopByHop) == [false, true, true])
        #expect(body.restByteCount == 3)
    }

    @Test func `counts content and leaves what follows`() {
        let body = ReadBody("helloGET /", .counted(5))
        #expect(body.isComplete && body.text == "hello" && body.restByteCount == 5)
    }

    @Test(arguments: [BodyFraming.none, .counted(0)])
    func `is at the end at once where there is no content`(framing: BodyFraming) {
        #expect(BodyReader(framing).isComplete)
        let body = ReadBody("GET /", framing)
        #expect(body.isComplete && body.content == [] && body.restByteCount == 5)
    }

    @Test func `content until close ends with it`() {
        #expect(!ReadBody("hello", .untilClose).isComplete)
        let body = ReadBody("hello", .untilClose, cuts: [2], isClosed: true)
        #expect(body.isComplete && body.text == "hello")
    }

    @Test(arguments: [("hell", BodyFraming.counted(5)), ("3\r\nabc\r\n", .chunked), ("0\r\n", .chunked)])
    func `a close before the end is one too early`(text: String, framing: BodyFraming) {
        #expect(!ReadBody(text, framing, isClosed: true).isComplete)
    }

    @Test func `counted content may be moved without being looked at`() {
        var reader = BodyReader(.counted(1 << 40))
        #expect(reader.remainingContentByteCount == 1 << 40)
        reader.skip((1 << 40) - 3)
        #expect(reader.remainingContentByteCount == 3 && !reader.isComplete)
        var position = 0
        let pieces = (0..<2).map { _ in reader.next([1, 2, 3, 4].span, from: &position) }
        #expect(pieces == [.content(0..<3), .end])
        #expect(reader.isComplete && position == 3 && reader.remainingContentByteCount == nil)
        #expect(BodyReader(.chunked).remainingContentByteCount == nil)
        var whole = BodyReader(.counted(7))
        whole.skip(7)
        #expect(whole.isComplete)
    }

    @Test func `a fault stays`() {
        var reader = BodyReader(.chunked)
        var position = 0
        let pieces = ["x", "1\r\na\r\n"].map { reader.next(Array($0.utf8).span, from: &position) }
        #expect(pieces == [.malformed(.badChunkSize), .malformed(.badChunkSize)])
        #expect(!reader.isComplete)
    }

    @Test(arguments: [
        "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Transfer-Encoding", "Host",
        "Cookie",
        "Set-Cookie", "Trailer", "TE", "Cache-Control", "If-Match", "X-Forwarded-For", "Forwarded",
        "Connection", "Expect",
        "X-Amzn-Trace-Id", "X-Amzn-Mtls-Clientcert-Subject", "Location", "Content_Length",
    ])
    func `trailers that would change the meaning of a message are dropped`(name: String) {
        let body = ReadBody("0\r\n\(name): 1\r\nGrpc-Status: 0\r\nDigest: x\r\n\r\n", .chunked)
        #expect(body.isComplete)
        #expect(body.trailers.map(\.isHopByHop) == [true, false, false])
    }
}

@Suite struct `Writers` {
    private func written(_ capacity: Int = 1_024, _ write: (inout OutputBuffer) -> Void) -> String? {
        var output = OutputBuffer(capacity: capacity)
        write(&output)
        if output.hasOverflowed { return nil }
        var text = ""
        output.withBytes { bytes in
            for index in bytes.indices { text.unicodeScalars.append(Unicode.Scalar(bytes[index])) }
        }
        return text
    }

    @Test(arguments: [
        ("GET /a?b HTTP/1.1", "GET /a?b HTTP/1.1"), ("GET http://b.example HTTP/1.1", "GET / HTTP/1.1"),
        ("GET http://b.example?x HTTP/1.1", "GET /?x HTTP/1.1"),
        ("GET https://b.example/y?x?z HTTP/1.0", "GET /y?x?z HTTP/1.1"),
        ("OPTIONS http://b.example HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("OPTIONS http://b.example?x HTTP/1.1", "OPTIONS /?x HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1"),
        ("GET /? HTTP/1.1", "GET /? HTTP/1.1"),
    ])
    func `request lines are written in the form for servers`(line: String, expected: String) {
        let bytes = Array("\(line)\r\nHost: a\r\n\r\n".utf8)
        var head = RequestHead()
        #expect(RequestParser.parse(bytes.span, into: &head) == .complete)
        let text = written { HeadWriter.appendRequestLine(of: head, bytes.span, to: &$0) }
        #expect(text == expected + "\r\n")
    }

    @Test func `what was read and is written again is read the same`() {
        let text = "GET /a?b HTTP/1.1\r\nHost:a\r\nX:\t1 \r\nContent-Length: 3\r\nY:\r\n\r\n"
        let bytes = Array(text.utf8)
        var head = RequestHead()
        #expect(RequestParser.parse(bytes.span, into: &head) == .complete)
        let copy = written { output in
            HeadWriter.appendRequestLine(of: head, bytes.span, to: &output)
            for field in head.fields { HeadWriter.appendField(field, bytes.span, to: &output) }
            HeadWriter.appendHeadEnd(to: &output)
        }
        #expect(copy == "GET /a?b HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 3\r\nY: \r\n\r\n")
    }

    @Test func `status lines keep their reason`() {
        let bytes = Array("HTTP/1.0 404 Gone Fishing\r\n\r\n".utf8)
        var head = ResponseHead()
        #expect(ResponseParser.parse(bytes.span, answering: .get, into: &head) == .complete)
        let text = written { HeadWriter.appendStatusLine(of: head, bytes.span, to: &$0) }
        #expect(text == "HTTP/1.1 404 Gone Fishing\r\n")
    }

    @Test(arguments: [
        (BodyFraming.none, ""), (.untilClose, ""), (.streamed, ""), (.counted(0), "Content-Length: 0\r\n"),
        (.counted(.max), "Content-Length: 18446744073709551615\r\n"),
        (.chunked, "Transfer-Encoding: chunked\r\n"),
    ])
    func `framing is one field at most`(framing: BodyFraming, expected: String) {
        let text = written { HeadWriter.appendFraming(framing, to: &$0) }
        #expect(text == expected)
    }

    @Test(arguments: [
        (1, "1"), (15, "f"), (16, "10"), (255, "ff"), (16_384, "4000"), (Int.max, "7fffffffffffffff"),
    ])
    func `chunk sizes have no leading zeros`(byteCount: Int, size: String) {
        let text = written { ChunkWriter.appendSize(byteCount, to: &$0) }
        #expect(text == size + "\r\n")
        #expect(size.utf8.count + 4 <= ChunkWriter.overheadByteCountMax)
    }

    @Test func `chunks that were read and written anew are the same content`() {
        let bytes = Array("3;x=y\r\nabc\r\n00000a\r\n0123456789\r\n0\r\nX: 1\r\nHost: b\r\n\r\n".utf8)
        var reader = BodyReader(.chunked)
        var position = 0
        var isEnded = false
        let copy = written { output in
            var trailers: [HeadField] = []
            while !isEnded {
                switch reader.next(bytes.span, from: &position) {
                case .content(let range):
                    ChunkWriter.appendSize(range.count, to: &output)
                    output.append(bytes.span, range)
                    ChunkWriter.appendChunkEnd(to: &output)
                case .trailers(let range): TrailerSection.read(bytes.span, range, into: &trailers)
                case .end:
                    ChunkWriter.appendEnd(trailers: trailers, bytes.span, to: &output)
                    isEnded = true
                case .needMore, .malformed: isEnded = true
                }
            }
        }
        #expect(copy == "3\r\nabc\r\na\r\n0123456789\r\n0\r\nX: 1\r\n\r\n")
    }

    @Test func `a buffer takes what fits and says what did not`() {
        for capacity in 0...30 {
            let text = written(capacity) { output in
                output.append("Content-Length: ")
                output.append(decimal: 12_345)
                output.append("\r\n")
            }
            #expect(text == (capacity >= 23 ? "Content-Length: 12345\r\n" : nil))
        }
    }

    @Test func `a buffer is cut and emptied from the front`() {
        var output = OutputBuffer(capacity: 8)
        output.append("abcdefgh")
        output.append("i")
        let (isFull, count) = (output.hasOverflowed, output.count)
        #expect(isFull && count == 8)
        output.truncate(to: 6)
        output.removeFirst(2)
        output.append(hexadecimal: 0)
        let isUsable = !output.hasOverflowed
        let content = output.withBytes { bytes in bytes.indices.map { bytes[$0] } }
        #expect(isUsable && content == Array("cdef0".utf8))
        output.removeAll()
        let isEmpty = output.isEmpty
        #expect(isEmpty)
    }
}
