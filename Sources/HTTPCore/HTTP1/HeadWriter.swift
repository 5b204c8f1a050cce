// Writes the heads and chunks of HTTP/1.1: always anew from what was understood, never the bytes that came.

public enum HeadWriter {
    /// `GET /path?query HTTP/1.1`, in origin-form or asterisk-form whatever form it came in.
    public static func appendRequestLine(
        of head: borrowing RequestHead, _ bytes: Span<UInt8>, to output: inout OutputBuffer
    ) {
        output.append(bytes, head.methodBytes)
        output.append(" ")
        if head.path.isEmpty {
            // Absolute-form without a path; for OPTIONS it means the server as a whole. RFC 9112 section 3.2.4.
            output.append(head.method == .options && !head.hasQuery ? "*" : "/")
        } else {
            output.append(bytes, head.path)
        }
        if head.hasQuery {
            output.append("?")
            output.append(bytes, head.query)
        }
        output.append(" HTTP/1.1\r\n")
    }

    /// `HTTP/1.1 200 OK`, with the target's own reason phrase.
    public static func appendStatusLine(
        of head: borrowing ResponseHead, _ bytes: Span<UInt8>, to output: inout OutputBuffer
    ) {
        output.append("HTTP/1.1 ")
        output.append(decimal: UInt64(head.statusCode))
        output.append(" ")
        output.append(bytes, head.reason)
        output.append("\r\n")
    }

    /// The field as it came, without the whitespace around its value.
    @inline(__always)
    public static func appendField(_ field: HeadField, _ bytes: Span<UInt8>, to output: inout OutputBuffer) {
        output.appendField(bytes, name: field.name.range, value: field.value.range)
    }

    /// What frames the content to come. Nothing for `none`, `untilClose` and `streamed`.
    ///
    /// A Content-Length that came and is not marked hop-by-hop says the same as `counted`: send one of the two.
    public static func appendFraming(_ framing: BodyFraming, to output: inout OutputBuffer) {
        switch framing {
        case .none, .untilClose, .streamed: break
        case .counted(let count):
            output.append("Content-Length: ")
            output.append(decimal: count)
            output.append("\r\n")
        case .chunked:
            output.append("Transfer-Encoding: chunked\r\n")
        }
    }

    public static func appendHeadEnd(to output: inout OutputBuffer) {
        output.append("\r\n")
    }
}

public enum ChunkWriter {
    /// What stands before and after the content of a chunk at most: 16 digits and two line breaks.
    public static let overheadByteCountMax = 20

    /// The line before a chunk of so many bytes. Zero would end the message: use `appendEnd`.
    public static func appendSize(_ byteCount: Int, to output: inout OutputBuffer) {
        precondition(byteCount > 0, "an empty chunk ends a message")
        output.append(hexadecimal: UInt64(byteCount))
        output.append("\r\n")
    }

    /// The line break behind a chunk's content.
    public static func appendChunkEnd(to output: inout OutputBuffer) {
        output.append("\r\n")
    }

    /// The end of a message without trailers.
    public static func appendEnd(to output: inout OutputBuffer) {
        output.append("0\r\n\r\n")
    }

    /// The end of a message with those trailers that are not marked hop-by-hop.
    public static func appendEnd(
        trailers: borrowing [HeadField], _ bytes: Span<UInt8>, to output: inout OutputBuffer
    ) {
        output.append("0\r\n")
        for index in trailers.indices where !trailers[index].isHopByHop {
            HeadWriter.appendField(trailers[index], bytes, to: &output)
        }
        output.append("\r\n")
    }
}
