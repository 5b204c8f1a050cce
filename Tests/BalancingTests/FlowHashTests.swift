// The Maglev table: even, weighted, stable when targets come and go.

import Balancing
import Testing

@Suite struct `Flow hash` {
    private func entries(_ count: Int, weight: Int = 1, seed: UInt64 = 1) -> [FlowHash.Entry] {
        var generator = SplitMix64(seed: seed)
        return (0..<count).map { _ in FlowHash.Entry(identity: generator.next(), weight: weight) }
    }

    /// The identity behind each slot, zero for none.
    private func owners(_ table: FlowHash, _ entries: [FlowHash.Entry]) -> [UInt64] {
        (0..<table.slotCount).map { slot in
            table.firstPosition(from: slot) { _ in true }.map { entries[$0].identity } ?? 0
        }
    }

    @Test(arguments: [2, 3, 5, 10, 64, 100])
    func `equal weights share within two percent`(count: Int) {
        let shares = FlowHash(entries: entries(count)).shares(entryCount: count)
        let fair = Double(FlowHash.slotCountDefault) / Double(count)
        for share in shares {
            #expect(abs(Double(share) - fair) <= max(1, fair * 0.02), "shares \(shares)")
        }
        #expect(shares.reduce(0, +) == FlowHash.slotCountDefault)
    }

    @Test(arguments: [
        [1, 1, 2], [1, 999], [10, 20, 30, 40], [90, 10], [1, 1, 1, 1, 1, 500], [7, 0, 3], [999, 999, 998],
    ])
    func `shares follow weights`(weights: [Int]) {
        let entries = zip(entries(weights.count), weights).map {
            FlowHash.Entry(identity: $0.identity, weight: $1)
        }
        let shares = FlowHash(entries: entries).shares(entryCount: entries.count)
        let total = Double(weights.reduce(0, +))
        for (share, weight) in zip(shares, weights) {
            let fair = Double(FlowHash.slotCountDefault) * Double(weight) / total
            #expect(abs(Double(share) - fair) <= max(2, fair * 0.02), "shares \(shares) of \(weights)")
        }
    }

    @Test func `a thousand targets all get slots`() {
        let shares = FlowHash(entries: entries(1_000)).shares(entryCount: 1_000)
        #expect(shares.min() == 65)
        #expect(shares.max() == 66)
    }

    @Test func `the table is a function of identities and weights`() {
        let entries = entries(20)
        let first = owners(FlowHash(entries: entries), entries)
        #expect(owners(FlowHash(entries: entries), entries) == first)
    }

    /// Removing one of N moves its own slots and few others. Measured over many seeds: under 0.3 % of the
    /// table with 10 targets, under 1 % with 200, weights or not, the heaviest gone or another.
    @Test(arguments: [3, 10, 50, 200], [1, 100])
    func `a target that leaves moves its own flows and few others`(count: Int, weightMax: Int) {
        for seed in 0..<min(Seeds.count, 8) {
            var generator = SplitMix64(seed: seed)
            let before = entries(count, seed: seed).map {
                FlowHash.Entry(identity: $0.identity, weight: .random(in: 1...weightMax, using: &generator))
            }
            var after = before
            let gone = after.remove(at: Int(seed) % count)
            let ownersBefore = owners(FlowHash(entries: before), before)
            let ownersAfter = owners(FlowHash(entries: after), after)
            var movedOthersCount = 0
            for (old, new) in zip(ownersBefore, ownersAfter) where old != gone.identity {
                if old != new { movedOthersCount += 1 }
            }
            #expect(movedOthersCount * 1_000 <= FlowHash.slotCountDefault * 15, "seed \(seed)")
        }
    }

    @Test func `a weight set to zero moves flows as a removal does`() {
        let before = entries(10)
        var zeroed = before
        zeroed[4] = FlowHash.Entry(identity: before[4].identity, weight: 0)
        var removed = before
        removed.remove(at: 4)
        let table = FlowHash(entries: zeroed)
        #expect(table.shares(entryCount: 10)[4] == 0)
        #expect(owners(table, zeroed) == owners(FlowHash(entries: removed), removed))
    }

    @Test func `one target takes every flow`() {
        let table = FlowHash(entries: [
            FlowHash.Entry(identity: 7, weight: 0), FlowHash.Entry(identity: 8, weight: 5),
        ])
        for hash in [0, 1, UInt64.max / 2, .max] {
            #expect(table.firstPosition(from: table.slot(for: hash)) { _ in true } == 1)
        }
    }

    @Test(arguments: [[], [0], [0, 0, 0]])
    func `without a weight there is no table`(weights: [Int]) {
        let table = FlowHash(
            entries: weights.enumerated().map { FlowHash.Entry(identity: UInt64($0), weight: $1) })
        #expect(table.isEmpty)
        #expect(table.firstPosition(from: table.slot(for: .max)) { _ in true } == nil)
    }

    @Test func `slots cover the whole range of hashes`() {
        let table = FlowHash(entries: entries(3))
        #expect(table.slot(for: 0) == 0)
        #expect(table.slot(for: .max) == table.slotCount - 1)
    }

    @Test func `a walk from the last slot wraps and meets every target`() {
        let table = FlowHash(entries: entries(5))
        for wanted in 0..<5 {
            #expect(table.firstPosition(from: table.slotCount - 1) { $0 == wanted } == wanted)
        }
        #expect(table.firstPosition(from: table.slotCount - 1) { _ in false } == nil)
    }
}
