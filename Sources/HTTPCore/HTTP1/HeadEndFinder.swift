// Tells whether a head that came in pieces can be whole, looking at each byte once.
//
// The parsers begin anew with every call. A client that sends a byte at a time would have them read 64 KiB as many
// times; ask here before parsing a head again.

public struct HeadEndFinder: Sendable, BitwiseCopyable {
    private var scannedByteCount: UInt32 = 0

    public init() {}

    /// Whether `bytes`, the beginning of a head as last time and more, may now hold an empty line.
    ///
    /// False means that parsing would not complete the head. It may still refuse it: parse at once what came first.
    public mutating func mayBeComplete(_ bytes: Span<UInt8>) -> Bool {
        // A line break may have begun among the bytes already seen.
        var index = max(0, Int(scannedByteCount) - 3)
        scannedByteCount = UInt32(clamping: bytes.count)
        while index + 2 < bytes.count {
            if bytes[index] == UInt8(ascii: "\n") {
                let next = bytes[index + 1]
                if next == UInt8(ascii: "\n")
                    || (next == UInt8(ascii: "\r") && bytes[index + 2] == UInt8(ascii: "\n"))
                {
                    return true
                }
            }
            index += 1
        }
        return false
    }
}
