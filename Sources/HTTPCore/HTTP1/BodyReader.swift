// Walks the content of an HTTP/1 message in whatever pieces it comes; RFC 9112 sections 6 and 7.1.
//
// Trivial state, no copy of any byte. Chunk lines are read strictly and swallowed with their extensions: what is sent
// on is chunked anew with plain sizes, so that no two parsers can disagree on where a chunk ends.

public enum BodyFault: UInt8, Error, Hashable, Sendable, BitwiseCopyable, CaseIterable {
    case badChunkSize
    case chunkSizeTooLarge
    case badChunkExtension
    case chunkExtensionsTooLong
    /// The bytes after a chunk are not its line break: its size was wrong, or is meant to be misread.
    case missingChunkEnd
    case badTrailers
    case trailersTooLong

    /// For logs.
    public var reason: StaticString {
        switch self {
        case .badChunkSize: "a chunk size is not a hexadecimal number"
        case .chunkSizeTooLarge: "a chunk size has too many digits"
        case .badChunkExtension: "a chunk extension is malformed"
        case .chunkExtensionsTooLong: "the chunk extensions are too long"
        case .missingChunkEnd: "a chunk does not end where its size says"
        case .badTrailers: "the trailers are malformed"
        case .trailersTooLong: "the trailers are too long"
        }
    }
}

public struct BodyReader: Hashable, Sendable, BitwiseCopyable {
    /// Of all chunk extensions of a message together: they carry nothing anyone reads, and cost as much as content.
    static let extensionByteCountMax = 8 << 10
    /// Leading zeros included: up to 2⁶⁰ bytes in a chunk.
    static let chunkSizeDigitCountMax = 15
    /// The trailer section with its empty line. It must stand in one piece in the caller's bytes.
    public static let trailerByteCountMax = 8 << 10

    public enum Piece: Hashable, Sendable {
        /// Content, never empty.
        case content(Range<Int>)
        /// Well-formed field lines, never empty and without the empty line; read them with `TrailerSection`.
        case trailers(Range<Int>)
        /// What stands at `position` and after it, if anything, must be there again with more behind it.
        case needMore
        /// The next message begins at `position`.
        case end
        case malformed(BodyFault)
    }

    private enum Phase: UInt8 {
        case counted
        case untilClose
        case chunkSizeFirst
        case chunkSize
        case extensionNameFirst
        case extensionName
        case extensionValueFirst
        case extensionValue
        case extensionQuoted
        case extensionEscape
        case extensionQuotedEnd
        case chunkLineFeed
        case chunkContent
        case chunkEnd
        case chunkEndLineFeed
        case trailers
        case complete
        case malformed
    }

    private var phase: Phase
    private var fault = BodyFault.badChunkSize
    private var digitCount: UInt8 = 0
    private var extensionByteCount: UInt32 = 0
    /// Of the counted content or the chunk.
    private var remaining: UInt64 = 0

    public init(_ framing: BodyFraming) {
        switch framing {
        case .none: phase = .complete
        case .counted(let count):
            phase = count == 0 ? .complete : .counted
            remaining = count
        case .chunked: phase = .chunkSizeFirst
        case .untilClose, .streamed: phase = .untilClose
        }
    }

    public var isComplete: Bool { phase == .complete }

    /// Of counted content: what may be moved without being looked at.
    public var remainingContentByteCount: UInt64? { phase == .counted ? remaining : nil }

    /// Counts content that was moved without being looked at: at most `remainingContentByteCount`.
    public mutating func skip(_ count: UInt64) {
        guard phase == .counted else { return assert(phase == .untilClose) }
        precondition(count <= remaining, "more was moved than the message has")
        remaining -= count
        if remaining == 0 { phase = .complete }
    }

    /// The sender has closed. False if the message is not whole.
    public mutating func close() -> Bool {
        if phase == .untilClose { phase = .complete }
        return phase == .complete
    }

    /// The next piece of `bytes` from `position` on, which it advances behind that piece.
    public mutating func next(_ bytes: Span<UInt8>, from position: inout Int) -> Piece {
        while true {
            switch phase {
            case .counted, .chunkContent:
                let available = bytes.count &- position
                guard available > 0 else { return .needMore }
                let count = remaining < UInt64(available) ? Int(remaining) : available
                let piece = position..<(position &+ count)
                position &+= count
                remaining &-= UInt64(count)
                if remaining == 0 { phase = phase == .counted ? .complete : .chunkEnd }
                return .content(piece)
            case .untilClose:
                guard position < bytes.count else { return .needMore }
                let piece = position..<bytes.count
                position = bytes.count
                return .content(piece)
            case .chunkSizeFirst, .chunkSize, .extensionNameFirst, .extensionName, .extensionValueFirst,
                .extensionValue, .extensionQuoted, .extensionEscape, .extensionQuotedEnd, .chunkLineFeed,
                .chunkEnd,
                .chunkEndLineFeed:
                guard position < bytes.count else { return .needMore }
                takeChunkLineByte(bytes[position])
                if phase == .malformed { return .malformed(fault) }
                position &+= 1
            case .trailers:
                return readTrailers(bytes, &position)
            case .complete:
                return .end
            case .malformed:
                return .malformed(fault)
            }
        }
    }

