// The JSON of TLS settings, PROXY protocol and rules in the store. Files are named, never kept.
//
// See StoredDefinitions.swift. Stores written before these existed lack the keys, which reads as nil.

import Balancing

struct StoredCertificate: Codable {
    var certificate: String
    var privateKey: String
    var ocspResponse: String?
}

struct StoredListenerTLS: Codable {
    var policy: String
    var certificates: [StoredCertificate]
    var alpnPolicy: String
    /// `off`, `passthrough` or `verify`.
    var mode: String
    var caCertificates: String?
    var crl: String?
    var ignoreExpiry: Bool?
    var advertiseNames: Bool?

    init(_ settings: TLSListenerSettings) {
        policy = settings.policy.name
        certificates = settings.certificates.map {
            StoredCertificate(
                certificate: $0.certificate, privateKey: $0.privateKey, ocspResponse: $0.ocspResponse)
        }
        alpnPolicy = settings.alpn.rawValue
        mode = settings.mutualAuthentication.mode
        guard case .verify(let trust) = settings.mutualAuthentication else { return }
        caCertificates = trust.caCertificates
        crl = trust.revocationLists
        ignoreExpiry = trust.ignoresExpiry
        advertiseNames = trust.advertisesNames
    }

    func settings() throws(StoredDefinitionError) -> TLSListenerSettings {
        guard let policy = SecurityPolicy.named(policy) else {
            throw StoredDefinitionError(message: "security policy \"\(policy)\" is unknown")
        }
        guard let alpn = ALPNPolicy(rawValue: alpnPolicy) else {
            throw StoredDefinitionError(message: "ALPN policy \"\(alpnPolicy)\" is unknown")
        }
        guard (1...Limits.certificatesPerListenerMax).contains(certificates.count) else {
            throw StoredDefinitionError(message: "a TLS listener has \(certificates.count) certificates")
        }
        return TLSListenerSettings(
            policy: policy,
            certificates: certificates.map {
                CertificateFiles(
                    certificate: $0.certificate, privateKey: $0.privateKey, ocspResponse: $0.ocspResponse)
            },
            alpn: alpn, mutualAuthentication: try mutualAuthentication())
    }

    private func mutualAuthentication() throws(StoredDefinitionError) -> MutualAuthentication {
        switch mode {
        case "off": return .off
        case "passthrough": return .passthrough
        case "verify":
            // Without its CAs the listener would let anybody in.
            guard let caCertificates else { throw StoredDefinitionError(message: "mode verify has no CAs") }
            return .verify(
                ClientTrust(
                    caCertificates: caCertificates, revocationLists: crl,
                    ignoresExpiry: ignoreExpiry ?? false,
                    advertisesNames: advertiseNames ?? false))
        default: throw StoredDefinitionError(message: "mutual authentication \"\(mode)\" is unknown")
        }
    }
}

struct StoredTargetTLS: Codable {
    var serverName: String?
    var caFile: String?
    var certificate: StoredCertificate?

    init(_ settings: TLSTargetSettings) {
        serverName = settings.serverName
        caFile = settings.caFile
        certificate = settings.certificate.map {
            StoredCertificate(certificate: $0.certificate, privateKey: $0.privateKey)
        }
    }

    var settings: TLSTargetSettings {
        TLSTargetSettings(
            serverName: serverName, caFile: caFile,
            certificate: certificate.map {
                CertificateFiles(certificate: $0.certificate, privateKey: $0.privateKey)
            })
    }
}

struct StoredProxyProtocol: Codable {
    var acceptsV1: Bool
    var acceptsV2: Bool
    var trusted: [String]

    init(_ settings: ProxyProtocolSettings) {
        acceptsV1 = settings.accepts.contains(.v1)
        acceptsV2 = settings.accepts.contains(.v2)
        trusted = settings.trusted.map(\.description)
    }

    func settings() throws(StoredDefinitionError) -> ProxyProtocolSettings {
        var ranges: [IPPrefix] = []
        for text in trusted {
            guard let range = IPPrefix(text) else {
                throw StoredDefinitionError(message: "\"\(text)\" is no address range")
            }
            ranges.append(range)
        }
        var versions: ProxyProtocolSettings.Versions = []
        if acceptsV1 { versions.insert(.v1) }
        if acceptsV2 { versions.insert(.v2) }
        return ProxyProtocolSettings(accepts: versions, trusted: ranges)
    }
}

struct StoredRule: Codable {
    var priority: Int
    var serverNames: [String]?
    var alpn: [String]?
    var forward: [StoredListener.Choice]
    var stickyByGroup: Bool

    init(_ rule: PassthroughRule) {
        priority = rule.priority
        for condition in rule.conditions {
            switch condition {
            case .serverName(let patterns): serverNames = patterns.map(\.description)
            case .alpn(let protocols): alpn = protocols
            }
        }
        forward = rule.action.storedChoices
        stickyByGroup = rule.action.isStickyByGroup
    }

    func rule() throws(StoredDefinitionError) -> PassthroughRule {
        var conditions: [PassthroughCondition] = []
        if let serverNames {
            var patterns: [ServerNamePattern] = []
            for text in serverNames {
                guard let pattern = ServerNamePattern(text) else {
                    throw StoredDefinitionError(message: "\"\(text)\" is no server name")
                }
                patterns.append(pattern)
            }
            conditions.append(.serverName(patterns))
        }
        if let alpn { conditions.append(.alpn(alpn)) }
        // A rule without conditions would take every flow.
        guard !conditions.isEmpty else {
            throw StoredDefinitionError(message: "rule \(priority) has no condition")
        }
        return PassthroughRule(
            priority: priority, conditions: conditions,
            action: ForwardAction(targetGroups: forward.map(\.group), isStickyByGroup: stickyByGroup))
    }
}
