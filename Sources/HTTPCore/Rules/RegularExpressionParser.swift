// Reads the text of an expression into a tree, by recursive descent over bounded text.
//
// What Perl would take and this does not is refused by name, so that nobody wonders why a rule never applies.

struct RegularExpressionParser {
    private static let repetitionCountMax = 1_000
    private static let depthMax = 64

    private let bytes: [UInt8]
    private var position = 0
    private var ignoresCase: Bool
    private(set) var groupCount = 0

    init(_ text: String, ignoringCase: Bool) {
        bytes = Array(text.utf8)
        ignoresCase = ignoringCase
    }

    mutating func parse() throws(RegularExpressionFault) -> RegularExpressionTree {
        if let place = bytes.firstIndex(where: { $0 < 0x20 || $0 > 0x7E }) {
            throw fault("a character that is not printable ASCII (write \\xHH)", at: place)
        }
        let tree = try alternatives(depth: 0)
        guard position == bytes.count else { throw fault("a ) without its (") }
        return tree
    }

    private func fault(_ reason: String, at place: Int? = nil) -> RegularExpressionFault {
        RegularExpressionFault(position: (place ?? position) + 1, reason: reason)
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ text: String) -> Bool {
        guard bytes[position...].starts(with: text.utf8) else { return false }
        position += text.utf8.count
        return true
    }

    private mutating func alternatives(depth: Int) throws(RegularExpressionFault) -> RegularExpressionTree {
        guard depth <= Self.depthMax else { throw fault("groups in more than \(Self.depthMax) layers") }
        var choices = [try sequence(depth: depth)]
        while take("|") { choices.append(try sequence(depth: depth)) }
        return choices.count == 1 ? choices[0] : .alternatives(choices)
    }

