// Who is served which certificate, protocol, version and cipher.

import Balancing
import COpenSSL
import Foundation
import LinuxIO
import TestCertificates
import Testing

@testable import TLSTermination

@Suite struct `TLS server name` {
    private static let names = [
        "fallback", "both-rsa", "both-ecdsa", "exact", "wildcard", "ed25519", "chained",
    ]

    private static let rows: [(asked: String?, served: String)] = [
        (nil, "fallback"), ("fallback.test", "fallback"), ("unknown.test", "fallback"),
        ("both.test", "both-ecdsa"), ("BOTH.Test", "both-ecdsa"), ("only-rsa.test", "both-rsa"),
        ("a.example.test", "exact"), ("A.EXAMPLE.TEST", "exact"), ("b.example.test", "wildcard"),
        ("x.b.example.test", "fallback"), ("example.test", "fallback"), ("ed.test", "ed25519"),
        ("chained.test", "chained"),
    ]

    @Test(arguments: rows, [TLSVersion.v12, .v13])
    func `exact names come before wildcards and those before the default`(
        row: (asked: String?, served: String), version: TLSVersion
    ) throws {
        let client = try ClientContext(
            ClientSettings(policy: offer(version...version), serverName: row.asked))
        let connection = try TestConnection(client, try serverContext(Self.names))
        let steps = connection.handshake()
        #expect(steps.client == .done && steps.server == .done)
        let facts = try #require(connection.client.facts)
        #expect(facts.peer?.commonName == row.served)
        #expect(connection.server.facts?.serverName == row.asked)
        #expect(facts.version == version.name)
    }

    @Test func `a client without ECDSA gets the RSA certificate of the same name`() throws {
        let server = try serverContext(Self.names)
        for cipher in ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"] {
            let client = try ClientContext(
                ClientSettings(policy: offer(.v12 ... .v12, [cipher]), serverName: "both.test"))
            let connection = try TestConnection(client, server)
            #expect(connection.handshake().server == .done)
            let expected = cipher.contains("ECDSA") ? "both-ecdsa" : "both-rsa"
            #expect(connection.client.facts?.peer?.commonName == expected)
        }
    }

    @Test func `the default certificate is joined by its twin of the other key type`() throws {
        let server = try serverContext(["both-rsa", "fallback", "both-ecdsa"])
        let connection = try TestConnection(try ClientContext(ClientSettings()), server)
        #expect(connection.handshake().server == .done)
        #expect(connection.client.facts?.peer?.commonName == "both-ecdsa")
    }

    @Test func `a verifying client accepts a chain, a name and an address, and nothing else`() throws {
        let trust = TrustStore(authorities: TestAuthority.shared.path("root.crt"))
        let rows: [(served: String, expected: String?, isAccepted: Bool)] = [
            ("chained", "chained.test", true), ("chained", "other.test", false), ("chained", nil, true),
            ("wildcard", "x.example.test", true), ("wildcard", "x.y.example.test", false),
            ("address", "192.0.2.1", true), ("address", "192.0.2.2", false), ("expired", nil, false),
        ]
        for row in rows {
            let client = try ClientContext(ClientSettings(serverName: row.expected, trust: trust))
            let connection = try TestConnection(client, try serverContext([row.served]))
            let steps = connection.handshake()
            guard row.isAccepted else {
                guard case .failed(.certificateRefused(let code)) = steps.client, code != 0 else {
                    Issue.record("\(row): \(steps)")
                    continue
                }
                guard case .failed(.alert) = steps.server else {
                    // In TLS 1.3 the server is done first, and reads the alert later.
                    #expect(connection.server.receive().outcome != .wantRead, "\(row)")
                    continue
                }
                continue
            }
            #expect(steps.client == .done && steps.server == .done, "\(row): \(steps)")
        }
        let stranger = TrustStore(authorities: TestAuthority.shared.path("other-root.crt"))
        let connection = try TestConnection(
            try ClientContext(ClientSettings(trust: stranger)), try serverContext())
        guard case .failed(.certificateRefused(let code)) = connection.handshake().client else {
            Issue.record("a certificate of an unknown authority was taken")
            return
        }
        #expect(TLSFailure.certificateRefused(code: code).description.contains("issuer"))
    }
}

@Suite struct `TLS ALPN` {
    private static let offers: [[String]] = [
        [], ["h2"], ["http/1.1"], ["http/1.0"], ["h2", "http/1.1"], ["http/1.1", "h2"], ["http/1.0", "h2"],
        ["spdy/3"], ["spdy/3", "http/1.1"],
    ]

