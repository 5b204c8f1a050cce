// What a TLS listener presents, and how Weir speaks TLS to targets: names and file paths, nothing read.
//
// The values name a context as a whole: two equal settings need one context. Whoever builds contexts (the
// appliance, by TLSTermination) keys them by these values, so that a worker that has a snapshot knows which
// context it needs without any number being agreed upon.

/// The files of one certificate, of a TLS listener or by which Weir shows itself to targets.
public struct CertificateFiles: Hashable, Sendable {
    /// PEM: the certificate, then its chain, issuer after issued.
    public var certificate: String
    /// PEM, not encrypted, closed to group and others.
    public var privateKey: String
    /// A DER response of the issuer's OCSP responder, to be stapled; listeners alone have one.
    public var ocspResponse: String?

    public init(certificate: String, privateKey: String, ocspResponse: String? = nil) {
        self.certificate = certificate
        self.privateKey = privateKey
        self.ocspResponse = ocspResponse
    }
}

/// Whom a listener in mode `verify` trusts.
public struct ClientTrust: Hashable, Sendable {
    /// PEM, any number of CA certificates.
    public var caCertificates: String
    /// PEM, any number of revocation lists.
    public var revocationLists: String?
    /// ELBv2's `IgnoreClientCertificateExpiry`.
    public var ignoresExpiry: Bool
    /// ELBv2's `AdvertiseTrustStoreCaNames`: whether clients are told the names of the CAs.
    public var advertisesNames: Bool

    public init(
        caCertificates: String, revocationLists: String? = nil, ignoresExpiry: Bool = false,
        advertisesNames: Bool = false
    ) {
        self.caCertificates = caCertificates
        self.revocationLists = revocationLists
        self.ignoresExpiry = ignoresExpiry
        self.advertisesNames = advertisesNames
    }
}

/// ELBv2's `MutualAuthentication`.
public enum MutualAuthentication: Hashable, Sendable {
    case off
    /// A certificate is asked for and handed on, whoever issued it.
    case passthrough
    /// A certificate is demanded and must lead to one of the CAs.
    case verify(ClientTrust)

    /// As ELBv2 spells it in `Mode`.
    public var mode: String {
        switch self {
        case .off: "off"
        case .passthrough: "passthrough"
        case .verify: "verify"
        }
    }
}

/// All that a TLS listener's context is made of.
public struct TLSListenerSettings: Hashable, Sendable {
    public var policy: SecurityPolicy
    /// 1–25; the first is the default. RSA and ECDSA certificates of the same names may stand side by side.
    public var certificates: [CertificateFiles]
    public var alpn: ALPNPolicy
    public var mutualAuthentication: MutualAuthentication

    public init(
        policy: SecurityPolicy = .default, certificates: [CertificateFiles], alpn: ALPNPolicy = .none,
        mutualAuthentication: MutualAuthentication = .off
    ) {
        self.policy = policy
        self.certificates = certificates
        self.alpn = alpn
        self.mutualAuthentication = mutualAuthentication
    }

    /// Every file that the context is read from.
    public var files: [String] {
        var files = certificates.flatMap {
            [$0.certificate, $0.privateKey, $0.ocspResponse].compactMap(\.self)
        }
        if case .verify(let trust) = mutualAuthentication {
            files += [trust.caCertificates, trust.revocationLists].compactMap(\.self)
        }
        return files
    }
}

/// How Weir speaks TLS to the targets of a group, or to what a health check probes.
public struct TLSTargetSettings: Hashable, Sendable {
    /// Sent as SNI and, when verifying, expected in the certificate; an address is only expected.
    public var serverName: String?
    /// PEM, any number of CA certificates; nil takes certificates as they come, as ELBv2 does.
    public var caFile: String?
    /// Shown to targets that ask for one.
    public var certificate: CertificateFiles?

    public init(serverName: String? = nil, caFile: String? = nil, certificate: CertificateFiles? = nil) {
        self.serverName = serverName
        self.caFile = caFile
        self.certificate = certificate
    }

    public var isVerifying: Bool { caFile != nil }

    /// Every file that the context is read from.
    public var files: [String] {
        [caFile, certificate?.certificate, certificate?.privateKey].compactMap(\.self)
    }
}

/// A target group's TLS as the flows of one listener use it: the listener's policy decides on that side too.
public struct TLSTargetRoute: Hashable, Sendable {
    public var settings: TLSTargetSettings
    public var policy: SecurityPolicy
    /// The targets are spoken to by HTTP/2, which they have to choose by ALPN.
    public var asksForHTTP2: Bool

    public init(settings: TLSTargetSettings, policy: SecurityPolicy, asksForHTTP2: Bool = false) {
        self.settings = settings
        self.policy = policy
        self.asksForHTTP2 = asksForHTTP2
    }
}
