// Shares, order and memory of the three algorithms, over virtual time.

import Balancing
import Testing

@Suite struct `Request spreading` {
    @Test(arguments: LoadBalancingAlgorithm.allCases)
    func `a group without targets has none`(algorithm: LoadBalancingAlgorithm) {
        var worker = SpreadingWorker(.spread([], by: algorithm))
        #expect(worker.begin() == nil)
    }

    @Test(arguments: LoadBalancingAlgorithm.allCases)
    func `tried targets are passed over until none is left`(algorithm: LoadBalancingAlgorithm) {
        for seed in Seeds.all.prefix(32) {
            var worker = SpreadingWorker(
                .spread([3, 1, 4, 15, 9, 2, 6, 5], weights: [1, 999, 5, 1, 1, 7, 1, 300], by: algorithm),
                seed: seed)
            _ = worker.counts(Int(seed))
            var tried = TriedTargets()
            for _ in 0..<8 {
                guard let target = worker.begin(excluding: tried) else {
                    Issue.record("seed \(seed): nothing left after \(tried.count)")
                    break
                }
                tried.insert(target)
            }
            #expect(worker.begin(excluding: tried) == nil)
        }
    }

    @Test func `round robin takes every target once in each round`() {
        let targets = (0..<1_000).map { UInt32($0) }
        var worker = SpreadingWorker(.spread(targets, by: .roundRobin))
        let first = (0..<1_000).compactMap { _ in worker.begin() }
        #expect(Set(first).count == 1_000)
        for _ in 0..<3 {
            #expect((0..<1_000).compactMap { _ in worker.begin() } == first)
        }
    }

    @Test func `round robin keeps the weights exactly in each stretch of their sum`() {
        let weights = [1, 2, 3, 5, 10, 999]
        let sum = weights.reduce(0, +)
        for seed in Seeds.all.prefix(16) {
            var worker = SpreadingWorker(
                .spread([0, 1, 2, 3, 4, 5], weights: weights, by: .roundRobin), seed: seed)
            for _ in 0..<10 {
                let counts = worker.counts(sum)
                for (target, weight) in weights.enumerated() {
                    #expect(abs((counts[UInt32(target)] ?? 0) - weight) <= 1, "seed \(seed)")
                }
            }
        }
    }

    /// No target gets its share in a row: between two turns of the light one the heavy one has nine or so.
    @Test func `round robin interleaves`() {
        var worker = SpreadingWorker(.spread([7, 8], weights: [9, 1], by: .roundRobin))
        let order = (0..<1_000).compactMap { _ in worker.begin()?.rawValue }
        let places = order.indices.filter { order[$0] == 8 }
        #expect(zip(places, places.dropFirst()).allSatisfy { $1 - $0 == 10 })
    }

    @Test func `each worker begins elsewhere`() {
        let group = GroupRoute.spread((0..<100).map { UInt32($0) }, by: .roundRobin)
        let first = (0..<64).compactMap { seed in
            var worker = SpreadingWorker(group, seed: UInt64(seed))
            return worker.begin()
        }
        #expect(Set(first).count > 30)
    }

    @Test func `the least loaded target is chosen, whatever the order of ends`() {
        for seed in Seeds.all {
            let count = seed % 2 == 0 ? 7 : 40
            let weights = (0..<count).map { seed % 3 == 0 ? 1 : $0 % 5 + 1 }
            let targets = (0..<count).map { UInt32(count - $0) * 3 }
            var worker = SpreadingWorker(
                .spread(targets, weights: weights, by: .leastOutstandingRequests), seed: seed)
            var generator = SplitMix64(seed: ~seed)
            var live: [TargetNumber] = []
            for _ in 0..<400 {
                if live.isEmpty || Int.random(in: 0..<100, using: &generator) < 55 {
                    let loads = targets.indices.map {
                        Double(worker.outstanding[TargetNumber(targets[$0])]) / Double(weights[$0])
                    }
                    guard let target = worker.begin(), let position = targets.firstIndex(of: target.rawValue)
                    else { break }
                    #expect(loads[position] <= (loads.min() ?? 0) + 1e-6, "seed \(seed)")
                    live.append(target)
                } else {
                    worker.end(live.remove(at: Int.random(in: 0..<live.count, using: &generator)))
                }
            }
            #expect(worker.spreader.brokenInvariant == nil)
        }
    }

    @Test func `idle targets take turns by weight under least outstanding requests`() {
        let weights = [1, 3, 6]
        var worker = SpreadingWorker(.spread([4, 5, 6], weights: weights, by: .leastOutstandingRequests))
        let counts = worker.counts(1_000)
        #expect(abs((counts[4] ?? 0) - 100) <= 1)
        #expect(abs((counts[5] ?? 0) - 300) <= 1)
        #expect(abs((counts[6] ?? 0) - 600) <= 1)
    }

    /// One target is stuck with many exchanges for long; freed, it gets its share and no more.
    @Test func `a target that was loaded does not make up for missed turns`() {
        var worker = SpreadingWorker(.spread([0, 1, 2, 3], by: .leastOutstandingRequests))
        for _ in 0..<50 { worker.outstanding.begin(TargetNumber(2)) }
        worker.adopt(.spread([0, 1, 2, 3], by: .leastOutstandingRequests))
        #expect(worker.counts(10_000)[2] == nil)
        while worker.outstanding[TargetNumber(2)] > 0 { worker.end(TargetNumber(2)) }
        #expect((worker.counts(400)[2] ?? 0) <= 102)
    }

    @Test func `weighted random keeps the weights`() {
        let weights = [1, 2, 3, 4, 90]
        var worker = SpreadingWorker(.spread([0, 1, 2, 3, 4], weights: weights, by: .weightedRandom))
        let total = 100_000
        let counts = worker.counts(total)
        // Chi-square with four degrees of freedom: 23.5 is passed once in ten thousand runs, and the seed is fixed.
        let statistic = weights.enumerated().reduce(0.0) { sum, entry in
            let expected = Double(total * entry.element) / 100
            let deviation = Double(counts[UInt32(entry.offset)] ?? 0) - expected
            return sum + deviation * deviation / expected
        }
        #expect(statistic < 23.5)
    }
}
