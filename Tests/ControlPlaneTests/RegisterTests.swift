// Requests to register and deregister: what they mean, and how they are refused.

import AdminModel
import Balancing
import ControlPlane
import Testing

@Suite struct `Registering` {
    @Test func `a target takes the group's port and weight 1 unless told otherwise`() async throws {
        let fixture = try await RegistryFixture()
        let targets = try await fixture.registry.register(
            TargetsRequest(targets: [
                TargetSpecification(id: "10.0.0.1"), TargetSpecification(id: "10.0.0.2", port: 81, weight: 0),
                TargetSpecification(id: "2001:db8::1"),
                TargetSpecification(id: "[2001:db8::2]:82", availabilityZone: "b"),
            ]), in: "web"
        ).targets
        #expect(
            targets.map { "\($0.id) \($0.port) \($0.weight) \($0.availabilityZone ?? "-")" } == [
                "10.0.0.1 80 1 -", "10.0.0.2 81 0 -", "2001:db8::1 80 1 -", "2001:db8::2 82 1 b",
            ])
        #expect(fixture.workers.routedEndpoints == ["10.0.0.1:80", "[2001:db8::1]:80", "[2001:db8::2]:82"])
    }

    @Test func `registering again changes what is given and keeps the rest`() async throws {
        let fixture = try await RegistryFixture()
        let request = { (weight: Int?, zone: String?) in
            TargetsRequest(targets: [
                TargetSpecification(id: "10.0.0.1", weight: weight, availabilityZone: zone)
            ])
        }
        _ = try await fixture.registry.register(request(9, nil), in: "web")
        try await fixture.report("10.0.0.1:80", .healthy)
        _ = try await fixture.registry.register(request(nil, "c"), in: "web")
        let target = try #require(try await fixture.target("10.0.0.1:80"))
        #expect(target.weight == 9)
        #expect(target.availabilityZone == "c")
        #expect(target.health.state == "healthy")
        // The same again costs the workers nothing.
        fixture.workers.forgetEvents()
        _ = try await fixture.registry.register(request(9, "c"), in: "web")
        #expect(fixture.workers.events.isEmpty)
    }

    @Test(arguments: [
        (
            TargetSpecification(id: "web1"), "InvalidTarget",
            "target \"web1\" is no address; it must be ADDRESS, ADDRESS:PORT or [IPV6]:PORT. Look up the "
                + "name and give its address."
        ),
        (
            TargetSpecification(id: "224.0.0.1"), "InvalidTarget",
            "target 224.0.0.1 cannot be used: it is a multicast address, which is not one machine. Give a "
                + "unicast address."
        ),
        (
            TargetSpecification(id: "::"), "InvalidTarget",
            "target :: cannot be used: it names no machine. Give the address of one."
        ),
        (
            TargetSpecification(id: "10.0.0.1", port: 0), "ValidationError",
            "target \"10.0.0.1\" has port 0; it must be from 1 to 65535."
        ),
        (
            TargetSpecification(id: "10.0.0.1:80", port: 81), "ValidationError",
            "target \"10.0.0.1:80\" is given with port 81 beside it. Keep one of the two ports."
        ),
        (
            TargetSpecification(id: "10.0.0.1", weight: 1000), "ValidationError",
            "target 10.0.0.1:80: weight is 1000; it must be a whole number from 0 to 999."
        ),
        (
            TargetSpecification(id: "10.0.0.1", availabilityZone: "a b"), "ValidationError",
            "target 10.0.0.1:80: availability_zone is \"a b\"; it must be 1 to 64 printable characters "
                + "without spaces."
        ),
    ])
    func `a target that cannot be is refused`(
        specification: TargetSpecification, code: String, message: String
    ) async throws {
        let fixture = try await RegistryFixture()
        // One bad target refuses the request: nothing of it is registered.
        let request = TargetsRequest(targets: [TargetSpecification(id: "10.0.0.9"), specification])
        let error = await refusal { try await fixture.registry.register(request, in: "web") }
        #expect(error?.code == code)
        #expect(error?.message == message)
        #expect(fixture.workers.routedEndpoints.isEmpty)
    }

    @Test func `an unknown group is named with the nearest known one`() async throws {
        let fixture = try await RegistryFixture()
        let error = await refusal { try await fixture.register("10.0.0.1", in: "wbe") }
        #expect(error?.kind == .notFound)
        #expect(error?.code == "TargetGroupNotFound")
        #expect(error?.message == "target group \"wbe\" does not exist; did you mean \"web\"?")
    }

    @Test func `a request without targets, or with one in two ways, is refused`() async throws {
        let fixture = try await RegistryFixture()
        #expect(
            await refusal { try await fixture.registry.register(TargetsRequest(targets: []), in: "web") }?
                .message
                == "no target is named. Give at least one, as ID[:PORT].")
        let twice = TargetsRequest(targets: [
            TargetSpecification(id: "10.0.0.1", weight: 1), TargetSpecification(id: "10.0.0.1:80", weight: 2),
        ])
        #expect(
            await refusal { try await fixture.registry.register(twice, in: "web") }?.message
                == "target 10.0.0.1:80 is named twice with different settings. Keep one of them.")
    }

    @Test func `deregistering finds the one port of an address, and asks when there are several`()
        async throws
    {
        let fixture = try await RegistryFixture()
        try await fixture.register("10.0.0.1:81", "10.0.0.2:81", "10.0.0.2:82")
        #expect(try await fixture.deregister("10.0.0.1").map(\.port) == [81])
        let error = await refusal { try await fixture.deregister("10.0.0.2") }
        #expect(error?.kind == .notFound)
        #expect(error?.code == "InvalidTarget")
        #expect(
            error?.message
                == "target 10.0.0.2:80 is not registered in target group \"web\". Registered there: "
                + "10.0.0.2:81, 10.0.0.2:82.")
    }

    @Test func `more targets than the bound are refused`() async throws {
        let fixture = try await RegistryFixture()
        let many = { (range: Range<Int>) in
            TargetsRequest(
                targets: range.map { TargetSpecification(id: "10.\($0 >> 16).\($0 >> 8 & 255).\($0 & 255)") })
        }
        _ = try await fixture.registry.register(many(1..<Limits.targetCountMax), in: "web")
        let error = await refusal { try await fixture.registry.register(many(30_000..<30_002), in: "web") }
        #expect(error?.code == "TooManyTargets")
        #expect(try await fixture.registry.register(many(30_000..<30_001), in: "web").targets.count == 1)
    }
}
