// Any bytes as a request, a response or content of HTTP/1: the same in whatever pieces they come, and what is written
// from them is read the same by whoever gets it.
#if DEBUG

import HTTPCore

enum HTTP1Subject {
    static func run(_ bytes: [UInt8]) {
        var source = ByteSource(bytes)
        let choice = source.byte()
        let message = source.remaining
        switch choice % 4 {
        case 0, 1: readRequest(message)
        case 2: readResponse(message, answering: choice & 4 == 0 ? .get : .head)
        default: readContent(message, choice & 4 == 0 ? .chunked : .counted(UInt64(choice) >> 3))
        }
    }

    // MARK: Requests

    private static func readRequest(_ bytes: [UInt8]) {
        var head = RequestHead()
        let outcome = RequestParser.parse(bytes.span, into: &head)
        checkPlaces(head.fields, bytes)
        var beginning = RequestHead()
        for count in cuts(bytes.count) {
            let cut = Array(bytes[..<count])
            let early = RequestParser.parse(cut.span, into: &beginning)
            switch outcome {
            case .complete where count >= head.byteCount: precondition(early == .complete, "already whole")
            case .complete, .needMore: precondition(early == .needMore, "a beginning of a good head")
            case .refused: precondition(early == .needMore || early == outcome, "refused for one reason")
            }
        }
        guard outcome == .complete else { return }
        precondition(head.byteCount <= bytes.count && head.fields.count <= HeadLimits.standard.fieldCountMax)
        precondition(head.desync.classification < .severe, "what is severe is refused")
        precondition(head.version == .http10 || !head.authority.isEmpty)
        checkRewritten(head, bytes)
        readContent(Array(bytes[head.byteCount...]), head.framing)
    }

    /// What goes to a target has one meaning: each field is one line, and a second reading finds what was meant.
    private static func checkRewritten(_ head: RequestHead, _ bytes: [UInt8]) {
        var output = OutputBuffer(capacity: 2 * bytes.count + 256)
        HeadWriter.appendRequestLine(of: head, bytes.span, to: &output)
        output.append("Host: ")
        output.append(bytes.span, head.authority)
        output.append("\r\n")
        let kept = head.fields.filter { !$0.isHopByHop && $0.id != .host && $0.id != .contentLength }
        for field in kept { HeadWriter.appendField(field, bytes.span, to: &output) }
        HeadWriter.appendFraming(head.framing, to: &output)
        HeadWriter.appendHeadEnd(to: &output)
        precondition(!output.hasOverflowed)
        let written = output.withBytes { bytes in bytes.indices.map { bytes[$0] } }
        if head.authority.isEmpty { return }

        let lineCount = kept.count + 3 + (head.framing == .none ? 0 : 1)
        precondition(written.count { $0 == UInt8(ascii: "\n") } == lineCount, "one line feed a line")
        precondition(written.count { $0 == UInt8(ascii: "\r") } == lineCount, "one carriage return a line")
        precondition(!written.contains(0))
        // A line break may be longer than what it replaces, so that only the bounds may differ.
        let limits = HeadLimits(
            requestLineByteCountMax: 1 << 20, fieldLineByteCountMax: 1 << 20, headByteCountMax: 1 << 21,
            fieldCountMax: 1_000)
        var again = RequestHead()
        precondition(RequestParser.parse(written.span, into: &again, limits: limits) == .complete)
        precondition(again.byteCount == written.count && again.framing == head.framing)
        precondition(
            again.method == head.method && Array(bytes[head.query.range]) == Array(written[again.query.range])
        )
        precondition(
            head.path.isEmpty || Array(bytes[head.path.range]) == Array(written[again.path.range]), "the path"
        )
        precondition(Array(bytes[head.authority.range]) == Array(written[again.authority.range]), "the host")
    }

    // MARK: Responses

