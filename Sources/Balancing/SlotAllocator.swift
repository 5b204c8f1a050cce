// Which slots of a slab are free, last freed first, so that warm memory is used again.

public struct SlotAllocator: Sendable {
    private var freed: [UInt32] = []
    /// Slots from here on were never given out: their memory is still untouched.
    private var highWaterMark = 0
    public let capacity: Int
    public private(set) var usedCount = 0

    public init(capacity: Int) {
        self.capacity = capacity
        freed.reserveCapacity(capacity)
    }

    /// A free slot; nil when all are taken, on which the caller sheds.
    public mutating func allocate() -> Int? {
        if let slot = freed.popLast() {
            usedCount += 1
            return Int(slot)
        }
        guard highWaterMark < capacity else { return nil }
        defer { highWaterMark += 1 }
        usedCount += 1
        return highWaterMark
    }

    /// Gives a slot back. Only one that `allocate` gave out, once.
    public mutating func free(_ slot: Int) {
        assert(slot >= 0 && slot < highWaterMark)
        precondition(usedCount > 0, "a slot was freed twice")
        freed.append(UInt32(slot))
        usedCount -= 1
    }

    /// Slots below this may be in use; those from it on are not.
    public var scanBound: Int { highWaterMark }
}
