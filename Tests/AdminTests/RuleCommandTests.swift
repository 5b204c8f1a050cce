// Rules and listeners from the words of the command line to the registry, through a real server.

import AdminModel
import AdminServer
import ArgumentParser
import Foundation
import Testing

@testable import weir

@Suite struct `Rule commands` {
    /// Runs commands against a stub registry and returns what it was asked for.
    private func calls(_ commands: [String]...) async throws -> [String] {
        let registry = StubRegistry()
        try await withServer(registry: registry) { address in
            for command in commands {
                let parsed = try Weir.parseAsRoot(command + ["--admin", "\(address)", "--output", "json"])
                var run = try #require(parsed as? any AsyncParsableCommand)
                try await run.run()
            }
        }
        return registry.calls
    }

    @Test func `every option of a rule reaches the registry`() async throws {
        var host = ConditionDescription()
        host.hostHeader = .init(values: ["a.example.com", "*.b.example.com"])
        var path = ConditionDescription()
        path.pathPattern = .init(regexValues: ["^/img/"])
        var header = ConditionDescription()
        header.httpHeader = .init(httpHeaderName: "X-Env", values: ["test", "a:b"])
        var other = ConditionDescription()
        other.httpHeader = .init(httpHeaderName: "X-B", regexValues: ["^c"])
        var method = ConditionDescription()
        method.httpRequestMethod = .init(values: ["GET"])
        var query = ConditionDescription()
        query.queryString = .init(values: [.init(key: "k", value: "v=w"), .init(key: nil, value: "x")])
        var source = ConditionDescription()
        source.sourceIp = .init(values: ["10.0.0.0/8"])
        let request = RuleRequest(
            priority: 10, conditions: [host, path, header, other, method, query, source],
            action: .forward(
                [
                    ForwardDescription(targetGroup: "web", weight: 9),
                    ForwardDescription(targetGroup: "canary", weight: 1),
                ], stickiness: StickinessDescription(enabled: true, duration: 60)),
            transforms: [
                TransformDescription(hostHeaderRewrite: .init(rewrites: [.init(regex: "a", replace: "b")])),
                TransformDescription(urlRewrite: .init(rewrites: [.init(regex: "c", replace: "")])),
            ])
        let asked = try await calls([
            "rules", "create", "site:80", "--priority", "10", "--host-header", "a.example.com",
            "--host-header", "*.b.example.com", "--path-pattern-regex", "^/img/", "--http-header",
            "X-Env: test", "--http-header", "x-env:a:b", "--http-header-regex", "X-B:^c",
            "--http-request-method", "GET", "--query-string", "k=v=w", "--query-string", "x", "--source-ip",
            "10.0.0.0/8", "--forward", "web=9", "--forward", "canary", "--stickiness", "60",
            "--url-rewrite", "c", "--url-replace", "", "--host-rewrite", "a", "--host-replace", "b",
        ])
        #expect(asked == ["create rule of site:80: \(request)"])
    }

