// A registry that hands over and one that takes over, with recorders for their planes.

import AdminModel
import Balancing
import Foundation
import Testing

@testable import ControlPlane

@Suite struct `Registry hand-over` {
    private static let web = RegistryFixture.web(
        attributes: "deregistration_delay.timeout_seconds: 100, stickiness.enabled: true")

    /// What another process would read.
    private func passOn(_ past: HandedOverRegistry) throws -> HandedOverRegistry {
        try JSONDecoder().decode(HandedOverRegistry.self, from: JSONEncoder().encode(past))
    }

    private func successor(
        of past: HandedOverRegistry, yaml: String = web, store: Store? = nil
    ) async throws -> RegistryFixture {
        try await RegistryFixture(
            yaml, store: store, seed: HashSeed(first: 8, second: 9), past: try passOn(past))
    }

    @Test func `health, drain deadlines and definitions in memory go over`() async throws {
        let old = try await RegistryFixture(Self.web)
        try await old.register("192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14")
        try await old.report("192.0.2.11:80", .healthy)
        try await old.report("192.0.2.12:80", .unhealthy(.statusMismatch(code: 503)))
        try await old.report("192.0.2.13:80", .healthy)
        old.workers.addFlows(1, to: try old.number("192.0.2.13:80"))
        old.time.advance(seconds: 10)
        try await old.deregister("192.0.2.13")
        old.time.advance(seconds: 30)
        let before = try await old.registry.targetGroup(named: "web")

        let past = try await old.registry.beginUpgrade()
        let new = try await successor(of: past)
        for target in before.targets {
            let endpoint = "\(target.id):\(target.port)"
            let health = try await old.health(endpoint)
            #expect(try await new.health(endpoint) == health)
            #expect(try await new.target(endpoint)?.health.since == target.health.since)
        }
        #expect(try await new.target("192.0.2.13:80")?.health.drainingSecondsLeft == 70)
        #expect(try await new.target("192.0.2.12:80")?.health.description.contains("503") == true)
        // New flows go where they went, from the first snapshot on, and by the same secret.
        #expect(new.workers.routedEndpoints == ["192.0.2.11:80"])
        #expect(new.workers.snapshot.seed == old.workers.snapshot.seed)
        let verdicts = new.probes.restored.withLock { $0 }
        let unhealthy = try new.number("192.0.2.12:80")
        #expect(verdicts[unhealthy] == .unhealthy(.statusMismatch(code: 503)))
        // Every number of the old process is known in the new one.
        for target in old.probes.targets {
            let number = try #require(await new.registry.inheritedNumbers[target.number.rawValue])
            let known = try new.number(target.endpoint.description)
            #expect(number == known)
        }
        await old.registry.finishUpgrade()
        #expect(old.probes.targets.isEmpty)
        await new.registry.takeOver()
        // Without a flow here the draining target has nothing to stay for.
        #expect(try await new.target("192.0.2.13:80") == nil)
    }

    @Test func `rules made at runtime and slow starts go over`() async throws {
        let file = ApplicationFile.text(web: "slow_start.duration_seconds: 30")
        let old = try await RegistryFixture(file)
        var path = ConditionDescription()
        path.pathPattern = .init(values: ["/c"])
        _ = try await old.registry.createRule(
            RuleRequest(
                priority: 15, conditions: [path],
                action: .forward([ForwardDescription(targetGroup: "web", weight: 1)])), of: "site:80")
        try await old.report("10.0.0.1:80", .healthy)
        try await old.register("10.0.0.3", "10.0.0.4", in: "web")
        try await old.report("10.0.0.3:80", .healthy)
        old.time.advance(seconds: 10)
        let rules = try await old.registry.rules(of: "site:80")

        let past = try await old.registry.beginUpgrade()
        // The new process counts its own time, and has not seen ten seconds yet.
        let start = try #require(file.range(of: "        rules:"))
        // Neither rules nor targets are listed, so that what was made at runtime stays.
        let unlisted = String(file[..<start.lowerBound]).replacing(
            "targets: [10.0.0.1, { id: 10.0.0.2, weight: 3 }], ", with: "")
        let new = try await successor(of: past, yaml: unlisted)
        #expect(try await new.registry.rules(of: "site:80") == rules)
        func startedSecondsAgo(_ endpoint: String) async throws -> Double? {
            let number = try new.number(endpoint)
            let registration = try #require(await new.registry.state.registration(number)?.registration)
            let now = new.time.clock.now()
            return registration.slowStartBegan.map { Double(now.nanoseconds(since: $0)) / 1e9 }
        }
        #expect(try await startedSecondsAgo("10.0.0.1:80") == nil)
        let elapsed = try #require(try await startedSecondsAgo("10.0.0.3:80"))
        let now = Double(new.time.clock.now().nanoseconds) / 1e9
        #expect(elapsed == min(10, now))
        // One that has yet to become healthy starts slowly then.
        await new.registry.takeOver()
        try await new.report("10.0.0.4:80", .healthy)
        #expect(try await startedSecondsAgo("10.0.0.4:80") == 0)
    }

