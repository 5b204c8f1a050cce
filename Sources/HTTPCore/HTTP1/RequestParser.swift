// Reads the head of an HTTP/1.0 or HTTP/1.1 request in one pass; RFC 9112 sections 2, 3, 5, 6.
//
// Keeps nothing between calls: a head that came in pieces is read again from its beginning. Refuses what two parsers
// might read in two ways. What is not compliant but has one meaning is noted in `desync`, for the mode of the
// balancer to decide on.

public enum RequestParser {
    /// Line breaks that are ignored before a request line: some clients end a body with one. RFC 9112 section 2.2.
    static let emptyLineCountMax = 4

    /// Reads a head at the beginning of `bytes`.
    ///
    /// Positions in `head` are those of `bytes`; `head.byteCount` says where the content begins. After a refusal
    /// `head` holds what was read before the fault, with the finding for the log in `desync`. Allocates nothing once
    /// `head` has seen as many fields.
    public static func parse(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: HeadLimits = .standard
    ) -> HeadOutcome {
        head.reset()
        let outcome = read(bytes, into: &head, limits: limits)
        if case .refused(let fault) = outcome, fault.desyncReason != .none {
            head.desync = DesyncFinding(fault.desyncReason)
        }
        return outcome
    }

    @inline(__always)
    private static func read(
        _ bytes: Span<UInt8>, into head: inout RequestHead, limits: HeadLimits
    ) -> HeadOutcome {
        var position = 0
        if bytes.count > 0, bytes[0] <= UInt8(ascii: "\r") {
            if let outcome = skipEmptyLines(bytes, &position) { return outcome }
        }
        let headEnd = position &+ limits.headByteCountMax
        switch readRequestLine(bytes, &position, into: &head, limits: limits) {
        case .complete: break
        case let other: return other
        }
        var section = FieldSection(
            position: position, byteEnd: headEnd, lineByteCountMax: limits.fieldLineByteCountMax,
            fieldCountMax: limits.fieldCountMax)
        var facts = MessageFacts()
        while true {
            switch section.readLine(bytes, into: &head.fields) {
            case .field(let id):
                if let fault = facts.takeLast(id, of: &head.fields, bytes) { return .refused(fault) }
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
        if section.hasHighBytes { head.desync.note(.nonCompliantHeader) }
        return conclude(facts, bytes, into: &head)
    }

    @inline(never)
    private static func skipEmptyLines(_ bytes: Span<UInt8>, _ position: inout Int) -> HeadOutcome? {
        for _ in 0...emptyLineCountMax {
            guard position < bytes.count else { return .needMore }
            if bytes[position] == UInt8(ascii: "\n") { return .refused(.bareLineFeed) }
            guard bytes[position] == UInt8(ascii: "\r") else { return nil }
            guard position &+ 1 < bytes.count else { return .needMore }
            guard bytes[position &+ 1] == UInt8(ascii: "\n") else { return .refused(.bareCarriageReturn) }
            position &+= 2
        }
        return .refused(.tooManyEmptyLines)
    }

    // MARK: Request line

    @inline(__always)
    private static func readRequestLine(
        _ bytes: Span<UInt8>, _ position: inout Int, into head: inout RequestHead, limits: HeadLimits
    ) -> HeadOutcome {
        let start = position
        let lineEnd = start &+ min(limits.requestLineByteCountMax, limits.headByteCountMax)
        let end = min(bytes.count, lineEnd)
        let ranOut: HeadOutcome = end == lineEnd ? .refused(.requestLineTooLong) : .needMore

        var index = start
        while index < end, ASCIISet.token.contains(bytes[index]) { index &+= 1 }
        guard index < end else { return ranOut }
        guard bytes[index] == UInt8(ascii: " "), index > start else { return .refused(.badMethod) }
        head.methodBytes = ByteRange(start..<index)
        head.method = HTTPMethod.recognised(bytes, start..<index)

        index &+= 1
        let targetStart = index
        index = ByteScanning.endOfTargetPart(bytes, from: index, to: end)
        if index < end, bytes[index] == UInt8(ascii: "?") {
            head.hasQuery = true
            let queryStart = index &+ 1
            repeat {
                index = ByteScanning.endOfTargetPart(bytes, from: index &+ 1, to: end)
            } while index < end && bytes[index] == UInt8(ascii: "?")
            head.query = ByteRange(queryStart..<index)
        }
        guard index < end else { return ranOut }
        guard bytes[index] == UInt8(ascii: " "), index > targetStart else {
            return targetFault(bytes, at: index, isEmpty: index == targetStart, end: end, ranOut: ranOut)
        }
        head.target = ByteRange(targetStart..<index)
        guard RequestTarget.split(bytes, into: &head) else {
            return preface(bytes, start: start, lineEnd: lineEnd, ranOut: ranOut)
        }

        index &+= 1
        guard index &+ 10 <= end, bytes[index &+ 8] == UInt8(ascii: "\r"),
            bytes[index &+ 9] == UInt8(ascii: "\n")
        else { return unusualVersion(bytes, at: index, end: end, ranOut: ranOut) }
        switch ByteScanning.word(bytes, at: index) {
        case HTTPVersion.http11Letters: head.version = .http11
        case HTTPVersion.http10Letters: head.version = .http10
        default: return unusualVersion(bytes, at: index, end: end, ranOut: ranOut)
        }
        position = index &+ 10
        return .complete
    }

    @inline(never)
    private static func targetFault(
        _ bytes: Span<UInt8>, at index: Int, isEmpty: Bool, end: Int, ranOut: HeadOutcome
    ) -> HeadOutcome {
        switch bytes[index] {
        case UInt8(ascii: "\r"):
            guard index &+ 1 < end else { return ranOut }
            guard bytes[index &+ 1] == UInt8(ascii: "\n") else { return .refused(.breakInTarget) }
            return .refused(isEmpty ? .badTarget : .missingVersion)
        case UInt8(ascii: "\n"), 0: return .refused(.breakInTarget)
        case UInt8(ascii: " "): return .refused(.spaceInTarget)
        case UInt8(ascii: "#"): return .refused(.badTarget)
        default: return .refused(.controlCharacterInTarget)
        }
    }

    /// A target that is none, unless it is the first line of HTTP/2.
    @inline(never)
    private static func preface(
        _ bytes: Span<UInt8>, start: Int, lineEnd: Int, ranOut: HeadOutcome
    ) -> HeadOutcome {
        switch ConnectionPreface.match(bytes.extracting(droppingFirst: start)) {
        case .no: .refused(.badTarget)
        case .partial: ranOut
        case .yes: .refused(.http2Preface)
        }
    }

    /// Where `HTTP/1.1` and the end of the line should stand, and do not, or not yet.
    @inline(never)
    private static func unusualVersion(
        _ bytes: Span<UInt8>, at start: Int, end: Int, ranOut: HeadOutcome
    ) -> HeadOutcome {
        let name = "HTTP/".utf8.span
        for offset in 0..<8 {
            guard start &+ offset < end else { return ranOut }
            let byte = bytes[start &+ offset]
            let isRight =
                switch offset {
                case 0..<5: byte == name[offset]
                case 6: byte == UInt8(ascii: ".")
                default: ASCIISet.isDigit(byte)
                }
            if isRight { continue }
            guard offset == 0 else { return .refused(.badVersion) }
            switch byte {
            case UInt8(ascii: "h"): return .refused(.badVersion)
            case UInt8(ascii: "\r"): return .refused(.missingVersion)
            case UInt8(ascii: "\n"): return .refused(.bareLineFeed)
            case 0: return .refused(.breakInTarget)
            default: return .refused(.spaceInTarget)
            }
        }
        let word = ByteScanning.word(bytes, at: start)
        guard word == HTTPVersion.http11Letters || word == HTTPVersion.http10Letters else {
            return .refused(.unsupportedVersion)
        }
        guard start &+ 8 < end else { return ranOut }
        if bytes[start &+ 8] == UInt8(ascii: "\n") { return .refused(.bareLineFeed) }
        guard bytes[start &+ 8] == UInt8(ascii: "\r") else { return .refused(.badVersion) }
        guard start &+ 9 < end else { return ranOut }
        return .refused(.bareCarriageReturn)
    }

    // MARK: The whole

    /// What the fields mean together.
    @inline(__always)
    private static func conclude(
        _ facts: MessageFacts, _ bytes: Span<UInt8>, into head: inout RequestHead
    ) -> HeadOutcome {
        if head.method == .trace { return .refused(.traceMethod) }
        if head.method == .connect { return .refused(.connectMethod) }
        if let host = facts.hostValue {
            guard RequestTarget.isAuthority(bytes, host.range) else { return .refused(.badHost) }
            // The authority of an absolute-form target stands above the field; RFC 9112 section 3.2.2.
            if head.authority.isEmpty { head.authority = host }
        } else if head.version == .http11 {
            return .refused(.missingHost)
        }
        if let fault = decideFraming(facts, into: &head) { return .refused(fault) }

        let isHTTP11 = head.version == .http11
        if facts.saysClose || (!isHTTP11 && !facts.saysKeepAlive) { head.isPersistent = false }
        if isHTTP11 {
            let hasContent = head.framing != .none && head.framing != .counted(0)
            head.acceptsTrailers = facts.acceptsTrailers
            head.expectsContinue = facts.expectsContinue && hasContent
            if facts.upgrade != .none, facts.saysUpgrade {
                // Content would stand where the other protocol is to begin.
                head.upgrade = head.method == .get && !hasContent ? facts.upgrade : .other
            }
        }
        if facts.namedOptionCount > 0 { MessageFacts.markNamedFields(bytes, in: &head.fields) }
        return .complete
    }

    /// RFC 9112 section 6.3, and ELBv2's view of it.
    @inline(__always)
    private static func decideFraming(_ facts: MessageFacts, into head: inout RequestHead) -> HeadFault? {
        if facts.hasSuspiciousTransferEncoding || facts.hasSuspiciousContentLength {
            let hasTransferEncoding = facts.isChunked || facts.hasSuspiciousTransferEncoding
            let hasContentLength = facts.contentLength != nil || facts.hasSuspiciousContentLength
            if hasTransferEncoding, hasContentLength { return .suspiciousFraming }
            head.desync.note(.suspiciousHeader)
        }
        if facts.hasDuplicateContentLength { head.desync.note(.duplicateContentLength) }
        let isWithoutContent = head.method == .get || head.method == .head
        if facts.isChunked {
            guard head.version == .http11 else { return .transferEncodingInHTTP10 }
            if isWithoutContent { head.desync.note(.undefinedTransferEncodingSemantics) }
            head.framing = .chunked
            if facts.contentLength != nil {
                // The length is void and is not passed on; the connection ends, as its other side may count by it.
                head.desync.note(.bothTEAndCLPresent)
                head.isPersistent = false
                for index in head.fields.indices where head.fields[index].id == .contentLength {
                    head.fields[index].isHopByHop = true
                }
            }
        } else if let length = facts.contentLength {
            if isWithoutContent {
                head.desync.note(length == 0 ? .getHeadZeroContentLength : .undefinedContentLengthSemantics)
            }
            head.framing = .counted(length)
        }
        return nil
    }
}

extension HTTPVersion {
    static var http11Letters: UInt64 { .letters("H", "T", "T", "P", "/", "1", ".", "1") }
    static var http10Letters: UInt64 { .letters("H", "T", "T", "P", "/", "1", ".", "0") }
}

extension RequestHead {
    /// Empty again, with its storage.
    public mutating func reset() {
        version = .http11
        method = .other
        methodBytes = .none
        target = .none
        authority = .none
        path = .none
        query = .none
        hasQuery = false
        fields.removeAll(keepingCapacity: true)
        framing = .none
        isPersistent = true
        expectsContinue = false
        upgrade = .none
        acceptsTrailers = false
        byteCount = 0
        desync = .compliant
    }
}
