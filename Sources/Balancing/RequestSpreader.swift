// Which target of an application group gets the next request: ELBv2's three algorithms and slow start.
//
// One worker has one of these for each group, and keeps it when a snapshot brings other targets or weights, so that
// those that stay go on where they were. Workers do not know of each other; each begins elsewhere.
//
// Cost of a choice, also with a thousand targets: round robin O(log n) in a heap of turns; least outstanding
// requests the same heap, kept true by what the worker tells of every exchange's end, so that the choice is the
// real least and not the better of two; weighted random one binary search. None allocates. What grows with the
// targets is done when a snapshot comes, a slow start moves on (100 times in all) or a window of the anomaly watch
// ends (every 10 s).

public struct RequestSpreader: Sendable {
    /// What a target gets, and why.
    public struct Share: Sendable, Equatable {
        public let target: TargetNumber
        /// As configured, 1–999.
        public let weight: Int
        /// What its share is measured by now: the weight, less while it starts slowly or is mitigated.
        public let effectiveWeight: Double
        /// It fails more than its peers.
        public let isAnomalous: Bool
        /// It gets less for that.
        public let isMitigated: Bool
    }

    private struct Member: Sendable, BitwiseCopyable {
        var weight: UInt64
        var startedAt: Instant?
        /// Thousandths of the weight that slow start grants.
        var startPermille: UInt64
        /// Of the turn queue.
        var stride: UInt64
    }

    private let seed: UInt64
    private var algorithm = LoadBalancingAlgorithm.roundRobin
    private var slowStartSeconds = 0
    private var mitigatesAnomalies = false
    private var isFailOpen = false
    private var targets: [TargetNumber] = []
    /// Parallel to `targets`, as is everything else here.
    private var members: [Member] = []
    /// Target number above and position below, rising: finds the position of a target in O(log n).
    private var directory: [UInt64] = []
    private var turns = TurnQueue()
    /// Running sums of effective weights, for weighted random.
    private var cumulativeWeights: [UInt64] = []
    private var watch = AnomalyWatch()
    /// When shares of slow start are next reckoned anew.
    private var nextStartStepAt = Instant.distantFuture

    /// - Parameter seed: Another one for each worker, so that not all send their first requests to the same target.
    public init(seed: UInt64) {
        self.seed = seed
    }

    /// Adapts to a group as a new snapshot has it. Targets that stay keep their turns, their standing in the anomaly
    /// watch and their slow start; new ones begin within a turn's length.
    ///
    /// Positions that `choose` returns are of this group's `targets` from here on. Allocates; O(n log n).
    ///
    /// - Parameter outstanding: The worker's exchanges in flight.
    public mutating func adopt(_ group: GroupRoute, outstanding: OutstandingRequests, at now: Instant) {
        let settings = group.application
        let algorithm = settings?.algorithm ?? .roundRobin
        let isCounting = algorithm == .leastOutstandingRequests
        slowStartSeconds = algorithm == .roundRobin ? settings?.slowStartSeconds ?? 0 : 0
        mitigatesAnomalies = algorithm == .weightedRandom && settings?.mitigatesAnomalies == true

        var newMembers: [Member] = []
        var newTallies: [AnomalyWatch.Tally] = []
        var newEntries: [TurnQueue.Entry] = []
        for (position, target) in group.targets.enumerated() {
            let weight = UInt64(max(1, settings.flatMap { Self.value($0.weights, position) } ?? 1))
            let startedAt = settings.flatMap { Self.value($0.startedAt, position) ?? nil }
            let permille = SlowStart.permille(startedAt: startedAt, seconds: slowStartSeconds, at: now)
            let stride = TurnQueue.stride(effectiveWeight: weight * permille)
            let tag: UInt64
            if let old = self.position(of: target) {
                tag = turns.rescaled(
                    turns.entry(ofPosition: old).tag, from: members[old].stride, to: stride)
                newTallies.append(watch.tallies[old])
            } else {
                let phase = FlowHash.mix(seed ^ UInt64(target.rawValue))
                tag = turns.clock + stride.multipliedFullWidth(by: phase).high
                newTallies.append(AnomalyWatch.Tally())
            }
            newMembers.append(
                Member(weight: weight, startedAt: startedAt, startPermille: permille, stride: stride))
            newEntries.append(
                TurnQueue.Entry(
                    load: isCounting ? Self.load(of: target, weight: weight, outstanding) : 0, tag: tag,
                    position: UInt32(position), target: target))
        }

        self.algorithm = algorithm
        isFailOpen = group.isFailOpen
        targets = group.targets
        members = newMembers
        directory = targets.enumerated().map { UInt64($1.rawValue) << 32 | UInt64($0) }.sorted()
        turns.replace(with: newEntries)
        // Which targets are healthy is not known of a group that fails open, and only those are compared.
        watch.begin(newTallies, mitigates: mitigatesAnomalies && !isFailOpen, at: now)
        cumulativeWeights = [UInt64](repeating: 0, count: algorithm == .weightedRandom ? targets.count : 0)
        sumWeights()
        planStartStep(at: now)
    }

