// CRC32c (Castagnoli), reflected, as RFC 4960 appendix B has it: the checksum of PROXY protocol headers.
//
// One table look-up per byte. The processor's own instruction would be faster, but a header has some 60 bytes.

public struct CRC32C: Sendable, BitwiseCopyable {
    private static let table = InlineArray<256, UInt32> { index in
        var remainder = UInt32(truncatingIfNeeded: index)
        for _ in 0..<8 {
            remainder = remainder & 1 == 0 ? remainder >> 1 : remainder >> 1 ^ 0x82F6_3B78
        }
        return remainder
    }

    private var remainder = UInt32.max

    public init() {}

    /// The checksum of what was added so far.
    public var value: UInt32 { ~remainder }

    @inline(__always)
    public mutating func add(_ byte: UInt8) {
        remainder = Self.table[Int(UInt8(truncatingIfNeeded: remainder) ^ byte)] ^ remainder >> 8
    }

    public mutating func add(_ bytes: Span<UInt8>) {
        for index in bytes.indices { add(bytes[index]) }
    }

    /// Adds as many zeros; a header's checksum counts as zero within itself.
    public mutating func addZeros(_ count: Int) {
        for _ in 0..<count { add(0) }
    }
}
