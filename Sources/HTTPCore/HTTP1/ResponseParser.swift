// Reads the head of an HTTP/1.0 or HTTP/1.1 response in one pass; RFC 9112 sections 4 to 6.
//
// As strict as the parser of requests: a target that answers in two ways at once would answer the next client's
// request with what it smuggled. Every fault is a 502 for the client.

public enum ResponseParser {
    /// Reads a head at the beginning of `bytes`, which answers a request of this method.
    ///
    /// Fields that frame the message stay unmarked only where they say what the framing says, so that whoever copies
    /// the fields that are not hop-by-hop sends one length or none.
    public static func parse(
        _ bytes: Span<UInt8>, answering method: HTTPMethod, into head: inout ResponseHead,
        limits: HeadLimits = .response
    ) -> HeadOutcome {
        head.reset()
        var position = 0
        switch readStatusLine(bytes, &position, into: &head, limits: limits) {
        case .complete: break
        case let other: return other
        }
        var section = FieldSection(
            position: position, byteEnd: limits.headByteCountMax,
            lineByteCountMax: limits.fieldLineByteCountMax,
            fieldCountMax: limits.fieldCountMax)
        var facts = MessageFacts()
        while true {
            switch section.readLine(bytes, into: &head.fields) {
            case .field(let id):
                // A target may name its host as often as it likes; nobody reads it.
                if id != .host, let fault = facts.takeLast(id, of: &head.fields, bytes) {
                    return .refused(fault)
                }
                continue
            case .end:
                break
            case .needMore:
                return .needMore
            case .refused(let fault):
                return .refused(fault)
            }
            break
        }
        head.byteCount = section.position
        return conclude(facts, bytes, answering: method, into: &head)
    }

    // MARK: Status line

    @inline(__always)
    private static func readStatusLine(
        _ bytes: Span<UInt8>, _ position: inout Int, into head: inout ResponseHead, limits: HeadLimits
    ) -> HeadOutcome {
        let lineEnd = min(limits.requestLineByteCountMax, limits.headByteCountMax)
        let end = min(bytes.count, lineEnd)
        guard end >= 13 else { return shortStatusLine(bytes, end: end, lineEnd: lineEnd) }
        switch ByteScanning.word(bytes, at: 0) {
        case HTTPVersion.http11Letters: head.version = .http11
        case HTTPVersion.http10Letters: head.version = .http10
        default: return .refused(.badStatusLine)
        }
        let (hundreds, tens, units) = (bytes[9] &- 0x30, bytes[10] &- 0x30, bytes[11] &- 0x30)
        guard bytes[8] == UInt8(ascii: " "), hundreds > 0, hundreds < 10, tens < 10, units < 10 else {
            return .refused(.badStatusLine)
        }
        head.statusCode = Int(hundreds) * 100 + Int(tens) * 10 + Int(units)
        var index = 12
        if bytes[index] == UInt8(ascii: " ") {
            index += 1
            var hasHighBytes = false
            let start = index
            index = ByteScanning.endOfFieldValue(bytes, from: index, to: end, hasHighBytes: &hasHighBytes)
            head.reason = ByteRange(start..<index)
        }
        guard index < end else { return end == lineEnd ? .refused(.requestLineTooLong) : .needMore }
        switch bytes[index] {
        case UInt8(ascii: "\r"): break
        case UInt8(ascii: "\n"): return .refused(.bareLineFeed)
        default: return .refused(.badStatusLine)
        }
        guard index + 1 < end else { return end == lineEnd ? .refused(.requestLineTooLong) : .needMore }
        guard bytes[index + 1] == UInt8(ascii: "\n") else { return .refused(.bareCarriageReturn) }
        position = index + 2
        return .complete
    }

    /// Refuses a beginning that is not one of HTTP/1 as soon as it can be told, so that a target that speaks another
    /// protocol is not waited for.
    @inline(never)
    private static func shortStatusLine(_ bytes: Span<UInt8>, end: Int, lineEnd: Int) -> HeadOutcome {
        let name = "HTTP/1.".utf8.span
        for index in 0..<end {
            let byte = bytes[index]
            switch index {
            case 0..<7 where byte != name[index]: return .refused(.badStatusLine)
            case 7 where byte != UInt8(ascii: "0") && byte != UInt8(ascii: "1"):
                return .refused(.badStatusLine)
            case 8 where byte != UInt8(ascii: " "): return .refused(.badStatusLine)
            case 9 where !(UInt8(ascii: "1")...UInt8(ascii: "9")).contains(byte):
                return .refused(.badStatusLine)
            case 10, 11:
                guard ASCIISet.isDigit(byte) else { return .refused(.badStatusLine) }
            default: break
            }
        }
        return end == lineEnd ? .refused(.requestLineTooLong) : .needMore
    }

    // MARK: The whole

    @inline(__always)
    private static func conclude(
        _ facts: MessageFacts, _ bytes: Span<UInt8>, answering method: HTTPMethod,
        into head: inout ResponseHead
    ) -> HeadOutcome {
        if facts.hasSuspiciousTransferEncoding || facts.hasSuspiciousContentLength {
            let hasTransferEncoding = facts.isChunked || facts.hasSuspiciousTransferEncoding
            let hasContentLength = facts.contentLength != nil || facts.hasSuspiciousContentLength
            if hasTransferEncoding, hasContentLength { return .refused(.suspiciousFraming) }
        }
        if facts.isChunked, head.version == .http10 { return .refused(.transferEncodingInHTTP10) }
        let isHTTP11 = head.version == .http11
        head.isPersistent = !facts.saysClose && (isHTTP11 || facts.saysKeepAlive)
        let isNeverWithContent = head.isInterim || head.statusCode == 204
        if method == .head || isNeverWithContent || head.statusCode == 304 {
            head.framing = .none
        } else if facts.isChunked {
            head.framing = .chunked
        } else if let length = facts.contentLength {
            head.framing = .counted(length)
        } else {
            head.framing = .untilClose
            head.isPersistent = false
        }
        if facts.contentLength != nil, facts.isChunked || isNeverWithContent {
            // Void beside chunked, and forbidden where there is no content (RFC 9110 section 8.6). A target that
            // sends both may count by either: nothing after this message can be trusted.
            if facts.isChunked { head.isPersistent = false }
            for index in head.fields.indices where head.fields[index].id == .contentLength {
                head.fields[index].isHopByHop = true
            }
        }
        if facts.namedOptionCount > 0 { MessageFacts.markNamedFields(bytes, in: &head.fields) }
        return .complete
    }
}

extension ResponseHead {
    /// Empty again, with its storage.
    public mutating func reset() {
        version = .http11
        statusCode = 0
        reason = .none
        fields.removeAll(keepingCapacity: true)
        framing = .none
        isPersistent = true
        byteCount = 0
    }
}
