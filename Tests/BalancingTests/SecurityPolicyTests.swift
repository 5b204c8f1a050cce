// The table of security policies, against what ELBv2 publishes.

import Balancing
import Testing

@Suite struct `Security policies` {
    /// Versions and the number of ciphers, TLS 1.3 and before, as in the tables of the user guide.
    private static let published: [(name: String, versions: ClosedRange<TLSVersion>, counts: (Int, Int))] = [
        ("TLS13-1-3-2021-06", .v13 ... .v13, (3, 0)), ("TLS13-1-2-2021-06", .v12 ... .v13, (3, 8)),
        ("TLS13-1-2-Res-2021-06", .v12 ... .v13, (3, 4)), ("TLS13-1-2-Ext2-2021-06", .v12 ... .v13, (3, 18)),
        ("TLS13-1-2-Ext1-2021-06", .v12 ... .v13, (3, 12)), ("TLS13-1-1-2021-06", .v11 ... .v13, (3, 18)),
        ("TLS13-1-0-2021-06", .v10 ... .v13, (3, 18)), ("TLS-1-2-Ext-2018-06", .v12 ... .v12, (0, 18)),
        ("TLS-1-2-2017-01", .v12 ... .v12, (0, 12)), ("TLS-1-1-2017-01", .v11 ... .v12, (0, 18)),
        ("2016-08", .v10 ... .v12, (0, 18)),
        ("TLS13-1-3-FIPS-2023-04", .v13 ... .v13, (2, 0)), ("TLS13-1-2-FIPS-2023-04", .v12 ... .v13, (2, 8)),
        ("TLS13-1-2-Res-FIPS-2023-04", .v12 ... .v13, (2, 4)),
        ("TLS13-1-2-Ext2-FIPS-2023-04", .v12 ... .v13, (2, 18)),
        ("TLS13-1-2-Ext1-FIPS-2023-04", .v12 ... .v13, (2, 12)),
        ("TLS13-1-2-Ext0-FIPS-2023-04", .v12 ... .v13, (2, 12)),
        ("TLS13-1-1-FIPS-2023-04", .v11 ... .v13, (2, 18)),
        ("TLS13-1-0-FIPS-2023-04", .v10 ... .v13, (2, 18)),
        ("FS-1-2-Res-2020-10", .v12 ... .v12, (0, 4)), ("FS-1-2-Res-2019-08", .v12 ... .v12, (0, 8)),
        ("FS-1-2-2019-08", .v12 ... .v12, (0, 12)), ("FS-1-1-2019-08", .v11 ... .v12, (0, 12)),
        ("FS-2018-06", .v10 ... .v12, (0, 12)),
    ]

    @Test func `every published policy is there with its versions and as many ciphers`() throws {
        #expect(SecurityPolicy.all.count == Self.published.count)
        for row in Self.published {
            let policy = try #require(SecurityPolicy.named("ELBSecurityPolicy-\(row.name)"))
            #expect(policy.versions == row.versions, "\(row.name)")
            #expect(policy.ciphersuites.count == row.counts.0, "\(row.name)")
            #expect(policy.legacyCiphers.count == row.counts.1, "\(row.name)")
            #expect(Set(policy.ciphers).count == policy.ciphers.count, "\(row.name)")
            #expect(policy.ciphersuites.isEmpty == !policy.versions.contains(.v13), "\(row.name)")
        }
    }

    @Test func `names say what is inside`() {
        for policy in SecurityPolicy.all {
            #expect(
                policy.isFIPS == !policy.ciphers.contains("TLS_CHACHA20_POLY1305_SHA256")
                    || !policy.versions.contains(.v13), "\(policy.name)")
            if policy.name.contains("-Res-2021") || policy.name.contains("Res-2020") {
                #expect(policy.legacyCiphers.allSatisfy { $0.contains("GCM") }, "\(policy.name)")
            }
            if policy.name.contains("-FS-") {
                #expect(policy.ciphers.allSatisfy { $0.hasPrefix("ECDHE-") }, "\(policy.name)")
            }
        }
        #expect(SecurityPolicy.named("elbsecuritypolicy-2016-08") == nil)
    }

    @Test func `the default and the 2016 policy are spelled out`() {
        #expect(
            SecurityPolicy.default.ciphers == [
                "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
                "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256",
                "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384",
            ])
        #expect(
            SecurityPolicy.named("ELBSecurityPolicy-2016-08")?.ciphers == [
                "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256",
                "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
                "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA384",
                "ECDHE-RSA-AES256-SHA384", "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA",
                "AES128-GCM-SHA256", "AES128-SHA256", "AES128-SHA", "AES256-GCM-SHA384", "AES256-SHA256",
                "AES256-SHA",
            ])
    }

    @Test func `targets are spoken to with the widest policy of the listener's kind`() {
        for policy in SecurityPolicy.all {
            let expected =
                policy.isFIPS
                ? "TLS13-1-0-FIPS-2023-04" : policy.versions.contains(.v13) ? "TLS13-1-0-2021-06" : "2016-08"
            #expect(policy.towardsTargets.name == "ELBSecurityPolicy-\(expected)")
        }
    }

    @Test func `ALPN policies list what ELBv2 says`() {
        let rows: [String: [String]] = [
            "HTTP1Only": ["http/1.1", "http/1.0"], "HTTP2Only": ["h2"],
            "HTTP2Optional": ["http/1.1", "http/1.0", "h2"],
            "HTTP2Preferred": ["h2", "http/1.1", "http/1.0"],
            "None": [],
        ]
        #expect(ALPNPolicy.allCases.count == rows.count)
        for (name, protocols) in rows { #expect(ALPNPolicy(rawValue: name)?.protocols == protocols) }
    }
}
