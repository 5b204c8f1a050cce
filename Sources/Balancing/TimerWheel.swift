// Deadlines for every flow of one worker, in O(1).
//
// Hashed timing wheel (Varghese & Lauck, 1987, scheme 6), 256 slots of 100 ms: coarse enough for idle
// timeouts, too coarse for pacing. Never fires early; may fire one slot late. One deadline per entry:
// setting another replaces it. Activity moves no entry: when an idle deadline fires, its owner
// compares it with the flow's last activity and sets it anew.

public struct TimerWheel: Sendable {
    private static let slotCount = 256
    public static let tickNanoseconds: UInt64 = 100_000_000
    private static let none = UInt32.max

    // Doubly linked lists through arrays: entry e waits in slot tick(e) % 256.
    private var heads = [UInt32](repeating: none, count: slotCount)
    private var next: [UInt32]
    private var previous: [UInt32]
    private var deadlineTicks: [UInt64]
    /// Bit s of the four words is set when slot s has entries: finding the next deadline costs four looks.
    private var occupied: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    private var currentTick: UInt64
    /// The next entry to look at in the slot of `currentTick`, which is looked at once and not at every turn.
    private var cursor = none
    public private(set) var armedCount = 0

    /// - Parameters:
    ///   - entryCount: Entries are numbered below this.
    ///   - now: The time from which the wheel turns.
    public init(entryCount: Int, now: Instant) {
        next = [UInt32](repeating: Self.none, count: entryCount)
        previous = [UInt32](repeating: Self.none, count: entryCount)
        deadlineTicks = [UInt64](repeating: 0, count: entryCount)
        currentTick = now.nanoseconds / Self.tickNanoseconds
    }

    /// Sets or replaces the deadline of an entry.
    public mutating func set(_ entry: Int, to deadline: Instant) {
        cancel(entry)
        // Rounded up: a timer that fires early would have to be checked and set again.
        let tick = deadline.nanoseconds / Self.tickNanoseconds + 1
        let due = max(tick, currentTick + 1)
        deadlineTicks[entry] = due
        let slot = Int(due % UInt64(Self.slotCount))
        let head = heads[slot]
        next[entry] = head
        previous[entry] = Self.none
        if head != Self.none { previous[Int(head)] = UInt32(entry) }
        heads[slot] = UInt32(entry)
        markOccupied(slot)
        armedCount += 1
    }

    /// Removes the deadline of an entry, if it has one.
    public mutating func cancel(_ entry: Int) {
        guard deadlineTicks[entry] != 0 else { return }
        let slot = Int(deadlineTicks[entry] % UInt64(Self.slotCount))
        let before = previous[entry]
        let after = next[entry]
        if cursor == UInt32(entry) { cursor = after }
        if before == Self.none {
            heads[slot] = after
            if after == Self.none { markEmpty(slot) }
        } else {
            next[Int(before)] = after
        }
        if after != Self.none { previous[Int(after)] = before }
        deadlineTicks[entry] = 0
        armedCount -= 1
    }

    public func isArmed(_ entry: Int) -> Bool { deadlineTicks[entry] != 0 }

    /// Takes one entry whose deadline has passed; nil when none is left at `now`. Call until nil.
    public mutating func popDue(at now: Instant) -> Int? {
        let nowTick = now.nanoseconds / Self.tickNanoseconds
        guard armedCount > 0 else {
            currentTick = max(currentTick, nowTick)
            cursor = Self.none
            return nil
        }
        // After a long sleep each slot is passed once, which finds all that is due in any round.
        if nowTick > currentTick, nowTick - currentTick > UInt64(Self.slotCount) {
            currentTick = nowTick - UInt64(Self.slotCount)
            cursor = Self.none
        }
        while true {
            while cursor != Self.none {
                let entry = Int(cursor)
                cursor = next[entry]
                if deadlineTicks[entry] <= currentTick {
                    cancel(entry)
                    return entry
                }
            }
            guard currentTick < nowTick else { return nil }
            currentTick += 1
            cursor = heads[Int(currentTick % UInt64(Self.slotCount))]
        }
    }

    /// How long a worker may sleep without missing a deadline; nil when nothing is armed.
    ///
    /// At most one turn of the wheel, since a slot does not tell in which round its entries are due.
    public func millisecondsUntilNext(from now: Instant) -> Int? {
        guard armedCount > 0 else { return nil }
        let tick = currentTick + UInt64(slotsUntilOccupied(after: currentTick))
        let start = tick * Self.tickNanoseconds
        guard start > now.nanoseconds else { return 0 }
        return Int((start - now.nanoseconds) / 1_000_000) + 1
    }

    // MARK: Occupancy

    private mutating func markOccupied(_ slot: Int) {
        let bit = UInt64(1) << UInt64(slot % 64)
        switch slot / 64 {
        case 0: occupied.0 |= bit
        case 1: occupied.1 |= bit
        case 2: occupied.2 |= bit
        default: occupied.3 |= bit
        }
    }

    private mutating func markEmpty(_ slot: Int) {
        let bit = ~(UInt64(1) << UInt64(slot % 64))
        switch slot / 64 {
        case 0: occupied.0 &= bit
        case 1: occupied.1 &= bit
        case 2: occupied.2 &= bit
        default: occupied.3 &= bit
        }
    }

    private func word(_ index: Int) -> UInt64 {
        switch index & 3 {
        case 0: occupied.0
        case 1: occupied.1
        case 2: occupied.2
        default: occupied.3
        }
    }

    /// 1–256: how far the next slot with entries lies ahead.
    private func slotsUntilOccupied(after tick: UInt64) -> Int {
        let first = Int((tick + 1) % UInt64(Self.slotCount))
        // The rest of the first word, three whole words, and the first word again.
        let rest = word(first / 64) >> UInt64(first % 64)
        if rest != 0 { return 1 + rest.trailingZeroBitCount }
        for step in 1...4 {
            let bits = word(first / 64 + step)
            if bits != 0 { return 1 + 64 * step - first % 64 + bits.trailingZeroBitCount }
        }
        return Self.slotCount
    }
}
