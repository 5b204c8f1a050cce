// Which rule a request or a greeting takes, and why.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

@Suite struct `Explain requests` {
    private static func request(
        _ listener: String = "site:80", host: String? = nil, path: String? = nil, headers: [String] = []
    ) -> ExplainRequest {
        var request = ExplainRequest(listener: listener, client: "198.51.100.7:4711")
        request.host = host
        request.path = path
        request.headers = headers
        return request
    }

    @Test func `the rule, each condition, the groups and the targets are named`() async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text(web: "stickiness.enabled: true"))
        for target in ["10.0.0.1:80", "10.0.0.2:80", "10.0.2.1:80"] {
            try await fixture.report(target, .healthy)
        }
        let answer = try await fixture.registry.explain(Self.request(host: "b.example.com", path: "/b?x=1"))
        #expect(answer.rule == "20")
        #expect(answer.targetGroup == nil && answer.target == nil)
        #expect(answer.targets == ["10.0.0.1:80", "10.0.0.2:80", "10.0.2.1:80"])
        #expect(
            answer.steps == [
                "The client arrives at listener site:80 (HTTP) on 192.0.2.1:80 by TCP.",
                "It asks for GET /b?x=1 of host b.example.com.",
                "Rule 10 does not apply: host_header \"b.example.com\" is none of \"a.example.com\".",
                "Rule 20 applies: path_pattern \"/b\" is one of \"/b\".",
                "The request is forwarded to one of the groups by weight (\"web\" 3 of 4, \"canary\" 1 of 4); a client "
                    + "keeps its group for 60 s.",
                "2 of 2 targets of \"web\" may get new requests.",
                "\"web\" chooses by round_robin; a client that shows Weir's cookie keeps its target for 86400 s.",
                "1 of 1 targets of \"canary\" may get new requests.",
                "\"canary\" chooses by round_robin.",
            ])
    }

    @Test func `a redirect is told with its address, and what was rewritten before`() async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text())
        let answer = try await fixture.registry.explain(Self.request(host: "a.example.com", path: "/x/1?q=2"))
        #expect(answer.rule == "10")
        #expect(answer.answer == "301 http://a.example.com/new?q=2")
        #expect(answer.steps.contains("The URL becomes /y/1?q=2."))
    }

    @Test func `without a rule the default action is told`() async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text())
        let answer = try await fixture.registry.explain(Self.request(path: "/c"))
        #expect(answer.rule == "default")
        #expect(answer.targetGroup == "api" && answer.target == "10.0.1.1:443")
        #expect(
            answer.steps[1]
                == "It asks for GET /c of host 192.0.2.1, the listen address, since no host is given.")
        #expect(answer.steps.contains("No rule applies, so the default action is taken."))
    }

    @Test func `headers, methods and queries count`() async throws {
        let rules = """
            - { priority: 1, conditions: [ { http_header: { http_header_name: X-Env, values: [test*] } }, \
            { http_request_method: { values: [POST] } }, { query_string: { values: [ { key: v, value: "2" } ] } } ], \
            actions: [ { type: fixed_response, fixed_response: { status_code: "418", content_type: text/plain } } ] }
            """
        let fixture = try await RegistryFixture(ApplicationFile.text(rules: rules))
        var request = Self.request(headers: ["x-env: testing"])
        request.method = "POST"
        request.query = "v=2"
        let answer = try await fixture.registry.explain(request)
        #expect(answer.rule == "1" && answer.answer == "418 text/plain")
        request.method = nil
        let other = try await fixture.registry.explain(request)
        #expect(other.rule == "default")
        #expect(
            other.steps.contains("Rule 1 does not apply: http_request_method \"GET\" is none of POST."))
    }

    @Test func `of very many rules only some are told one by one`() async throws {
        let rules = (1...100).map { number in
            "- { priority: \(number), conditions: [ { path_pattern: { values: [\"/\(number)\"] } } ], "
                + "actions: [ { type: forward, target_group: web } ] }"
        }.joined(separator: "\n")
        let fixture = try await RegistryFixture(ApplicationFile.text(rules: rules))
        let answer = try await fixture.registry.explain(Self.request(path: "/90"))
        #expect(answer.rule == "90")
        #expect(answer.steps.count { $0.hasPrefix("Rule ") } == 33)
        #expect(answer.steps.contains("57 more rules do not apply."))
    }

    @Test func `a slow start is told`() async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text(web: "slow_start.duration_seconds: 30"))
        try await fixture.report("10.0.0.1:80", .healthy)
        try await fixture.register("10.0.0.3", in: "web")
        try await fixture.report("10.0.0.3:80", .healthy)
        let steps = try await fixture.registry.explain(Self.request(path: "/b")).steps
        #expect(steps.contains("1 of its targets are starting slowly, over 30 s."))
        fixture.time.advance(seconds: 31)
        let later = try await fixture.registry.explain(Self.request(path: "/b")).steps
        #expect(!later.contains { $0.contains("starting slowly") })
    }

    // MARK: Greetings

    private static let greetings = """
        target_groups:
          - { name: web, protocol: TCP, port: 80, targets: [10.0.0.1] }
          - { name: other, protocol: TCP, port: 80, targets: [10.0.0.2] }
        load_balancers:
          - name: edge
            type: network
            addresses: [192.0.2.1]
            listeners:
              - port: 443
                protocol: TCP
                default_action: { type: forward, target_group: web }
                rules:
                  - priority: 1
                    conditions: [ { tls_alpn: { values: [h2] } } ]
                    actions: [ { type: forward, target_group: web } ]
                  - priority: 2
                    conditions: [ { tls_server_name: { values: ["*.example.com"] } } ]
                    actions: [ { type: forward, target_group: other } ]
        """

    @Test func `a TCP listener's rule by the greeting is named, and the flow goes as the workers send it`()
        async throws
    {
        let fixture = try await RegistryFixture(Self.greetings)
        var request = ExplainRequest(listener: "edge:443", client: "198.51.100.7:4711")
        request.serverName = "a.example.com"
        request.alpn = ["http/1.1"]
        let answer = try await fixture.registry.explain(request)
        #expect(answer.rule == "2" && answer.targetGroup == "other" && answer.target == "10.0.0.2:80")
        #expect(
            Array(answer.steps[1...4]) == [
                "The client's TLS greeting asks for a.example.com and offers http/1.1.",
                "Rule 1 does not apply: ALPN h2.", "Rule 2 applies: server name *.example.com.",
                "The rule forwards every flow to target group \"other\".",
            ])
        request.alpn = ["h2"]
        #expect(try await fixture.registry.explain(request).rule == "1")
        request.alpn = []
        request.serverName = "example.org"
        #expect(try await fixture.registry.explain(request).rule == "default")
    }

    @Test func `what belongs to another kind of listener is refused`() async throws {
        let tcp = try await RegistryFixture(Self.greetings)
        let odd = await refusal { try await tcp.registry.explain(Self.request("edge:443", path: "/")) }
        #expect(
            odd?.message
                == "listener edge:443 is TCP and sees no requests: path belongs to HTTP and HTTPS listeners. Leave it out."
        )
        let http = try await RegistryFixture(ApplicationFile.text())
        var request = Self.request()
        request.serverName = "a"
        let greeting = await refusal { try await http.registry.explain(request) }
        #expect(greeting?.message.contains("server_name belongs to TCP listeners") == true)
    }

    @Test(arguments: [
        Self.request(headers: ["X-Env"]), Self.request(headers: [":x"]), Self.request(path: "x"),
    ])
    func `a request that none could send is refused`(request: ExplainRequest) async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text())
        let error = await refusal { try await fixture.registry.explain(request) }
        #expect(error?.code == "ValidationError")
    }
}
