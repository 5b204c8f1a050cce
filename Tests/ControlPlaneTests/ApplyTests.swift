// Applying configurations: what changes, what stays, and that a refused one leaves no trace.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

@Suite struct `Applying a configuration` {
    static func lines(_ response: ApplyResponse) -> [String] {
        response.changes.map { change in
            ([change.action, change.subject] + change.details).joined(separator: " | ")
        }
    }

    @Test func `the difference names every value that changes`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2"))
        let changed = """
            target_groups:
              - name: web
                protocol: TCP
                port: 81
                health_check: { protocol: HTTP, interval: 10, timeout: 5, matcher: "200" }
                attributes: { stickiness.enabled: true }
                targets: [ { id: 10.0.0.1, port: 80, weight: 5 }, "10.0.0.3:80" ]
              - { name: dns, protocol: UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [192.0.2.1, "2001:db8::1"]
                listeners:
                  - port: 80
                    protocol: TCP
                    attributes: { tcp.idle_timeout.seconds: 60 }
                    default_action: { type: forward, target_group: web }
                  - { port: 53, protocol: UDP, default_action: { type: forward, target_group: dns } }
            """
        let expected = [
            "modify | target group \"web\" | port: 80 → 81 | health_check.protocol: TCP → HTTP | "
                + "health_check.path: none → / | health_check.matcher: none → 200 | stickiness.enabled: "
                + "false → true",
            "modify | target 10.0.0.1:80 of \"web\" | weight: 1 → 5",
            "register | target 10.0.0.3:80 of \"web\"",
            "deregister | target 10.0.0.2:80 of \"web\"",
            "create | target group \"dns\" | protocol: UDP | port: 53",
            "modify | load balancer \"edge\" | addresses: 192.0.2.1 → 192.0.2.1, 2001:db8::1",
            "modify | listener edge:80 | tcp.idle_timeout.seconds: 350 → 60",
            "create | listener edge:53 | protocol: UDP | default_action: forward to dns",
        ]
        let dry = try await fixture.apply(changed, dryRun: true)
        #expect(Self.lines(dry) == expected)
        #expect(!dry.isApplied)
        #expect(fixture.workers.events.count == 2)

