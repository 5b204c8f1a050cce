// Where new flows go: groups by weight, targets by table, stickiness, and retries.

import Balancing
import Testing

@Suite struct `Routing snapshot` {
    /// One listener that forwards to groups of the given weights; group g has targets 10·g, 10·g + 1, …
    private func snapshot(
        groupWeights: [Int] = [1], targetsPerGroup: Int = 4, isSticky: Bool = false,
        isStickyByGroup: Bool = false
    ) -> RoutingSnapshot {
        var endpoints = [Endpoint?](repeating: nil, count: 10 * groupWeights.count)
        var groups: [GroupRoute] = []
        var choices: [ListenerRoute.Choice] = []
        var cumulativeWeight: UInt32 = 0
        for (index, weight) in groupWeights.enumerated() {
            let numbers = (0..<targetsPerGroup).map { TargetNumber(UInt32(10 * index + $0)) }
            for number in numbers {
                let address = IPAddress(v4: 0x0A00_0000 + number.rawValue)
                endpoints[Int(number.rawValue)] = Endpoint(address: address, port: 80)
            }
            let entries = numbers.map { FlowHash.Entry(identity: UInt64($0.rawValue) + 1, weight: 1) }
            groups.append(
                GroupRoute(
                    name: "group\(index)", targets: numbers, flowHash: FlowHash(entries: entries),
                    isSticky: isSticky, connectTimeoutSeconds: 5, connectAttemptCountMax: 3))
            guard weight > 0 else { continue }
            cumulativeWeight += UInt32(weight)
            choices.append(ListenerRoute.Choice(groupIndex: index, cumulativeWeight: cumulativeWeight))
        }
        let route = ListenerRoute(
            id: ListenerID(loadBalancer: "edge", port: 80), choices: choices,
            isStickyByGroup: isStickyByGroup,
            tcpIdleTimeoutSeconds: 350)
        return RoutingSnapshot(
            version: 1, seed: .test, listeners: [nil, route], groups: groups, endpoints: endpoints,
            sourceAddresses: [])
    }

    private let listener = ListenerNumber(1)

