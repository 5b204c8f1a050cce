// The routes, over a real socket against a stub registry.

import AdminModel
import AdminServer
import Foundation
import Testing

@testable import weir

@Suite struct `Admin routes` {
    @Test func `every read answers with the model that the client decodes`() async throws {
        try await withServer { address in
            let client = AdminClient(address: address, token: nil)
            #expect(try await client.status() == Sample.status)
            #expect(try await client.loadBalancers() == Sample.status.loadBalancers)
            #expect(try await client.loadBalancer(named: "edge") == Sample.loadBalancer)
            #expect(try await client.listeners() == [Sample.listener])
            #expect(try await client.listener("edge:80") == Sample.listener)
            #expect(try await client.targetGroups() == Sample.status.targetGroups)
            #expect(try await client.targetGroup(named: "web") == Sample.webGroup)
            #expect(try await client.flows(countMax: 1).omittedCount == 1)
            let explanation = try await client.explain(
                ExplainRequest(listener: "edge:80", client: "[2001:db8::1]:40000"))
            #expect(explanation.client == "[2001:db8::1]:40000")
        }
    }

    @Test func `changes reach the registry`() async throws {
        let registry = StubRegistry()
        try await withServer(registry: registry) { address in
            let client = AdminClient(address: address, token: nil)
            let target = TargetSpecification(id: "10.0.1.11", port: 8080)
            #expect(try await client.register([target], in: "web").targets == Sample.webTargets)
            _ = try await client.deregister([target], in: "web")
            let response = try await client.apply(
                ApplyRequest(configuration: "state: memory", dryRun: true, prune: false))
            #expect(!response.isApplied)
        }
        #expect(
            registry.calls == [
                "register web 10.0.1.11:8080", "deregister web 10.0.1.11:8080",
                "apply dryRun=true prune=false bytes=13",
            ])
    }

    @Test func `the wire speaks snake case and leaves attribute keys alone`() async throws {
        try await withServer { address in
            let (status, text) = try await request("GET", "/v1/target-groups/web", at: address)
            #expect(status == 200)
            #expect(text.contains(#""healthy_target_count":1"#))
            #expect(text.contains(#""deregistration_delay.timeout_seconds":"30""#))
        }
    }

    @Test func `the targets of a group have an address of their own`() async throws {
        try await withServer { address in
            let (status, text) = try await request("GET", "/v1/target-groups/web/targets", at: address)
            #expect(status == 200)
            let response = try AdminCoding.decoder().decode(TargetsResponse.self, from: Data(text.utf8))
            #expect(response.targets == Sample.webTargets)
        }
    }

    @Test(arguments: [
        ("missing", 404, "TargetGroupNotFound"), ("invalid", 400, "InvalidTarget"),
        ("conflict", 409, "ResourceInUse"), ("failed", 500, "InternalFailure"),
    ])
    func `each kind of refusal has its status and keeps its code`(
        group: String, status: Int, code: String
    ) async throws {
        try await withServer { address in
            let answer = try await request(
                "POST", "/v1/target-groups/\(group)/targets", at: address, headers: json,
                body: #"{"targets":[{"id":"10.0.0.1"}]}"#)
            #expect(answer.status == status)
            let report = try AdminCoding.decoder().decode(ErrorReport.self, from: Data(answer.text.utf8))
            #expect(report.code == code)
            #expect(report.details == (group == "invalid" ? ["one", "two"] : nil))
        }
    }

    @Test(arguments: [
        ("GET", "/v1/nothing", 404, "PathNotFound"), ("GET", "/", 404, "PathNotFound"),
        ("DELETE", "/v1/status", 405, "MethodNotAllowed"), ("GET", "/v1/apply", 405, "MethodNotAllowed"),
        ("GET", "/v1/listeners/edge:81", 404, "ListenerNotFound"),
        ("GET", "/v1/flows?limit=0", 400, "ValidationError"),
        ("GET", "/v1/flows?limit=many", 400, "ValidationError"),
        ("GET", "/v1/explain?listener=edge:80", 400, "ValidationError"),
        ("GET", "/v1/target-groups/%ZZ", 400, "ValidationError"),
    ])
    func `a request that cannot be served says why`(
        method: String, target: String, status: Int, code: String
    ) async throws {
        try await withServer { address in
            let answer = try await request(method, target, at: address)
            #expect(answer.status == status)
            let report = try AdminCoding.decoder().decode(ErrorReport.self, from: Data(answer.text.utf8))
            #expect(report.code == code)
            #expect(report.message.hasSuffix("."))
        }
    }

    @Test func `a name may hold whatever percent-encoding carries`() async throws {
        try await withServer { address in
            let answer = try await request("GET", "/v1/target-groups/a%20b%2Fc", at: address)
            #expect(answer.status == 404)
            #expect(answer.text.contains(#"no target group \"a b/c\""#))
        }
    }

    @Test(arguments: [
        ("/healthz", 200), ("/healthz?load_balancer=edge", 200), ("/healthz?load_balancer=dark", 503),
        ("/healthz?load_balancer=none", 404),
    ])
    func `health of the process and of a load balancer`(target: String, status: Int) async throws {
        try await withServer { address in
            let answer = try await request("GET", target, at: address)
            #expect(answer.status == status)
            let head = try await request("HEAD", target, at: address)
            #expect(head.status == status)
        }
    }

    @Test func `metrics come in Prometheus' text format`() async throws {
        try await withServer { address in
            let answer = try await request("GET", "/metrics", at: address)
            #expect(answer.status == 200)
            #expect(answer.text == StatusMetrics.text(for: Sample.status))
        }
    }
}
