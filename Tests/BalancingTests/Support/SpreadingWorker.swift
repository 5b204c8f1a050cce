// A worker that spreads requests, without sockets: what tests of request spreading drive.

import Balancing
import Testing

/// A worker's view of one group: its table of exchanges in flight, its clock and its spreader.
struct SpreadingWorker {
    var spreader: RequestSpreader
    var outstanding = OutstandingRequests()
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var generator: SplitMix64
    private(set) var group: GroupRoute

    init(_ group: GroupRoute, seed: UInt64 = 1) {
        self.group = group
        generator = SplitMix64(seed: seed)
        spreader = RequestSpreader(seed: seed)
        spreader.adopt(group, outstanding: outstanding, at: now)
    }

    mutating func adopt(_ group: GroupRoute) {
        self.group = group
        spreader.adopt(group, outstanding: outstanding, at: now)
    }

    /// Chooses and counts the exchange as begun; the target must be one of the group and not a tried one.
    mutating func begin(excluding tried: TriedTargets = TriedTargets()) -> TargetNumber? {
        guard
            let position = spreader.choose(
                outstanding: outstanding, excluding: tried, at: now, random: generator.next())
        else { return nil }
        #expect(group.targets.indices.contains(position))
        let target = group.targets[position]
        #expect(!tried.contains(target))
        outstanding.begin(target)
        return target
    }

    mutating func end(_ target: TargetNumber, _ outcome: ExchangeOutcome = .answered) {
        outstanding.end(target)
        spreader.note(outcome, target: target, outstanding: outstanding, at: now)
    }

    /// How many of `count` exchanges, one after the other, each target gets.
    mutating func counts(_ count: Int) -> [UInt32: Int] {
        var counts: [UInt32: Int] = [:]
        for _ in 0..<count {
            guard let target = begin() else { continue }
            counts[target.rawValue, default: 0] += 1
            end(target)
        }
        return counts
    }
}

extension GroupRoute {
    static func spread(
        _ targets: [UInt32], weights: [Int]? = nil, by algorithm: LoadBalancingAlgorithm,
        mitigatesAnomalies: Bool = false, slowStartSeconds: Int = 0, startedAt: [Instant?] = [],
        isFailOpen: Bool = false
    ) -> GroupRoute {
        GroupRoute(
            name: "web", targets: targets.map(TargetNumber.init), flowHash: .empty, isSticky: false,
            isFailOpen: isFailOpen, connectTimeoutSeconds: 1, connectAttemptCountMax: 3,
            application: ApplicationGroupRoute(
                algorithm: algorithm, mitigatesAnomalies: mitigatesAnomalies,
                slowStartSeconds: slowStartSeconds,
                weights: weights ?? targets.map { _ in 1 }, startedAt: startedAt))
    }
}
