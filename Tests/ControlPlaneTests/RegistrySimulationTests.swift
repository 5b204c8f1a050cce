// Seeded random operations on a registry, with a small model beside it and invariants after every step.
//
// The model knows which targets are registered; the recorder knows which flows live. Everything else is
// derived. A failing seed replays the failure; WEIR_SEEDS sets how many are run.

import AdminModel
import Balancing
import Foundation
import Testing

@testable import ControlPlane

@Suite struct `Registry simulation` {
    static let seeds: Range<UInt64> =
        0..<(ProcessInfo.processInfo.environment["WEIR_SEEDS"].flatMap(UInt64.init) ?? 48)

    @Test(arguments: seeds)
    func `invariants hold after every step`(seed: UInt64) async throws {
        var simulation = try await RegistrySimulation(seed: seed)
        for _ in 0..<60 {
            let step = try await simulation.step()
            try await simulation.checkInvariants(after: step)
        }
    }
}

struct RegistrySimulation {
    private static let groups = ["web", "api", "shop"]
    private static let addresses = (1...6).map { "10.0.0.\($0)" }

    private var generator: SplitMix64
    private var fixture: RegistryFixture
    private let store: Store
    /// What is registered, by group.
    private var registered: [String: Set<String>] = ["web": [], "api": [], "shop": []]
    private var hasGroup: [String: Bool] = ["web": true, "api": true, "shop": true]
    /// The path of each rule of the application listener, by priority; nil while there is no such listener.
    private var rules: [Int: String]? = [:]
    /// The endpoint of every number with live flows, for as long as they live.
    private var flowOwners: [TargetNumber: String] = [:]
    private var totals: [String: UInt64] = [:]
    private var publishedVersion: UInt64 = 0

    init(seed: UInt64) async throws {
        generator = SplitMix64(state: seed)
        store = try Store(.memory)
        fixture = try await RegistryFixture(
            Self.file(ports: [80, 81, 8_080]), store: store, tableSlotCount: 31)
    }

    /// Port 80 forwards to `web`, port 81 to `api`; port 8080 is HTTP, and forwards to `shop`. No file lists rules.
    private static func file(ports: Set<Int>, groups: [String] = groups, targets: [String: [String]] = [:])
        -> String
    {
        var text = "target_groups:\n"
        for name in groups {
            text += "  - name: \(name)\n    protocol: \(name == "shop" ? "HTTP" : "TCP")\n    port: 80\n"
            text += "    attributes: { deregistration_delay.timeout_seconds: 20"
            text += name == "shop" ? ", slow_start.duration_seconds: 30 }\n" : " }\n"
            if let listed = targets[name] { text += "    targets: [\(listed.joined(separator: ", "))]\n" }
        }
        text +=
            "load_balancers:\n  - name: edge\n    type: network\n    addresses: [192.0.2.1]\n    "
            + "listeners:\n"
        for (port, group) in [(80, "web"), (81, "api")] where ports.contains(port) && groups.contains(group) {
            text +=
                "      - { port: \(port), protocol: TCP, default_action: { type: forward, target_group: "
                + "\(group) } }\n"
        }
        if !ports.contains(80), !(ports.contains(81) && groups.contains("api")) { text += "      []\n" }
        text +=
            "  - name: site\n    type: application\n    addresses: [192.0.2.1]\n    listeners:\n"
        return text
            + (ports.contains(8_080) && groups.contains("shop")
                ? "      - { port: 8080, protocol: HTTP, default_action: { type: forward, target_group: shop } }\n"
                : "      []\n")
    }

    // MARK: Steps

    mutating func step() async throws -> String {
        let group = Self.groups[Int.random(in: 0..<3, using: &generator)]
        let address = Self.addresses[Int.random(in: 0..<6, using: &generator)]
        switch Int.random(in: 0..<26, using: &generator) {
        case 0..<4: return try await register(address, in: group)
        case 4..<7: return try await deregister(address, in: group)
        case 7..<11: return await report()
        case 11..<14: return beginFlow()
        case 14..<16: return endFlow()
        case 16, 17: return await advance()
        case 18: return try await apply(address)
        case 19..<22: return await createRule()
        case 22: return await deleteRule()
        case 23: return await exchangeRules()
        case 24: return await changeListener()
        default: return try await restart()
        }
    }

    private mutating func register(_ address: String, in group: String) async throws -> String {
        let weight = Int.random(in: 0...3, using: &generator)
        let error = await refusal { try await fixture.register(address, weight: weight, in: group) }
        #expect((error == nil) == (hasGroup[group] == true))
        if error == nil { registered[group, default: []].insert("\(address):80") }
        return "register \(address) in \(group)"
    }

    private mutating func deregister(_ address: String, in group: String) async throws -> String {
        let wasListed =
            try await fixture.registry.targetGroups().first { $0.name == group }?
            .targets.contains { $0.id == address } ?? false
        let error = await refusal { try await fixture.deregister(address, in: group) }
        #expect((error == nil) == wasListed)
        registered[group]?.remove("\(address):80")
        return "deregister \(address) of \(group)"
    }

