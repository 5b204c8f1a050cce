// Bytes on their way out, appended into storage that is allocated once.
//
// Bounded: what does not fit is not written and is remembered, so that whoever fills it asks once at the end and not
// after every piece.

public struct OutputBuffer: ~Copyable, Sendable {
    /// The bytes are the first `count` of these.
    public internal(set) var storage: [UInt8]
    public internal(set) var count = 0
    /// Something did not fit; the content is then of no use.
    public private(set) var hasOverflowed = false

    /// - Parameter capacity: How many bytes it takes; reserved now, and never more.
    public init(capacity: Int) {
        storage = [UInt8](repeating: 0, count: capacity)
    }

    public var capacity: Int { storage.count }
    public var isEmpty: Bool { count == 0 }

    /// Lends what was appended.
    @inline(__always)
    public func withBytes<Result: ~Copyable, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(storage.span.extracting(first: count))
    }

    public mutating func removeAll() {
        count = 0
        hasOverflowed = false
    }

    /// Takes back what was appended after the buffer held `count` bytes.
    public mutating func truncate(to count: Int) {
        precondition(count <= self.count, "a buffer does not grow by being cut")
        self.count = count
        hasOverflowed = false
    }

    /// Drops bytes that were sent from the front. Moves the rest.
    public mutating func removeFirst(_ byteCount: Int) {
        precondition(byteCount <= count, "more was sent than there was")
        let end = count
        var target = storage.mutableSpan
        for index in byteCount..<end { target[index - byteCount] = target[index] }
        count -= byteCount
    }

    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        guard count < storage.count else { return hasOverflowed = true }
        storage[count] = byte
        count &+= 1
    }

    /// All of `bytes`.
    @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>) {
        let byteCount = bytes.count
        guard byteCount <= storage.count &- count else { return hasOverflowed = true }
        let start = count
        count = start &+ byteCount
        var span = storage.mutableSpan
        Self.copy(bytes, to: &span, at: start)
    }

    /// Of one length, which the optimiser sees: no check is left in the loop.
    @inline(__always)
    private static func copy(_ bytes: Span<UInt8>, to span: inout MutableSpan<UInt8>, at start: Int) {
        var target = span._mutatingExtracting(start..<(start &+ bytes.count))
        for index in 0..<bytes.count { target[index] = bytes[index] }
    }

    /// A field line: as four pieces, with one look at the bounds.
    @inline(__always)
    public mutating func appendField(_ bytes: Span<UInt8>, name: Range<Int>, value: Range<Int>) {
        let name = bytes.extracting(name)
        let value = bytes.extracting(value)
        let byteCount = name.count &+ value.count &+ 4
        guard byteCount <= storage.count &- count else { return hasOverflowed = true }
        var position = count
        count = position &+ byteCount
        var span = storage.mutableSpan
        Self.copy(name, to: &span, at: position)
        position &+= name.count
        span[position] = UInt8(ascii: ":")
        span[position &+ 1] = UInt8(ascii: " ")
        position &+= 2
        Self.copy(value, to: &span, at: position)
        position &+= value.count
        span[position] = UInt8(ascii: "\r")
        span[position &+ 1] = UInt8(ascii: "\n")
    }

    @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        append(bytes.extracting(range))
    }

    @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>, _ place: ByteRange) {
        append(bytes.extracting(place.range))
    }

    /// Text that is known when the program is built: a literal costs no allocation and no counting.
    @inline(__always)
    public mutating func append(_ text: String) {
        append(text.utf8.span)
    }

    public mutating func append(decimal number: UInt64) {
        var divisor: UInt64 = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            append(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }

    /// In lower case, without leading zeros.
    public mutating func append(hexadecimal number: UInt64) {
        var shift = number == 0 ? 0 : (63 - number.leadingZeroBitCount) & ~3
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: number &>> UInt64(shift) & 0xF)
            append(digit < 10 ? UInt8(ascii: "0") &+ digit : UInt8(ascii: "a") &+ digit &- 10)
            shift -= 4
        }
    }
}
