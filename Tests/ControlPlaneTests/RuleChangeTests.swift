// Listeners and rules created, changed and deleted one by one: kept, followed, and refused in the words of the file.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

@Suite struct `Rule changes` {
    private static let file = ApplicationFile.text()

    private static func path(_ pattern: String) -> ConditionDescription {
        var condition = ConditionDescription()
        condition.pathPattern = .init(values: [pattern])
        return condition
    }

    private static let answer = ActionDescription.fixedResponse(
        FixedResponseDescription(
            statusCode: "404", contentType: "text/plain", messageBody: "No \"such\" é page"))

    /// The rules that the workers follow, as `PRIORITY: ACTION`.
    private static func routed(_ fixture: RegistryFixture) -> [String] {
        let snapshot = fixture.workers.snapshot
        return (snapshot.listeners[0]?.application?.rules ?? []).map { rule in
            let action =
                switch rule.action {
                case .forward(let choices, _):
                    choices.map { snapshot.groups[$0.groupIndex].name }.joined(separator: ",")
                case .redirect(let redirect): "\(redirect.statusCode)"
                case .fixedResponse(let response): "\(response.statusCode) \(response.messageBody)"
                }
            return "\(rule.priority.map(String.init) ?? "default"): \(action)"
        }
    }

    @Test func `a rule is created, changed and deleted, and is there after a restart`() async throws {
        let store = try Store(.memory)
        let fixture = try await RegistryFixture(Self.file, store: store)
        let created = try await fixture.registry.createRule(
            RuleRequest(priority: 15, conditions: [Self.path("/gone")], action: Self.answer), of: "site:80")
        #expect(created.listener == "site:80" && created.priority == 15)
        #expect(created.conditions == [Self.path("/gone")])
        #expect(
            Self.routed(fixture) == [
                "10: 301", "15: 404 No \"such\" é page", "20: web,canary", "default: api",
            ])

        let again = try await RegistryFixture(nil, store: store)
        #expect(Self.routed(again) == Self.routed(fixture))

