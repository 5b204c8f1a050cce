// One value of a condition, ready to be compared: exact text, text with wildcards, or an expression.
//
// All patterns of a listener share a few flat arrays. A pattern is a plain value that says where its part is, so
// that comparing one touches no reference count that the workers share.

import Balancing

/// How the bytes of a request are read when they are compared.
struct TextReading: Sendable, BitwiseCopyable {
    /// Letters of ASCII are compared in lower case.
    var ignoresCase = false
    /// `%41` is read as `A`; what is no such triple stands for itself. RFC 3986 section 2.1.
    var decodes = false

    /// The byte at `position`, which must be below `end`, and moves `position` behind it.
    @inline(__always)
    func next(_ bytes: Span<UInt8>, _ position: inout Int, _ end: Int) -> UInt8 {
        var byte = bytes[position]
        position &+= 1
        if decodes, byte == UInt8(ascii: "%"), end - position >= 2,
            let decoded = Self.octet(bytes[position], bytes[position + 1])
        {
            byte = decoded
            position &+= 2
        }
        return ignoresCase ? Self.lowercased(byte) : byte
    }

    @inline(__always)
    static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    @inline(__always)
    static func octet(_ first: UInt8, _ second: UInt8) -> UInt8? {
        guard let high = hexDigitValue(first), let low = hexDigitValue(second) else { return nil }
        return high << 4 | low
    }
}

struct TextPattern: Sendable, BitwiseCopyable {
    enum Kind: UInt8, Sendable, BitwiseCopyable {
        /// What did not compile.
        case nothing
        /// A query pattern without a key.
        case anything
        case exact
        case wildcard
        case automaton
        case program
    }

    var kind: Kind
    var reading: TextReading
    /// Tokens, or the number of the automaton or expression.
    var start: UInt32 = 0
    var count: UInt32 = 0
}

/// One element of a text pattern: a byte, or one of the two wildcards.
enum WildcardToken {
    static let anyByte: UInt16 = 0x100
    static let anyBytes: UInt16 = 0x101

    /// Reads a pattern; `query` patterns may escape wildcards with a backslash and bytes with a percent sign.
    static func tokens(of text: String, reading: TextReading, isQuery: Bool) -> [UInt16] {
        let bytes = Array(text.utf8)
        var tokens: [UInt16] = []
        var position = 0
        while position < bytes.count {
            let byte = bytes[position]
            if isQuery, byte == UInt8(ascii: "\\"), position + 1 < bytes.count {
                tokens.append(UInt16(literal(bytes[position + 1], reading)))
                position += 2
            } else if isQuery, byte == UInt8(ascii: "%"), position + 2 < bytes.count,
                let decoded = TextReading.octet(bytes[position + 1], bytes[position + 2])
            {
                tokens.append(UInt16(literal(decoded, reading)))
                position += 3
            } else {
                switch byte {
                case UInt8(ascii: "*"):
                    if tokens.last != anyBytes { tokens.append(anyBytes) }
                case UInt8(ascii: "?"): tokens.append(anyByte)
                default: tokens.append(UInt16(literal(byte, reading)))
                }
                position += 1
            }
        }
        return tokens
    }

    private static func literal(_ byte: UInt8, _ reading: TextReading) -> UInt8 {
        reading.ignoresCase ? TextReading.lowercased(byte) : byte
    }
}

/// The patterns of a listener.
struct PatternPool: Sendable {
    private(set) var tokens: [UInt16] = []
    private var tables = AutomatonPool()
    private var automata: [Automaton] = []
    private var expressions: [RegularExpression] = []

    mutating func add(wildcard text: String, reading: TextReading, isQuery: Bool = false) -> TextPattern {
        add(WildcardToken.tokens(of: text, reading: reading, isQuery: isQuery), reading)
    }

    /// Text in which nothing is special.
    mutating func add(exact text: String, reading: TextReading) -> TextPattern {
        add(text.utf8.map { UInt16(reading.ignoresCase ? TextReading.lowercased($0) : $0) }, reading)
    }

    private mutating func add(_ added: [UInt16], _ reading: TextReading) -> TextPattern {
        let isExact = added.allSatisfy { $0 < WildcardToken.anyByte }
        let pattern = TextPattern(
            kind: isExact ? .exact : .wildcard, reading: reading, start: UInt32(tokens.count),
            count: UInt32(added.count))
        tokens += added
        return pattern
    }

    mutating func add(expression: RegularExpression, reading: TextReading) -> TextPattern {
        if let automaton = tables.add(expression) {
            automata.append(automaton)
            return TextPattern(kind: .automaton, reading: reading, start: UInt32(automata.count - 1))
        }
        expressions.append(expression)
        return TextPattern(kind: .program, reading: reading, start: UInt32(expressions.count - 1))
    }

    /// Whether the pattern fits `bytes[range]`: all of it for text, any part of it for expressions.
    @inline(__always)
    func matches(
        _ pattern: TextPattern, _ bytes: Span<UInt8>, _ range: Range<Int>,
        _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        switch pattern.kind {
        case .nothing: false
        case .anything: true
        case .exact: matchesExactly(pattern, bytes, range)
        case .wildcard: matchesWildcards(pattern, bytes, range, &scratch)
        case .automaton: tables.matches(automata[Int(pattern.start)], bytes, range)
        case .program:
            expressions[Int(pattern.start)].firstMatch(in: bytes, range, notingPlaces: false, &scratch)
        }
    }

    @inline(__always)
    private func matchesExactly(_ pattern: TextPattern, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        if pattern.reading.decodes { return matchesDecoded(pattern, bytes, range) }
        guard range.count == Int(pattern.count) else { return false }
        var token = Int(pattern.start)
        for position in range {
            let byte = bytes[position]
            let read = pattern.reading.ignoresCase ? TextReading.lowercased(byte) : byte
            guard tokens[token] == UInt16(read) else { return false }
            token &+= 1
        }
        return true
    }

    private func matchesDecoded(_ pattern: TextPattern, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        // Each token takes a byte at least.
        guard range.count >= Int(pattern.count) else { return false }
        var token = Int(pattern.start)
        let end = token + Int(pattern.count)
        var position = range.lowerBound
        while position < range.upperBound {
            guard token < end else { return false }
            let byte = pattern.reading.next(bytes, &position, range.upperBound)
            guard tokens[token] == UInt16(byte) else { return false }
            token &+= 1
        }
        return token == end
    }

    /// Goes back to the last `*` only, one byte further each time: that is at most text times pattern.
    private func matchesWildcards(
        _ pattern: TextPattern, _ bytes: Span<UInt8>, _ range: Range<Int>,
        _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        var token = Int(pattern.start)
        let end = token + Int(pattern.count)
        var position = range.lowerBound
        var tokenBehindStar: Int?
        var starPosition = position
        var stepCount: UInt64 = 0
        defer { scratch.stepCount &+= stepCount }
        while position < range.upperBound {
            stepCount &+= 1
            if token < end, tokens[token] == WildcardToken.anyBytes {
                token &+= 1
                if token == end { return true }
                tokenBehindStar = token
                starPosition = position
                continue
            }
            if token < end {
                var next = position
                let byte = pattern.reading.next(bytes, &next, range.upperBound)
                if tokens[token] == WildcardToken.anyByte || tokens[token] == UInt16(byte) {
                    token &+= 1
                    position = next
                    continue
                }
            }
            guard let again = tokenBehindStar else { return false }
            token = again
            _ = pattern.reading.next(bytes, &starPosition, range.upperBound)
            position = starPosition
        }
        return token == end || (token == end - 1 && tokens[token] == WildcardToken.anyBytes)
    }
}
