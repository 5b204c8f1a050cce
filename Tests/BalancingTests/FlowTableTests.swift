// Flow table, slot allocator and token: what a flow is found by, and how a stale event is known.

import Balancing
import Testing

@Suite struct `Flow table` {
    @Test func `holds as many as it promised, then refuses`() {
        for capacity in [0, 1, 7, 8, 100, 1_000] {
            var table = FlowTable(capacity: capacity)
            for slot in 0..<capacity {
                let isInserted = table.insert(hash: UInt64(slot) &* 0x9e37_79b9_7f4a_7c15, slot: slot)
                #expect(isInserted)
            }
            let isInserted = table.insert(hash: 1, slot: capacity)
            #expect(!isInserted)
            #expect(table.count == capacity)
            for slot in 0..<capacity {
                #expect(table.slot(hash: UInt64(slot) &* 0x9e37_79b9_7f4a_7c15) { $0 == slot } == slot)
            }
        }
    }

    /// Flows of one hash, as an attacker who knew the seed would send them, cost time and nothing else.
    @Test func `flows of one hash are told apart by their keys`() {
        var table = FlowTable(capacity: 64)
        for slot in 0..<64 { _ = table.insert(hash: .max, slot: slot) }
        for slot in 0..<64 { #expect(table.slot(hash: .max) { $0 == slot } == slot) }
        #expect(table.slot(hash: .max) { _ in false } == nil)
        for slot in stride(from: 0, to: 64, by: 2) { table.remove(hash: .max, slot: slot) }
        for slot in 0..<64 {
            #expect(table.slot(hash: .max) { $0 == slot } == (slot.isMultiple(of: 2) ? nil : slot))
        }
    }

    @Test func `removing what is not there changes nothing`() {
        var table = FlowTable(capacity: 4)
        _ = table.insert(hash: 1, slot: 0)
        table.remove(hash: 1, slot: 3)
        table.remove(hash: 2, slot: 0)
        #expect(table.count == 1)
        #expect(table.slot(hash: 1) { _ in true } == 0)
    }

    /// Against a dictionary; hashes from a small set, at the end of the table too, so that runs wrap.
    @Test func `any sequence of changes agrees with a dictionary`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let capacity = Int.random(in: 1...40, using: &generator)
            var table = FlowTable(capacity: capacity)
            var model: [Int: UInt64] = [:]
            for _ in 0..<400 {
                let slot = Int.random(in: 0..<capacity, using: &generator)
                let hash = UInt64.random(in: 0..<24, using: &generator) &+ 0xFFFF_FFFF_FFFF_FFF4
                if let known = model[slot] {
                    table.remove(hash: known, slot: slot)
                    model[slot] = nil
                } else {
                    let isInserted = table.insert(hash: hash, slot: slot)
                    #expect(isInserted, "seed \(seed)")
                    model[slot] = hash
                }
                #expect(table.count == model.count, "seed \(seed)")
                for (slot, hash) in model {
                    #expect(table.slot(hash: hash) { $0 == slot } == slot, "seed \(seed)")
                }
                if model[slot] == nil {
                    #expect(table.slot(hash: hash) { $0 == slot } == nil, "seed \(seed)")
                }
            }
        }
    }
}

@Suite struct `Slot allocator` {
    @Test func `gives each slot once, the last freed first, and none beyond its capacity`() {
        var slots = SlotAllocator(capacity: 3)
        let taken = (0..<3).compactMap { _ in slots.allocate() }
        #expect(taken == [0, 1, 2])
        #expect(slots.allocate() == nil)
        slots.free(0)
        slots.free(2)
        #expect(slots.usedCount == 1)
        let again = [slots.allocate(), slots.allocate(), slots.allocate()]
        #expect(again == [2, 0, nil])
    }

    @Test func `memory beyond the most slots ever used stays untouched`() {
        var slots = SlotAllocator(capacity: 1_000)
        for _ in 0..<500 {
            if let slot = slots.allocate() { slots.free(slot) }
        }
        #expect(slots.scanBound == 1)
    }

    @Test func `any sequence gives out no slot twice`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            var slots = SlotAllocator(capacity: 16)
            var used = Set<Int>()
            for _ in 0..<200 {
                if Bool.random(using: &generator), let slot = used.randomElement(using: &generator) {
                    slots.free(slot)
                    used.remove(slot)
                } else if let slot = slots.allocate() {
                    let isNew = used.insert(slot).inserted
                    #expect(isNew && slot < slots.scanBound, "seed \(seed)")
                } else {
                    #expect(used.count == 16, "seed \(seed)")
                }
                #expect(slots.usedCount == used.count, "seed \(seed)")
            }
        }
    }
}

@Suite struct `Event token` {
    @Test(
        arguments: [
            (0, 0, 0), (1, 1, 1), (15, Token.generationMask, Int(UInt32.max)), (7, 0x0123_4567, 99_999),
        ] as [(UInt8, UInt32, Int)])
    func `holds kind, generation and index`(kind: UInt8, generation: UInt32, index: Int) {
        let token = Token(kind: kind, generation: generation, index: index)
        #expect(token.kind == kind && token.generation == generation && token.index == index)
        #expect(Token(rawValue: token.rawValue) == token)
    }

    @Test func `a generation beyond its bits wraps and touches nothing else`() {
        let token = Token(kind: 3, generation: Token.generationMask &+ 1, index: 5)
        #expect(token.kind == 3 && token.generation == 0 && token.index == 5)
    }
}