        let changed = try await again.registry.modifyRule(
            "15", RuleRequest(action: .forward([ForwardDescription(targetGroup: "canary", weight: 1)])),
            of: "site:80")
        #expect(changed.conditions == created.conditions)
        #expect(Self.routed(again)[1] == "15: canary")
        let left = try await again.registry.deleteRule("15", of: "site:80").rules
        #expect(left.map(\.priority) == [10, 20, nil])
        #expect(Self.routed(again).count == 3)
    }

    @Test func `every part of a rule survives being described and asked for again`() async throws {
        let fixture = try await RegistryFixture(Self.file)
        var header = ConditionDescription()
        header.httpHeader = .init(httpHeaderName: "X-Env", regexValues: ["^a{1,3}$"])
        var query = ConditionDescription()
        query.queryString = .init(values: [
            .init(key: "k", value: "v*"), .init(key: nil, value: "~: {x}, [y] #z"),
        ])
        var source = ConditionDescription()
        source.sourceIp = .init(values: ["10.0.0.0/8", "2001:db8::/32"])
        var method = ConditionDescription()
        method.httpRequestMethod = .init(values: ["GET", "M-SEARCH"])
        var host = ConditionDescription()
        host.hostHeader = .init(values: ["*.example.com"])
        let request = RuleRequest(
            priority: 30, conditions: [host, header, query, source, method],
            action: .forward(
                [
                    ForwardDescription(targetGroup: "web", weight: 3),
                    ForwardDescription(targetGroup: "canary", weight: 0),
                ], stickiness: StickinessDescription(enabled: true, duration: 77)),
            transforms: [
                TransformDescription(
                    hostHeaderRewrite: .init(rewrites: [.init(regex: "^(.*)$", replace: "x.$1")])),
                TransformDescription(urlRewrite: .init(rewrites: [.init(regex: "\\d+'\"", replace: "n")])),
            ])
        let created = try await fixture.registry.createRule(request, of: "site:80")
        #expect(created.conditions == request.conditions)
        #expect(created.action == request.action)
        #expect(created.transforms == request.transforms)
        // A change of nothing but the action keeps all else.
        let changed = try await fixture.registry.modifyRule(
            "30", RuleRequest(action: Self.answer), of: "site:80")
        #expect(changed.conditions == request.conditions && changed.transforms == request.transforms)
        let bare = try await fixture.registry.modifyRule("30", RuleRequest(transforms: []), of: "site:80")
        #expect(bare.transforms == nil && bare.action == Self.answer)
    }

    @Test func `priorities change all at once, or not at all`() async throws {
        let fixture = try await RegistryFixture(Self.file)
        func set(_ changes: (Int, Int)...) async throws -> RulesResponse {
            try await fixture.registry.setRulePriorities(
                RulePrioritiesRequest(priorities: changes.map { .init(priority: $0.0, newPriority: $0.1) }),
                of: "site:80")
        }
        let swapped = try await set((10, 20), (20, 10)).rules
        #expect(swapped.map(\.priority) == [10, 20, nil])
        #expect(Self.routed(fixture) == ["10: web,canary", "20: 301", "default: api"])
        let before = fixture.workers.snapshot.version
        for (changes, code) in [
            ([(10, 20)], "PriorityInUse"), ([(11, 5)], "RuleNotFound"), ([(10, 0)], "ValidationError"),
            ([(10, 50_001)], "ValidationError"), ([(10, 5), (10, 6)], "ValidationError"),
            ([(10, 5), (20, 5)], "PriorityInUse"),
        ] {
            let error = await refusal {
                try await fixture.registry.setRulePriorities(
                    RulePrioritiesRequest(
                        priorities: changes.map { .init(priority: $0.0, newPriority: $0.1) }),
                    of: "site:80")
            }
            #expect(error?.code == code, "\(changes)")
        }
        #expect(fixture.workers.snapshot.version == before, "a refused change left a trace")
    }

    @Test func `what a rule cannot be is refused in the words of the file`() async throws {
        let fixture = try await RegistryFixture(Self.file)
        func refused(_ request: RuleRequest, of listener: String = "site:80") async -> ControlError? {
            await refusal { try await fixture.registry.createRule(request, of: listener) }
        }
        let whole = RuleRequest(priority: 5, conditions: [Self.path("/a")], action: Self.answer)
        #expect(await refused(whole, of: "site:81")?.code == "ListenerNotFound")
        var request = whole
        request.priority = 10
        #expect(await refused(request)?.code == "PriorityInUse")
        request.priority = nil
        #expect(
            await refused(request)?.message
                == "listener site:80: priority is missing. Give a number of its own; the lowest comes first.")
        request = whole
        request.conditions = [Self.path("/a#b")]
        #expect(
            await refused(request)?.message.hasPrefix("listener site:80: conditions[0]: path_pattern value")
                == true)
        request.conditions = [ConditionDescription()]
        #expect(await refused(request)?.message.contains("conditions[0] has no kind") == true)
        request.conditions = []
        request.action = nil
        let both = await refused(request)
        #expect(both?.details.count == 2)
        #expect(both?.message == "listener site:80: the request has 2 errors; nothing was changed")
        request = whole
        request.action = .forward([ForwardDescription(targetGroup: "none", weight: 1)])
        #expect(await refused(request)?.code == "TargetGroupNotFound")
        request.action = .redirect(RedirectDescription(statusCode: "HTTP_301"))
        #expect(await refused(request)?.message.contains("leads back") == true)
        request = whole
        request.conditions = [Self.path("/a\u{0}")]
        #expect(await refused(request) != nil)
        #expect(Self.routed(fixture).count == 3)
    }

    @Test func `the default action is changed but not deleted`() async throws {
        let fixture = try await RegistryFixture(Self.file)
        let changed = try await fixture.registry.modifyRule(
            "default", RuleRequest(action: Self.answer), of: "site:80")
        #expect(changed.priority == nil && changed.action == Self.answer)
        #expect(Self.routed(fixture).last == "default: 404 No \"such\" é page")
        let error = await refusal { try await fixture.registry.deleteRule("default", of: "site:80") }
        #expect(error?.code == "OperationNotPermitted")
        let odd = await refusal {
            try await fixture.registry.modifyRule(
                "default", RuleRequest(conditions: [Self.path("/")]), of: "site:80")
        }
        #expect(odd?.kind == .invalid)
    }

    @Test func `a TCP listener's rules go by the greeting`() async throws {
        let fixture = try await RegistryFixture()
        var name = ConditionDescription()
        name.tlsServerName = .init(values: ["a.example.com"])
        let rule = try await fixture.registry.createRule(
            RuleRequest(
                priority: 1, conditions: [name],
                action: .forward([ForwardDescription(targetGroup: "web", weight: 1)])), of: "edge:80")
        #expect(rule.conditions == [name])
        #expect(fixture.workers.snapshot.listeners[0]?.rules.map(\.priority) == [1])
        let error = await refusal {
            try await fixture.registry.createRule(
                RuleRequest(priority: 2, conditions: [Self.path("/")], action: rule.action), of: "edge:80")
        }
        #expect(error?.message.contains("path_pattern is not available here") == true)
        let transform = TransformDescription(urlRewrite: .init(rewrites: [.init(regex: "a", replace: "b")]))
        let transformed = await refusal {
            try await fixture.registry.createRule(
                RuleRequest(priority: 2, conditions: [name], action: rule.action, transforms: [transform]),
                of: "edge:80")
        }
        #expect(transformed?.message.contains("unknown key \"transforms\"") == true)
    }

    // MARK: Files and runtime

    @Test func `a file that lists no rules keeps those made at runtime, one that does replaces them`()
        async throws
    {
        let fixture = try await RegistryFixture(Self.file)
        _ = try await fixture.registry.createRule(
            RuleRequest(priority: 15, conditions: [Self.path("/gone")], action: Self.answer), of: "site:80")
        let start = try #require(Self.file.range(of: "        rules:"))
        let unlisted = String(Self.file[..<start.lowerBound])
        #expect(try await fixture.apply(unlisted).changes.isEmpty)
        #expect(Self.routed(fixture).count == 4)
        let listed = try await fixture.apply(Self.file)
        #expect(listed.changes.map(\.subject) == ["listener site:80"])
        #expect(listed.changes.first?.details == ["rules: 10, 15, 20 → 10, 20"])
        #expect(Self.routed(fixture).count == 3)
        let cleared = try await fixture.apply(unlisted + "        rules: []\n")
        #expect(cleared.changes.first?.details == ["rules: 10, 20 → none"])
        #expect(Self.routed(fixture) == ["default: api"])
    }

    @Test func `a file that lists no listeners keeps those made at runtime`() async throws {
        let fixture = try await RegistryFixture(Self.file)
        let start = try #require(Self.file.range(of: "    listeners:"))
        let unlisted = String(Self.file[..<start.lowerBound])
        #expect(try await fixture.apply(unlisted).changes.isEmpty)
        #expect(Self.routed(fixture).count == 3)
        #expect(try await fixture.apply(unlisted + "    listeners: []\n").changes.map(\.action) == ["delete"])
        #expect(fixture.workers.bindings.isEmpty)
    }

    @Test func `a difference tells what a rule was and becomes`() async throws {
        let fixture = try await RegistryFixture(Self.file)
        let text = Self.file.replacing("status_code: HTTP_301", with: "status_code: HTTP_302")
        #expect(
            try await fixture.apply(text, dryRun: true).changes.first?.details == [
                "rules.10: host a.example.com: rewrite URL ^/x → /y, redirect 301 "
                    + "#{protocol}://#{host}:#{port}/new?#{query} → host a.example.com: rewrite URL ^/x → /y, redirect "
                    + "302 #{protocol}://#{host}:#{port}/new?#{query}"
            ])
    }
}

