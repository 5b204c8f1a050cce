// Looking at the bytes of a head eight at a time, and classes of bytes as bit sets.
//
// The words are put together from checked loads of a span of eight, which the optimiser turns into one load. The
// arithmetic on words finds the first byte of a kind exactly; only bytes after the first may be marked wrongly.

enum ByteScanning {
    @inline(__always)
    static func word(_ bytes: Span<UInt8>, at index: Int) -> UInt64 {
        let eight = bytes.extracting(index..<(index &+ 8))
        // Never true; with it known, the loads below need no checks of their own and become one.
        guard eight.count == 8 else { return 0 }
        return UInt64(eight[0]) | UInt64(eight[1]) << 8 | UInt64(eight[2]) << 16 | UInt64(eight[3]) << 24
            | UInt64(eight[4]) << 32 | UInt64(eight[5]) << 40 | UInt64(eight[6]) << 48
            | UInt64(eight[7]) << 56
    }

    /// The first bytes at a place, at most eight of them, with zeros behind.
    @inline(__always)
    static func word(_ bytes: Span<UInt8>, at start: Int, byteCount: Int) -> UInt64 {
        if start &+ 8 <= bytes.count { return word(bytes, at: start) & mask(byteCount: byteCount) }
        var word: UInt64 = 0
        for index in 0..<byteCount { word |= UInt64(bytes[start &+ index]) &<< UInt64(8 &* index) }
        return word
    }

    /// 1–8.
    @inline(__always)
    static func mask(byteCount: Int) -> UInt64 { ~0 &>> UInt64(64 &- 8 &* byteCount) }

    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highBits: UInt64 = 0x8080_8080_8080_8080

    /// Marks with their high bit the bytes below `bound`, which is at most 0x80.
    @inline(__always)
    private static func below(_ word: UInt64, _ bound: UInt8) -> UInt64 {
        (word &- ones &* UInt64(bound)) & ~word & highBits
    }

    @inline(__always)
    private static func equal(_ word: UInt64, _ byte: UInt8) -> UInt64 {
        below(word ^ (ones &* UInt64(byte)), 1)
    }

    /// The first place from `start` on that does not belong in a field's value, tabs aside; `end` if there is none.
    @inline(__always)
    static func endOfFieldValue(
        _ bytes: Span<UInt8>, from start: Int, to end: Int, hasHighBytes: inout Bool
    ) -> Int {
        var index = start
        var seen: UInt64 = 0
        defer { hasHighBytes = hasHighBytes || seen & highBits != 0 }
        while index &+ 8 <= end {
            let word = word(bytes, at: index)
            let stops = below(word, 0x20) | equal(word, 0x7F)
            guard stops != 0 else {
                seen |= word
                index &+= 8
                continue
            }
            seen |= word & ((stops & (0 &- stops)) &- 1)
            index &+= stops.trailingZeroBitCount >> 3
            guard bytes[index] == UInt8(ascii: "\t") else { return index }
            index &+= 1
        }
        while index < end {
            let byte = bytes[index]
            guard byte >= 0x20 && byte != 0x7F || byte == UInt8(ascii: "\t") else { return index }
            seen |= UInt64(byte)
            index &+= 1
        }
        return end
    }

    /// Marks with their high bit the bytes that are not a letter, a digit or a hyphen.
    @inline(__always)
    private static func unusual(_ word: UInt64) -> UInt64 {
        // Without their high bits, bytes can be added to without a carry into the next.
        let low = word & ~highBits
        let folded = low | ones &* 0x20
        let letters = (folded &+ ones &* (0x80 - 0x61)) & ~(folded &+ ones &* (0x80 - 0x7B))
        let digits = (low &+ ones &* (0x80 - 0x30)) & ~(low &+ ones &* (0x80 - 0x3A))
        let otherThanHyphen = (low ^ ones &* 0x2D) &+ ones &* 0x7F
        return (~(letters | digits) & otherThanHyphen | word) & highBits
    }

    /// The end of the token that begins at `start`; `end` if it has none before.
    @inline(__always)
    static func endOfName(_ bytes: Span<UInt8>, from start: Int, to end: Int, isUnusual: inout Bool) -> Int {
        var index = start
        while true {
            if index &+ 8 <= end {
                let stops = unusual(word(bytes, at: index))
                guard stops != 0 else {
                    index &+= 8
                    continue
                }
                index &+= stops.trailingZeroBitCount >> 3
            } else {
                while index < end, ASCIISet.usualName.contains(bytes[index]) { index &+= 1 }
                guard index < end else { return end }
            }
            guard ASCIISet.token.contains(bytes[index]) else { return index }
            isUnusual = true
            index &+= 1
        }
    }

    /// The first place from `start` on with a space, a control character, `#` or `?`; `end` if there is none.
    @inline(__always)
    static func endOfTargetPart(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> Int {
        var index = start
        while index &+ 8 <= end {
            let word = word(bytes, at: index)
            let stops =
                below(word, 0x21) | equal(word, 0x7F) | equal(word, UInt8(ascii: "#"))
                | equal(word, UInt8(ascii: "?"))
            if stops != 0 { return index &+ stops.trailingZeroBitCount >> 3 }
            index &+= 8
        }
        while index < end {
            let byte = bytes[index]
            if byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "#") || byte == UInt8(ascii: "?") {
                return index
            }
            index &+= 1
        }
        return end
    }

    /// Case is ignored; `lowercase` is ASCII in lower case and its letters stand in it as such.
    @inline(__always)
    static func equals(_ bytes: Span<UInt8>, _ range: Range<Int>, _ lowercase: String) -> Bool {
        let expected = lowercase.utf8.span
        guard range.count == expected.count else { return false }
        let actual = bytes.extracting(range)
        for index in actual.indices where ASCIISet.lowercased(actual[index]) != expected[index] {
            return false
        }
        return true
    }

    static func equals(_ bytes: Span<UInt8>, _ range: Range<Int>, _ other: Range<Int>) -> Bool {
        guard range.count == other.count else { return false }
        let (left, right) = (bytes.extracting(range), bytes.extracting(other))
        for index in left.indices where ASCIISet.lowercased(left[index]) != ASCIISet.lowercased(right[index])
        {
            return false
        }
        return true
    }

    /// Without spaces and tabs around.
    @inline(__always)
    static func trimmed(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, FieldSyntax.isWhitespace(bytes[start]) { start &+= 1 }
        while start < end, FieldSyntax.isWhitespace(bytes[end &- 1]) { end &-= 1 }
        return start..<end
    }
}

/// Some ASCII characters.
struct ASCIISet: Sendable, BitwiseCopyable {
    let low: UInt64
    let high: UInt64

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let half = byte & 0x40 == 0 ? low : high
        return byte < 0x80 && (half &>> UInt64(byte & 0x3F)) & 1 == 1
    }

    // Bit n stands for character n, or n + 64; a test derives them from the grammar.
    /// RFC 9110 section 5.6.2.
    static let token = ASCIISet(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    /// Letters, digits and the hyphen: what ELBv2 calls a valid field name.
    static let usualName = ASCIISet(low: 0x03FF_2000_0000_0000, high: 0x07FF_FFFE_07FF_FFFE)
    /// Letters, digits, `-`, `.`, `_` and `~`: what a host's name is made of.
    static let hostName = ASCIISet(low: 0x03FF_6000_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    @inline(__always)
    static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }

    @inline(__always)
    static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        isDigit(byte) || (byte | 0x20) &- UInt8(ascii: "a") < 26
    }
}