    private static func value<Element>(_ array: [Element], _ position: Int) -> Element? {
        position < array.count ? array[position] : nil
    }

    /// Chooses the target of the next request: its position in `targets` of the group last adopted; nil when none
    /// is left. Allocates nothing.
    ///
    /// - Parameters:
    ///   - outstanding: The worker's exchanges in flight. It counts the chosen one itself.
    ///   - tried: Targets that this request was already sent to in vain.
    ///   - random: Evenly distributed over all 64 bits; only weighted random looks at it.
    public mutating func choose(
        outstanding: OutstandingRequests, excluding tried: TriedTargets = TriedTargets(), at now: Instant,
        random: UInt64
    ) -> Int? {
        if now >= nextStartStepAt { growSlowStarts(at: now) }
        if now >= watch.windowEndsAt, watch.judge(at: now) { sumWeights() }
        switch algorithm {
        case .roundRobin:
            guard let place = turns.firstPlace(excluding: tried) else { return nil }
            return takeTurn(at: place)
        case .leastOutstandingRequests:
            return chooseLeastLoaded(outstanding, excluding: tried)
        case .weightedRandom:
            return tried.count == 0 ? chooseAtRandom(random) : chooseAtRandom(random, excluding: tried)
        }
    }

    /// Tells how an exchange ended; call it once for every exchange with a target, however it was chosen.
    ///
    /// Targets that are in the group no more are ignored.
    ///
    /// - Parameter outstanding: The worker's exchanges in flight, this one no longer among them. The least loaded
    ///   target is found by what is told here: one whose end is not told keeps the load of its last choice.
    public mutating func note(
        _ outcome: ExchangeOutcome, target: TargetNumber, outstanding: OutstandingRequests, at now: Instant
    ) {
        guard let position = position(of: target) else { return }
        if algorithm == .leastOutstandingRequests {
            turns.setLoad(
                Self.load(of: target, weight: members[position].weight, outstanding), ofPosition: position)
        }
        if now >= watch.windowEndsAt, watch.judge(at: now) { sumWeights() }
        switch outcome {
        case .answered: watch.note(isError: false, position: position)
        case .serverError, .connectionError: watch.note(isError: true, position: position)
        case .abandoned: break
        }
    }

    /// What each target gets at this time, in the order of the group's targets. For people: allocates.
    public func shares(at now: Instant) -> [Share] {
        targets.indices.map { position in
            let member = members[position]
            let tally = watch.tallies[position]
            let start = SlowStart.permille(startedAt: member.startedAt, seconds: slowStartSeconds, at: now)
            return Share(
                target: targets[position], weight: Int(member.weight),
                effectiveWeight: Double(member.weight) * Double(start) / 1_000 * Double(tally.permille)
                    / 1_000,
                isAnomalous: tally.isAnomalous, isMitigated: tally.level > 0)
        }
    }

    /// How many targets fail more than their peers; CloudWatch's AnomalousHostCount.
    public var anomalousCount: Int { watch.tallies.count { $0.isAnomalous } }
    /// How many get less for that; CloudWatch's MitigatedHostCount.
    public var mitigatedCount: Int { watch.tallies.count { $0.level > 0 } }