    @Test func `changes are refused until it is clear who serves`() async throws {
        let old = try await RegistryFixture(Self.web)
        let past = try await old.registry.beginUpgrade()
        let new = try await successor(of: past)
        for fixture in [old, new] {
            let refused = await refusal { try await fixture.register("192.0.2.11") }
            #expect(refused?.kind == .conflict)
            #expect(refused?.message.hasPrefix("an upgrade is in progress") == true)
            #expect(await refusal { try await fixture.deregister("192.0.2.11") }?.kind == .conflict)
            #expect(await refusal { try await fixture.apply(Self.web) }?.kind == .conflict)
            #expect(await refusal { try await fixture.registry.beginUpgrade() }?.kind == .conflict)
            _ = try await fixture.apply(Self.web, dryRun: true)
        }
        await old.registry.finishUpgrade()
        await new.registry.takeOver()
        #expect(await refusal { try await old.register("192.0.2.11") }?.message.contains("successor") == true)
        try await new.register("192.0.2.11")
    }

    @Test func `a failed upgrade leaves the store as the running process would have it`() async throws {
        let directory = try `State store`.Directory()
        let old = try await RegistryFixture(Self.web, store: Store(directory.location))
        try await old.register("192.0.2.11")
        let past = try await old.registry.beginUpgrade()
        // The other process has the file now, applies another configuration to it, and dies.
        let changed = RegistryFixture.web(check: "interval: 20, timeout: 5", targets: "192.0.2.99")
        let store = try Store(directory.location)
        _ = try await successor(of: past, yaml: changed, store: store)
        try store.close()
        await old.registry.abandonUpgrade()
        try await old.register("192.0.2.12")
        try old.store.close()
        let found = try await Store(directory.location).load()
        #expect(found.groups[0].targets.map(\.id.description) == ["192.0.2.11:80", "192.0.2.12:80"])
        #expect(found.groups[0].group.healthCheck.intervalSeconds == 10)
    }

    @Test func `a cause that only another release knows still makes a target unhealthy`() async throws {
        let old = try await RegistryFixture(Self.web)
        try await old.register("192.0.2.11", "192.0.2.12")
        try await old.report("192.0.2.11:80", .healthy)
        try await old.report("192.0.2.12:80", .unhealthy(.statusMismatch(code: 503)))
        let encoded = try JSONEncoder().encode(try await old.registry.beginUpgrade())
        let text = String(decoding: encoded, as: UTF8.self)
            .replacingOccurrences(of: "statusMismatch", with: "someNewCause")
        #expect(text.contains("someNewCause"))
        let past = try JSONDecoder().decode(HandedOverRegistry.self, from: Data(text.utf8))
        let new = try await successor(of: past)
        #expect(try await new.health("192.0.2.12:80") == "unhealthy Target.FailedHealthChecks")
        #expect(new.workers.routedEndpoints == ["192.0.2.11:80"])
    }

    @Test func `an appliance that drains cannot be upgraded`() async throws {
        let old = try await RegistryFixture(Self.web)
        await old.registry.drain()
        #expect(await refusal { try await old.registry.beginUpgrade() }?.message.contains("draining") == true)
    }
}
