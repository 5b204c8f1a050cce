// What workers route by: tables kept where nothing changed, and the same in every appliance of one seed.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

@Suite struct `Snapshot compiler` {
    static func state(_ yaml: String) throws -> RegistryState {
        var state = RegistryState()
        _ = try state.merge(
            Configuration.parse(yaml), prune: false, at: Instant(nanoseconds: 0), secondsSince1970: 0)
        return state
    }

    static func compiler(zone: String? = nil) -> SnapshotCompiler {
        SnapshotCompiler(
            seed: HashSeed(first: 1, second: 2), zone: zone, sourceAddresses: [IPAddress(v4: 1)],
            tableSlotCount: 251)
    }

    @Test func `a table is filled again only when its targets or weights change`() throws {
        var state = try Self.state(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2"))
        var compiler = Self.compiler()
        _ = compiler.compile(state, version: 1)
        _ = compiler.compile(state, version: 2)
        #expect(compiler.builtTableCount == 1)

        var target = state.groups[0][0].target
        target.availabilityZone = "b"
        _ = try state.register(target, group: 0, at: Instant(nanoseconds: 0), secondsSince1970: 0)
        _ = compiler.compile(state, version: 3)
        #expect(compiler.builtTableCount == 1)
        target.weight = 2
        _ = try state.register(target, group: 0, at: Instant(nanoseconds: 0), secondsSince1970: 0)
        _ = compiler.compile(state, version: 4)
        #expect(compiler.builtTableCount == 2)
    }

    @Test func `appliances with one seed choose alike, whatever the order of registration`() async throws {
        let one = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2, 10.0.0.3"))
        let two = try await RegistryFixture()
        try await two.register("10.0.0.3", "10.0.0.9", "10.0.0.1")
        try await two.register("10.0.0.2")
        try await two.deregister("10.0.0.9")
        let other = try await RegistryFixture(
            RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2, 10.0.0.3"), seed: HashSeed(first: 3, second: 4))
        var differenceCount = 0
        for port in 1_000..<1_200 {
            let key = FlowKey(
                client: Endpoint(address: IPAddress(v4: 0x0102_0304), port: UInt16(port)),
                local: Endpoint(address: IPAddress(v4: 0xC000_0201), port: 80), transport: .tcp)
            let listener = ListenerNumber(0)
            let chosen = one.workers.snapshot.select(listener: listener, key: key)?.endpoint
            #expect(chosen != nil)
            #expect(two.workers.snapshot.select(listener: listener, key: key)?.endpoint == chosen)
            if other.workers.snapshot.select(listener: listener, key: key)?.endpoint != chosen {
                differenceCount += 1
            }
        }
        #expect(differenceCount > 50)
    }

    @Test func `with cross-zone off targets of the appliance's zone are preferred`() throws {
        let yaml = RegistryFixture.web(
            check: "enabled: false",
            targets: "{ id: 10.0.0.1, availability_zone: a }, { id: 10.0.0.2, "
                + "availability_zone: b }")
        let endpoints = { (yaml: String, zone: String?) throws -> [String] in
            var compiler = Self.compiler(zone: zone)
            let snapshot = compiler.compile(try Self.state(yaml), version: 1).snapshot
            return snapshot.groups[0].targets.compactMap { snapshot.endpoints[Int($0.rawValue)]?.description }
        }
        #expect(try endpoints(yaml, "b") == ["10.0.0.2:80"])
        #expect(try endpoints(yaml, nil).count == 2)
        #expect(try endpoints(yaml, "c").count == 2)
        let crossZone = yaml.replacing(
            "type: network",
            with: "type: network\n    attributes: { "
                + "load_balancing.cross_zone.enabled: true }")
        #expect(try endpoints(crossZone, "b").count == 2)
        let disabled = crossZone.replacing(
            "attributes: {  }",
            with: "attributes: { "
                + "load_balancing.cross_zone.enabled: false }")
        #expect(try endpoints(disabled, "b") == ["10.0.0.2:80"])
    }

    @Test func `a group of weight 0 gets no flows but is probed`() throws {
        let yaml = RegistryFixture.web(targets: "10.0.0.1").replacing(
            "target_group: web",
            with: "forward: [ { target_group: web, weight: 0 }, { target_group: b, "
                + "weight: 3 } ]"
        ).replacing(
            "load_balancers:",
            with: "  - { name: b, protocol: TCP, port: 80, targets: [10.0.0.2] "
                + "}\nload_balancers:")
        var compiler = Self.compiler()
        let result = compiler.compile(try Self.state(yaml), version: 1)
        let route = try #require(result.snapshot.listeners[0])
        #expect(route.choices.map { result.snapshot.groups[$0.groupIndex].name } == ["b"])
        #expect(route.choices.map(\.cumulativeWeight) == [3])
        #expect(result.probes.count == 2)
    }

    @Test func `a TCP_UDP listener has a binding for each address and transport`() throws {
        let yaml = RegistryFixture.web().replacing("protocol: TCP", with: "protocol: TCP_UDP")
            .replacing("[192.0.2.1]", with: "[192.0.2.1, \"::\"]\n    ip_freebind: true")
        var compiler = Self.compiler()
        let bindings = compiler.compile(try Self.state(yaml), version: 1).bindings
        #expect(
            bindings.map { "\($0.endpoint) \($0.transport)" } == [
                "192.0.2.1:80 tcp", "192.0.2.1:80 udp", "[::]:80 tcp", "[::]:80 udp",
            ])
        #expect(Set(bindings.map(\.number)).count == 1)
        #expect(bindings.map(\.isFreebind) == [true, true, true, true])
    }
}
