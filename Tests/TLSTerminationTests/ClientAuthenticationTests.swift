// Mutual TLS: which client certificates pass in which mode, and what is said about those that do not.

import Balancing
import COpenSSL
import LinuxIO
import TestCertificates
import Testing

@testable import TLSTermination

@Suite struct `Mutual TLS` {
    private static let root = TestAuthority.shared.path("root.crt")
    private static let list = TestAuthority.shared.path("root.crl")

    enum Mode: String, CaseIterable { case off, passthrough, verify, revocation, ignoringExpiry }

    private static func setting(_ mode: Mode) -> ClientAuthentication {
        switch mode {
        case .off: .off
        case .passthrough: .passthrough
        case .verify: .verify(TrustStore(authorities: root))
        case .revocation: .verify(TrustStore(authorities: root, revocationLists: [list]))
        case .ignoringExpiry: .verify(TrustStore(authorities: root, ignoresExpiry: true))
        }
    }

    /// The certificate, and the modes in which it gets through.
    private static let rows: [(certificate: String?, passes: [Mode])] = [
        (nil, [.off, .passthrough]),
        ("client", Mode.allCases),
        // No list of the intermediate's is at hand: nobody can say that its client is not revoked.
        ("client-chained", [.off, .passthrough, .verify, .ignoringExpiry]),
        ("client-revoked", [.off, .passthrough, .verify, .ignoringExpiry]),
        ("client-expired", [.off, .passthrough, .ignoringExpiry]),
        ("client-stranger", [.off, .passthrough]),
    ]

    @Test(arguments: rows, Mode.allCases)
    func `a client certificate passes where it should`(
        row: (certificate: String?, passes: [Mode]), mode: Mode
    ) throws {
        for version in [TLSVersion.v12, .v13] {
            let client = try ClientContext(
                ClientSettings(
                    policy: offer(version...version),
                    certificate: row.certificate.map { TestAuthority.shared.files($0) }))
            let connection = try TestConnection(client, try serverContext(clients: Self.setting(mode)))
            let steps = connection.handshake()
            guard row.passes.contains(mode) else {
                switch steps.server {
                case .failed(.certificateMissing): #expect(row.certificate == nil)
                case .failed(.certificateRefused(let code)): #expect(code != 0 && row.certificate != nil)
                default: Issue.record("\(row.certificate ?? "none") in \(mode): \(steps)")
                }
                // The client learns of it by an alert, in TLS 1.3 only when it reads.
                if steps.client == .done {
                    guard case .failed(.alert) = connection.client.receive().outcome else {
                        Issue.record("the client was not told")
                        continue
                    }
                }
                continue
            }
            #expect(steps.client == .done && steps.server == .done, "\(row.certificate ?? "none") in \(mode)")
            let facts = try #require(connection.server.facts)
            let expected = mode == .off ? nil : row.certificate
            #expect(facts.peer?.commonName == expected)
            #expect((connection.server.peerCertificateDER == nil) == (expected == nil))
        }
    }

    @Test(arguments: ["fallback.test", "a.example.test", "both.test"])
    func `the bundle holds under every name of a listener`(name: String) throws {
        let server = try serverContext(
            ["fallback", "exact", "both-rsa", "both-ecdsa"], clients: Self.setting(.revocation))
        let rows = [("client", true), ("client-stranger", false), ("client-revoked", false)]
        for (certificate, passes) in rows {
            let client = try ClientContext(
                ClientSettings(serverName: name, certificate: TestAuthority.shared.files(certificate)))
            let step = try TestConnection(client, server).handshake().server
            #expect((step == .done) == passes, "\(certificate): \(step)")
        }
    }

    @Test func `a weak certificate is refused even where TLS 1.0 is spoken`() throws {
        let old = try #require(SecurityPolicy.named("ELBSecurityPolicy-2016-08"))
        let server = try serverContext(policy: old, clients: Self.setting(.verify))
        for (certificate, passes) in [("client", true), ("client-weak", false)] {
            // Level 0 of the policy lets the client itself use it.
            let client = try ClientContext(
                ClientSettings(
                    policy: offer(.v10 ... .v12), certificate: TestAuthority.shared.files(certificate)))
            let step = try TestConnection(client, server).handshake().server
            #expect((step == .done) == passes, "\(certificate): \(step)")
        }
    }

    @Test func `refusals say why`() throws {
        let rows: [(certificate: String, mode: Mode, word: String)] = [
            ("client-revoked", .revocation, "revoked"), ("client-expired", .verify, "expired"),
            ("client-stranger", .verify, "issuer"), ("client-chained", .revocation, "CRL"),
        ]
        for row in rows {
            let client = try ClientContext(
                ClientSettings(certificate: TestAuthority.shared.files(row.certificate)))
            let connection = try TestConnection(client, try serverContext(clients: Self.setting(row.mode)))
            guard case .failed(let failure) = connection.handshake().server else {
                Issue.record("\(row) passed")
                continue
            }
            #expect(failure.description.contains(row.word), "\(failure)")
        }
    }

    @Test func `the certificate that is handed on is the client's, byte for byte`() throws {
        let client = try ClientContext(ClientSettings(certificate: TestAuthority.shared.files("client")))
        let connection = try TestConnection(client, try serverContext(clients: .passthrough))
        #expect(connection.handshake().server == .done)
        try TestAuthority.shared.openssl(
            "x509", "-in", "client.crt", "-outform", "DER", "-out", "client.der")
        #expect(try connection.server.peerCertificateDER == TestAuthority.shared.read("client.der"))
    }
}
