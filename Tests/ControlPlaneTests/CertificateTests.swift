// TLS as the registry handles it: what is asked of whoever reads certificates, when, and what a refusal leaves.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

@Suite struct `Certificates` {
    private static func tls(
        _ certificate: String = "/a.crt", group: String = "protocol: TLS, tls: { ca_file: /ca.pem }",
        more: String = ""
    ) -> String {
        """
        target_groups:
          - { name: web, port: 443, \(group) }
        load_balancers:
          - name: edge
            type: network
            addresses: [192.0.2.1]
            listeners:
              - port: 443
                protocol: TLS
                certificates: [ { certificate: \(certificate), private_key: /a.key } ]
                default_action: { type: forward, target_group: web }
                \(more)
        """
    }

    private func settings(_ certificate: String) -> TLSListenerSettings {
        TLSListenerSettings(certificates: [
            CertificateFiles(certificate: certificate, privateKey: "/a.key")
        ])
    }

    @Test func `contexts are in use before the snapshot that names them`() async throws {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(Self.tls(), certificates: certificates)
        let demand = certificates.installed
        #expect(demand.listeners.map(\.listener.description) == ["edge:443"])
        #expect(demand.listeners.map(\.settings) == [settings("/a.crt")])
        let route = try #require(fixture.workers.snapshot.listeners.compactMap(\.self).first)
        #expect(route.tls == settings("/a.crt"))
        let group = try #require(fixture.workers.snapshot.groups.first)
        #expect(group.tls == demand.targets.first?.route)
        #expect(group.tls?.policy.name == "ELBSecurityPolicy-TLS13-1-0-2021-06")
        #expect(fixture.workers.bindings.map(\.transport) == [.tcp])
    }

