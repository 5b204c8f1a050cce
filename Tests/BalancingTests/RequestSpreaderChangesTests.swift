// Request spreading while the group changes: targets come and go, start slowly, fail.

import Balancing
import CAllocationCount
import Testing

@Suite struct `Request spreading through changes` {
    /// Random membership, weights and algorithms under load. The worker of the tests checks that what is chosen is
    /// of the group as it is.
    @Test func `never leaves the group and never loses its order`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            var worker = SpreadingWorker(.spread([1, 2], by: .roundRobin), seed: seed)
            var live: [TargetNumber] = []
            for _ in 0..<60 {
                let targets = (0..<UInt32(40)).filter { _ in Int.random(in: 0..<3, using: &generator) == 0 }
                    .shuffled(using: &generator)
                worker.now = worker.now.advanced(byMilliseconds: .random(in: 0..<20_000, using: &generator))
                worker.adopt(
                    .spread(
                        targets, weights: targets.map { _ in .random(in: 1...999, using: &generator) },
                        by: LoadBalancingAlgorithm.allCases.randomElement(using: &generator) ?? .roundRobin,
                        mitigatesAnomalies: .random(using: &generator),
                        slowStartSeconds: Bool.random(using: &generator) ? 30 : 0,
                        startedAt: targets.map { _ in Bool.random(using: &generator) ? worker.now : nil },
                        isFailOpen: Int.random(in: 0..<5, using: &generator) == 0))
                for _ in 0..<20 {
                    let target = worker.begin()
                    #expect((target == nil) == targets.isEmpty, "seed \(seed)")
                    if let target { live.append(target) }
                    if live.count > 15 {
                        let index = Int.random(in: 0..<live.count, using: &generator)
                        let outcomes: [ExchangeOutcome] = [
                            .answered, .serverError, .connectionError, .abandoned,
                        ]
                        worker.end(
                            live.remove(at: index), outcomes.randomElement(using: &generator) ?? .answered)
                    }
                    if let broken = worker.spreader.brokenInvariant {
                        Issue.record("seed \(seed): \(broken)")
                        return
                    }
                }
            }
        }
    }

    @Test func `a target that joins gets its share from the start, and no more`() {
        var worker = SpreadingWorker(.spread([0, 1, 2, 3], by: .roundRobin))
        _ = worker.counts(100_003)
        worker.adopt(.spread([9, 0, 1, 2, 3], by: .roundRobin))
        let counts = worker.counts(50)
        #expect((9...11).contains(counts[9] ?? 0))
        #expect([0, 1, 2, 3].allSatisfy { (9...11).contains(counts[$0] ?? 0) })
    }

    @Test func `those that stay share what one leaves behind`() {
        var worker = SpreadingWorker(.spread([0, 1, 2, 3], weights: [10, 20, 30, 40], by: .roundRobin))
        _ = worker.counts(1_234)
        worker.adopt(.spread([0, 1, 2], weights: [10, 20, 30], by: .roundRobin))
        let counts = worker.counts(600)
        #expect(abs((counts[0] ?? 0) - 100) <= 1)
        #expect(abs((counts[1] ?? 0) - 200) <= 1)
        #expect(abs((counts[2] ?? 0) - 300) <= 1)
        #expect(counts[3] == nil)
    }

    @Test func `a new weight counts at once`() {
        var worker = SpreadingWorker(.spread([0, 1], weights: [1, 999], by: .roundRobin))
        _ = worker.counts(10)
        worker.adopt(.spread([0, 1], weights: [999, 999], by: .roundRobin))
        let counts = worker.counts(100)
        #expect(abs((counts[0] ?? 0) - 50) <= 2)
    }

    /// A snapshot every few requests must not send them all to the targets that a new beginning would favour.
    @Test func `snapshots between all requests leave the shares alone`() {
        let weights = [1, 2, 7]
        let group = GroupRoute.spread([5, 6, 7], weights: weights, by: .roundRobin)
        var worker = SpreadingWorker(group)
        var counts: [UInt32: Int] = [:]
        for _ in 0..<500 {
            worker.adopt(group)
            counts.merge(worker.counts(2), uniquingKeysWith: +)
        }
        #expect(abs((counts[5] ?? 0) - 100) <= 1)
        #expect(abs((counts[6] ?? 0) - 200) <= 1)
        #expect(abs((counts[7] ?? 0) - 700) <= 1)
    }

    @Test func `exchanges in flight are remembered while their target is not eligible`() {
        var worker = SpreadingWorker(.spread([0, 1], by: .leastOutstandingRequests))
        for _ in 0..<20 { _ = worker.begin() }
        worker.adopt(.spread([1], by: .leastOutstandingRequests))
        for _ in 0..<10 { worker.end(TargetNumber(1)) }
        worker.adopt(.spread([0, 1], by: .leastOutstandingRequests))
        for _ in 0..<10 { #expect(worker.begin() == TargetNumber(1)) }
    }

    /// A target that starts slowly takes turns of virtual time's hundredfold: its origin moves many times here.
    @Test func `the order outlasts virtual time`() {
        let start = Instant(nanoseconds: 1_000_000_000_000)
        var worker = SpreadingWorker(
            .spread([0, 1, 2], by: .roundRobin, slowStartSeconds: 900, startedAt: [start, start, start]))
        let first = (0..<3).map { _ in worker.begin() }
        for _ in 0..<50_000 {
            guard (0..<3).map({ _ in worker.begin() }) == first else {
                Issue.record("the order changed")
                return
            }
        }
    }

    // MARK: Slow start

    /// Requests at an even rate; returns each tenth's share for target 9, in percent of its full weight's share.
    private func slowStartShares(perSecond: Int) -> [Double] {
        let start = Instant(nanoseconds: 1_000_000_000_000)
        var worker = SpreadingWorker(
            .spread(
                [0, 1, 2, 9], by: .roundRobin, slowStartSeconds: 100, startedAt: [nil, nil, nil, start]))
        return (0..<12).map { tenth in
            var count = 0
            for index in 0..<10 * perSecond {
                worker.now = start.advanced(bySeconds: tenth * 10)
                    .advanced(byMilliseconds: index * 1_000 / perSecond)
                guard let target = worker.begin() else { continue }
                if target.rawValue == 9 { count += 1 }
                worker.end(target)
            }
            let share = Double(count) / Double(10 * perSecond)
            // share = f / (3 + f)
            return 100 * 3 * share / (1 - share)
        }
    }

    @Test func `a new target's share grows in a straight line`() {
        let shares = slowStartShares(perSecond: 200)
        for (tenth, share) in shares.enumerated() {
            let expected = min(100, Double(tenth) * 10 + 5)
            #expect(abs(share - expected) < 2, "\(tenth): \(share)")
        }
    }

    /// A turn far in the future, given while the share was small, must not outlast the slow start.
    @Test func `a slow start ends in time under little load`() {
        let shares = slowStartShares(perSecond: 2)
        #expect(shares[10...].allSatisfy { abs($0 - 100) < 30 }, "\(shares)")
    }

    @Test(arguments: [LoadBalancingAlgorithm.leastOutstandingRequests, .weightedRandom])
    func `only round robin starts slowly`(algorithm: LoadBalancingAlgorithm) {
        let start = Instant(nanoseconds: 1_000_000_000_000)
        let worker = SpreadingWorker(
            .spread([0, 9], by: algorithm, slowStartSeconds: 100, startedAt: [nil, start]))
        #expect(worker.spreader.shares(at: start).map(\.effectiveWeight) == [1, 1])
    }

    @Test func `shares tell what a target gets now`() {
        let start = Instant(nanoseconds: 1_000_000_000_000)
        let worker = SpreadingWorker(
            .spread(
                [0, 9], weights: [10, 40], by: .roundRobin, slowStartSeconds: 100, startedAt: [nil, start]))
        let shares = worker.spreader.shares(at: start.advanced(bySeconds: 25))
        #expect(shares.map(\.effectiveWeight) == [10, 10])
        #expect(shares.map(\.weight) == [10, 40])
        #expect(shares.map(\.target.rawValue) == [0, 9])
    }

    // MARK: Anomalies

    /// One second of requests, each failing with the probability of its target; the counts of all and of errors.
    private func second(
        _ worker: inout SpreadingWorker, perSecond: Int, errorPercent: [UInt32: Int], base: Int = 0
    ) -> (counts: [UInt32: Int], errorCount: Int) {
        var counts: [UInt32: Int] = [:]
        var errorCount = 0
        for _ in 0..<perSecond {
            worker.now = worker.now.advanced(byNanoseconds: 1_000_000_000 / UInt64(perSecond))
            guard let target = worker.begin() else { continue }
            counts[target.rawValue, default: 0] += 1
            let percent = errorPercent[target.rawValue] ?? base
            let isError = Int.random(in: 0..<100, using: &worker.generator) < percent
            if isError { errorCount += 1 }
            worker.end(target, isError ? (percent % 2 == 0 ? .serverError : .connectionError) : .answered)
        }
        return (counts, errorCount)
    }

    @Test func `a target that fails more than its peers gets less, down to a trickle, and recovers`() {
        let group = GroupRoute.spread(
            [0, 1, 2, 3, 4], by: .weightedRandom, mitigatesAnomalies: true)
        var worker = SpreadingWorker(group, seed: 11)
        var weights: [Double] = []
        for _ in 0..<120 {
            _ = second(&worker, perSecond: 200, errorPercent: [3: 60], base: 1)
            weights.append(worker.spreader.shares(at: worker.now)[3].effectiveWeight)
        }
        #expect(weights.first == 1)
        #expect(Set(weights).isSuperset(of: [1, 0.5, 0.25, 0.125]))
        #expect(zip(weights, weights.dropFirst()).allSatisfy { $1 <= $0 })
        #expect(weights.last.map { $0 < 0.02 && $0 > 0 } ?? false)
        #expect(worker.spreader.anomalousCount == 1)
        #expect(worker.spreader.mitigatedCount == 1)
        let mitigated = second(&worker, perSecond: 1_000, errorPercent: [3: 60], base: 1)
        #expect((mitigated.counts[3] ?? 0) < 15)
        #expect(mitigated.errorCount < 30)

        var recovery: [Double] = []
        for _ in 0..<600 {
            _ = second(&worker, perSecond: 200, errorPercent: [:], base: 1)
            recovery.append(worker.spreader.shares(at: worker.now)[3].effectiveWeight)
        }
        #expect(recovery.last == 1)
        #expect(Set(recovery).isSuperset(of: [0.062, 0.125, 0.25, 0.5, 1]), "step by step")
        #expect(worker.spreader.anomalousCount == 0)
    }

    @Test func `errors that all targets have are no anomaly`() {
        for seed in Seeds.all.prefix(8) {
            var worker = SpreadingWorker(
                .spread([0, 1, 2, 3, 4, 5, 6, 7], by: .weightedRandom, mitigatesAnomalies: true), seed: seed)
            for _ in 0..<60 {
                _ = second(&worker, perSecond: 100, errorPercent: [:], base: 40)
                #expect(worker.spreader.mitigatedCount <= 1, "seed \(seed)")
            }
            #expect(worker.spreader.shares(at: worker.now).map(\.effectiveWeight).reduce(0, +) >= 7)
        }
    }

    @Test func `at most half of the targets carry less`() {
        var worker = SpreadingWorker(
            .spread([0, 1, 2, 3, 4, 5, 6, 7], by: .weightedRandom, mitigatesAnomalies: true))
        for _ in 0..<200 {
            _ = second(&worker, perSecond: 200, errorPercent: [0: 80, 1: 80, 2: 80, 3: 80, 4: 80])
            #expect(worker.spreader.mitigatedCount <= 4)
        }
        #expect(worker.spreader.mitigatedCount == 4)
    }

    @Test(arguments: [
        GroupRoute.spread([0, 3], by: .weightedRandom, mitigatesAnomalies: true),
        .spread([0, 1, 2, 3], by: .weightedRandom),
        .spread([0, 1, 2, 3], by: .roundRobin, mitigatesAnomalies: true),
        .spread([0, 1, 2, 3], by: .weightedRandom, mitigatesAnomalies: true, isFailOpen: true),
    ])
    func `nothing is mitigated in a group that is too small, does not want it or fails open`(
        group: GroupRoute
    ) {
        var worker = SpreadingWorker(group)
        for _ in 0..<60 { _ = second(&worker, perSecond: 100, errorPercent: [3: 100]) }
        #expect(worker.spreader.mitigatedCount == 0)
        #expect(worker.spreader.shares(at: worker.now).allSatisfy { $0.effectiveWeight == 1 })
        // It is still told, of three and more.
        #expect(worker.spreader.anomalousCount == (group.targets.count < 3 ? 0 : 1))
    }

    /// A trickle of a trickle: no requests reach the mitigated target, so that nothing would prove it well.
    @Test func `a mitigated target recovers without requests`() {
        let group = GroupRoute.spread([0, 1, 2, 3], by: .weightedRandom, mitigatesAnomalies: true)
        var worker = SpreadingWorker(group)
        for _ in 0..<60 { _ = second(&worker, perSecond: 100, errorPercent: [3: 100]) }
        #expect(worker.spreader.mitigatedCount == 1)
        for _ in 0..<100 {
            worker.now = worker.now.advanced(bySeconds: 60)
            if let target = worker.begin() { worker.end(target) }
        }
        #expect(worker.spreader.mitigatedCount == 0)
    }

    @Test func `a snapshot does not forgive`() {
        let group = GroupRoute.spread([0, 1, 2, 3], by: .weightedRandom, mitigatesAnomalies: true)
        var worker = SpreadingWorker(group)
        for _ in 0..<60 { _ = second(&worker, perSecond: 100, errorPercent: [3: 100]) }
        let before = worker.spreader.shares(at: worker.now)[3]
        worker.adopt(.spread([3, 2, 7, 0], by: .weightedRandom, mitigatesAnomalies: true))
        let after = worker.spreader.shares(at: worker.now)[0]
        #expect(after == before)
        #expect(after.effectiveWeight < 0.5)
    }

    @Test func `what clients give up says nothing`() {
        let group = GroupRoute.spread([0, 1, 2, 3], by: .weightedRandom, mitigatesAnomalies: true)
        var worker = SpreadingWorker(group)
        for _ in 0..<6_000 {
            worker.now = worker.now.advanced(byMilliseconds: 10)
            guard let target = worker.begin() else { continue }
            worker.end(target, target.rawValue == 3 ? .abandoned : .answered)
        }
        #expect(worker.spreader.anomalousCount == 0)
    }

    // MARK: Cost

    @Test(arguments: LoadBalancingAlgorithm.allCases)
    func `no choice allocates`(algorithm: LoadBalancingAlgorithm) {
        let start = Instant(nanoseconds: 1_000_000_000_000)
        let targets = (0..<1_000).map { UInt32($0) }
        let group = GroupRoute.spread(
            targets, weights: targets.map { Int($0 % 7) + 1 }, by: algorithm, mitigatesAnomalies: true,
            slowStartSeconds: 30, startedAt: targets.map { $0 % 50 == 0 ? start : nil })
        var spreader = RequestSpreader(seed: 3)
        var outstanding = OutstandingRequests()
        spreader.adopt(group, outstanding: outstanding, at: start)
        var tried = TriedTargets()
        tried.insert(TargetNumber(17))
        tried.insert(TargetNumber(18))
        var random: UInt64 = 1
        var chosenCount = 0
        var allocations: UInt64 = 0
        for isCounted in [false, true] {
            allocation_count_take_part(isCounted)
            let before = allocation_own_count()
            var index: UInt64 = 0
            while index < 4_000 {
                random = random &* 6_364_136_223_846_793_005 &+ 1
                // Windows of the anomaly watch end in between, and slow starts move on.
                let now = start.advanced(byNanoseconds: index * 10_000_000)
                if let position = spreader.choose(
                    outstanding: outstanding, excluding: index % 5 == 0 ? tried : TriedTargets(), at: now,
                    random: random)
                {
                    let target = TargetNumber(UInt32(position))
                    chosenCount += 1
                    outstanding.begin(target)
                    if index % 3 > 0 {
                        outstanding.end(target)
                        spreader.note(
                            index % 2 == 0 ? .answered : .serverError, target: target,
                            outstanding: outstanding,
                            at: now)
                    }
                }
                index += 1
            }
            allocations = allocation_own_count() - before
            allocation_count_take_part(false)
        }
        #expect(chosenCount == 8_000)
        #expect(allocations == 0)
    }
}
