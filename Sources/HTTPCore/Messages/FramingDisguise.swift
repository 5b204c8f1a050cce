// Names that some program on the way might take for Transfer-Encoding or Content-Length.
//
// Programs that turn `_` into `-`, trim or fold what they get see a length where others see none. Such a field is not
// passed on, whichever protocol it came by. ELBv2 calls it SuspiciousHeader.

enum FramingDisguise {
    /// What a name spells when letters and digits alone are looked at; nil for any other, and for the two themselves,
    /// which are known by their names.
    @inline(__always)
    static func unmask(_ bytes: Span<UInt8>, _ name: Range<Int>) -> FieldName? {
        // Thirteen and sixteen letters, and something between or around them. Most names fail by their first.
        guard name.count >= 13 else { return nil }
        let first = bytes[name.lowerBound] | 0x20
        guard
            first == UInt8(ascii: "t") || first == UInt8(ascii: "c")
                || !ASCIISet.isLetterOrDigit(bytes[name.lowerBound])
        else { return nil }
        return unmaskLikely(bytes, name)
    }

    @inline(never)
    private static func unmaskLikely(_ bytes: Span<UInt8>, _ name: Range<Int>) -> FieldName? {
        if spells(bytes, name, "transferencoding") { return .transferEncoding }
        return spells(bytes, name, "contentlength") ? .contentLength : nil
    }

    private static func spells(_ bytes: Span<UInt8>, _ range: Range<Int>, _ letters: String) -> Bool {
        let letters = letters.utf8.span
        var count = 0
        for index in range where ASCIISet.isLetterOrDigit(bytes[index]) {
            guard count < letters.count, bytes[index] | 0x20 == letters[count] else { return false }
            count += 1
        }
        return count == letters.count
    }
}
