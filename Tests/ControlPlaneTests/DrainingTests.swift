// Draining, exactly: what an acknowledged register or deregister promises.

import AdminModel
import Balancing
import ControlPlane
import Synchronization
import Testing

@Suite struct `Draining` {
    /// test:       deregister ──────────── waits ───────────── returns
    /// registry:       store ── publish ┐                    ┌ ack
    /// workers:                         └── held ── released ┘
    @Test func `deregister returns only when every worker routes without the target`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2"))
        let isDone = Mutex(false)
        fixture.workers.holdPublications()
        async let answer = Task {
            let targets = try await fixture.deregister("10.0.0.1")
            isDone.withLock { $0 = true }
            return targets
        }.value
        await fixture.workers.waitForHeldPublication()
        // It is on disk already, but not acknowledged and not shown.
        #expect(try await fixture.store.load().groups.first?.targets.map(\.id.description) == ["10.0.0.2:80"])
        #expect(!isDone.withLock { $0 })
        #expect(try await fixture.health("10.0.0.1:80") == "initial Elb.RegistrationInProgress")
        #expect(fixture.workers.routedEndpoints.contains("10.0.0.1:80"))

        fixture.workers.releasePublications()
        _ = try await answer
        #expect(fixture.workers.routedEndpoints == ["10.0.0.2:80"])
    }

    @Test func `register returns only when every worker routes to the target`() async throws {
        let fixture = try await RegistryFixture()
        let isDone = Mutex(false)
        fixture.workers.holdPublications()
        async let answer = Task {
            let targets = try await fixture.register("10.0.0.1")
            isDone.withLock { $0 = true }
            return targets
        }.value
        await fixture.workers.waitForHeldPublication()
        #expect(!isDone.withLock { $0 })
        #expect(fixture.probes.endpoints.isEmpty)
        fixture.workers.releasePublications()
        #expect(try await answer.map(\.health.state) == ["initial"])
        #expect(fixture.workers.routedEndpoints == ["10.0.0.1:80"])
        #expect(fixture.probes.endpoints == ["10.0.0.1:80"])
    }

    /// first:   register A ── publish held ───────── ack
    /// second:           register B ── waits its turn ──── publish
    @Test func `a second change waits until the first is true`() async throws {
        let fixture = try await RegistryFixture()
        fixture.workers.holdPublications()
        async let first = fixture.register("10.0.0.1")
        await fixture.workers.waitForHeldPublication()
        async let second = fixture.register("10.0.0.2")
        await Task.yield()
        fixture.workers.releasePublications()
        _ = try await (first, second)
        #expect(fixture.workers.routedEndpoints == ["10.0.0.1:80", "10.0.0.2:80"])
        let versions: [UInt64] = fixture.workers.events.compactMap { event in
            if case .publish(let version, _) = event { version } else { nil }
        }
        #expect(versions == [1, 2, 3])
    }

    @Test func `a target without live flows leaves at once`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1"))
        let targets = try await fixture.deregister("10.0.0.1")
        #expect(targets.map(\.health.state) == ["unused"])
        #expect(targets.map(\.health.reason) == ["Target.NotRegistered"])
        #expect(try await fixture.health("10.0.0.1:80") == nil)
        #expect(fixture.workers.routedEndpoints.isEmpty)
    }

    @Test func `live flows go on for the deregistration delay`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(
                attributes: "deregistration_delay.timeout_seconds: 30", targets: "10.0.0.1, 10.0.0.2"))
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(2, to: number)
        let targets = try await fixture.deregister("10.0.0.1")
        #expect(targets.first?.health.state == "draining")
        #expect(targets.first?.health.drainingSecondsLeft == 30)
        #expect(fixture.probes.endpoints == ["10.0.0.2:80"])

        fixture.time.advance(milliseconds: 29_500)
        await fixture.registry.tick()
        #expect(try await fixture.target("10.0.0.1:80")?.health.drainingSecondsLeft == 1)
        fixture.time.advance(milliseconds: 500)
        fixture.workers.forgetEvents()
        await fixture.registry.tick()
        #expect(try await fixture.health("10.0.0.1:80") == nil)
        // TCP flows are left alone unless the group says otherwise.
        #expect(fixture.workers.events.isEmpty)
        #expect(fixture.workers.hasLiveFlows(number))
    }

    @Test func `flows end with the deregistration delay when the group says so`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(
                attributes: "deregistration_delay.timeout_seconds: 30, "
                    + "deregistration_delay.connection_termination.enabled: true",
                targets: "10.0.0.1, 10.0.0.2"))
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(2, to: number)
        try await fixture.deregister("10.0.0.1")
        fixture.time.advance(seconds: 30)
        fixture.workers.forgetEvents()
        await fixture.registry.tick()
        #expect(fixture.workers.events == [.evict(number, .all)])
        #expect(try await fixture.health("10.0.0.1:80") == nil)
    }

    @Test func `a draining target leaves as soon as its last flow ends`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1"))
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(1, to: number)
        try await fixture.deregister("10.0.0.1")
        await fixture.registry.tick()
        #expect(try await fixture.health("10.0.0.1:80") == "draining Target.DeregistrationInProgress")
        fixture.workers.addFlows(-1, to: number)
        await fixture.registry.tick()
        #expect(try await fixture.health("10.0.0.1:80") == nil)
    }

    @Test func `the registry looks after deadlines by itself`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(attributes: "deregistration_delay.timeout_seconds: 5", targets: "10.0.0.1"))
        fixture.workers.addFlows(1, to: try fixture.number("10.0.0.1:80"))
        let running = Task { await fixture.registry.run() }
        try await fixture.deregister("10.0.0.1")
        while try await fixture.health("10.0.0.1:80") != nil { await Task.yield() }
        #expect(fixture.time.now >= Instant(nanoseconds: 6_000_000_000))
        running.cancel()
        await running.value
    }

    @Test func `registering again while draining brings the target back under its number`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2"))
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(1, to: number)
        try await fixture.deregister("10.0.0.1")
        try await fixture.register("10.0.0.1", weight: 3)
        #expect(try fixture.number("10.0.0.1:80") == number)
        #expect(try await fixture.health("10.0.0.1:80") == "initial Elb.RegistrationInProgress")
        #expect(try await fixture.target("10.0.0.1:80")?.weight == 3)
        fixture.time.advance(seconds: 1_000)
        await fixture.registry.tick()
        #expect(try await fixture.health("10.0.0.1:80") != nil)
    }

    @Test func `deregistering a draining target again keeps its deadline`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(attributes: "deregistration_delay.timeout_seconds: 30", targets: "10.0.0.1"))
        fixture.workers.addFlows(1, to: try fixture.number("10.0.0.1:80"))
        try await fixture.deregister("10.0.0.1")
        fixture.time.advance(seconds: 10)
        #expect(try await fixture.deregister("10.0.0.1").first?.health.drainingSecondsLeft == 20)
    }

    @Test func `a draining target does not come back after a restart`() async throws {
        let store = try Store(.memory)
        let fixture = try await RegistryFixture(RegistryFixture.web(), store: store)
        try await fixture.register("10.0.0.1", "10.0.0.2")
        fixture.workers.addFlows(1, to: try fixture.number("10.0.0.1:80"))
        try await fixture.deregister("10.0.0.1")
        let restarted = try await RegistryFixture(nil, store: store)
        #expect(restarted.workers.routedEndpoints == ["10.0.0.2:80"])
    }

    @Test func `the appliance drains once and refuses configurations from then on`() async throws {
        let fixture = try await RegistryFixture()
        await fixture.registry.drain()
        await fixture.registry.drain()
        #expect(fixture.workers.events.filter { $0 == .drain }.count == 1)
        #expect(await fixture.registry.status().isDraining)
        let error = await refusal { try await fixture.apply(RegistryFixture.web()) }
        #expect(error?.code == "OperationNotPermitted")
    }
}
