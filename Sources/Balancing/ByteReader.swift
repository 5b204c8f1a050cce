// Reads numbers and ranges out of bytes that a stranger sent; every parser of the core reads through it.
//
// Nothing here traps, whatever the bytes say: what is not there is nil. The reader keeps positions only and is
// lent the bytes with each call, so that it is a plain value and can stand in a state that outlives a span.

/// A place in some bytes, and where reading ends.
///
/// Every call takes the same bytes. A call that finds too few of them returns nil and reads nothing.
public struct ByteReader: Sendable, BitwiseCopyable {
    /// The offset of the next byte.
    public private(set) var position: Int
    /// Where reading ends, even when there are bytes beyond.
    public let end: Int

    /// Reads all of `bytes`.
    public init(_ bytes: Span<UInt8>) {
        position = 0
        end = bytes.count
    }

    /// Reads the bytes of `range`; what of it is outside of them reads as missing.
    public init(_ range: Range<Int>) {
        position = max(0, range.lowerBound)
        end = max(position, range.upperBound)
    }

    public var remainingByteCount: Int { end - position }
    public var isAtEnd: Bool { position == end }
    /// The offsets of what was not read yet.
    public var remainingRange: Range<Int> { position..<end }

    @inline(__always)
    public func peek(_ bytes: Span<UInt8>) -> UInt8? {
        position < end && position < bytes.count ? bytes[position] : nil
    }

    @inline(__always)
    public mutating func byte(_ bytes: Span<UInt8>) -> UInt8? {
        guard let byte = peek(bytes) else { return nil }
        position += 1
        return byte
    }

    /// A 16-bit number in network byte order.
    public mutating func uint16(_ bytes: Span<UInt8>) -> UInt16? {
        bigEndian(bytes, byteCount: 2).map { UInt16(truncatingIfNeeded: $0) }
    }

    /// A 32-bit number in network byte order.
    public mutating func uint32(_ bytes: Span<UInt8>) -> UInt32? {
        bigEndian(bytes, byteCount: 4).map { UInt32(truncatingIfNeeded: $0) }
    }

    /// A 64-bit number in network byte order.
    public mutating func uint64(_ bytes: Span<UInt8>) -> UInt64? {
        bigEndian(bytes, byteCount: 8)
    }

    @inline(__always)
    private mutating func bigEndian(_ bytes: Span<UInt8>, byteCount: Int) -> UInt64? {
        guard byteCount <= remainingByteCount, position <= bytes.count - byteCount else { return nil }
        var value: UInt64 = 0
        for _ in 0..<byteCount {
            value = value << 8 | UInt64(bytes[position])
            position += 1
        }
        return value
    }

    /// Passes over `byteCount` bytes, which need not have arrived, and returns their offsets.
    public mutating func skip(_ byteCount: Int) -> Range<Int>? {
        guard byteCount >= 0, byteCount <= remainingByteCount else { return nil }
        defer { position += byteCount }
        return position..<position + byteCount
    }

    /// Passes over the next byte if it is `expected`.
    @inline(__always)
    public mutating func take(_ expected: UInt8, _ bytes: Span<UInt8>) -> Bool {
        guard peek(bytes) == expected else { return false }
        position += 1
        return true
    }
}