@Suite struct `Listener changes` {
    private static func request(
        port: Int? = nil, protocol: String? = nil, group: String? = nil, attributes: [String: String]? = nil
    ) -> ListenerRequest {
        var request = ListenerRequest()
        request.port = port
        request.protocol = `protocol`
        request.defaultAction = group.map { .forward([ForwardDescription(targetGroup: $0, weight: 1)]) }
        request.attributes = attributes
        return request
    }

    @Test func `a listener is created, changed and deleted, and its sockets follow`() async throws {
        let store = try Store(.memory)
        let fixture = try await RegistryFixture(ApplicationFile.text(), store: store)
        let registry = fixture.registry
        let created = try await registry.createListener(
            Self.request(port: 8080, protocol: "HTTP", group: "web"), of: "site")
        #expect(created.id == "site:8080" && created.ruleCount == nil)
        #expect(created.attributes["routing.http.response.server.enabled"] == "true")
        #expect(fixture.workers.bindings.map(\.endpoint.port) == [80, 8080])

        let changed = try await registry.modifyListener(
            "site:8080",
            Self.request(group: "canary", attributes: ["routing.http.response.server.enabled": "false"]))
        #expect(changed.forward.map(\.targetGroup) == ["canary"])
        #expect(changed.attributes["routing.http.response.server.enabled"] == "false")
        let moved = try await registry.modifyListener("site:8080", Self.request(port: 8081))
        #expect(moved.id == "site:8081" && moved.forward == changed.forward)
        #expect(moved.attributes == changed.attributes)
        #expect(fixture.workers.bindings.map(\.endpoint.port) == [80, 8081])

        let again = try await RegistryFixture(nil, store: store)
        #expect(again.workers.bindings.map(\.endpoint.port) == [80, 8081])
        #expect(try await again.registry.deleteListener("site:8081").id == "site:8081")
        #expect(again.workers.bindings.map(\.endpoint.port) == [80])
        #expect(try await store.load().loadBalancers[0].listeners.map(\.port) == [80])
    }

