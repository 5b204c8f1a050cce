// Numbers and counters: a new registration counts from zero, totals never fall, a number has one meaning.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

@Suite struct `Numbers and counters` {
    @Test func `a number rests until its flows have ended, and comes back with its counters as baseline`()
        async throws
    {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(attributes: "deregistration_delay.timeout_seconds: 0", targets: "10.0.0.1"))
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(3, to: number)
        try await fixture.deregister("10.0.0.1")
        #expect(try await fixture.health("10.0.0.1:80") == nil)

        // Flows live: another registration gets another number, however long they live.
        fixture.time.advance(seconds: 1_000)
        try await fixture.register("10.0.0.2")
        #expect(try fixture.number("10.0.0.2:80") != number)

        fixture.workers.addFlows(-3, to: number)
        try await fixture.register("10.0.0.3")
        #expect(try fixture.number("10.0.0.3:80") != number)

        fixture.time.advance(seconds: UInt64(NumberPool.restSeconds))
        try await fixture.register("10.0.0.4")
        #expect(try fixture.number("10.0.0.4:80") == number)
        #expect(try await fixture.target("10.0.0.4:80")?.statistics == FlowStatistics())
        fixture.workers.addFlows(2, to: number)
        #expect(try await fixture.target("10.0.0.4:80")?.statistics.newFlowCountTcp == 2)

        // What the first target counted is part of the group's totals, once.
        let totals = try await fixture.registry.targetGroup(named: "web").statistics
        #expect(totals.newFlowCountTcp == 5)
        #expect(totals.activeFlowCountTcp == 2)
        #expect(totals.clientBytes == 500)
    }

    @Test func `a late report of the old use does not speak for the new one`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1"))
        let number = try fixture.number("10.0.0.1:80")
        try await fixture.deregister("10.0.0.1")
        try await fixture.register("10.0.0.2")
        await fixture.registry.observe([RegistryFixture.report(number, .healthy)])
        #expect(try await fixture.health("10.0.0.2:80") == "initial Elb.RegistrationInProgress")
    }

    @Test func `a pruned listener counts on in its load balancer`() async throws {
        let two = RegistryFixture.web().replacing(
            "      - { port: 80,",
            with: "      - { port: 81, protocol: TCP, default_action: { type: forward, target_group: web } "
                + "}\n      - { port: 80,")
        let fixture = try await RegistryFixture(two)
        let number = try #require(fixture.workers.bindings.first { $0.endpoint.port == 81 }?.number)
        fixture.workers.addListenerFlows(4, to: number)
        _ = try await fixture.apply(RegistryFixture.web())
        #expect(try await fixture.registry.loadBalancer(named: "edge").statistics.newFlowCountTcp == 4)
        #expect(await fixture.registry.liveTCPFlowCount() == 4)
        fixture.workers.addListenerFlows(-4, to: number)
        fixture.time.advance(seconds: 60)
        _ = try await fixture.apply(two)
        #expect(try await fixture.registry.loadBalancer(named: "edge").statistics.newFlowCountTcp == 4)
        #expect(try await fixture.registry.listener("edge:81").statistics == FlowStatistics())
    }

    @Test func `a deleted group's flows are named, and not counted for its namesake`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1"))
        let number = try fixture.number("10.0.0.1:80")
        let listener = try #require(fixture.workers.bindings.first?.number)
        fixture.workers.addFlows(1, to: number)
        fixture.workers.addListenerFlows(1, to: listener)
        fixture.workers.setFlows([
            FlowRecord(
                key: FlowKey(
                    client: Endpoint(address: IPAddress(v4: 9), port: 5),
                    local: Endpoint(address: .anyV4, port: 80),
                    transport: .tcp),
                listener: listener, target: number, state: .halfClosed, ageNanoseconds: 1_500_000_000,
                idleNanoseconds: 0, clientBytes: 1, targetBytes: 2, worker: 1)
        ])
        _ = try await fixture.apply("state: memory", prune: true)
        let flow = try #require(try await fixture.registry.flows(countMax: 10).flows.first)
        #expect(
            flow
                == FlowDescription(
                    transport: "TCP", listener: "edge:80", client: "0.0.0.9:5", targetGroup: "web",
                    target: "10.0.0.1:80",
                    state: "half-closed", ageSeconds: 1.5, idleSeconds: 0, clientBytes: 1, targetBytes: 2,
                    worker: 1))
        _ = try await fixture.apply(RegistryFixture.web())
        #expect(try await fixture.registry.targetGroup(named: "web").statistics == FlowStatistics())
    }

    @Test func `flows of a deleted group end as its deregistration would have ended them`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(
                attributes: "deregistration_delay.timeout_seconds: 30, "
                    + "deregistration_delay.connection_termination.enabled: true",
                targets: "10.0.0.1"))
        let number = try fixture.number("10.0.0.1:80")
        fixture.workers.addFlows(1, to: number)
        _ = try await fixture.apply("state: memory", prune: true)
        await fixture.registry.tick()
        #expect(fixture.workers.hasLiveFlows(number))
        fixture.time.advance(seconds: 30)
        await fixture.registry.tick()
        #expect(fixture.workers.events.last == .evict(number, .all))
    }

    @Test func `the pool takes rested numbers first, then new ones, then what rested longest`() {
        var pool = NumberPool(countMax: 2)
        let now = Instant(nanoseconds: 0)
        #expect(pool.take(at: now)?.number == 0)
        pool.release(0, counters: [7], at: now)
        #expect(pool.take(at: now)?.number == 1)
        // Out of new numbers, a resting one is better than a refusal.
        #expect(pool.take(at: now) == NumberPool.Lease(number: 0, baseline: [7]))
        #expect(pool.take(at: now) == nil)
        #expect(pool.usedCount == 2)
    }

    @Test func `worker counters show under snake_case names`() async throws {
        let status = try await RegistryFixture().registry.status()
        #expect(status.counters["stale_events"] == 7)
        #expect(status.counters["shed_flow_table_full"] == 0)
        #expect(status.counters.count == WorkerCounter.allCases.count)
        #expect(status.warnings == ["one warning"])
        #expect(status.workerCount == 2)
        #expect(status.version == "test")
    }

    @Test func `statistics take CloudWatch's names`() {
        let row = FlowCounter.allCases.map { UInt64(1) << UInt64($0.rawValue) }
        let value = { (counter: FlowCounter) in UInt64(1) << UInt64(counter.rawValue) }
        let statistics = FlowStatistics(counters: row, isApplication: false)
        #expect(statistics.newFlowCountTcp == value(.newTCPFlows))
        #expect(statistics.activeFlowCountUdp == value(.activeUDPFlows))
        #expect(statistics.processedBytesTcp == value(.clientBytesTCP) + value(.targetBytesTCP))
        #expect(statistics.processedBytesUdp == value(.clientBytesUDP) + value(.targetBytesUDP))
        #expect(statistics.tcpClientResetCount == value(.clientResets))
        #expect(statistics.tcpTargetResetCount == value(.targetResets))
        #expect(statistics.tcpElbResetCount == value(.balancerResets))
        #expect(statistics.targetConnectionErrorCount == value(.connectFailures))
        #expect(statistics.rejectedFlowCount == value(.rejectedFlows))
        #expect(statistics.droppedDatagramCount == value(.droppedDatagrams))
        #expect(statistics.clientBytes + statistics.targetBytes == statistics.processedBytes)
    }
}
