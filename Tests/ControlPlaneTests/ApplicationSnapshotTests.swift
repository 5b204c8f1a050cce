// What workers of application mode route by: rules with their groups, targets with weights and slow starts.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

/// A file with one application load balancer.
enum ApplicationFile {
    static let rules = """
        - { priority: 20, conditions: [ { path_pattern: { values: ["/b"] } } ], \
        actions: [ { type: forward, forward: [ { target_group: web, weight: 3 }, \
        { target_group: api, weight: 0 }, { target_group: canary, weight: 1 } ], \
        stickiness: { enabled: true, duration: 60 } } ] }
        - { priority: 10, conditions: [ { host_header: { values: ["a.example.com"] } } ], \
        actions: [ { type: redirect, redirect: { path: "/new", status_code: HTTP_301 } } ], \
        transforms: [ { url_rewrite: { rewrites: [ { regex: "^/x", replace: "/y" } ] } } ] }
        """

    static func text(
        listener: String = "protocol: HTTP", attributes: String = "", web: String = "", api: String = "HTTP",
        rules: String = Self.rules, action: String = "{ type: forward, target_group: api }",
        loadBalancer: String = ""
    ) -> String {
        """
        target_groups:
          - { name: web, protocol: HTTP, port: 80, targets: [10.0.0.1, { id: 10.0.0.2, weight: 3 }], \
        attributes: { \(web) } }
          - { name: api, protocol: \(api), port: 443, protocol_version: GRPC, targets: [10.0.1.1] }
          - { name: canary, protocol: HTTP, port: 80, targets: [10.0.2.1] }
        load_balancers:
          - name: site
            type: application
            addresses: [192.0.2.1]
            attributes: { \(loadBalancer) }
            listeners:
              - port: 80
                \(listener)
                attributes: { \(attributes) }
                default_action: \(action)
                rules:
        \(rules.split(separator: "\n").map { "          \($0)" }.joined(separator: "\n"))
        """
    }

    static let certificates =
        "protocol: HTTPS\n        certificates: [ { certificate: /a.crt, private_key: /a.key } ]"
}

@Suite struct `Application snapshot` {
    private static func compile(_ yaml: String) throws -> SnapshotCompiler.Result {
        var compiler = `Snapshot compiler`.compiler()
        return compiler.compile(try `Snapshot compiler`.state(yaml), version: 1)
    }

    private static func names(_ choices: [ListenerRoute.Choice], in result: SnapshotCompiler.Result)
        -> [String]
    {
        choices.map { "\(result.snapshot.groups[$0.groupIndex].name) \($0.cumulativeWeight)" }
    }

