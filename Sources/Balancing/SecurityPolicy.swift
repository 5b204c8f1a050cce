// The security policies of TLS listeners, under ELBv2's names, with exactly its protocols and ciphers.
//
// Source: "Security policies for your Network Load Balancer" in the ELB user guide, tables "Protocols by policy"
// and "Ciphers by policy", in their order of preference. Deliberately absent: the policies with PQ in their
// names, whose key exchange OpenSSL 3.0 lacks, the RFC 9151 ones, and 2015-04 and 2015-05, which allow 3DES.

/// A version of TLS, as on the wire.
public enum TLSVersion: UInt16, Sendable, Hashable, Comparable, CaseIterable, BitwiseCopyable {
    case v10 = 0x0301
    case v11 = 0x0302
    case v12 = 0x0303
    case v13 = 0x0304

    /// As ELBv2 spells it in `SslProtocols`.
    public var name: String {
        switch self {
        case .v10: "TLSv1"
        case .v11: "TLSv1.1"
        case .v12: "TLSv1.2"
        case .v13: "TLSv1.3"
        }
    }

    public static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }
}

/// A named set of TLS versions and ciphers.
public struct SecurityPolicy: Sendable, Hashable {
    public let name: String
    public let versions: ClosedRange<TLSVersion>
    /// OpenSSL's names, best first; those of TLS 1.3 begin with `TLS_`.
    public let ciphers: [String]

    public init(name: String, versions: ClosedRange<TLSVersion>, ciphers: [String]) {
        self.name = name
        self.versions = versions
        self.ciphers = ciphers
    }

    /// Whether only algorithms of FIPS 140-3 are offered. The ciphers say so themselves; the groups of the key
    /// exchange follow. Says nothing about the module that computes them.
    public var isFIPS: Bool { name.contains("-FIPS-") }

    /// Ciphers of TLS 1.3.
    public var ciphersuites: [String] { ciphers.filter { $0.hasPrefix("TLS_") } }
    /// Ciphers of TLS 1.2 and before.
    public var legacyCiphers: [String] { ciphers.filter { !$0.hasPrefix("TLS_") } }

    /// The policy towards the targets of a listener with this one; ELBv2 offers no choice there.
    public var towardsTargets: SecurityPolicy {
        if isFIPS { return .tls13From10FIPS }
        return versions.contains(.v13) ? .tls13From10 : .legacy
    }

    /// The policy of that name, spelled exactly; nil when there is none.
    public static func named(_ name: String) -> SecurityPolicy? { all.first { $0.name == name } }

    public static let `default` = SecurityPolicy(
        name: "ELBSecurityPolicy-TLS13-1-2-2021-06", versions: .v12 ... .v13,
        ciphers: aead13 + ecdhe128 + ecdhe256)

    /// Every policy: the recommended kind first, newer before older.
    public static let all: [SecurityPolicy] = [
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-3-2021-06", versions: .v13 ... .v13, ciphers: aead13),
        .default,
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-Res-2021-06", versions: .v12 ... .v13,
            ciphers: aead13 + ecdheAEAD),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", versions: .v12 ... .v13,
            ciphers: aead13 + everyLegacyCipher),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", versions: .v12 ... .v13,
            ciphers: aead13 + ecdhe128 + ecdhe256 + rsaSHA2),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-1-2021-06", versions: .v11 ... .v13,
            ciphers: aead13 + everyLegacyCipher),
        .tls13From10,
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS-1-2-Ext-2018-06", versions: .v12 ... .v12, ciphers: everyLegacyCipher
        ),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS-1-2-2017-01", versions: .v12 ... .v12,
            ciphers: ecdhe128 + ecdhe256 + rsaSHA2),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS-1-1-2017-01", versions: .v11 ... .v12, ciphers: everyLegacyCipher),
        .legacy,

        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", versions: .v13 ... .v13, ciphers: aead13FIPS),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", versions: .v12 ... .v13,
            ciphers: aead13FIPS + ecdhe128 + ecdhe256),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-Res-FIPS-2023-04", versions: .v12 ... .v13,
            ciphers: aead13FIPS + ecdheAEAD),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04", versions: .v12 ... .v13,
            ciphers: aead13FIPS + everyECDHE + everyRSA),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-2023-04", versions: .v12 ... .v13,
            ciphers: aead13FIPS + ecdhe128 + ecdhe256 + rsaSHA2),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04", versions: .v12 ... .v13,
            ciphers: aead13FIPS + everyECDHE),
        SecurityPolicy(
            name: "ELBSecurityPolicy-TLS13-1-1-FIPS-2023-04", versions: .v11 ... .v13,
            ciphers: aead13FIPS + everyECDHE + everyRSA),
        .tls13From10FIPS,

        SecurityPolicy(
            name: "ELBSecurityPolicy-FS-1-2-Res-2020-10", versions: .v12 ... .v12, ciphers: ecdheAEAD),
        SecurityPolicy(
            name: "ELBSecurityPolicy-FS-1-2-Res-2019-08", versions: .v12 ... .v12,
            ciphers: ecdhe128 + ecdhe256),
        SecurityPolicy(
            name: "ELBSecurityPolicy-FS-1-2-2019-08", versions: .v12 ... .v12, ciphers: everyECDHE),
        SecurityPolicy(
            name: "ELBSecurityPolicy-FS-1-1-2019-08", versions: .v11 ... .v12, ciphers: everyECDHE),
        SecurityPolicy(name: "ELBSecurityPolicy-FS-2018-06", versions: .v10 ... .v12, ciphers: everyECDHE),
    ]

    private static let tls13From10 = SecurityPolicy(
        name: "ELBSecurityPolicy-TLS13-1-0-2021-06", versions: .v10 ... .v13,
        ciphers: aead13 + everyLegacyCipher)

    private static let tls13From10FIPS = SecurityPolicy(
        name: "ELBSecurityPolicy-TLS13-1-0-FIPS-2023-04", versions: .v10 ... .v13,
        ciphers: aead13FIPS + everyECDHE + everyRSA)

    private static let legacy = SecurityPolicy(
        name: "ELBSecurityPolicy-2016-08", versions: .v10 ... .v12, ciphers: everyLegacyCipher)
}

// MARK: - The runs of ciphers that the lists are made of

private let aead13FIPS = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]
private let aead13 = aead13FIPS + ["TLS_CHACHA20_POLY1305_SHA256"]

private let ecdhe128 = [
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
]
private let ecdhe128SHA1 = ["ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"]
private let ecdhe256 = [
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
]
private let ecdheAEAD = [
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
]
private let rsaSHA2 = ["AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"]
private let everyRSA = [
    "AES128-GCM-SHA256", "AES128-SHA256", "AES128-SHA", "AES256-GCM-SHA384", "AES256-SHA256", "AES256-SHA",
]
// The tables put the last two of these in one order for the FIPS and FS policies and in the other elsewhere.
private let everyECDHE =
    ecdhe128 + ecdhe128SHA1 + ecdhe256 + ["ECDHE-RSA-AES256-SHA", "ECDHE-ECDSA-AES256-SHA"]
private let everyLegacyCipher =
    ecdhe128 + ecdhe128SHA1 + ecdhe256 + ["ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"] + everyRSA
