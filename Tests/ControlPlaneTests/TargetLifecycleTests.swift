// A target's way through its states, in virtual time.

import AdminModel
import Balancing
import ControlPlane
import Testing

@Suite struct `Target lifecycle` {
    @Test func `a new target is initial until its first probe says more`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1")
        #expect(try await fixture.health("10.0.0.1:80") == "initial Elb.RegistrationInProgress")

        try await fixture.report("10.0.0.1:80", .initial, outcome: .failure(.connectionRefused))
        #expect(try await fixture.health("10.0.0.1:80") == "initial Elb.InitialHealthChecking")
        let target = try #require(try await fixture.target("10.0.0.1:80"))
        #expect(
            target.health.description
                == "Initial health checks are in progress; the last one failed: 10.0.0.1:80 refused the "
                + "connection: nothing listens there.")
        #expect(target.health.lastProbeMilliseconds == 2)

        fixture.time.advance(seconds: 5)
        try await fixture.report("10.0.0.1:80", .healthy)
        #expect(try await fixture.health("10.0.0.1:80") == "healthy")
        #expect(try await fixture.target("10.0.0.1:80")?.health.since == 6)
    }

    @Test func `an unhealthy target shows the cause that the last probe found`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1", "10.0.0.2")
        try await fixture.report("10.0.0.2:80", .healthy)
        try await fixture.report("10.0.0.1:80", .unhealthy(.connectionRefused))
        fixture.time.advance(seconds: 9)
        try await fixture.report("10.0.0.1:80", .unhealthy(.timedOut(.connecting, byteCountReceived: 0)))
        #expect(try await fixture.health("10.0.0.1:80") == "unhealthy Target.Timeout")
        // The newer cause is no new state.
        #expect(try await fixture.target("10.0.0.1:80")?.health.since == 1)
        #expect(fixture.workers.routedEndpoints == ["10.0.0.2:80"])
    }

    @Test func `an unhealthy target is out of the routes before it shows as unhealthy`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1", "10.0.0.2")
        try await fixture.report("10.0.0.1:80", .healthy)
        try await fixture.report("10.0.0.2:80", .healthy)
        fixture.workers.holdPublications()
        async let reported: Void = fixture.report("10.0.0.1:80", .unhealthy(.connectionRefused))
        await fixture.workers.waitForHeldPublication()
        #expect(try await fixture.health("10.0.0.1:80") == "healthy")
        fixture.workers.releasePublications()
        try await reported
        #expect(try await fixture.health("10.0.0.1:80") == "unhealthy Target.FailedHealthChecks")
    }

    @Test func `turning unhealthy ends established flows by default`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1", "10.0.0.2")
        try await fixture.report("10.0.0.2:80", .healthy)
        try await fixture.report("10.0.0.1:80", .healthy)
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.forgetEvents()
        try await fixture.report("10.0.0.1:80", .unhealthy(.connectionReset))
        #expect(fixture.workers.events == [.publish(version: 5, hasListeners: false), .evict(number, .all)])
    }

    @Test func `in a fail-open group no flow is ended, until another target is healthy again`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1", "10.0.0.2")
        fixture.workers.forgetEvents()
        try await fixture.report("10.0.0.1:80", .unhealthy(.connectionReset))
        try await fixture.report("10.0.0.2:80", .unhealthy(.connectionReset))
        #expect(try await fixture.registry.targetGroup(named: "web").isFailOpen)
        #expect(fixture.workers.routedEndpoints == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(!fixture.workers.events.contains { if case .evict = $0 { true } else { false } })

        try await fixture.report("10.0.0.2:80", .healthy)
        let number = try fixture.number("10.0.0.1:80")
        #expect(fixture.workers.events.last == .evict(number, .all))
        #expect(fixture.workers.routedEndpoints == ["10.0.0.2:80"])
    }

    @Test func `flows of an unhealthy target may go on for the draining interval`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(
                attributes: "target_health_state.unhealthy.connection_termination.enabled: false, "
                    + "target_health_state.unhealthy.draining_interval_seconds: 60"))
        try await fixture.register("10.0.0.1", "10.0.0.2")
        try await fixture.report("10.0.0.2:80", .healthy)
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(1, to: number)
        fixture.workers.forgetEvents()
        try await fixture.report("10.0.0.1:80", .unhealthy(.connectionReset))
        // UDP flows always move.
        #expect(fixture.workers.events.last == .evict(number, .datagramFlows))
        #expect(try await fixture.health("10.0.0.1:80") == "unhealthy.draining Target.FailedHealthChecks")

        fixture.time.advance(seconds: 59)
        await fixture.registry.tick()
        #expect(try await fixture.health("10.0.0.1:80") == "unhealthy.draining Target.FailedHealthChecks")
        fixture.time.advance(seconds: 1)
        await fixture.registry.tick()
        #expect(fixture.workers.events.last == .evict(number, .all))
        #expect(try await fixture.health("10.0.0.1:80") == "unhealthy Target.FailedHealthChecks")
    }

    @Test func `without a draining interval the flows of an unhealthy target are left alone`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(
                attributes: "target_health_state.unhealthy.connection_termination.enabled: false"))
        try await fixture.register("10.0.0.1", "10.0.0.2")
        try await fixture.report("10.0.0.2:80", .healthy)
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(1, to: number)
        try await fixture.report("10.0.0.1:80", .unhealthy(.connectionReset))
        fixture.time.advance(seconds: 100_000)
        await fixture.registry.tick()
        #expect(fixture.workers.events.last == .evict(number, .datagramFlows))
    }

    @Test func `a lame duck gets no new flows and keeps those it has`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(
                check: "protocol: HTTP, lame_duck: { "
                    + "body: bye }"))
        try await fixture.register("10.0.0.1", "10.0.0.2")
        try await fixture.report("10.0.0.1:80", .healthy)
        try await fixture.report("10.0.0.2:80", .healthy)
        fixture.workers.forgetEvents()
        try await fixture.report("10.0.0.1:80", .lameDuck)
        #expect(try await fixture.health("10.0.0.1:80") == "draining Target.DeregistrationInProgress")
        #expect(
            try await fixture.target("10.0.0.1:80")?.health.description
                == "The target itself asks for no new flows (lame duck); its live ones go on.")
        #expect(fixture.workers.routedEndpoints == ["10.0.0.2:80"])
        #expect(fixture.workers.events == [.publish(version: 5, hasListeners: false)])
        try await fixture.report("10.0.0.1:80", .healthy)
        #expect(try await fixture.health("10.0.0.1:80") == "healthy")
    }

    @Test func `targets of a group in no listener are unused and not probed`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web().replacing(
                "load_balancers:",
                with: "  - { name: spare, protocol: TCP, port: 80, targets: [10.0.0.9] "
                    + "}\nload_balancers:"))
        #expect(try await fixture.health("10.0.0.9:80", in: "spare") == "unused Target.NotInUse")
        #expect(fixture.probes.endpoints.isEmpty)
    }

    @Test func `a group that leaves its listener stops being probed and forgets what it knew`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1")
        try await fixture.report("10.0.0.1:80", .healthy)
        let away = RegistryFixture.web().replacing("target_group: web }", with: "target_group: other }")
            .replacing(
                "load_balancers:",
                with: "  - { name: other, protocol: TCP, port: 80 "
                    + "}\nload_balancers:")
        _ = try await fixture.apply(away)
        #expect(try await fixture.health("10.0.0.1:80") == "unused Target.NotInUse")
        #expect(fixture.probes.endpoints.isEmpty)
        _ = try await fixture.apply(RegistryFixture.web())
        #expect(try await fixture.health("10.0.0.1:80") == "initial Elb.RegistrationInProgress")
        #expect(fixture.probes.endpoints == ["10.0.0.1:80"])
    }

    @Test func `without health checks every target counts as healthy`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(check: "enabled: false", targets: "10.0.0.1"))
        #expect(try await fixture.health("10.0.0.1:80") == "unavailable Target.HealthCheckDisabled")
        #expect(fixture.workers.routedEndpoints == ["10.0.0.1:80"])
        #expect(fixture.probes.endpoints.isEmpty)
        let group = try await fixture.registry.targetGroup(named: "web")
        #expect(group.healthyTargetCount == 1)
        #expect(!group.isFailOpen)
    }

    @Test func `a changed health check keeps a healthy target in service`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1", "10.0.0.2")
        try await fixture.report("10.0.0.1:80", .healthy)
        _ = try await fixture.apply(RegistryFixture.web(check: "interval: 20, timeout: 5, port: 9000"))
        #expect(fixture.probes.endpoints == ["10.0.0.1:9000", "10.0.0.2:9000"])
        // The prober began anew: its first failing answer says initial, which is less than what is known.
        try await fixture.report("10.0.0.1:9000", .initial, outcome: .failure(.connectionRefused))
        #expect(try await fixture.health("10.0.0.1:80") == "healthy")
        #expect(fixture.workers.routedEndpoints == ["10.0.0.1:80"])
    }

    @Test func `a burst of reports makes one publication`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1", "10.0.0.2", "10.0.0.3")
        fixture.workers.forgetEvents()
        let reports = try ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map {
            RegistryFixture.report(try fixture.number($0), .healthy)
        }
        await fixture.registry.observe(reports)
        #expect(fixture.workers.events == [.publish(version: 3, hasListeners: false)])
    }

    @Test func `reports of the prober's stream reach the state`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1")
        fixture.probes.send(RegistryFixture.report(try fixture.number("10.0.0.1:80"), .healthy))
        let running = Task { await fixture.registry.run() }
        while try await fixture.health("10.0.0.1:80") != "healthy" { await Task.yield() }
        running.cancel()
        await running.value
    }
}