    private mutating func report() async -> String {
        let verdicts: [HealthVerdict] = [
            .healthy, .healthy, .lameDuck, .unhealthy(.connectionRefused), .initial,
        ]
        var reports: [ProbeReport] = []
        for target in fixture.probes.targets where Bool.random(using: &generator) {
            let verdict = verdicts[Int.random(in: 0..<verdicts.count, using: &generator)]
            reports.append(RegistryFixture.report(target.number, verdict))
        }
        // A report of a number that nobody has must not matter.
        reports.append(RegistryFixture.report(TargetNumber(60_000), .unhealthy(.connectionReset)))
        await fixture.registry.observe(reports)
        return "report \(reports.count)"
    }

    private mutating func beginFlow() -> String {
        let snapshot = fixture.workers.snapshot
        guard
            let number = fixture.workers.routedTargets.sorted(by: { $0.rawValue < $1.rawValue })
                .randomElement(using: &generator),
            let endpoint = snapshot.endpoints[Int(number.rawValue)]?.description
        else { return "no flow" }
        #expect(
            flowOwners[number] == nil || flowOwners[number] == endpoint,
            "a number changed hands under a live flow")
        flowOwners[number] = endpoint
        fixture.workers.addFlows(1, to: number)
        return "flow to \(endpoint)"
    }

    private mutating func endFlow() -> String {
        forgetEndedFlows()
        guard
            let number = flowOwners.keys.sorted(by: { $0.rawValue < $1.rawValue }).randomElement(
                using: &generator)
        else { return "no flow to end" }
        fixture.workers.addFlows(-1, to: number)
        forgetEndedFlows()
        return "flow ends"
    }

    private mutating func forgetEndedFlows() {
        let workers = fixture.workers
        flowOwners = flowOwners.filter { workers.hasLiveFlows($0.key) }
    }

    private mutating func advance() async -> String {
        fixture.time.advance(seconds: UInt64.random(in: 1...15, using: &generator))
        await fixture.registry.tick()
        return "time"
    }

    // MARK: Rules

    private static let listener = "site:8080"

    private mutating func createRule() async -> String {
        let priority = Int.random(in: 1...6, using: &generator)
        let path = "/\(Int.random(in: 0..<1_000, using: &generator))"
        // A TCP group never fits; a group that a file took away does not exist.
        let group = Int.random(in: 0..<8, using: &generator) == 0 ? "web" : "shop"
        var condition = ConditionDescription()
        condition.pathPattern = .init(values: [path])
        let request = RuleRequest(
            priority: priority, conditions: [condition],
            action: .forward([ForwardDescription(targetGroup: group, weight: 1)]))
        let error = await refusal { try await fixture.registry.createRule(request, of: Self.listener) }
        let isPossible = rules != nil && rules?[priority] == nil && group == "shop"
        #expect((error == nil) == isPossible, "\(error?.message ?? "no error")")
        if error == nil { rules?[priority] = path }
        return "create rule \(priority)"
    }

    private mutating func deleteRule() async -> String {
        let priority = Int.random(in: 1...6, using: &generator)
        let error = await refusal {
            try await fixture.registry.deleteRule(String(priority), of: Self.listener)
        }
        #expect((error == nil) == (rules?[priority] != nil))
        rules?[priority] = nil
        return "delete rule \(priority)"
    }

    private mutating func exchangeRules() async -> String {
        let first = Int.random(in: 1...6, using: &generator)
        let second = Int.random(in: 1...6, using: &generator)
        let request = RulePrioritiesRequest(priorities: [
            .init(priority: first, newPriority: second), .init(priority: second, newPriority: first),
        ])
        let error = await refusal {
            try await fixture.registry.setRulePriorities(request, of: Self.listener)
        }
        let isPossible = rules?[first] != nil && rules?[second] != nil && first != second
        #expect((error == nil) == isPossible)
        if error == nil, var exchanged = rules {
            (exchanged[first], exchanged[second]) = (exchanged[second], exchanged[first])
            rules = exchanged
        }
        return "exchange rules \(first) and \(second)"
    }

    /// Creates the application listener, or takes it away.
    private mutating func changeListener() async -> String {
        if rules != nil, Bool.random(using: &generator) {
            let error = await refusal { try await fixture.registry.deleteListener(Self.listener) }
            #expect(error == nil)
            rules = nil
            return "delete listener"
        }
        var request = ListenerRequest()
        request.port = 8_080
        request.protocol = "HTTP"
        request.defaultAction = .forward([ForwardDescription(targetGroup: "shop", weight: 1)])
        let error = await refusal { try await fixture.registry.createListener(request, of: "site") }
        #expect((error == nil) == (rules == nil && hasGroup["shop"] == true))
        if error == nil { rules = [:] }
        return "create listener"
    }

    private func checkRules(_ stored: StoredState, _ comment: Comment) {
        let expected = (rules ?? [:]).sorted { $0.key < $1.key }
        let listeners = stored.loadBalancers.first { $0.name == "site" }?.listeners ?? []
        #expect(listeners.count == (rules == nil ? 0 : 1), comment)
        #expect(listeners.flatMap(\.applicationRules).map(\.priority) == expected.map(\.key), comment)

        let snapshot = fixture.workers.snapshot
        let route = snapshot.listeners.compactMap(\.self).first { $0.id.description == Self.listener }
        #expect((route == nil) == (rules == nil), comment)
        let followed = route?.application?.rules ?? []
        #expect(followed.compactMap(\.priority) == expected.map(\.key), comment)
        #expect(
            followed.flatMap(\.conditions)
                == expected.map { .pathPattern(TextPatterns(wildcards: [$0.value])) }, comment)
        for group in snapshot.groups {
            guard let application = group.application else { continue }
            #expect(application.weights.count == group.targets.count, comment)
            #expect(application.startedAt.count == group.targets.count, comment)
            #expect(application.weights.allSatisfy { $0 > 0 }, comment)
        }
    }

    /// Applies a random file, sometimes with a port that cannot be bound.
    private mutating func apply(_ address: String) async throws -> String {
        let ports = Set([80, 81, 8_080].filter { _ in Bool.random(using: &generator) })
        let groups = Bool.random(using: &generator) ? Self.groups : ["web"]
        let targets = Bool.random(using: &generator) ? ["web": [address]] : [:]
        let prune = Bool.random(using: &generator)
        fixture.workers.refuse(ports: Bool.random(using: &generator) ? [81] : [])
        let before = await fixture.registry.status()
        let error = await refusal {
            try await fixture.apply(Self.file(ports: ports, groups: groups, targets: targets), prune: prune)
        }
        fixture.workers.refuse(ports: [])
        guard error == nil else {
            #expect(await fixture.registry.status() == before, "a refused change left a trace")
            return "refused apply"
        }
        for group in groups { hasGroup[group] = true }
        let hasListener = ports.contains(8_080) && groups.contains("shop")
        rules = hasListener ? rules ?? [:] : nil
        for (group, listed) in targets { registered[group] = Set(listed.map { "\($0):80" }) }
        if prune {
            for group in Self.groups where !groups.contains(group) {
                hasGroup[group] = false
                registered[group] = []
                totals[group] = nil
            }
        }
        return "apply \(ports) \(groups) \(targets) \(prune)"
    }

    /// A new process on the old store: flows and counters begin anew, registrations do not.
    private mutating func restart() async throws -> String {
        fixture = try await RegistryFixture(nil, store: store, tableSlotCount: 31)
        flowOwners = [:]
        totals = [:]
        publishedVersion = 0
        return "restart"
    }

    // MARK: Invariants

    mutating func checkInvariants(after step: String) async throws {
        let comment = Comment(rawValue: step)
        let status = await fixture.registry.status()
        let workers = fixture.workers
        forgetEndedFlows()

        // The store says what was acknowledged, no more and no less.
        let stored = try await store.load()
        for group in Self.groups {
            let targets = stored.groups.first { $0.group.name == group }?.targets.map(\.id.description) ?? []
            #expect(Set(targets) == registered[group], comment)
            #expect(targets.count == registered[group]?.count, comment)
        }
        checkRules(stored, comment)
        // Only registered targets get new flows.
        let routed = Set(workers.routedEndpoints)
        #expect(routed.isSubset(of: registered.values.reduce(into: Set()) { $0.formUnion($1) }), comment)

        var numbers: Set<TargetNumber> = []
        let state = await fixture.registry.state
        for group in status.targetGroups {
            let listed = Set(group.targets.map { "\($0.id):\($0.port)" })
            #expect(registered[group.name]?.isSubset(of: listed) == true, comment)
            for target in group.targets
            where registered[group.name]?.contains("\(target.id):\(target.port)") != true {
                #expect(target.health.state == "draining", comment)
                #expect((0...20).contains(target.health.drainingSecondsLeft ?? -1), comment)
            }
            for registration in state.group(named: group.name)?.registrations ?? [] {
                #expect(numbers.insert(registration.number).inserted, "one number, one registration")
                if let owner = flowOwners[registration.number] {
                    #expect(
                        owner == registration.target.id.description,
                        "a number has live flows of another target")
                }
            }
            // Totals never fall.
            #expect(group.statistics.newFlowCountTcp >= totals[group.name, default: 0], comment)
            totals[group.name] = group.statistics.newFlowCountTcp
        }
        // Exactly the registered targets of groups in use are probed, and sockets match listeners.
        let inUse = Set(
            status.loadBalancers.flatMap { $0.listeners.flatMap { $0.forward.map(\.targetGroup) } })
        let probed = inUse.reduce(into: [String]()) { $0 += registered[$1, default: []] }
        #expect(fixture.probes.endpoints == probed.sorted(), comment)
        #expect(
            Set(workers.bindings.map { Int($0.endpoint.port) })
                == Set(status.loadBalancers.flatMap { $0.listeners.map(\.port) }), comment)
        #expect(workers.openTicketCount == 0, comment)
        #expect(workers.snapshot.version >= publishedVersion, comment)
        publishedVersion = workers.snapshot.version
    }
}