        let applied = try await fixture.apply(changed)
        #expect(Self.lines(applied) == expected)
        #expect(applied.isApplied)
        #expect(
            fixture.workers.bindings.map { "\($0.endpoint) \($0.transport)" } == [
                "192.0.2.1:80 tcp", "[2001:db8::1]:80 tcp", "192.0.2.1:53 udp", "[2001:db8::1]:53 udp",
            ])
        #expect(fixture.workers.routedEndpoints == ["10.0.0.1:80", "10.0.0.3:80"])
        // The same again is no change, and the workers hear nothing of it.
        fixture.workers.forgetEvents()
        #expect(try await fixture.apply(changed).changes.isEmpty)
        #expect(fixture.workers.events.isEmpty)
    }

    @Test func `targets registered at runtime stay when the file lists none`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.7")
        #expect(try await fixture.apply(RegistryFixture.web(check: "interval: 20")).changes.count == 1)
        #expect(fixture.workers.routedEndpoints == ["10.0.0.7:80"])
    }

    @Test func `a file that lists targets decides`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.7", "10.0.0.8")
        let response = try await fixture.apply(RegistryFixture.web(targets: "10.0.0.8"))
        #expect(Self.lines(response) == ["deregister | target 10.0.0.7:80 of \"web\""])
        #expect(fixture.workers.routedEndpoints == ["10.0.0.8:80"])
    }

    @Test func `only pruning removes what the file does not name`() async throws {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1")
        let other = RegistryFixture.web().replacing("name: web", with: "name: api")
            .replacing("target_group: web", with: "target_group: api").replacing(
                "name: edge",
                with: "name: "
                    + "inner"
            )
            .replacing("port: 80, protocol", with: "port: 81, protocol")
        _ = try await fixture.apply(other)
        #expect(await fixture.registry.loadBalancers().map(\.name) == ["edge", "inner"])

        let pruned = try await fixture.apply(other, prune: true)
        #expect(
            Self.lines(pruned) == [
                "delete | listener edge:80", "delete | load balancer \"edge\"",
                "delete | target group \"web\"",
            ])
        #expect(await fixture.registry.targetGroups().map(\.name) == ["api"])
        #expect(fixture.workers.bindings.map(\.endpoint.port) == [81])
        #expect(try await fixture.store.load().loadBalancers.map(\.name) == ["inner"])
    }

    @Test func `a listener that left the list of its load balancer is closed`() async throws {
        let two = RegistryFixture.web().replacing(
            "      - { port: 80,",
            with: "      - { port: 81, protocol: TCP, default_action: { type: "
                + "forward, target_group: web } }\n      - { port: 80,")
        let fixture = try await RegistryFixture(two)
        #expect(Self.lines(try await fixture.apply(RegistryFixture.web())) == ["delete | listener edge:81"])
        #expect(fixture.workers.bindings.map(\.endpoint.port) == [80])
    }

    @Test func `unchanged listeners and registrations keep their numbers`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2"))
        let listener = try #require(fixture.workers.bindings.first?.number)
        let number = try fixture.number("10.0.0.2:80")
        let more = RegistryFixture.web(targets: "10.0.0.0, 10.0.0.2").replacing(
            "      - { port: 80,",
            with: "      - { port: 70, protocol: TCP, default_action: { type: "
                + "forward, target_group: web } }\n      - { port: 80,")
        _ = try await fixture.apply(more)
        #expect(fixture.workers.bindings.first { $0.endpoint.port == 80 }?.number == listener)
        #expect(try fixture.number("10.0.0.2:80") == number)
    }

    @Test func `a file is refused whole, with every error of it`() async throws {
        let fixture = try await RegistryFixture()
        let error = await refusal { try await fixture.apply("workers: 0\nlog: { level: x }") }
        #expect(error?.kind == .invalid)
        #expect(error?.code == "ValidationError")
        #expect(error?.message == "the configuration has 2 errors; nothing was changed")
        #expect(
            error?.details == [
                "configuration:1: workers is \"0\"; it must be auto or a whole number from 1 to 64.",
                "configuration:2: log.level is \"x\"; it must be one of trace, debug, info, notice, warning, "
                    + "error, critical.",
            ])
    }

    @Test func `SIGHUP with an address that cannot be bound leaves everything as it is`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1"))
        let before = await fixture.registry.status()
        let stored = try await fixture.store.load()
        fixture.workers.refuse(ports: [8443])
        fixture.workers.forgetEvents()
        let changed = RegistryFixture.web(check: "interval: 99", targets: "10.0.0.9").replacing(
            "port: 80, "
                + "protocol", with: "port: 8443, protocol")
        let error = await refusal { try await fixture.registry.reload(changed, fileName: "weir.yaml") }
        #expect(error?.kind == .failed)
        #expect(error?.message == "cannot bind 192.0.2.1:8443: address in use (EADDRINUSE).")
        #expect(fixture.workers.events == [.prepare(ports: [8443])])
        #expect(await fixture.registry.status() == before)
        #expect(try await fixture.store.load() == stored)
        // And the next one works.
        fixture.workers.refuse(ports: [])
        #expect(try await fixture.registry.reload(changed, fileName: "weir.yaml").changes.count == 5)
    }

    @Test func `what the file clashes with in the running state is refused`() async throws {
        let fixture = try await RegistryFixture()
        let clash = RegistryFixture.web().replacing("name: edge", with: "name: other")
        let error = await refusal { try await fixture.apply(clash) }
        #expect(error?.kind == .conflict)
        #expect(error?.code == "DuplicateListener")
        #expect(
            error?.message
                == "listener other:80 listens on 192.0.2.1 for TCP, and so does edge:80 on 192.0.2.1. Give one "
                + "of them another port or address, or remove what the file does not name with --prune.")
        #expect(try await fixture.apply(clash, prune: true).isApplied)

        let udp = "target_groups: [ { name: web, protocol: UDP, port: 80 } ]"
        #expect(await refusal { try await fixture.apply(udp) }?.code == "IncompatibleProtocols")
    }

    @Test func `settings that only take effect at start are named`() async throws {
        let fixture = try await RegistryFixture()
        let response = try await fixture.apply(
            "workers: 3\nadmin: { listen: 127.0.0.1:9900 }\n" + RegistryFixture.web())
        #expect(
            response.warnings == [
                "workers is 3 in the file, but auto here; it takes effect at the next "
                    + "start."
            ])
    }

    @Test func `at start a store and a file become one`() async throws {
        let store = try Store(.memory)
        let first = try await RegistryFixture(RegistryFixture.web(), store: store)
        try await first.register("10.0.0.5")
        let second = try await RegistryFixture(
            "target_groups: [ { name: extra, protocol: TCP, port: 1, targets: [10.0.0.6] } ]", store: store)
        #expect(await second.registry.targetGroups().map(\.name) == ["web", "extra"])
        #expect(second.workers.routedEndpoints == ["10.0.0.5:80"])
        #expect(
            second.workers.events == [
                .prepare(ports: [80]), .publish(version: 1, hasListeners: true),
            ])
    }

    @Test func `a start that cannot bind fails with every address`() async throws {
        let workers = WorkerRecorder()
        workers.refuse(ports: [80])
        let error = await refusal {
            try await RegistryFixture(
                RegistryFixture.web().replacing("[192.0.2.1]", with: "[192.0.2.1, 192.0.2.2]"),
                workers: workers)
        }
        #expect(error?.message == "2 listen addresses cannot be opened; nothing was changed")
        #expect(error?.details.count == 2)
    }
}