    /// Always a `.sequence`, so that what stands at its ends is easy to see.
    private mutating func sequence(depth: Int) throws(RegularExpressionFault) -> RegularExpressionTree {
        var parts: [RegularExpressionTree] = []
        while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            let place = position
            let part = try atom(depth: depth)
            parts.append(try repeated(part, from: place))
        }
        return .sequence(parts)
    }

    private mutating func atom(depth: Int) throws(RegularExpressionFault) -> RegularExpressionTree {
        let place = position
        position += 1
        switch bytes[place] {
        case UInt8(ascii: "."):
            return .set(ByteSet([UInt8(ascii: "\n")]).inverted)
        case UInt8(ascii: "^"):
            return .start
        case UInt8(ascii: "$"):
            return .end
        case UInt8(ascii: "("):
            return try group(depth: depth)
        case UInt8(ascii: "["):
            return .set(try bracketed())
        case UInt8(ascii: "\\"):
            return try escaped()
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"):
            throw fault("a repetition of nothing", at: place)
        case UInt8(ascii: "{"):
            position = place
            if try counts() != nil { throw fault("a repetition of nothing", at: place) }
            position = place + 1
            return literal(bytes[place])
        default:
            return literal(bytes[place])
        }
    }

    private func literal(_ byte: UInt8) -> RegularExpressionTree {
        let set = ByteSet([byte])
        return .set(ignoresCase ? set.ignoringCase : set)
    }

    // MARK: Groups

    private mutating func group(depth: Int) throws(RegularExpressionFault) -> RegularExpressionTree {
        let place = position - 1
        let outerIgnoresCase = ignoresCase
        var number: Int?
        if take("?") {
            if take(":") {
            } else if take("i)") {
                // Holds until the group around it ends, which restores it.
                ignoresCase = true
                return .empty
            } else if take("i:") {
                ignoresCase = true
            } else if take("=") || take("!") || take("<=") || take("<!") {
                throw fault("lookaround, which is not supported,", at: place)
            } else if take(">") {
                throw fault("an atomic group, which is not supported,", at: place)
            } else if take("P<") || take("<") {
                number = try named()
            } else {
                throw fault("an unknown or unsupported kind of group", at: place)
            }
        } else {
            number = groupCount + 1
        }
        if number != nil { groupCount += 1 }
        let tree = try alternatives(depth: depth + 1)
        guard take(")") else { throw fault("a ( without its )", at: place) }
        ignoresCase = outerIgnoresCase
        return .group(tree, number: number)
    }

    private mutating func named() throws(RegularExpressionFault) -> Int {
        let start = position
        while let byte = next, RegularExpression.isWordByte(byte) { position += 1 }
        guard position > start, take(">") else { throw fault("a group without a proper name", at: start) }
        return groupCount + 1
    }

    // MARK: Repetitions

    private mutating func repeated(
        _ part: RegularExpressionTree, from place: Int
    ) throws(RegularExpressionFault) -> RegularExpressionTree {
        let repetitionPlace = position
        var minimum = 0
        var maximum: Int?
        if take("*") {
        } else if take("+") {
            minimum = 1
        } else if take("?") {
            maximum = 1
        } else if next == UInt8(ascii: "{"), let range = try counts() {
            minimum = range.minimum
            maximum = range.maximum
        } else {
            return part
        }
        switch part {
        case .start, .end, .wordBoundary: throw fault("a repetition of a place", at: repetitionPlace)
        case .empty: throw fault("a repetition of nothing", at: repetitionPlace)
        case .set, .group, .sequence, .alternatives, .repetition: break
        }
        let isGreedy = !take("?")
        if next == UInt8(ascii: "+") {
            throw fault("a possessive quantifier, which is not supported,")
        }
        if next == UInt8(ascii: "*") || next == UInt8(ascii: "?") {
            throw fault("a repetition of a repetition (group the inner one)")
        }
        let after = position
        if next == UInt8(ascii: "{"), try counts() != nil {
            throw fault("a repetition of a repetition (group the inner one)", at: after)
        }
        return .repetition(part, minimum: minimum, maximum: maximum, isGreedy: isGreedy)
    }

    /// Reads `{m}`, `{m,}` or `{m,n}`; nil, and nothing read, for a brace that is only a brace.
    private mutating func counts() throws(RegularExpressionFault) -> (minimum: Int, maximum: Int?)? {
        let place = position
        position += 1
        let first = number()
        let hasComma = take(",")
        let second = hasComma ? number() : first
        guard take("}"), first != nil || second != nil else {
            position = place
            return nil
        }
        guard let minimum = first else { throw fault("{,n} (write {0,n})", at: place) }
        guard minimum <= Self.repetitionCountMax, second ?? 0 <= Self.repetitionCountMax else {
            throw fault("a repetition of more than \(Self.repetitionCountMax)", at: place)
        }
        guard second ?? minimum >= minimum else {
            throw fault("a repetition whose end is below its start", at: place)
        }
        return (minimum, second)
    }

    /// Digits; a number of many of them is only known to be too large.
    private mutating func number() -> Int? {
        var value: Int?
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            value = min((value ?? 0) * 10 + Int(byte - UInt8(ascii: "0")), 1_000_000)
            position += 1
        }
        return value
    }

    // MARK: Escapes and classes

    private mutating func escaped() throws(RegularExpressionFault) -> RegularExpressionTree {
        let place = position - 1
        switch next {
        case UInt8(ascii: "b"):
            position += 1
            return .wordBoundary(true)
        case UInt8(ascii: "B"):
            position += 1
            return .wordBoundary(false)
        case UInt8(ascii: "A"):
            position += 1
            return .start
        case UInt8(ascii: "z"), UInt8(ascii: "Z"):
            position += 1
            return .end
        default:
            let set = try escapedSet(from: place)
            return .set(ignoresCase ? set.ignoringCase : set)
        }
    }

    /// What stands behind a backslash, in a class or outside of one.
    private mutating func escapedSet(from place: Int) throws(RegularExpressionFault) -> ByteSet {
        guard let byte = next else { throw fault("a backslash with nothing behind it", at: place) }
        position += 1
        switch byte {
        case UInt8(ascii: "d"): return Self.digits
        case UInt8(ascii: "D"): return Self.digits.inverted
        case UInt8(ascii: "w"): return Self.wordBytes
        case UInt8(ascii: "W"): return Self.wordBytes.inverted
        case UInt8(ascii: "s"): return Self.spaces
        case UInt8(ascii: "S"): return Self.spaces.inverted
        case UInt8(ascii: "t"): return ByteSet([0x09])
        case UInt8(ascii: "n"): return ByteSet([0x0A])
        case UInt8(ascii: "v"): return ByteSet([0x0B])
        case UInt8(ascii: "f"): return ByteSet([0x0C])
        case UInt8(ascii: "r"): return ByteSet([0x0D])
        case UInt8(ascii: "x"):
            var value = 0
            for _ in 0..<2 {
                guard let digit = next, let nibble = hexadecimal(digit) else {
                    throw fault("\\x without two hexadecimal digits", at: place)
                }
                value = value << 4 | nibble
                position += 1
            }
            return ByteSet([UInt8(value)])
        case UInt8(ascii: "p"), UInt8(ascii: "P"):
            throw fault("a Unicode class, which is not supported,", at: place)
        case UInt8(ascii: "1")...UInt8(ascii: "9"), UInt8(ascii: "k"), UInt8(ascii: "g"):
            throw fault("a back-reference, which is not supported,", at: place)
        case UInt8(ascii: "0"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"):
            let name = Character(Unicode.Scalar(byte))
            throw fault("\\\(name), an escape that is not supported,", at: place)
        default:
            return ByteSet([byte])
        }
    }

    private func hexadecimal(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }

    private mutating func bracketed() throws(RegularExpressionFault) -> ByteSet {
        let place = position - 1
        let isInverted = take("^")
        var set = ByteSet()
        var isFirst = true
        while true {
            guard let byte = next else { throw fault("a [ without its ]", at: place) }
            if byte == UInt8(ascii: "]"), !isFirst { break }
            isFirst = false
            set.formUnion(try bracketedPart())
        }
        position += 1
        if ignoresCase { set = set.ignoringCase }
        return isInverted ? set.inverted : set
    }

    /// One member of a class: a byte, an escape, a range or a POSIX name.
    private mutating func bracketedPart() throws(RegularExpressionFault) -> ByteSet {
        let place = position
        if take("[:") { return try posixClass(from: place) }
        let low = try bracketedByteOrSet()
        guard next == UInt8(ascii: "-"), position + 1 < bytes.count, bytes[position + 1] != UInt8(ascii: "]")
        else { return low }
        position += 1
        guard let first = low.onlyByte, let last = try bracketedByteOrSet().onlyByte, first <= last else {
            throw fault("a range that does not go from one character up to another", at: place)
        }
        return ByteSet(first...last)
    }

    private mutating func bracketedByteOrSet() throws(RegularExpressionFault) -> ByteSet {
        let place = position
        guard let byte = next else { throw fault("a [ without its ]", at: place) }
        position += 1
        guard byte == UInt8(ascii: "\\") else { return ByteSet([byte]) }
        if next == UInt8(ascii: "b") {
            // Backspace in Perl's classes; hardly anyone means it.
            throw fault("\\b in a class, which is not supported,", at: place)
        }
        return try escapedSet(from: place)
    }

    private mutating func posixClass(from place: Int) throws(RegularExpressionFault) -> ByteSet {
        let start = position
        while let byte = next, RegularExpression.isWordByte(byte) { position += 1 }
        let name = String(decoding: bytes[start..<position], as: UTF8.self)
        guard take(":]"), let set = Self.posixClasses[name] else {
            throw fault("an unknown class of characters", at: place)
        }
        return set
    }

    private static let digits = ByteSet(UInt8(ascii: "0")...UInt8(ascii: "9"))
    private static let letters = ByteSet("abcdefghijklmnopqrstuvwxyz".utf8).ignoringCase
    private static let spaces = ByteSet([0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20])
    private static let wordBytes = ByteSet((0...127).filter { RegularExpression.isWordByte($0) })

    private static let posixClasses: [String: ByteSet] = [
        "alpha": letters, "digit": digits, "space": spaces, "word": wordBytes,
        "alnum": ByteSet((0...127).filter { letters.contains($0) || digits.contains($0) }),
        "upper": ByteSet(UInt8(ascii: "A")...UInt8(ascii: "Z")),
        "lower": ByteSet(UInt8(ascii: "a")...UInt8(ascii: "z")),
        "xdigit": ByteSet("0123456789abcdefABCDEF".utf8),
        "punct": ByteSet((0x21...0x7E).filter { !letters.contains($0) && !digits.contains($0) }),
    ]
}