    @Test func `flows spread evenly over the targets of a group`() throws {
        let snapshot = snapshot()
        var counts = [Int](repeating: 0, count: 4)
        var generator = SplitMix64(seed: 1)
        for _ in 0..<8_000 {
            let key = FlowKey.random(using: &generator)
            let selection = try #require(snapshot.select(listener: listener, key: key))
            counts[Int(selection.target.rawValue)] += 1
            #expect(selection.endpoint == snapshot.endpoints[Int(selection.target.rawValue)])
        }
        // Five standard deviations of a binomial of 8,000 at 1/4: 194.
        for count in counts { #expect(abs(count - 2_000) < 194, "\(counts)") }
    }

    @Test func `groups get flows by their weights`() throws {
        let snapshot = snapshot(groupWeights: [90, 0, 10])
        var counts = [0, 0, 0]
        var generator = SplitMix64(seed: 2)
        for _ in 0..<10_000 {
            let key = FlowKey.random(using: &generator)
            counts[try #require(snapshot.select(listener: listener, key: key)).groupIndex] += 1
        }
        #expect(counts[1] == 0)
        // Five standard deviations of a binomial of 10,000 at 1/10: 150.
        #expect(abs(counts[2] - 1_000) < 150, "\(counts)")
    }

    /// Were group and target drawn from one hash, the small group would see only some of its targets.
    @Test func `the choice of group tells nothing about the target`() throws {
        let snapshot = snapshot(groupWeights: [90, 10])
        var counts = [Int](repeating: 0, count: 4)
        var generator = SplitMix64(seed: 3)
        for _ in 0..<20_000 {
            let key = FlowKey.random(using: &generator)
            let selection = try #require(snapshot.select(listener: listener, key: key))
            if selection.groupIndex == 1 { counts[Int(selection.target.rawValue) - 10] += 1 }
        }
        let total = counts.reduce(0, +)
        for count in counts { #expect(abs(count - total / 4) < total / 16, "\(counts)") }
    }

    @Test func `a sticky group knows clients by address, whatever the port`() throws {
        let snapshot = snapshot(isSticky: true)
        var seen = Set<TargetNumber>()
        for host in 0..<200 {
            let client = IPAddress(v4: 0x7F00_0000 + UInt32(host))
            let targets = try Set(
                (1...20).map { port in
                    try #require(snapshot.select(listener: listener, key: .tcp(from: client, port: port)))
                        .target
                })
            #expect(targets.count == 1)
            seen.formUnion(targets)
        }
        #expect(seen.count == 4)
    }

    @Test func `without stickiness one client meets every target`() throws {
        let snapshot = snapshot()
        let client = IPAddress(v4: 0x7F00_0001)
        let targets = try Set(
            (1...100).map { port in
                try #require(snapshot.select(listener: listener, key: .tcp(from: client, port: port))).target
            })
        #expect(targets.count == 4)
    }

    @Test func `group stickiness keeps a client on its group, not on its target`() throws {
        let snapshot = snapshot(groupWeights: [1, 1], isStickyByGroup: true)
        var groups = Set<Int>()
        for host in 0..<50 {
            let client = IPAddress(v4: 0x7F00_0000 + UInt32(host))
            let selections = try (1...50).map { port in
                try #require(snapshot.select(listener: listener, key: .tcp(from: client, port: port)))
            }
            #expect(Set(selections.map(\.groupIndex)).count == 1)
            #expect(Set(selections.map(\.target)).count == 4)
            groups.formUnion(selections.map(\.groupIndex))
        }
        #expect(groups == [0, 1])
    }

    @Test(arguments: [false, true])
    func `a retry never meets a tried target, and ends when all are tried`(isSticky: Bool) {
        let snapshot = snapshot(isSticky: isSticky)
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let key = FlowKey.random(using: &generator)
            var tried = TriedTargets()
            var met = Set<TargetNumber>()
            while let selection = snapshot.select(listener: listener, key: key, excluding: tried) {
                let isNew = met.insert(selection.target).inserted
                #expect(isNew, "seed \(seed)")
                tried.insert(selection.target)
            }
            #expect(met.count == 4, "seed \(seed)")
        }
    }

    @Test func `the same key is answered alike by snapshots of the same content`() {
        let (first, second) = (snapshot(groupWeights: [1, 2]), snapshot(groupWeights: [1, 2]))
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let key = FlowKey.random(using: &generator)
            #expect(first.select(listener: listener, key: key) == second.select(listener: listener, key: key))
        }
    }

    @Test func `an unknown or unused listener yields nothing`() {
        let key = FlowKey.tcp(from: .anyV4, port: 1)
        #expect(snapshot().select(listener: ListenerNumber(0), key: key) == nil)
        #expect(snapshot().select(listener: ListenerNumber(2), key: key) == nil)
        #expect(RoutingSnapshot.empty.select(listener: ListenerNumber(0), key: key) == nil)
    }

    @Test func `a group without eligible targets yields nothing`() {
        let key = FlowKey.tcp(from: .anyV4, port: 1)
        #expect(snapshot(targetsPerGroup: 0).select(listener: listener, key: key) == nil)
        #expect(snapshot(groupWeights: [0]).select(listener: listener, key: key) == nil)
    }
}

@Suite struct `Tried targets` {
    @Test func `contains what was inserted and nothing else`() {
        var tried = TriedTargets()
        #expect(!tried.contains(TargetNumber(0)))
        for number in 0..<UInt32(Limits.connectAttemptCountMax) {
            tried.insert(TargetNumber(number * 7))
            #expect(tried.contains(TargetNumber(number * 7)))
            #expect(!tried.contains(TargetNumber(number * 7 + 1)))
        }
        #expect(Int(tried.count) == Limits.connectAttemptCountMax)
    }

    @Test func `one more than it holds is dropped, not written elsewhere`() {
        var tried = TriedTargets()
        for number in 0..<UInt32(20) { tried.insert(TargetNumber(number)) }
        #expect(tried.count == 8)
        #expect(tried.contains(TargetNumber(7)))
        #expect(!tried.contains(TargetNumber(8)))
    }
}
