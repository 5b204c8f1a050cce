// Records from one thread to one other, without locks and without waiting.
//
// A ring of preallocated memory with two positions that only rise (Lamport, 1983): the writer owns one, the reader
// the other, and each loads the other's with acquire, so that a record is whole when its position shows it. When
// the ring is full the record is refused; whoever writes never waits for who reads.

import CLinux

/// A bounded queue of trivial records with one writing and one reading thread.
///
/// Memory is reserved once and takes pages only when touched; see `ByteRegion`.
@safe
public final class RecordRing<Record: BitwiseCopyable & Sendable>: @unchecked Sendable {
    // Sendable: records between the positions are the reader's, all others the writer's, and a position is
    // stored with release after, and loaded with acquire before, the records that it hands over are touched.
    private let records: UnsafeMutablePointer<Record>
    /// Two words, a cache line and more apart: what was written so far, and what was read.
    private let positions: UnsafeMutablePointer<UInt64>
    private static var readPosition: Int { 16 }
    private static var positionByteCount: Int { 32 * MemoryLayout<UInt64>.stride }
    public let capacity: Int

    /// - Parameter capacity: At least one; rounded up to a power of two.
    public init(capacity: Int, of type: Record.Type = Record.self) {
        precondition(capacity > 0 && capacity <= 1 << 24)
        var rounded = 1
        while rounded < capacity { rounded <<= 1 }
        self.capacity = rounded
        unsafe records = mapOrStop(rounded * MemoryLayout<Record>.stride)
            .bindMemory(to: Record.self, capacity: rounded)
        unsafe positions = mapOrStop(Self.positionByteCount).bindMemory(to: UInt64.self, capacity: 32)
    }

    deinit {
        unsafe weir_unmap(records, capacity * MemoryLayout<Record>.stride)
        unsafe weir_unmap(positions, Self.positionByteCount)
    }

    /// Writer only. False when the ring is full: the record is not kept.
    public func append(_ record: Record) -> Bool {
        let written = unsafe weir_load(positions)
        let read = unsafe weir_load_acquire(positions + Self.readPosition)
        guard written &- read < UInt64(capacity) else { return false }
        unsafe (records + Int(written & UInt64(capacity - 1))).initialize(to: record)
        unsafe weir_store_release(positions, written &+ 1)
        return true
    }

    /// Reader only. Hands over what was written before the call, oldest first, and gives its room back one by one;
    /// returns how many there were.
    public func drain(_ body: (Record) -> Void) -> Int {
        let written = unsafe weir_load_acquire(positions)
        var read = unsafe weir_load(positions + Self.readPosition)
        let count = Int(truncatingIfNeeded: written &- read)
        while read != written {
            body(unsafe records[Int(read & UInt64(capacity - 1))])
            read &+= 1
            unsafe weir_store_release(positions + Self.readPosition, read)
        }
        return count
    }
}
