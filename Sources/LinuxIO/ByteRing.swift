// Texts of changing length from one thread to one other, without locks and without waiting: what goes with the
// records of a RecordRing.
//
// A ring of preallocated memory in which each piece is contiguous, so that the reader is lent it as it is; one that
// would not fit before the end begins at the start again. The writer gives a piece's position to the reader in a
// record, and it is that ring's release and acquire which show the bytes; this ring only hands room back. So the
// pieces are taken in the order in which their records come, and one whose record was refused is taken back, or its
// room returns with the next.

import CLinux

/// A bounded queue of byte strings with one writing and one reading thread.
///
/// Memory is reserved once and takes pages only when touched.
@safe
public final class ByteRing: @unchecked Sendable {
    // Sendable: bytes between the positions are the reader's, once it knows of them, all others the writer's; the
    // reader's position is stored with release after, and loaded with acquire before, the bytes it hands back are
    // touched.
    private let bytes: UnsafeMutablePointer<UInt8>
    /// One word: what was read. The reader's; the writer loads it.
    private let readPosition: UnsafeMutablePointer<UInt64>
    /// The writer's: where the next piece may begin. Positions only rise; a byte's place is its position modulo the
    /// capacity.
    private var writtenPosition: UInt64 = 0
    /// Where that was before the last piece.
    private var formerPosition: UInt64 = 0
    public let capacity: Int

    private static var wordByteCount: Int { MemoryLayout<UInt64>.stride }

    /// - Parameter capacity: At least one; rounded up to a power of two.
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity <= 1 << 30)
        var rounded = 1
        while rounded < capacity { rounded <<= 1 }
        self.capacity = rounded
        unsafe bytes = mapOrStop(rounded).bindMemory(to: UInt8.self, capacity: rounded)
        unsafe readPosition = mapOrStop(Self.wordByteCount).bindMemory(to: UInt64.self, capacity: 1)
    }

    deinit {
        unsafe weir_unmap(bytes, capacity)
        unsafe weir_unmap(readPosition, Self.wordByteCount)
    }

    /// Writer only. Copies a piece in; nil when there is no room: nothing is kept then.
    ///
    /// - Returns: The position by which the reader takes it.
    public func append(_ piece: Span<UInt8>) -> UInt64? {
        let count = piece.count
        guard count <= capacity else { return nil }
        var start = writtenPosition
        let offset = Int(start & UInt64(capacity - 1))
        // Room before the end that is too small is passed over; it comes back with the piece.
        if offset + count > capacity { start += UInt64(capacity - offset) }
        let read = unsafe weir_load_acquire(readPosition)
        // In an empty ring nobody needs what is passed over.
        guard read == writtenPosition || start + UInt64(count) - read <= UInt64(capacity) else { return nil }
        unsafe piece.withUnsafeBufferPointer { source in
            // The piece ends before the memory does, and the reader is not where it goes: both were just checked.
            guard let base = source.baseAddress else { return }
            unsafe (bytes + Int(start & UInt64(capacity - 1))).update(from: base, count: count)
        }
        formerPosition = writtenPosition
        writtenPosition = start + UInt64(count)
        return start
    }

    /// Writer only. Takes the last piece back, whose record was refused; once at most.
    public func takeBackLast() {
        writtenPosition = formerPosition
    }

    /// Reader only. Lends a piece, and hands back the room of it and of all before it.
    public func take<Result>(at position: UInt64, count: Int, _ body: (Span<UInt8>) -> Result) -> Result {
        let offset = Int(position & UInt64(capacity - 1))
        precondition(count >= 0 && offset + count <= capacity, "a piece that was never appended")
        // The writer told of this piece, and leaves it alone until the position below is stored.
        let piece = unsafe UnsafeBufferPointer(start: bytes + offset, count: count)
        let result = body(unsafe piece.span)
        unsafe weir_store_release(readPosition, position + UInt64(count))
        return result
    }
}
