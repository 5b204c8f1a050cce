// A warm worker reads and writes HTTP/1.1 without allocating.

import CAllocationCount
import HTTPCore
import Testing

@Suite struct `HTTP/1.1 allocations` {
    /// How many allocations the calling thread makes in ten runs of `work` after a first.
    private func count(_ work: () -> Bool) -> UInt64 {
        #expect(work())
        allocation_count_take_part(true)
        let before = allocation_own_count()
        var isRight = true
        for _ in 0..<10 { isRight = work() && isRight }
        let after = allocation_own_count()
        allocation_count_take_part(false)
        #expect(isRight)
        return after - before
    }

    @Test func `an exchange makes none`() {
        let request = Array(
            ("POST /a?b HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
                + "User-Agent: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nCache-Control: \u{E9}\r\n\r\n"
                + "5;a=b\r\nhello\r\n0\r\n\r\n").utf8)
        let response = Array(
            "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello".utf8)
        var requestHead = RequestHead()
        var responseHead = ResponseHead()
        var output = OutputBuffer(capacity: 4_096)
        let allocations = count {
            output.removeAll()
            guard RequestParser.parse(request.span, into: &requestHead) == .complete,
                ResponseParser.parse(response.span, answering: requestHead.method, into: &responseHead)
                    == .complete
            else { return false }
            HeadWriter.appendRequestLine(of: requestHead, request.span, to: &output)
            for index in requestHead.fields.indices where !requestHead.fields[index].isHopByHop {
                HeadWriter.appendField(requestHead.fields[index], request.span, to: &output)
            }
            HeadWriter.appendFraming(requestHead.framing, to: &output)
            HeadWriter.appendHeadEnd(to: &output)
            var reader = BodyReader(requestHead.framing)
            var position = requestHead.byteCount
            while case .content(let range) = reader.next(request.span, from: &position) {
                ChunkWriter.appendSize(range.count, to: &output)
                output.append(request.span, range)
                ChunkWriter.appendChunkEnd(to: &output)
            }
            ChunkWriter.appendEnd(to: &output)
            HeadWriter.appendStatusLine(of: responseHead, response.span, to: &output)
            return reader.isComplete && !output.hasOverflowed && output.count > 150
        }
        #expect(allocations == 0)
    }

    @Test(arguments: HostileRequest.all)
    func `refusing makes none either`(request: HostileRequest) {
        guard request.outcome == .refused else { return }
        var head = RequestHead()
        let bytes = request.bytes
        let allocations = count {
            if case .refused = RequestParser.parse(bytes.span, into: &head) { return true }
            return false
        }
        #expect(allocations == 0)
    }
}