    @Test func `a change of the default action keeps rules, certificates and all else`() async throws {
        let certificates = CertificateRecorder()
        let text = ApplicationFile.text(
            listener: ApplicationFile.certificates
                + "\n        mutual_authentication: { mode: verify, ca_certificates: /ca.pem, crl: /crl.pem }",
            attributes: "routing.http.response.server.enabled: false")
        let fixture = try await RegistryFixture(text, certificates: certificates)
        let before = await fixture.registry.state.loadBalancers[0].listeners[0]
        _ = try await fixture.registry.modifyListener("site:80", Self.request(group: "canary"))
        var after = await fixture.registry.state.loadBalancers[0].listeners[0]
        #expect(after != before)
        after.defaultAction = before.defaultAction
        #expect(after == before)
    }

    @Test func `a network listener too, whole`() async throws {
        let text = RegistryFixture.web().replacing(
            "protocol: TCP, default",
            with: "proxy_protocol: { accept: [v1], trusted: [10.0.0.0/8] }, protocol: TCP, default")
        let fixture = try await RegistryFixture(text)
        let before = await fixture.registry.state.loadBalancers[0].listeners[0]
        #expect(before.proxyProtocol != nil)
        _ = try await fixture.registry.modifyListener(
            "edge:80", Self.request(attributes: ["tcp.idle_timeout.seconds": "60"]))
        var after = await fixture.registry.state.loadBalancers[0].listeners[0]
        #expect(after.attributes.tcpIdleTimeoutSeconds == 60)
        after.attributes = before.attributes
        #expect(after == before)
    }

    @Test(arguments: [
        (Self.request(port: 80, protocol: "HTTP", group: "web"), "DuplicateListener"),
        (Self.request(port: 81, protocol: "TCP", group: "web"), "ValidationError"),
        (Self.request(port: 81, protocol: "HTTPS", group: "web"), "ValidationError"),
        (Self.request(port: 81, protocol: "HTTP", group: "none"), "TargetGroupNotFound"),
        (Self.request(port: 0, protocol: "HTTP", group: "web"), "ValidationError"),
        (Self.request(port: 81, protocol: "HTTP"), "ValidationError"),
        (
            Self.request(
                port: 81, protocol: "HTTP", group: "web", attributes: ["tcp.idle_timeout.seconds": "60"]),
            "ValidationError"
        ),
    ])
    func `what cannot be a listener is refused`(request: ListenerRequest, code: String) async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text())
        let before = await fixture.registry.status()
        let error = await refusal { try await fixture.registry.createListener(request, of: "site") }
        #expect(error?.code == code)
        #expect(await fixture.registry.status() == before)
    }

    @Test func `an unknown load balancer is named with the nearest known`() async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text())
        let error = await refusal {
            try await fixture.registry.createListener(
                Self.request(port: 81, protocol: "HTTP", group: "web"), of: "sitee")
        }
        #expect(error?.message == "load balancer \"sitee\" does not exist; did you mean \"site\"?")
    }

    @Test func `a port that cannot be opened changes nothing`() async throws {
        let fixture = try await RegistryFixture(ApplicationFile.text())
        fixture.workers.refuse(ports: [81])
        let error = await refusal {
            try await fixture.registry.createListener(
                Self.request(port: 81, protocol: "HTTP", group: "web"), of: "site")
        }
        #expect(error?.message.contains("EADDRINUSE") == true)
        #expect(try await fixture.store.load().loadBalancers[0].listeners.count == 1)
        #expect(fixture.workers.openTicketCount == 0)
    }

    @Test func `rules that a new protocol or port would turn into a loop refuse it`() async throws {
        let rules = """
            - { priority: 1, conditions: [ { path_pattern: { values: ["/b"] } } ], \
            actions: [ { type: redirect, redirect: { port: "8080", status_code: HTTP_301 } } ] }
            """
        let fixture = try await RegistryFixture(ApplicationFile.text(rules: rules))
        let error = await refusal {
            try await fixture.registry.modifyListener("site:80", Self.request(port: 8080))
        }
        #expect(error?.message.contains("rule 1: the redirect leads back") == true)
    }

    @Test func `a data plane without application mode refuses it by name`() async throws {
        let fixture = try await RegistryFixture(features: DataPlaneFeatures.all.subtracting(.applicationMode))
        let error = await refusal { try await fixture.apply(ApplicationFile.text(), prune: true) }
        #expect(
            error?.message
                == "listener site:80 is HTTP, which this build of Weir does not have. Use type: network with a TCP "
                + "listener, which carries HTTP unchanged.")
    }
}