    @Test func `a listener's policy decides on the side of the targets too, one route for each`() async throws
    {
        let second = """
            - port: 8443
                protocol: TLS
                ssl_policy: ELBSecurityPolicy-2016-08
                certificates: [ { certificate: /b.crt, private_key: /b.key } ]
                default_action: { type: forward, target_group: web }
            """
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(
            Self.tls() + "\n      " + second.replacing("\n    ", with: "\n        "),
            certificates: certificates)
        #expect(
            fixture.workers.snapshot.groups.map(\.tls?.policy.name)
                == ["ELBSecurityPolicy-TLS13-1-0-2021-06", "ELBSecurityPolicy-2016-08"])
        #expect(certificates.installed.targets.map(\.route) == fixture.workers.snapshot.groups.map(\.tls))
    }

    @Test func `a bad certificate is refused with its line, and the old one stays`() async throws {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(Self.tls(), certificates: certificates)
        let before = fixture.workers.snapshot.version
        certificates.refuse("/b.crt", because: "no such file")
        certificates.refuse("/ca.pem", because: "no such file")
        let error = await refusal { try await fixture.apply(Self.tls("/b.crt")) }
        #expect(error?.kind == .invalid)
        #expect(
            error?.details == [
                "configuration:10: listener edge:443: cannot read /b.crt: no such file",
                "configuration:2: target group \"web\": cannot read /ca.pem: no such file",
            ])
        #expect(certificates.installed.listeners.map(\.settings) == [settings("/a.crt")])
        #expect(fixture.workers.snapshot.version == before)
        #expect(try await fixture.store.load().loadBalancers[0].listeners[0].tls == settings("/a.crt"))

        certificates.refuse("/b.crt", because: nil)
        certificates.refuse("/ca.pem", because: nil)
        let response = try await fixture.apply(Self.tls("/b.crt"))
        #expect(
            response.changes.flatMap(\.details) == ["certificates: /a.crt with /a.key → /b.crt with /a.key"])
        #expect(certificates.installed.listeners.map(\.settings) == [settings("/b.crt")])
        #expect(certificates.openTicketCount == 0)
    }

    @Test func `a dry run finds a bad certificate and keeps nothing`() async throws {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(Self.tls(), certificates: certificates)
        _ = try await fixture.apply(Self.tls("/b.crt"), dryRun: true)
        #expect(certificates.openTicketCount == 0)
        certificates.refuse("/b.crt", because: "bad")
        #expect(await refusal { try await fixture.apply(Self.tls("/b.crt"), dryRun: true) } != nil)
        #expect(certificates.installed.listeners.map(\.settings) == [settings("/a.crt")])
    }

    @Test func `a socket that cannot be opened leaves no context behind`() async throws {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(RegistryFixture.web(), certificates: certificates)
        fixture.workers.refuse(ports: [443])
        #expect(
            await refusal { try await fixture.apply(Self.tls(group: "protocol: TCP"), prune: true) } != nil)
        #expect(certificates.openTicketCount == 0)
        #expect(certificates.installed.isEmpty)
    }

    @Test func `reload refuses what is bad, one by one, and says so`() async throws {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(Self.tls(), certificates: certificates)
        certificates.refuse("/a.crt", because: "no such file")
        let response = try await fixture.registry.reloadCertificates()
        #expect(response.reloadedCount == 1)
        #expect(response.refused == ["listener edge:443: cannot read /a.crt: no such file"])
        #expect(response.certificates.map(\.file) == ["/a.crt"])
    }

    @Test func `SIGHUP reads certificates again too`() async throws {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(Self.tls(), certificates: certificates)
        certificates.refuse("/a.crt", because: "no such file")
        let response = try await fixture.registry.reload(Self.tls(), fileName: "weir.yaml")
        #expect(certificates.reloadCount == 1)
        #expect(response.warnings == ["listener edge:443: cannot read /a.crt: no such file"])
    }

    private static let renewal = " Renew it, then run \"weir certificates reload\"."

    private static let ends: [(notAfter: Int64, warning: String?)] = [
        (2_678_400, nil), (1_036_805, "expires in 12 days, on 1970-01-13." + renewal),
        (86_405, "expires in 1 day, on 1970-01-02." + renewal),
        (7_200, "expires within a day, on 1970-01-01." + renewal),
        (-86_400, "expired on 1969-12-31." + renewal),
    ]

    @Test(arguments: ends)
    func `a certificate near its end is a warning`(notAfter: Int64, warning: String?) async throws {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(Self.tls(), certificates: certificates)
        certificates.expire(at: notAfter)
        let warnings = await fixture.registry.status().warnings.filter { $0.contains("certificate") }
        let subject = "listener edge:443: certificate /a.crt (www.example.com) "
        #expect(warnings == [warning].compactMap(\.self).map { subject + $0 })
    }

    @Test func `rules reach the workers in order, with groups that are in use for their sake`() async throws {
        let fixture = try await RegistryFixture(
            """
            target_groups:
              - { name: web, protocol: TCP, port: 443, targets: [10.0.0.1] }
              - { name: canary, protocol: TCP, port: 443, targets: [10.0.0.2] }
            load_balancers:
              - name: edge
                type: network
                addresses: [192.0.2.1]
                listeners:
                  - port: 443
                    protocol: TCP
                    rules:
                      - priority: 20
                        conditions: [ { tls_alpn: { values: [h2] } } ]
                        actions: [ { type: forward, target_group: web } ]
                      - priority: 10
                        conditions: [ { tls_server_name: { values: [c.example.com] } } ]
                        actions: [ { type: forward, target_group: canary } ]
                    default_action: { type: forward, target_group: web }
            """)
        let route = try #require(fixture.workers.snapshot.listeners.compactMap(\.self).first)
        #expect(route.rules.map(\.priority) == [10, 20])
        let names = route.rules.map { fixture.workers.snapshot.groups[$0.choices[0].groupIndex].name }
        #expect(names == ["canary", "web"])
        #expect(fixture.probes.endpoints == ["10.0.0.1:443", "10.0.0.2:443"])
        let listener = try await fixture.registry.listener("edge:443")
        #expect(
            listener.rules?.map { $0.conditions.first?.tlsServerName?.values } == [["c.example.com"], nil])
        let groups = await fixture.registry.targetGroups()
        #expect(groups.map(\.loadBalancers) == [["edge"], ["edge"]])
        let steps = try await fixture.registry.explain(listener: "edge:443", client: "198.51.100.7:1").steps
        #expect(steps.contains { $0.contains("to whom none applies") })
    }

    @Test func `checks over TLS demand a context, and take the group's settings when they have none`()
        async throws
    {
        let certificates = CertificateRecorder()
        let fixture = try await RegistryFixture(
            Self.tls(
                group: "protocol: TLS, tls: { ca_file: /ca.pem }, health_check: { protocol: HTTPS }, "
                    + "targets: [ 192.0.2.9 ]"),
            certificates: certificates)
        let settings = TLSTargetSettings(caFile: "/ca.pem")
        #expect(certificates.installed.probes.map(\.targetGroup) == ["web"])
        #expect(certificates.installed.probes.map(\.settings) == [settings])
        #expect(fixture.probes.targets.map(\.check.tls) == [settings])
    }

    @Test(arguments: [
        ("TCP", "TCP", true), ("TCP", "HTTP", true), ("TCP_UDP", "UDP", true), ("UDP", "UDP", true),
        ("UDP", "TCP", false),
    ])
    func `probes begin with a PROXY header where clients' flows do`(
        group: String, check: String, isSent: Bool
    ) async throws {
        for isEnabled in [true, false] {
            let fixture = try await RegistryFixture(
                """
                target_groups:
                  - name: web
                    protocol: \(group)
                    port: 80
                    health_check:
                      protocol: \(check)
                      \(check == "UDP" ? "udp: { preset: dns }" : "")
                    attributes: { proxy_protocol_v2.enabled: \(isEnabled) }
                    targets: [ 192.0.2.9 ]
                load_balancers:
                  - name: edge
                    type: network
                    addresses: [192.0.2.1]
                    listeners:
                      - { port: 80, protocol: \(group), default_action: { type: forward, target_group: web } }
                """)
            #expect(fixture.probes.targets.map(\.sendsProxyHeader) == [isEnabled && isSent])
        }
    }

    @Test func `what the data plane cannot do is refused, not ignored`() async throws {
        let tls = await refusal { try await RegistryFixture(Self.tls()) }
        #expect(
            tls?.details == [
                "listener edge:443 is TLS, which this build of Weir does not have. Use TCP, and let the targets "
                    + "end TLS.",
                "target group \"web\" is TLS, which this build of Weir does not have. Use TCP.",
            ])
        let fixture = try await RegistryFixture(features: [])
        let error = await refusal {
            try await fixture.apply(RegistryFixture.web(attributes: "proxy_protocol_v2.enabled: true"))
        }
        #expect(
            error?.message
                == "target group \"web\" has proxy_protocol_v2.enabled, which this build of Weir does not have. "
                + "Leave it out.")
    }

    @Test func `what the process has no right to is refused with the way to get it`() async throws {
        let fixture = try await RegistryFixture(features: .all.subtracting(.clientIPPreservation))
        let error = await refusal {
            try await fixture.apply(RegistryFixture.web(attributes: "preserve_client_ip.enabled: true"))
        }
        #expect(
            error?.message
                == "target group \"web\" has preserve_client_ip.enabled, for which this process lacks "
                + "CAP_NET_ADMIN: it is kept only from a start at which a group needs it. Put the group into the "
                + "configuration file and restart Weir, as root or with AmbientCapabilities=CAP_NET_ADMIN in its "
                + "unit (see config/weir.service).")
    }
}
