// Finds the few rules that a request may meet among any number of them.
//
// A tree. A node looks at one part of the request, such as its path, and has a hash table from what rules ask of
// that part to the node that goes on with them; rules that ask nothing of it, or nothing that can be looked up, are
// in one more branch. A rule asks for a whole text, for its beginning or end, or for four bytes somewhere in it; see
// `RuleIndexBuilder` for which. Leaves list rules in rising priority, and each is then held against the request
// condition by condition: a table holds hashes alone, so two texts of one hash cost a look but decide nothing.
// Keys come from the configuration, so a client cannot fill the tables with collisions.

import Balancing

/// The part of a request that a node looks at.
enum RuleDimension: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case path
    case host
    case method
    case header
    case query
    case sourceIP
}

/// Hashes of what rules ask for; FNV-1a (Fowler, Noll & Vo) byte by byte, then mixed with what kind of text it is.
enum RuleKey {
    static let gramByteCount = 4
    /// Longer text in a request is no key, as patterns are not longer.
    static let byteCountMax = 128

    @inline(__always)
    static func start() -> UInt64 { 0xcbf2_9ce4_8422_2325 }

    @inline(__always)
    static func add(_ byte: UInt8, to hash: UInt64) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
    }

    /// Divides the name of a header or query key from its value; no byte does the same.
    @inline(__always)
    static func divide(_ hash: UInt64) -> UInt64 { (hash ^ 0x100) &* 0x0000_0100_0000_01b3 }

    @inline(__always)
    static func whole(_ hash: UInt64) -> UInt64 { finish(hash ^ 0x9e37_79b9_7f4a_7c15) }

    @inline(__always)
    static func beginning(_ hash: UInt64) -> UInt64 { finish(hash ^ 0xbf58_476d_1ce4_e5b9) }

    /// Of a hash that took the bytes from the last to the first.
    @inline(__always)
    static func end(_ hash: UInt64) -> UInt64 { finish(hash ^ 0x94d0_49bb_1331_11eb) }

    /// Four bytes in a row, the first one highest.
    @inline(__always)
    static func gram(_ seed: UInt64, _ bytes: UInt32) -> UInt64 {
        finish((seed ^ UInt64(bytes)) &* 0xff51_afd7_ed55_8ccd)
    }

    static func source(_ address: IPAddress, length: UInt8) -> UInt64 {
        let (high, low) = mask(length, address.family)
        var hash = (address.high & high) &* 0x9e37_79b9_7f4a_7c15
        hash = (hash ^ hash >> 29 ^ (address.low & low)) &* 0xbf58_476d_1ce4_e5b9
        return finish(hash ^ UInt64(length) << 8 ^ UInt64(address.family.rawValue))
    }

    private static func mask(_ length: UInt8, _ family: IPAddress.Family) -> (high: UInt64, low: UInt64) {
        switch family {
        case .v4: (0, UInt64(UInt32.max << (32 - UInt32(min(length, 32)))))
        case .v6: (UInt64.max << (64 - Int(min(length, 64))), UInt64.max << (64 - Int(max(length, 64) - 64)))
        }
    }

    /// The lower bits choose the slot, so the upper ones are folded down.
    @inline(__always)
    private static func finish(_ hash: UInt64) -> UInt64 { hash ^ hash >> 32 ^ hash >> 15 }
}

struct RuleIndex: Sendable {
    struct Node: Sendable, BitwiseCopyable {
        /// Nil for a leaf.
        var dimension: RuleDimension?
        /// Some keys are whole texts.
        var hasWholes = false
        /// Some keys are four bytes anywhere.
        var hasGrams = false
        /// Some query values are asked for under any key.
        var hasKeylessValues = false
        /// The lowest rule in or below it: no need to look when a lower one applies already.
        var firstRule = UInt32.max
        /// For rules without a key here; `none` if there are none.
        var otherwise = RuleIndex.none
        /// Slots of the hash table, as many as a power of two.
        var slotStart: UInt32 = 0
        var slotMask: UInt32 = 0
        /// Bit n: a gram's hash ends in n. Most grams of a request stop here.
        var gramFilter: UInt64 = 0
        /// How long the beginnings and ends are that are keys, in rising order; of source ranges, family and length.
        var beginningStart: UInt32 = 0
        var beginningCount: UInt32 = 0
        var endStart: UInt32 = 0
        var endCount: UInt32 = 0
        /// Of a leaf.
        var ruleStart: UInt32 = 0
        var ruleCount: UInt32 = 0
    }

    struct Slot: Sendable, BitwiseCopyable {
        var key: UInt64
        /// `none` in a free slot.
        var node: UInt32
    }

    static let none = UInt32.max

    var nodes: [Node] = []
    var slots: [Slot] = []
    var lengths: [UInt16] = []
    var leafRules: [UInt32] = []
    /// Bit n: some header condition's name has hash n; other fields need no look.
    var headerNameFilter: UInt64 = 0

    @inline(__always)
    func child(of node: Node, for key: UInt64) -> UInt32 {
        var slot = UInt32(truncatingIfNeeded: key) & node.slotMask
        // Ends, as at least half of the slots are free.
        while true {
            let found = slots[Int(node.slotStart &+ slot)]
            if found.key == key || found.node == Self.none { return found.node }
            slot = (slot &+ 1) & node.slotMask
        }
    }

    /// A cheap hash of a field name, for `headerNameFilter`.
    @inline(__always)
    static func nameBit(count: Int, first: UInt8, last: UInt8) -> UInt64 {
        1 &<< UInt64((UInt8(truncatingIfNeeded: count) &* 7 &+ (first | 0x20) &* 3 &+ (last | 0x20)) & 63)
    }
}

/// Which nodes are still to be looked at in one match, and which have been.
struct RuleMarks: Sendable {
    /// By number of a node and, behind them, of a rule: the match that came past it last.
    private var stamps: [UInt32] = []
    private var generation: UInt32 = 0
    private var pending: [UInt32] = []
    private var pendingCount = 0

    /// Makes room for `count` nodes and rules, and forgets the last match.
    mutating func begin(count: Int) {
        if stamps.count < count {
            stamps = Array(repeating: 0, count: max(count, 2 * stamps.count))
            pending = stamps
            generation = 0
        }
        if generation == .max {
            for index in stamps.indices { stamps[index] = 0 }
            generation = 0
        }
        generation += 1
        pendingCount = 0
    }

    /// Marks one; whether this is the first time in this match.
    @inline(__always)
    mutating func isNew(_ number: Int) -> Bool {
        guard stamps[number] != generation else { return false }
        stamps[number] = generation
        return true
    }

    /// Adds a node, unless it has been added in this match: a text may have the same key many times.
    @inline(__always)
    mutating func push(_ node: UInt32) {
        guard node != RuleIndex.none, isNew(Int(node)) else { return }
        // Has room, as no node is added twice.
        pending[pendingCount] = node
        pendingCount &+= 1
    }

    @inline(__always)
    mutating func pop() -> UInt32? {
        guard pendingCount > 0 else { return nil }
        pendingCount &-= 1
        return pending[pendingCount]
    }
}