    @Test func `changes name what is to be another and nothing else`() async throws {
        let action = ActionDescription.fixedResponse(
            FixedResponseDescription(statusCode: "503", contentType: "text/plain", messageBody: "no"))
        let priorities = RulePrioritiesRequest(priorities: [
            .init(priority: 10, newPriority: 20), .init(priority: 20, newPriority: 10),
        ])
        var listener = ListenerRequest()
        listener.port = 443
        listener.protocol = "HTTPS"
        listener.sslPolicy = "P"
        listener.certificates = [CertificateSpecification(certificate: "/a", privateKey: "/b")]
        listener.attributes = ["k": "v=w"]
        listener.defaultAction = .forward([ForwardDescription(targetGroup: "web", weight: 1)])
        var change = ListenerRequest()
        change.port = 81
        let asked = try await calls(
            [
                "rules", "modify", "site:80", "default", "--fixed-response", "503", "--content-type",
                "text/plain", "--message-body", "no",
            ],
            ["rules", "modify", "site:80", "10", "--without-transforms"],
            ["rules", "delete", "site:80", "10"],
            ["rules", "set-priorities", "site:80", "10=20", "20=10"],
            [
                "listeners", "create", "site", "--port", "443", "--protocol", "HTTPS", "--ssl-policy", "P",
                "--certificate", "/a", "--private-key", "/b", "--attribute", "k=v=w", "--forward", "web",
            ],
            ["listeners", "modify", "edge:80", "--port", "81"], ["listeners", "delete", "edge:80"])
        #expect(
            asked == [
                "modify rule default of site:80: \(RuleRequest(action: action))",
                "modify rule 10 of site:80: \(RuleRequest(transforms: []))", "delete rule 10 of site:80",
                "set priorities of site:80: \(priorities)", "create listener of site: \(listener)",
                "modify listener edge:80: \(change)", "delete listener edge:80",
            ])
    }

    @Test func `an explained request reaches the registry with all it says`() async throws {
        var request = ExplainRequest(listener: "edge:80", client: "192.0.2.1:1")
        request.host = "a.example.com"
        request.path = "/x y?q=1&r"
        request.method = "POST"
        request.query = "k=v&w"
        request.headers = ["A: 1", "B:2"]
        request.serverName = "b.example.com"
        request.alpn = ["h2", "http/1.1"]
        let asked = try await calls([
            "explain", "edge:80", "192.0.2.1:1", "--host", "a.example.com", "--path", "/x y?q=1&r",
            "--method", "POST", "--query", "k=v&w", "--header", "A: 1", "--header", "B:2", "--server-name",
            "b.example.com", "--alpn", "h2", "--alpn", "http/1.1",
        ])
        #expect(asked == ["explain \(request)"])
    }

    @Test(
        arguments: [
            ("https://#{host}:443/#{path}?#{query}", "HTTPS", "#{host}", "443", "/#{path}", "#{query}"),
            ("https://b.example.com", "HTTPS", "b.example.com", nil, nil, nil),
            ("#{protocol}://:8080", "#{protocol}", nil, "8080", nil, nil),
            ("/new", nil, nil, nil, "/new", nil), ("/new?", nil, nil, nil, "/new", ""),
            ("?a=b?c", nil, nil, nil, nil, "a=b?c"), ("http://a?x", "HTTP", "a", nil, nil, "x"),
        ] as [(String, String?, String?, String?, String?, String?)])
    func `a redirect is written as an address`(
        text: String, protocol: String?, host: String?, port: String?, path: String?, query: String?
    ) {
        #expect(
            RedirectTemplate.parse(text, statusCode: 301)
                == RedirectDescription(
                    protocol: `protocol`, host: host, port: port, path: path, query: query,
                    statusCode: "HTTP_301"))
    }

    @Test(arguments: ["new", "://a", "https://a:", "a.example.com/x"])
    func `what is no address is no redirect`(text: String) {
        #expect(RedirectTemplate.parse(text, statusCode: 301) == nil)
    }

    @Test(arguments: [
        ["rules", "create", "site:80", "--priority", "1", "--forward", "web"],
        ["rules", "create", "site:80", "--priority", "1", "--path-pattern", "/a"],
        [
            "rules", "create", "site:80", "--priority", "1", "--path-pattern", "/a", "--forward", "web",
            "--redirect", "/b",
        ],
        ["rules", "create", "site:80", "--priority", "1", "--path-pattern", "/a", "--forward", "web=x"],
        ["rules", "create", "site:80", "--priority", "1", "--path-pattern", "/a", "--redirect", "b"],
        ["rules", "create", "site:80", "--priority", "1", "--http-header", "a", "--forward", "web"],
        ["rules", "modify", "site:80", "1"], ["rules", "modify", "site:80", "1", "--url-rewrite", "a"],
        ["rules", "modify", "site:80", "1", "--message-body", "a"],
        ["rules", "set-priorities", "site:80"], ["rules", "set-priorities", "site:80", "1"],
        ["rules", "set-priorities", "site:80", "1=x"],
        ["listeners", "create", "site", "--port", "1", "--protocol", "HTTP"],
        ["listeners", "modify", "site:80"], ["listeners", "modify", "site:80", "--certificate", "/a"],
        ["listeners", "modify", "site:80", "--attribute", "k"],
    ])
    func `wrong usage exits with 64`(arguments: [String]) {
        let error = #expect(throws: (any Error).self) { try Weir.parseAsRoot(arguments) }
        #expect(error.map { Weir.exitCode(for: $0).rawValue } == 64)
    }
}

@Suite struct `Rule routes` {
    @Test func `rules are read as a list and one by one`() async throws {
        try await withServer { address in
            let client = AdminClient(address: address, token: nil)
            let rules = try await client.rules(of: "site:80").rules
            #expect(rules == Sample.rules)
            let rule = try await client.rule("10", of: "site:80")
            #expect(rule == Sample.rules[0])
            let error = await #expect(throws: ClientError.self) {
                try await client.rule("11", of: "site:80")
            }
            #expect(error?.failure.message == "no rule \"11\".")
        }
    }

    @Test func `the wire has the configuration file's shape`() async throws {
        try await withServer { address in
            let (status, text) = try await request("GET", "/v1/listeners/site:80/rules/10", at: address)
            #expect(status == 200)
            #expect(text.contains(#""host_header":{"values":["a.example.com","*.b.example.com"]}"#))
            #expect(text.contains(#""path_pattern":{"regex_values":["^/img/"]}"#))
            #expect(text.contains(#""stickiness":{"duration":60,"enabled":true}"#))
            #expect(text.contains(#""url_rewrite":{"rewrites":[{"regex":"^/a","replace":"/b"}]}"#))
        }
    }

    @Test(arguments: [
        ("PUT", "/v1/listeners/site:80/rules", 405), ("PUT", "/v1/listeners/site:80/rules/10", 405),
        ("GET", "/v1/listeners/site:80/rule-priorities", 405),
        ("DELETE", "/v1/load-balancers/site/listeners", 405),
        ("POST", "/v1/listeners/site:80/rules", 415), ("PATCH", "/v1/listeners/site:80/rules/10", 415),
    ])
    func `a request that cannot be served says why`(method: String, path: String, status: Int) async throws {
        try await withServer { address in
            let answer = try await request(method, path, at: address)
            #expect(answer.status == status)
        }
    }

    @Test(arguments: [
        (#"{"priority":"x"}"#, "priority"), (#"{"conditions":[{"host_header":{"values":1}}]}"#, "values"),
        (#"{"action":{}}"#, "action.type"),
    ])
    func `a field of the wrong kind is named`(body: String, field: String) async throws {
        try await withServer { address in
            let answer = try await request(
                "POST", "/v1/listeners/site:80/rules", at: address, headers: json, body: body)
            #expect(answer.status == 400)
            #expect(answer.text.contains(field))
        }
    }
}