    @Test func `a listener has its rules in rising priority and its default action last`() throws {
        let result = try Self.compile(
            ApplicationFile.text(
                attributes: "routing.http.response.server.enabled: false",
                loadBalancer: "idle_timeout.timeout_seconds: 7, access_logs.file.enabled: true, "
                    + "access_logs.file.path: stdout"))
        let listener = try #require(result.snapshot.listeners[0])
        #expect(listener.choices.isEmpty && listener.rules.isEmpty && listener.tls == nil)
        #expect(listener.accessLogPath == "stdout")
        let application = try #require(listener.application)
        #expect(application.loadBalancerAttributes.idleTimeoutSeconds == 7)
        #expect(!application.listenerAttributes.isServerFieldEnabled)
        #expect(application.rules.map(\.priority) == [10, 20, nil])

        guard case .redirect(let redirect) = application.rules[0].action else {
            Issue.record("no redirect")
            return
        }
        #expect(redirect == RedirectAction(path: "/new", statusCode: 301))
        #expect(
            application.rules[0].transforms == [
                .urlRewrite(Rewrite(regularExpression: "^/x", replacement: "/y"))
            ])
        #expect(application.rules[1].conditions == [.pathPattern(TextPatterns(wildcards: ["/b"]))])
        guard case .forward(let choices, let seconds) = application.rules[1].action,
            case .forward(let others, nil) = application.rules[2].action
        else {
            Issue.record("no forward")
            return
        }
        #expect(Self.names(choices, in: result) == ["web 3", "canary 4"])
        #expect(seconds == 60)
        #expect(Self.names(others, in: result) == ["api 1"])
        #expect(result.bindings.map { "\($0.endpoint) \($0.transport)" } == ["192.0.2.1:80 tcp"])
        #expect(result.probes.count == 4)
    }

    @Test func `a group has its weights beside its targets, and what its attributes say`() throws {
        let attributes = [
            "load_balancing.algorithm.type: weighted_random",
            "load_balancing.algorithm.anomaly_mitigation: on", "stickiness.enabled: true",
            "stickiness.lb_cookie.duration_seconds: 5",
        ].joined(separator: ", ")
        let text = ApplicationFile.text(web: attributes).replacing(
            "port: 80, targets: [10.0.0.1",
            with: "port: 80, health_check: { enabled: false }, targets: [10.0.0.1")
        let snapshot = try Self.compile(text).snapshot
        let web = try #require(snapshot.groups.first { $0.name == "web" })
        let application = try #require(web.application)
        #expect(web.targets.count == 2 && !web.isSticky && web.tls == nil)
        #expect(application.weights == [1, 3])
        #expect(application.startedAt == [nil, nil])
        #expect(application.algorithm == .weightedRandom && application.mitigatesAnomalies)
        #expect(application.stickiness == .loadBalancerCookie(durationSeconds: 5))
        #expect(application.protocolVersion == .http1)
        let api = try #require(snapshot.groups.first { $0.name == "api" }?.application)
        #expect(api.protocolVersion == .grpc)
    }

    @Test(arguments: [("true", ALPNPolicy.http2Preferred), ("false", .http1Only)])
    func `an HTTPS listener offers HTTP/2 as the load balancer says, in the snapshot and in the demand`(
        isEnabled: String, alpn: ALPNPolicy
    ) throws {
        let text = ApplicationFile.text(
            listener: ApplicationFile.certificates, loadBalancer: "routing.http2.enabled: \(isEnabled)")
        let state = try `Snapshot compiler`.state(text)
        var compiler = `Snapshot compiler`.compiler()
        let tls = try #require(compiler.compile(state, version: 1).snapshot.listeners[0]?.tls)
        #expect(tls.alpn == alpn)
        #expect(state.tlsDemand.listeners.map(\.settings) == [tls])
    }

    @Test func `an HTTP listener speaks TLS to an HTTPS group under the default policy`() throws {
        let state = try `Snapshot compiler`.state(ApplicationFile.text(api: "HTTPS"))
        var compiler = `Snapshot compiler`.compiler()
        let snapshot = compiler.compile(state, version: 1).snapshot
        let route = try #require(snapshot.groups.first { $0.name == "api" }?.tls)
        #expect(route.policy == SecurityPolicy.default.towardsTargets)
        #expect(state.tlsDemand.targets.map(\.route) == [route])
    }

    @Test func `rules stay the same object until something in them changes`() async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text())
        func route() throws -> ApplicationRoute {
            try #require(fixture.workers.snapshot.listeners[0]?.application)
        }
        let first = try route()
        try await fixture.report("10.0.0.1:80", .healthy)
        try await fixture.register("10.0.0.9", in: "web")
        #expect(try route() === first)
        for text in [
            ApplicationFile.text(loadBalancer: "idle_timeout.timeout_seconds: 7"),
            ApplicationFile.text(attributes: "routing.http.response.server.enabled: false"),
            ApplicationFile.text(action: "{ type: forward, target_group: canary }"),
        ] {
            let before = try route()
            _ = try await fixture.apply(text)
            #expect(try route() !== before)
        }
    }

    // MARK: Slow start

    private static func startedAt(_ fixture: RegistryFixture) throws -> [String: UInt64] {
        let snapshot = fixture.workers.snapshot
        let group = try #require(snapshot.groups.first { $0.name == "web" })
        let application = try #require(group.application)
        var starts: [String: UInt64] = [:]
        for (target, start) in zip(group.targets, application.startedAt) {
            guard let start, let endpoint = snapshot.endpoints[Int(target.rawValue)] else { continue }
            starts[endpoint.description] = start.nanoseconds / 1_000_000_000
        }
        return starts
    }

    @Test func `a target that joins healthy ones starts slowly, once it is healthy`() async throws {
        let fixture = try await RegistryFixture(
            ApplicationFile.text(web: "slow_start.duration_seconds: 30"))
        let began = fixture.time.clock.now().nanoseconds / 1_000_000_000
        // Those that the process found when it began take their full share, whoever is first.
        try await fixture.report("10.0.0.1:80", .healthy)
        try await fixture.report("10.0.0.2:80", .healthy)
        #expect(try Self.startedAt(fixture) == [:])

        try await fixture.register("10.0.0.3", in: "web")
        fixture.time.advance(seconds: 5)
        try await fixture.report("10.0.0.3:80", .healthy)
        #expect(try Self.startedAt(fixture) == ["10.0.0.3:80": began + 5])

        // Unhealthy and back: again, from then on.
        fixture.time.advance(seconds: 60)
        try await fixture.report("10.0.0.1:80", .unhealthy(.connectionRefused))
        fixture.time.advance(seconds: 1)
        try await fixture.report("10.0.0.1:80", .healthy)
        #expect(try Self.startedAt(fixture)["10.0.0.1:80"] == began + 66)
    }

    @Test func `nobody starts slowly where nobody could carry the load`() async throws {
        let fixture = try await RegistryFixture(
            ApplicationFile.text(web: "slow_start.duration_seconds: 30"))
        await fixture.registry.observe([
            RegistryFixture.report(try fixture.number("10.0.0.1:80"), .unhealthy(.connectionRefused)),
            RegistryFixture.report(try fixture.number("10.0.0.2:80"), .unhealthy(.connectionRefused)),
        ])
        await fixture.registry.observe([
            RegistryFixture.report(try fixture.number("10.0.0.1:80"), .healthy),
            RegistryFixture.report(try fixture.number("10.0.0.2:80"), .healthy),
        ])
        #expect(try Self.startedAt(fixture) == [:])
    }
}