    @Test(arguments: ALPNPolicy.allCases, offers)
    func `the first of the policy that the client offers is chosen`(
        policy: ALPNPolicy, offered: [String]
    ) throws {
        let server = try serverContext(["fallback", "exact"], alpn: policy)
        // Also on a certificate that is not the default, which is another SSL_CTX.
        for name in ["fallback.test", "a.example.test"] {
            let client = try ClientContext(ClientSettings(serverName: name, protocols: offered))
            let connection = try TestConnection(client, server)
            let steps = connection.handshake()
            // Without one in common the connection goes on without ALPN.
            #expect(steps.client == .done && steps.server == .done)
            let expected = policy.protocols.first { offered.contains($0) }
            #expect(connection.client.applicationProtocol == expected)
            #expect(connection.server.applicationProtocol == expected)
        }
    }
}

@Suite struct `TLS security policies` {
    /// What clients may come with beyond what any policy has.
    private static let foreignCiphers = [
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", "DHE-RSA-AES128-GCM-SHA256",
        "AES128-CCM", "CAMELLIA128-SHA",
    ]

    /// Every version and cipher that a client could ask for alone.
    private static let probes: [(version: TLSVersion, cipher: String)] = {
        let known = offer().ciphers + foreignCiphers + ["TLS_AES_128_CCM_SHA256"]
        return known.flatMap { cipher -> [(TLSVersion, String)] in
            if cipher.hasPrefix("TLS_") { return [(.v13, cipher)] }
            // Older versions only know MACs of SHA-1, which these names leave unsaid.
            let isOld = cipher.hasSuffix("-SHA")
            return isOld ? [(.v10, cipher), (.v11, cipher), (.v12, cipher)] : [(.v12, cipher)]
        }
    }()

    @Test(arguments: SecurityPolicy.all)
    func `a policy admits its own versions and ciphers and no other`(policy: SecurityPolicy) throws {
        let server = try serverContext(["both-rsa", "both-ecdsa"], policy: policy)
        for probe in Self.probes {
            let client = try ClientContext(
                ClientSettings(
                    policy: offer(probe.version...probe.version, [probe.cipher]), serverName: "both.test"))
            let connection = try TestConnection(client, server)
            let steps = connection.handshake()
            let isAdmitted =
                policy.versions.contains(probe.version) && policy.ciphers.contains(probe.cipher)
            #expect((steps.server == .done) == isAdmitted, "\(probe): \(steps)")
            if isAdmitted {
                #expect(connection.server.facts?.cipherInOpenSSL == probe.cipher)
                #expect(connection.server.facts?.version == probe.version.name)
            } else {
                let isExplained =
                    steps.server == .failed(.noSharedCipher) || steps.server == .failed(.unsupportedVersion)
                #expect(isExplained, "\(probe): \(steps)")
            }
        }
    }

    @Test(arguments: SecurityPolicy.all)
    func `the order of the policy decides, not the client's`(policy: SecurityPolicy) throws {
        let server = try serverContext(["both-rsa", "both-ecdsa"], policy: policy)
        let newest = policy.versions.upperBound
        let offered = offer(newest...newest, Array(offer().ciphers.reversed()))
        let connection = try TestConnection(
            try ClientContext(ClientSettings(policy: offered, serverName: "both.test")), server)
        #expect(connection.handshake().server == .done)
        let candidates = newest == .v13 ? policy.ciphersuites : policy.legacyCiphers
        #expect(connection.server.facts?.cipherInOpenSSL == candidates.first)
    }

    @Test func `a FIPS policy exchanges keys on NIST curves`() throws {
        let fips = try #require(SecurityPolicy.named("ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04"))
        for (policy, group) in [(fips, "secp256r1"), (SecurityPolicy.default, "x25519")] {
            let connection = try TestConnection(
                try ClientContext(ClientSettings()), try serverContext(policy: policy))
            #expect(connection.handshake().server == .done)
            #expect(connection.server.facts?.namedGroup == group)
        }
    }

    @Test func `facts give IANA names`() throws {
        let connection = try TestConnection(
            try ClientContext(ClientSettings(policy: offer(.v12 ... .v12))), try serverContext())
        #expect(connection.handshake().server == .done)
        let facts = try #require(connection.server.facts)
        #expect(facts.cipher == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
        #expect(facts.cipherInOpenSSL == "ECDHE-RSA-AES128-GCM-SHA256")
        #expect(facts.peer == nil)
        #expect(connection.client.facts?.peer?.key == "RSA2048")
        #expect(connection.client.facts?.peer?.subject == "CN=fallback,O=Weir")
        #expect(connection.client.facts?.peer?.signatureDigest == "SHA256")
    }
}