    private static func readResponse(_ bytes: [UInt8], answering method: HTTPMethod) {
        var head = ResponseHead()
        let outcome = ResponseParser.parse(bytes.span, answering: method, into: &head)
        checkPlaces(head.fields, bytes)
        var beginning = ResponseHead()
        for count in cuts(bytes.count) {
            let cut = Array(bytes[..<count])
            let early = ResponseParser.parse(cut.span, answering: method, into: &beginning)
            switch outcome {
            case .complete where count >= head.byteCount: precondition(early == .complete, "already whole")
            case .complete, .needMore: precondition(early == .needMore, "a beginning of a good head")
            case .refused: precondition(early == .needMore || early == outcome, "refused for one reason")
            }
        }
        guard outcome == .complete else { return }
        precondition((100...999).contains(head.statusCode) && head.byteCount <= bytes.count)
        let lengths = head.fields.count { $0.id == .contentLength && !$0.isHopByHop }
        precondition(lengths <= 1 && (lengths == 0 || head.framing != .chunked), "one length at most")
        precondition(method != .head || head.framing == .none)
        readContent(Array(bytes[head.byteCount...]), head.framing)
    }

    private static func checkPlaces(_ fields: [HeadField], _ bytes: [UInt8]) {
        for field in fields {
            let name = bytes[field.name.range]
            let value = bytes[field.value.range]
            precondition(!name.isEmpty && !name.contains { $0 <= 0x20 || $0 >= 0x7F || $0 == 0x3A })
            precondition(!value.contains { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F })
            precondition(
                ![0x20, 0x09].contains(value.first) && ![0x20, 0x09].contains(value.last), "trimmed")
        }
    }

    // MARK: Content

    private struct Reading: Equatable {
        var content: [UInt8] = []
        var trailers: [UInt8] = []
        var isComplete = false
        var fault: BodyFault?
        var restByteCount = 0
    }

    private static func read(_ bytes: [UInt8], _ framing: BodyFraming, cuts: [Int]) -> Reading {
        var reader = BodyReader(framing)
        var reading = Reading()
        var position = 0
        for end in cuts + [bytes.count] {
            let arrived = Array(bytes[..<end])
            pieces: while true {
                let start = position
                let piece = reader.next(arrived.span, from: &position)
                precondition(start <= position && position <= end)
                switch piece {
                case .content(let range):
                    precondition(!range.isEmpty && range.lowerBound >= start && range.upperBound == position)
                    reading.content += bytes[range]
                case .trailers(let range):
                    precondition(!range.isEmpty && range.upperBound + 2 == position)
                    reading.trailers += bytes[range]
                    var fields: [HeadField] = []
                    TrailerSection.read(arrived.span, range, into: &fields)
                    precondition(!fields.isEmpty)
                    checkPlaces(fields, bytes)
                case .needMore:
                    break pieces
                case .end:
                    reading.isComplete = true
                    reading.restByteCount = bytes.count - position
                    return reading
                case .malformed(let fault):
                    reading.fault = fault
                    return reading
                }
            }
        }
        return reading
    }

    private static func readContent(_ bytes: [UInt8], _ framing: BodyFraming) {
        let whole = read(bytes, framing, cuts: [])
        precondition(read(bytes, framing, cuts: Array(0..<bytes.count)) == whole, "byte by byte")
        for cut in cuts(bytes.count) {
            precondition(read(bytes, framing, cuts: [cut]) == whole, "cut in two")
        }
        guard framing == .chunked, whole.isComplete else { return }
        var output = OutputBuffer(capacity: whole.content.count + 64)
        if !whole.content.isEmpty {
            ChunkWriter.appendSize(whole.content.count, to: &output)
            output.append(whole.content.span)
            ChunkWriter.appendChunkEnd(to: &output)
        }
        ChunkWriter.appendEnd(to: &output)
        let again = read(output.withBytes { bytes in bytes.indices.map { bytes[$0] } }, .chunked, cuts: [])
        precondition(again.isComplete && again.content == whole.content && again.restByteCount == 0)
    }

    /// Every cut of a short message, some of a long one.
    private static func cuts(_ count: Int) -> [Int] {
        Array(stride(from: 0, to: count, by: max(1, count / 64)))
    }
}
#endif
