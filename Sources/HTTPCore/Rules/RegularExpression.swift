// Regular expressions of rules and rewrites, in the syntax that ELBv2 takes: Perl's, without whatever needs
// backtracking (lookaround, back-references, atomic groups, possessive quantifiers, recursion, Unicode classes).
//
// An expression becomes a program for a machine that runs all alternatives side by side (Thompson, 1968; Pike's
// variant of it keeps the groups, as in Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009). Its
// time is bounded by text times program, whatever a client sends. Most programs also become a table, see
// `Automaton`, which takes one step a byte. Bytes are matched, not characters: what comes is ASCII but for obs-text.

/// A set of byte values.
struct ByteSet: Hashable, Sendable {
    private var words = InlineWords()

    /// Four words: a plain struct, so that sets are hashable and trivial.
    private struct InlineWords: Hashable, Sendable {
        var first: UInt64 = 0
        var second: UInt64 = 0
        var third: UInt64 = 0
        var fourth: UInt64 = 0
    }

    init() {}

    init(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { insert(byte) }
    }

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word =
            switch byte >> 6 {
            case 0: words.first
            case 1: words.second
            case 2: words.third
            default: words.fourth
            }
        return word &>> UInt64(byte & 63) & 1 != 0
    }

    mutating func insert(_ byte: UInt8) {
        let bit = UInt64(1) << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.first |= bit
        case 1: words.second |= bit
        case 2: words.third |= bit
        default: words.fourth |= bit
        }
    }

    mutating func formUnion(_ other: ByteSet) {
        words.first |= other.words.first
        words.second |= other.words.second
        words.third |= other.words.third
        words.fourth |= other.words.fourth
    }

    var inverted: ByteSet {
        var result = ByteSet()
        result.words.first = ~words.first
        result.words.second = ~words.second
        result.words.third = ~words.third
        result.words.fourth = ~words.fourth
        return result
    }

    /// With both cases of every letter.
    var ignoringCase: ByteSet {
        var result = self
        for letter in UInt8(ascii: "a")...UInt8(ascii: "z") {
            if contains(letter) { result.insert(letter ^ 0x20) }
            if contains(letter ^ 0x20) { result.insert(letter) }
        }
        return result
    }

    /// The only byte in it, if there is but one.
    var onlyByte: UInt8? {
        let count =
            words.first.nonzeroBitCount + words.second.nonzeroBitCount + words.third.nonzeroBitCount
            + words.fourth.nonzeroBitCount
        guard count == 1 else { return nil }
        return (0...255).first { contains($0) }
    }
}

/// Why a text is no expression, and where.
struct RegularExpressionFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// Counted from one.
    let position: Int
    let reason: String

    var description: String { "\(reason) at position \(position)" }
}

/// A compiled expression.
struct RegularExpression: Sendable {
    struct Instruction: Hashable, Sendable {
        enum Operation: UInt8, Sendable {
            /// A byte of set `first`; goes on behind it.
            case consume
            /// Goes on at `first`, or at `second` if that leads nowhere.
            case split
            case jump
            /// Notes the place as number `first`.
            case save
            case assertStart
            case assertEnd
            case assertWordBoundary
            case assertNoWordBoundary
            case accept
        }

        var operation: Operation
        var first: UInt16 = 0
        var second: UInt16 = 0
    }

    /// Instructions after repetitions are written out; more is refused.
    static let instructionCountMax = 2_048
    /// `$1` to `$9`.
    static let groupCountMax = 9

    let program: [Instruction]
    let sets: [ByteSet]
    /// Groups that note what they matched.
    let groupCount: Int
    /// What every match begins the text with, or ends it with; lower case if case does not matter.
    let literalPrefix: [UInt8]
    let literalSuffix: [UInt8]
    /// Runs of bytes that stand in every match, in lower case if case does not matter.
    let literals: [[UInt8]]

    /// Compiles `text`; a match may stand anywhere in what is searched, unless the expression says otherwise.
    init(_ text: String, ignoringCase: Bool) throws(RegularExpressionFault) {
        var parser = RegularExpressionParser(text, ignoringCase: ignoringCase)
        let tree = try parser.parse()
        var compiler = RegularExpressionCompiler()
        compiler.compile(tree)
        guard compiler.program.count <= Self.instructionCountMax else {
            throw RegularExpressionFault(
                position: 1,
                reason: "repetitions that make it longer than \(Self.instructionCountMax) steps, counted")
        }
        program = compiler.program
        sets = compiler.sets
        groupCount = parser.groupCount
        literalPrefix = tree.literal(atEnd: false, ignoringCase: ignoringCase)
        literalSuffix = tree.literal(atEnd: true, ignoringCase: ignoringCase)
        literals = tree.literals(ignoringCase: ignoringCase)
    }

    static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }
}