    // MARK: Chunk lines

    @inline(__always)
    private mutating func takeChunkLineByte(_ byte: UInt8) {
        switch phase {
        case .chunkSizeFirst, .chunkSize:
            if let digit = Self.hexadecimal(byte) {
                guard digitCount < Self.chunkSizeDigitCountMax else { return fail(.chunkSizeTooLarge) }
                remaining = remaining &<< 4 | UInt64(digit)
                digitCount &+= 1
                phase = .chunkSize
            } else if phase == .chunkSizeFirst {
                fail(.badChunkSize)
            } else if byte == UInt8(ascii: "\r") {
                phase = .chunkLineFeed
            } else if byte == UInt8(ascii: ";") {
                phase = .extensionNameFirst
                countExtensionByte()
            } else {
                fail(.badChunkSize)
            }
        case .extensionNameFirst, .extensionName, .extensionValueFirst, .extensionValue, .extensionQuoted,
            .extensionEscape, .extensionQuotedEnd:
            takeExtensionByte(byte)
        case .chunkLineFeed:
            guard byte == UInt8(ascii: "\n") else { return fail(.badChunkSize) }
            phase = remaining == 0 ? .trailers : .chunkContent
            digitCount = 0
        case .chunkEnd:
            guard byte == UInt8(ascii: "\r") else { return fail(.missingChunkEnd) }
            phase = .chunkEndLineFeed
        case .chunkEndLineFeed:
            guard byte == UInt8(ascii: "\n") else { return fail(.missingChunkEnd) }
            phase = .chunkSizeFirst
        case .counted, .untilClose, .chunkContent, .trailers, .complete, .malformed:
            assertionFailure("not in a chunk line")
        }
    }

    /// `;name`, `;name=value` or `;name="value"`, any number of them, without whitespace around.
    private mutating func takeExtensionByte(_ byte: UInt8) {
        switch (phase, byte) {
        case (.extensionName, UInt8(ascii: "\r")), (.extensionValue, UInt8(ascii: "\r")),
            (.extensionQuotedEnd, UInt8(ascii: "\r")):
            phase = .chunkLineFeed
            return
        case (.extensionName, UInt8(ascii: ";")), (.extensionValue, UInt8(ascii: ";")),
            (.extensionQuotedEnd, UInt8(ascii: ";")):
            phase = .extensionNameFirst
        case (.extensionName, UInt8(ascii: "=")): phase = .extensionValueFirst
        case (.extensionValueFirst, UInt8(ascii: "\"")): phase = .extensionQuoted
        case (.extensionQuoted, UInt8(ascii: "\"")): phase = .extensionQuotedEnd
        case (.extensionQuoted, UInt8(ascii: "\\")): phase = .extensionEscape
        case (.extensionQuoted, _) where FieldSyntax.isFieldContent(byte): break
        case (.extensionEscape, _) where FieldSyntax.isFieldContent(byte): phase = .extensionQuoted
        case (.extensionNameFirst, _) where ASCIISet.token.contains(byte): phase = .extensionName
        case (.extensionValueFirst, _) where ASCIISet.token.contains(byte): phase = .extensionValue
        case (.extensionName, _) where ASCIISet.token.contains(byte): break
        case (.extensionValue, _) where ASCIISet.token.contains(byte): break
        default: return fail(.badChunkExtension)
        }
        countExtensionByte()
    }

    private mutating func countExtensionByte() {
        extensionByteCount &+= 1
        if extensionByteCount > Self.extensionByteCountMax { fail(.chunkExtensionsTooLong) }
    }

    private mutating func fail(_ fault: BodyFault) {
        phase = .malformed
        self.fault = fault
    }

    @inline(__always)
    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        let digit = byte &- UInt8(ascii: "0")
        if digit < 10 { return digit }
        let letter = (byte | 0x20) &- UInt8(ascii: "a")
        return letter < 6 ? letter &+ 10 : nil
    }

    // MARK: Trailers

    /// The section is looked at from its beginning each time, for it must stand in one piece anyway.
    private mutating func readTrailers(_ bytes: Span<UInt8>, _ position: inout Int) -> Piece {
        let start = position
        if start &+ 1 < bytes.count, bytes[start] == UInt8(ascii: "\r"),
            bytes[start &+ 1] == UInt8(ascii: "\n")
        {
            position = start &+ 2
            phase = .complete
            return .end
        }
        var section = FieldSection(
            position: start, byteEnd: start &+ Self.trailerByteCountMax,
            lineByteCountMax: Self.trailerByteCountMax, fieldCountMax: TrailerSection.fieldCountMax)
        var fields: [HeadField] = []
        while true {
            let lineStart = section.position
            switch section.readLine(bytes, into: &fields) {
            case .field:
                continue
            case .end:
                position = section.position
                phase = .complete
                return .trailers(start..<lineStart)
            case .needMore:
                return .needMore
            case .refused(.headTooLong), .refused(.fieldLineTooLong), .refused(.tooManyFields):
                fail(.trailersTooLong)
                return .malformed(fault)
            case .refused:
                fail(.badTrailers)
                return .malformed(fault)
            }
        }
    }
}
