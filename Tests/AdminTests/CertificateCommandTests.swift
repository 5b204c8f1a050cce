// Certificates and security policies as the API, the metrics and the command line show them.

import AdminModel
import AdminServer
import Balancing
import Foundation
import Testing

@testable import weir

@Suite struct `Certificate pages` {
    private static let day = 86_400.0

    private static func certificate(
        _ names: [String], expiresInDays days: Double, isDefault: Bool = false
    ) -> CertificateDescription {
        CertificateDescription(
            usedBy: "listener edge:443", listener: "edge:443", targetGroup: nil, file: "/etc/weir/a.crt",
            subject: "CN=\(names.first ?? "none")", serial: "0A", names: names, keyType: "ECDSA",
            notBefore: 0, notAfter: 100 * day + days * day, isDefault: isDefault)
    }

    private static let response = [
        certificate(["www.example.com"], expiresInDays: 90, isDefault: true),
        certificate(["a", "b", "c", "d", "e"], expiresInDays: 12.5), certificate([], expiresInDays: -1),
    ]

    @Test func `the list says for whom, for which names and until when`() {
        let page = CertificatePages.certificates(Self.response, nowSeconds: 100 * Self.day, .plain)
        #expect(
            page == """
                USED BY   NAMES               KEY    EXPIRES IN  EXPIRES     NOTE     FILE
                edge:443  www.example.com     ECDSA      90d00h  1970-07-10  default  /etc/weir/a.crt
                edge:443  a, b, c and 2 more  ECDSA      12d12h  1970-04-23           /etc/weir/a.crt
                edge:443  CN=none             ECDSA     expired  1970-04-10           /etc/weir/a.crt

                """)
        #expect(
            CertificatePages.certificates([], nowSeconds: 0, .plain)
                == "There are no certificates in use.\n")
    }

    @Test func `the time of expiry is a metric`() {
        var report = Sample.status
        report.certificates = Self.response
        let text = StatusMetrics.text(for: report)
        #expect(
            text.contains(
                "weir_certificate_expiry_timestamp_seconds{used_by=\"listener edge:443\","
                    + "file=\"/etc/weir/a.crt\",subject=\"CN=www.example.com\"} 16416000\n"))
        #expect(!StatusMetrics.text(for: Sample.status).contains("weir_certificate"))
    }

    @Test func `security policies are listed with their protocols, one with its ciphers`() throws {
        let policies = SecurityPolicy.all.map(SSLPoliciesCommand.Policy.init)
        let page = CertificatePages.policies(policies, .plain)
        let lines = page.split(separator: "\n")
        #expect(lines.count == policies.count + 2)
        let words = lines[2].split(separator: " ").map(String.init)
        #expect(words == ["ELBSecurityPolicy-TLS13-1-2-2021-06", "TLSv1.2,", "TLSv1.3", "11", "default"])
        let one = SSLPoliciesCommand.Policy(
            try SSLPoliciesCommand.policy(named: "ELBSecurityPolicy-TLS13-1-3-2021-06"))
        #expect(one.sslProtocols == ["TLSv1.3"])
        #expect(
            CertificatePages.policy(one, .plain).contains("  TLS_CHACHA20_POLY1305_SHA256\n"))
        #expect(
            try OutputFormat.json(one).contains("\"ssl_protocols\" : [\n    \"TLSv1.3\"\n  ]"))
        #expect(throws: CommandFailure.self) { try SSLPoliciesCommand.policy(named: "x") }
    }

    @Test func `certificates are read and reloaded over the API`() async throws {
        var report = Sample.status
        report.certificates = Self.response
        let registry = StubRegistry(report: report)
        try await withServer(registry: registry) { address in
            let client = AdminClient(address: address, token: nil)
            #expect(try await client.certificates().certificates == Self.response)
            let reloaded = try await client.reloadCertificates()
            #expect(reloaded.refused == ["listener edge:443: bad"])
        }
        #expect(registry.calls == ["reload certificates"])
    }

    @Test func `a group shows what its targets see of the client`() {
        var group = Sample.status.targetGroups[0]
        group.clientAddress = "preserved+proxy-v2"
        #expect(
            Tables.targetGroups([group], .plain).contains("preserved, PROXY v2"))
        group.clientAddress = "replaced"
        #expect(!Tables.targetGroups([group], .plain).contains("CLIENT ADDRESS"))
    }
}
