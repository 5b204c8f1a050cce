// The store: what was acknowledged is there after reopening, and a broken one costs nothing but an error.

import AdminModel
import Balancing
import Foundation
import Testing

@testable import ControlPlane

@Suite struct `State store` {
    /// A directory of its own for one test.
    final class Directory {
        let url: URL

        init() throws {
            url = FileManager.default.temporaryDirectory.appendingPathComponent("weir-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(at: url) }

        var path: String { url.appendingPathComponent("deep/state.sqlite").path }
        var location: ApplianceSettings.StateLocation { .file(path) }
    }

    /// Every property of the configured things away from its default.
    static let everything: StoredState = {
        var attributes = TargetGroupAttributes(for: .udp)
        attributes.isSticky = true
        attributes.minimumHealthyCountForFailover = nil
        attributes.minimumHealthyPercentageForRouting = 40
        attributes.crossZone = .disabled
        let group = TargetGroup(
            name: "game", protocol: .udp, port: 27_015,
            healthCheck: HealthCheck(
                isEnabled: false, protocol: .udp, port: .number(9), intervalSeconds: 7, timeoutSeconds: 3,
                healthyThresholdCount: 4, unhealthyThresholdCount: 9, path: "/x",
                matcher: StatusMatcher("200,301-302") ?? .default,
                datagram: DatagramProbe(payload: [0, 255], expectation: .prefix([1])),
                lameDuck: LameDuck(headerName: "X", headerValue: "y", bodyToken: "z")),
            attributes: attributes, connectTimeoutSeconds: 9, connectAttemptCountMax: 7)
        let targets = [
            Target(
                id: TargetID(address: IPAddress(v6High: 1, v6Low: 2), port: 1), weight: 0,
                availabilityZone: "b"),
            Target(id: TargetID(address: IPAddress(v4: 7), port: 65_535)),
        ]
        var listenerAttributes = ListenerAttributes()
        listenerAttributes.tcpIdleTimeoutSeconds = 77
        var balancerAttributes = LoadBalancerAttributes()
        balancerAttributes.isCrossZone = true
        let balancer = LoadBalancer(
            name: "edge", addresses: [.anyV4, .anyV6], isFreebind: true, attributes: balancerAttributes,
            listeners: [
                Listener(
                    port: 1, protocol: .udp,
                    defaultAction: .forward(
                        ForwardAction(
                            targetGroups: [.init(targetGroup: "game", weight: 3)], isStickyByGroup: true)),
                    attributes: listenerAttributes)
            ])
        return StoredState(groups: [StoredGroup(group: group, targets: targets)], loadBalancers: [balancer])
    }()

    @Test func `everything is there after reopening`() async throws {
        let directory = try Directory()
        let store = try Store(directory.location)
        try await store.save(Self.everything, replacing: StoredState())
        try store.close()
        #expect(try await Store(directory.location).load() == Self.everything)
    }

    @Test(arguments: [false, true])
    func `a closed store can be looked into, and says whether client addresses are to be preserved`(
        isPreserving: Bool
    ) async throws {
        let directory = try Directory()
        #expect(!Store.preservesClientIP(in: directory.location))
        #expect(!Store.preservesClientIP(in: .memory))
        var state = Self.everything
        state.groups[0].group.attributes.preservesClientIP = isPreserving
        let store = try Store(directory.location)
        try await store.save(state, replacing: StoredState())
        // Whoever opens it while another process has it is told so then.
        #expect(!Store.preservesClientIP(in: directory.location))
        try store.close()
        #expect(Store.preservesClientIP(in: directory.location) == isPreserving)
        #expect(try await Store(directory.location).load() == state)
    }

    @Test func `TLS, PROXY protocol and rules are kept`() async throws {
        var state = Self.everything
        let client = CertificateFiles(certificate: "/c.crt", privateKey: "/c.key")
        let target = TLSTargetSettings(serverName: "a.example.com", caFile: "/ca.pem", certificate: client)
        state.groups[0].group.protocol = .tls
        state.groups[0].group.tls = target
        state.groups[0].group.healthCheck.protocol = .https
        state.groups[0].group.healthCheck.tls = TLSTargetSettings(serverName: "b.example.com")
        let tls = TLSListenerSettings(
            policy: try #require(SecurityPolicy.named("ELBSecurityPolicy-TLS13-1-3-2021-06")),
            certificates: [CertificateFiles(certificate: "/a", privateKey: "/b", ocspResponse: "/c")],
            alpn: .http2Optional,
            mutualAuthentication: .verify(
                ClientTrust(
                    caCertificates: "/d", revocationLists: "/e", ignoresExpiry: true, advertisesNames: true)))
        let action = ForwardAction(
            targetGroups: [.init(targetGroup: "game", weight: 2)], isStickyByGroup: true)
        let standard = RuleAction.forward(action)
        let names = try ["a.example.com", "*.example.com"].map { try #require(ServerNamePattern($0)) }
        let trusted = try ["10.0.0.0/8", "2001:db8::/32"].map { try #require(IPPrefix($0)) }
        state.loadBalancers[0].listeners = [
            Listener(
                port: 443, protocol: .tls, defaultAction: standard, tls: tls,
                proxyProtocol: ProxyProtocolSettings(accepts: .v1, trusted: trusted)),
            Listener(
                port: 444, protocol: .tcp, defaultAction: standard,
                proxyProtocol: ProxyProtocolSettings(accepts: [.v1, .v2], trusted: trusted),
                rules: [
                    PassthroughRule(priority: 1, conditions: [.serverName(names)], action: action),
                    PassthroughRule(
                        priority: 2, conditions: [.serverName(names), .alpn(["h2"])], action: action),
                ]),
            Listener(
                port: 445, protocol: .tls, defaultAction: standard,
                tls: TLSListenerSettings(
                    certificates: tls.certificates, mutualAuthentication: .passthrough)),
        ]
        let store = try Store(.memory)
        try await store.save(state, replacing: StoredState())
        #expect(try await store.load() == state)
    }

    @Test func `application load balancers, their rules and groups are kept`() async throws {
        var groups = TargetGroupAttributes(for: .https)
        try groups.set("load_balancing.algorithm.type", to: "weighted_random")
        try groups.set("stickiness.type", to: "app_cookie")
        try groups.set("stickiness.app_cookie.cookie_name", to: "SID")
        let group = TargetGroup(
            name: "calls", protocol: .https, port: 443,
            healthCheck: HealthCheck(
                protocol: .https, path: "/grpc.health.v1.Health/Check",
                matcher: try #require(StatusMatcher("0,12", in: StatusMatcher.grpcCodes)),
                protocolVersion: .grpc, tls: TLSTargetSettings()),
            attributes: groups, protocolVersion: .grpc, tls: TLSTargetSettings(serverName: "a.example.com"))
        let forward = RuleAction.forward(
            ForwardAction(
                targetGroups: [.init(targetGroup: "calls", weight: 3), .init(targetGroup: "b", weight: 0)],
                stickinessSeconds: 60))
        let texts = TextPatterns(wildcards: ["*.example.com"])
        let expressions = TextPatterns(regularExpressions: ["^a"])
        let ranges = try ["10.0.0.0/8", "2001:db8::/32"].map { try #require(IPPrefix($0)) }
        let rules = [
            ListenerRule(
                priority: 1,
                conditions: [
                    .hostHeader(texts), .pathPattern(expressions), .httpHeader(name: "X", texts),
                    .httpRequestMethod(["GET"]), .sourceIP(ranges),
                    .queryString([QueryPattern(key: "k", value: "v"), QueryPattern(value: "w")]),
                ], action: forward,
                transforms: [
                    .hostHeaderRewrite(Rewrite(regularExpression: "a", replacement: "b")),
                    .urlRewrite(Rewrite(regularExpression: "c", replacement: "d")),
                ]),
            ListenerRule(
                priority: 2, conditions: [.pathPattern(texts)],
                action: .redirect(
                    RedirectAction(
                        protocol: "HTTPS", host: "h", port: "1", path: "/p", query: "q", statusCode: 301))),
        ]
        var listener = ListenerAttributes(for: .https)
        try listener.set("routing.http.response.x_frame_options.header_value", to: "DENY")
        var balancer = LoadBalancer(name: "site", kind: .application, addresses: [.anyV4])
        try balancer.attributes.set("idle_timeout.timeout_seconds", to: "7")
        balancer.listeners = [
            Listener(
                port: 443, protocol: .https,
                defaultAction: .fixedResponse(
                    FixedResponse(statusCode: 503, contentType: "text/plain", messageBody: "no\n")),
                attributes: listener,
                tls: TLSListenerSettings(certificates: [CertificateFiles(certificate: "/a", privateKey: "/b")]
                ),
                applicationRules: rules),
            Listener(port: 80, protocol: .http, defaultAction: forward),
        ]
        let state = StoredState(
            groups: [StoredGroup(group: group, targets: [])], loadBalancers: [balancer])
        let store = try Store(.memory)
        try await store.save(state, replacing: StoredState())
        #expect(try await store.load() == state)
    }

    /// Definitions as the release before application load balancers wrote them.
    @Test func `a store of the release before is still read`() throws {
        let group = """
            {"attributes":{"deregistration_delay.connection_termination.enabled":"false",\
            "deregistration_delay.timeout_seconds":"300","load_balancing.cross_zone.enabled":\
            "use_load_balancer_configuration","preserve_client_ip.enabled":"false",\
            "proxy_protocol_v2.enabled":"false","stickiness.enabled":"true","stickiness.type":"source_ip",\
            "target_group_health.dns_failover.minimum_healthy_targets.count":"1",\
            "target_group_health.dns_failover.minimum_healthy_targets.percentage":"off",\
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count":"1",\
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage":"off",\
            "target_health_state.unhealthy.connection_termination.enabled":"true",\
            "target_health_state.unhealthy.draining_interval_seconds":"0"},"connectAttempts":3,\
            "connectTimeout":5,"healthCheck":{"enabled":true,"healthyThreshold":5,"interval":30,\
            "matcher":"200-399","path":"/","probeProtocol":"TCP","timeout":10,"unhealthyThreshold":2},\
            "port":80,"trafficProtocol":"TCP"}
            """
        let balancer = """
            {"addresses":["192.0.2.1"],"attributes":{"access_logs.file.enabled":"false",\
            "access_logs.file.path":"","load_balancing.cross_zone.enabled":"false"},"freebind":false,\
            "kind":"network","listeners":[{"attributes":{"tcp.idle_timeout.seconds":"350"},\
            "forward":[{"targetGroup":"web","weight":1}],"port":80,"rules":[{"alpn":["h2"],\
            "forward":[{"targetGroup":"web","weight":1}],"priority":1,"stickyByGroup":false}],\
            "stickyByGroup":false,"trafficProtocol":"TCP"}]}
            """
        let decoder = JSONDecoder()
        let web = try decoder.decode(StoredTargetGroup.self, from: Data(group.utf8)).targetGroup(named: "web")
        #expect(web.protocolVersion == nil && web.attributes.isSticky && web.healthCheck == HealthCheck())
        let edge = try decoder.decode(StoredLoadBalancer.self, from: Data(balancer.utf8))
            .loadBalancer(named: "edge")
        let listener = try #require(edge.listeners.first)
        #expect(listener.defaultAction.forward?.targetGroups == [.init(targetGroup: "web")])
        #expect(listener.rules.count == 1 && listener.applicationRules.isEmpty)
        #expect(edge.attributes == LoadBalancerAttributes() && edge.kind == .network)
    }

    @Test(arguments: [
        DatagramProbe.dns, DatagramProbe.ntp, DatagramProbe(payload: [1], expectation: .contains([2])),
    ])
    func `each kind of UDP probe is kept`(probe: DatagramProbe) async throws {
        var state = Self.everything
        state.groups[0].group.healthCheck.datagram = probe
        let store = try Store(.memory)
        try await store.save(state, replacing: StoredState())
        #expect(try await store.load() == state)
    }

    @Test func `a change writes the difference`() async throws {
        let store = try Store(.memory)
        var state = Self.everything
        try await store.save(state, replacing: StoredState())
        let before = state
        state.groups[0].targets.removeFirst()
        state.groups[0].targets[0].weight = 12
        state.groups.append(
            StoredGroup(
                group: TargetGroup(
                    name: "web", protocol: .tcp, port: 80, healthCheck: HealthCheck(),
                    attributes: TargetGroupAttributes(for: .tcp)), targets: []))
        state.loadBalancers = []
        try await store.save(state, replacing: before)
        #expect(try await store.load() == state)
        try await store.save(StoredState(), replacing: state)
        #expect(try await store.load() == StoredState())
    }

    @Test func `registrations are on disk when register returns`() async throws {
        let directory = try Directory()
        // No close: this is what a killed process leaves behind, but for the lock that dies with it.
        do {
            let fixture = try await RegistryFixture(store: try Store(directory.location))
            try await fixture.register("10.0.0.1", "10.0.0.2", weight: 4)
            try await fixture.deregister("10.0.0.2")
            let copy = directory.url.appendingPathComponent("copy")
            try FileManager.default.copyItem(
                at: URL(fileURLWithPath: directory.path).deletingLastPathComponent(), to: copy)
        }
        let copied = directory.url.appendingPathComponent("copy/state.sqlite").path
        let targets = try await Store(.file(copied)).load().groups.first?.targets
        #expect(targets?.map(\.id.description) == ["10.0.0.1:80"])
        #expect(targets?.map(\.weight) == [4])
    }

    @Test func `a file that is no store is refused and left alone`() throws {
        let directory = try Directory()
        let path = directory.url.appendingPathComponent("notes.txt").path
        let text = String(repeating: "this is no database ", count: 100)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: StoreError.self) { try Store(.file(path)) }
        #expect(
            error?.description
                == "state store \"\(path)\" cannot be opened: file is not a database (SQLite error 26). Restore "
                + "it from a backup, or move it away and apply the configuration again.")
        #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
    }

    @Test func `a damaged store is refused`() async throws {
        let directory = try Directory()
        let store = try Store(directory.location)
        try await store.save(Self.everything, replacing: StoredState())
        try store.close()
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: directory.path))
        try handle.seek(toOffset: 100)
        try handle.write(contentsOf: Data(repeating: 0xAA, count: 4_000))
        try handle.close()
        do throws(StoreError) {
            _ = try await Store(directory.location).load()
            Issue.record("a damaged store was read")
        } catch {
            #expect(error.description.hasPrefix("state store \"\(directory.path)\" cannot be "))
            #expect(error.description.contains("Restore it from a backup"))
        }
    }