    /// The position of a target in the group; nil when it is not in there. O(log n).
    public func position(of target: TargetNumber) -> Int? {
        let wanted = UInt64(target.rawValue) << 32
        var low = 0
        var high = directory.count
        while low < high {
            let middle = (low + high) / 2
            if directory[middle] < wanted { low = middle + 1 } else { high = middle }
        }
        guard low < directory.count, directory[low] >> 32 == UInt64(target.rawValue) else { return nil }
        return Int(directory[low] & 0xFFFF_FFFF)
    }

    // MARK: Turns

    private mutating func takeTurn(at place: Int) -> Int {
        let position = Int(turns.entries[place].position)
        turns.take(at: place, stride: members[position].stride)
        return position
    }

    /// Loads that rose since they were noted are brought up to date only when they would win. Each such step pays for
    /// an exchange begun since, and no load is noted higher than it is, so that what wins is the least.
    private mutating func chooseLeastLoaded(_ outstanding: OutstandingRequests, excluding tried: TriedTargets)
        -> Int?
    {
        while let place = turns.firstPlace(excluding: tried) {
            let entry = turns.entries[place]
            let load = Self.load(
                of: entry.target, weight: members[Int(entry.position)].weight, outstanding)
            if load <= entry.load { return takeTurn(at: place) }
            turns.setLoad(load, atPlace: place)
        }
        return nil
    }

    private static func load(of target: TargetNumber, weight: UInt64, _ outstanding: OutstandingRequests)
        -> UInt64
    {
        load(outstanding[target], weight: weight)
    }

    private static func load(_ outstanding: UInt32, weight: UInt64) -> UInt64 {
        (UInt64(outstanding) << 32) / weight
    }

    // MARK: Slow start

    private mutating func growSlowStarts(at now: Instant) {
        var position = 0
        while position < members.count {
            let member = members[position]
            if member.startPermille < 1_000 {
                let permille = SlowStart.permille(
                    startedAt: member.startedAt, seconds: slowStartSeconds, at: now)
                let stride = TurnQueue.stride(effectiveWeight: member.weight * permille)
                turns.rescale(position: position, from: member.stride, to: stride)
                members[position].startPermille = permille
                members[position].stride = stride
            }
            position += 1
        }
        planStartStep(at: now)
    }

    private mutating func planStartStep(at now: Instant) {
        nextStartStepAt = .distantFuture
        var position = 0
        while position < members.count {
            if members[position].startPermille < 1_000 {
                nextStartStepAt = now.advanced(
                    byNanoseconds: SlowStart.stepNanoseconds(seconds: slowStartSeconds))
                return
            }
            position += 1
        }
    }

    // MARK: Weighted random

    private mutating func sumWeights() {
        guard algorithm == .weightedRandom else { return }
        var sum: UInt64 = 0
        var position = 0
        while position < members.count {
            sum += effectiveWeight(ofPosition: position)
            cumulativeWeights[position] = sum
            position += 1
        }
    }

    /// In thousandths, of which a mitigated target of the least weight still has 15.
    private func effectiveWeight(ofPosition position: Int) -> UInt64 {
        members[position].weight * watch.tallies[position].permille
    }

    private func chooseAtRandom(_ random: UInt64) -> Int? {
        guard !cumulativeWeights.isEmpty else { return nil }
        let total = cumulativeWeights[cumulativeWeights.count - 1]
        let point = random.multipliedFullWidth(by: total).high
        var low = 0
        var high = cumulativeWeights.count
        while low < high {
            let middle = (low + high) / 2
            if cumulativeWeights[middle] <= point { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The rare retry: one walk to sum what is left, one to find the point in it.
    private func chooseAtRandom(_ random: UInt64, excluding tried: TriedTargets) -> Int? {
        var total: UInt64 = 0
        var position = 0
        while position < targets.count {
            if !tried.contains(targets[position]) { total += effectiveWeight(ofPosition: position) }
            position += 1
        }
        guard total > 0 else { return nil }
        var point = random.multipliedFullWidth(by: total).high
        position = 0
        while position < targets.count {
            if !tried.contains(targets[position]) {
                let weight = effectiveWeight(ofPosition: position)
                if point < weight { return position }
                point -= weight
            }
            position += 1
        }
        return nil
    }

    /// Says what is broken, for tests; nil when all is well.
    package var brokenInvariant: String? { turns.brokenInvariant }
}
