// From a flow's hash to its slot: an open-addressed table that never grows.
//
// Linear probing with backward-shift deletion (Knuth, TAOCP 6.4, algorithm R), so that no tombstone
// collects under a flood. The table holds at most half of its buckets. The hash is keyed (SipHash):
// nobody outside can aim for one bucket.

public struct FlowTable: Sendable {
    private struct Bucket: BitwiseCopyable, Sendable {
        /// The lower half of the hash: where the bucket's home is, and what is compared before the key.
        var fragment: UInt32
        /// The slot plus one; zero is empty.
        var slotPlusOne: UInt32
    }

    private var buckets: [Bucket]
    private let mask: Int
    public let capacity: Int
    public private(set) var count = 0

    /// - Parameter capacity: How many flows it may hold; the buckets are the next power of two of twice that.
    public init(capacity: Int) {
        self.capacity = capacity
        var size = 16
        while size < capacity * 2 { size *= 2 }
        buckets = [Bucket](repeating: Bucket(fragment: 0, slotPlusOne: 0), count: size)
        mask = size - 1
    }

    /// The slot with this hash for which `isMatch` holds.
    @inline(__always)
    public func slot(hash: UInt64, where isMatch: (Int) -> Bool) -> Int? {
        let fragment = UInt32(truncatingIfNeeded: hash)
        var index = Int(fragment) & mask
        while true {
            let bucket = buckets[index]
            guard bucket.slotPlusOne != 0 else { return nil }
            if bucket.fragment == fragment, isMatch(Int(bucket.slotPlusOne - 1)) {
                return Int(bucket.slotPlusOne - 1)
            }
            index = (index + 1) & mask
        }
    }

    /// Adds a slot; false when the table is full. The caller has made sure that the key is not there yet.
    public mutating func insert(hash: UInt64, slot: Int) -> Bool {
        guard count < capacity else { return false }
        let fragment = UInt32(truncatingIfNeeded: hash)
        var index = Int(fragment) & mask
        while buckets[index].slotPlusOne != 0 { index = (index + 1) & mask }
        buckets[index] = Bucket(fragment: fragment, slotPlusOne: UInt32(slot + 1))
        count += 1
        return true
    }

    /// Removes the bucket of `slot`, if it is there.
    public mutating func remove(hash: UInt64, slot: Int) {
        var hole = Int(UInt32(truncatingIfNeeded: hash)) & mask
        while buckets[hole].slotPlusOne != UInt32(slot + 1) {
            guard buckets[hole].slotPlusOne != 0 else { return }
            hole = (hole + 1) & mask
        }
        count -= 1
        var index = hole
        while true {
            index = (index + 1) & mask
            let bucket = buckets[index]
            guard bucket.slotPlusOne != 0 else { break }
            let home = Int(bucket.fragment) & mask
            // The bucket may fill the hole unless its home lies cyclically between hole and itself.
            if (index &- home) & mask >= (index &- hole) & mask {
                buckets[hole] = bucket
                hole = index
            }
        }
        buckets[hole] = Bucket(fragment: 0, slotPlusOne: 0)
    }
}