    @Test func `a directory in place of the file is refused`() throws {
        let directory = try Directory()
        let error = #expect(throws: StoreError.self) { try Store(.file(directory.url.path)) }
        #expect(error?.description.contains("choose another file under \"state\"") == true)
    }

    @Test func `a second appliance on the same store is refused`() async throws {
        let directory = try Directory()
        let store = try Store(directory.location)
        try await store.save(Self.everything, replacing: StoredState())
        let error = #expect(throws: StoreError.self) { try Store(directory.location) }
        #expect(
            error?.description
                == "state store \"\(directory.path)\" cannot be opened: database is locked (SQLite error 5). "
                + "Another process uses it; stop that one, or choose another file under \"state\".")
        try store.close()
    }

    @Test func `a full store refuses the change and nothing else happens`() async throws {
        let directory = try Directory()
        let store = try Store(directory.location, pageCountMax: 12)
        let fixture = try await RegistryFixture(RegistryFixture.web(targets: "10.0.0.1"), store: store)
        fixture.workers.forgetEvents()
        let many = TargetsRequest(
            targets: (0..<5_000).map {
                TargetSpecification(id: "10.1.\($0 / 250).\($0 % 250)", availabilityZone: "zone")
            })
        let error = await refusal { try await fixture.registry.register(many, in: "web") }
        #expect(error?.kind == .failed)
        #expect(
            error?.message
                == "state store \"\(directory.path)\" cannot be written: database or disk is full (SQLite error "
                + "13). Make room on its file system, then repeat the command. Nothing was changed.")
        #expect(fixture.workers.events.isEmpty)
        #expect(try await fixture.registry.targetGroup(named: "web").targetCount == 1)
        #expect(try await store.load().groups.first?.targets.count == 1)
        // With sockets at stake the prepared ones are closed again.
        let changed = RegistryFixture.web(targets: many.targets.map(\.id).joined(separator: ", "))
            .replacing("port: 80, protocol", with: "port: 81, protocol")
        #expect(await refusal { try await fixture.apply(changed) }?.kind == .failed)
        #expect(fixture.workers.events == [.prepare(ports: [81]), .abandon])
        #expect(fixture.workers.openTicketCount == 0)
        // A small change still fits.
        try await fixture.register("10.0.0.2")
    }
}
