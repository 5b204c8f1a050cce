// Consistent spreading of flows over targets: the Maglev lookup table.
//
// Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section
// 3.4. Each target fills the table in the order of its own permutation, so all get an even share, and
// when one leaves, nearly only its own entries change hands. Weights: a target of weight w takes its
// turn w times as often. The table is a pure function of the targets' identities and the seed, so
// workers and appliances that share a seed choose alike.

public struct FlowHash: Sendable {
    /// Prime, and at least 100 times the target count that the paper's evenness bound asks for in common groups.
    public static let slotCountDefault = 65_537

    /// What the table spreads over: an identity that is stable across rebuilds, and a weight.
    public struct Entry: Sendable {
        public let identity: UInt64
        public let weight: Int

        public init(identity: UInt64, weight: Int) {
            self.identity = identity
            self.weight = weight
        }
    }

    /// Position in the entry list for each slot; empty when no entry has a positive weight.
    private let slots: [UInt16]

    public static let empty = FlowHash(slots: [])

    private init(slots: [UInt16]) {
        self.slots = slots
    }

    /// Fills the table: O(`slotCount` · log) expected, as in section 3.4 of the paper.
    ///
    /// - Parameters:
    ///   - entries: At most 65,535; those of weight 0 get no slot.
    ///   - slotCount: Prime. Tables of different size spread differently, so all users of one seed share it.
    public init(entries: [Entry], slotCount: Int = Self.slotCountDefault) {
        precondition(entries.count <= Int(UInt16.max), "a table addresses its entries by 16 bits")
        let active = entries.indices.filter { entries[$0].weight > 0 }
        guard let heaviest = active.map({ entries[$0].weight }).max() else {
            slots = []
            return
        }
        if active.count == 1 {
            slots = [UInt16(active[0])]
            return
        }
        let size = UInt64(slotCount)
        var next = active.map { Self.mix(entries[$0].identity) % size }
        let skip = active.map { Self.mix(entries[$0].identity ^ 0x6d61_676c_6576) % (size - 1) + 1 }
        var credit = [Int](repeating: 0, count: active.count)
        var table = [UInt16](repeating: .max, count: slotCount)
        var filledCount = 0
        while true {
            for index in active.indices {
                // Weighted turns: credit grows by the weight and a turn costs the heaviest weight.
                credit[index] += entries[active[index]].weight
                guard credit[index] >= heaviest else { continue }
                credit[index] -= heaviest
                var slot = Int(next[index])
                while table[slot] != .max {
                    next[index] = (next[index] + skip[index]) % size
                    slot = Int(next[index])
                }
                table[slot] = UInt16(active[index])
                next[index] = (next[index] + skip[index]) % size
                filledCount += 1
                if filledCount == slotCount {
                    slots = table
                    return
                }
            }
        }
    }

    /// Finalizer of splitmix64 (Steele et al., 2014): spreads an identity over all 64 bits.
    static func mix(_ value: UInt64) -> UInt64 {
        var mixed = value &+ 0x9e37_79b9_7f4a_7c15
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    public var isEmpty: Bool { slots.isEmpty }
    public var slotCount: Int { slots.count }

    /// The slot of a hash, by multiply-shift instead of a division.
    public func slot(for hash: UInt64) -> Int {
        Int(hash.multipliedFullWidth(by: UInt64(slots.count)).high)
    }

    /// The first position from `slot` on, wrapping once, that is accepted.
    public func firstPosition(from slot: Int, where isAccepted: (Int) -> Bool) -> Int? {
        guard slot < slots.count else { return nil }
        let first = Int(slots[slot])
        if isAccepted(first) { return first }
        for offset in 1..<max(slots.count, 1) {
            let index = slot + offset
            let position = Int(slots[index < slots.count ? index : index - slots.count])
            if isAccepted(position) { return position }
        }
        return nil
    }

    /// How many slots each position holds, for people and tests.
    public func shares(entryCount: Int) -> [Int] {
        var counts = [Int](repeating: 0, count: entryCount)
        for position in slots { counts[Int(position)] += 1 }
        return counts
    }
}
