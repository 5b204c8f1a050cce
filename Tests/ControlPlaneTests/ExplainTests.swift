// Where would this flow go, and why: the sentences, and that the answer is the workers' own.

import AdminModel
import Balancing
import ControlPlane
import Testing

@Suite struct `Explain` {
    @Test func `every decision has its sentence`() async throws {
        let fixture = try await RegistryFixture(
            RegistryFixture.web(
                targets: "10.0.0.1, 10.0.0.2, { id: "
                    + "10.0.0.3, weight: 0 }"))
        try await fixture.report("10.0.0.1:80", .healthy)
        try await fixture.report("10.0.0.2:80", .unhealthy(.connectionRefused))
        let answer = try await fixture.registry.explain(listener: "edge:80", client: "198.51.100.7:4711")
        #expect(answer.targetGroup == "web")
        #expect(answer.target == "10.0.0.1:80")
        #expect(
            answer.steps == [
                "The client arrives at listener edge:80 (TCP) on 192.0.2.1:80 by TCP.",
                "The listener forwards every flow to target group \"web\".",
                "1 of 3 targets of \"web\" may get new flows.",
                "Target 10.0.0.2:80 gets none: it is unhealthy. 10.0.0.2:80 refused the connection: nothing "
                    + "listens there.",
                "Target 10.0.0.3:80 gets none: its weight is 0.",
                "The flow's addresses, ports and transport, hashed with this appliance's seed, fall on slot 0 "
                    + "of 1.",
                "That slot belongs to target 10.0.0.1:80.",
            ])
    }

    @Test func `without a port the answer says whether it matters`() async throws {
        let sentence =
            "The client's port is part of the hash and was not given; this answer is for port 0, "
            + "each real port may lead elsewhere."
        let spread = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2"))
        let answer = try await spread.registry.explain(listener: "edge:80", client: "198.51.100.7")
        #expect(answer.steps.contains(sentence))
        #expect(answer.steps.contains { $0.contains("fail-open") })

        let sticky = try await RegistryFixture(
            RegistryFixture.web(attributes: "stickiness.enabled: true", targets: "10.0.0.1, 10.0.0.2"))
        let first = try await sticky.registry.explain(listener: "edge:80", client: "198.51.100.7")
        #expect(!first.steps.contains(sentence))
        for port in [1, 99, 65_535] {
            let answer = try await sticky.registry.explain(
                listener: "edge:80", client: "198.51.100.7:\(port)")
            #expect(answer.target == first.target)
        }
    }

    @Test func `the answer is the one of the workers`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1, 10.0.0.2, 10.0.0.3"))
        for port in 1...50 {
            let key = FlowKey(
                client: Endpoint(address: IPAddress(v4: 0xC633_6407), port: UInt16(port)),
                local: Endpoint(address: IPAddress(v4: 0xC000_0201), port: 80), transport: .tcp)
            let answer = try await fixture.registry.explain(
                listener: "edge:80", client: "198.51.100.7:\(port)")
            let number = try #require(fixture.workers.bindings.first?.number)
            #expect(
                answer.target
                    == fixture.workers.snapshot.select(listener: number, key: key)?.endpoint.description)
        }
    }

    @Test func `weights and stickiness of groups are explained`() async throws {
        let yaml = RegistryFixture.web(targets: "10.0.0.1").replacing(
            "target_group: web",
            with: "stickiness: { enabled: true }, forward: [ { target_group: web, weight: 90 }, { "
                + "target_group: b, weight: 10 } ]"
        ).replacing(
            "load_balancers:",
            with: "  - { name: b, protocol: TCP, port: 80, targets: [10.0.0.2] "
                + "}\nload_balancers:")
        let fixture = try await RegistryFixture(yaml)
        let answer = try await fixture.registry.explain(listener: "edge:80", client: "198.51.100.7:1")
        let group = try #require(answer.targetGroup)
        #expect(
            answer.steps.contains(
                "The listener spreads flows by weight (\"web\" 90 of 100, \"b\" 10 of 100); with group "
                    + "stickiness the client's address alone chooses \"\(group)\"."))
    }

    @Test func `a client of a family without listen address cannot arrive`() async throws {
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1"))
        let answer = try await fixture.registry.explain(listener: "edge:80", client: "2001:db8::1")
        #expect(answer.target == nil)
        #expect(
            answer.steps == [
                "Load balancer \"edge\" has no listen address of the client's family, so the client cannot "
                    + "arrive."
            ])
    }

    @Test func `an empty group refuses the flow`() async throws {
        let fixture = try await RegistryFixture()
        let answer = try await fixture.registry.explain(listener: "edge:80", client: "198.51.100.7:1")
        #expect(answer.target == nil)
        #expect(
            answer.steps.suffix(2) == [
                "Target group \"web\" has no targets.", "No target may get flows, so the flow is refused.",
            ])
    }

    @Test(arguments: [
        (
            "edge:81", "10.0.0.1", "ListenerNotFound",
            "listener \"edge:81\" does not exist; listeners are named LOAD_BALANCER:PORT; did you mean "
                + "\"edge:80\"?"
        ),
        (
            "edge:80", "host", "ValidationError",
            "client \"host\" is no address of a client; give ADDRESS, ADDRESS:PORT or [IPV6]:PORT."
        ),
    ])
    func `a question about nothing is refused`(
        listener: String, client: String, code: String, message: String
    ) async throws {
        let fixture = try await RegistryFixture()
        let error = await refusal { try await fixture.registry.explain(listener: listener, client: client) }
        #expect(error?.code == code)
        #expect(error?.message == message)
    }
}
