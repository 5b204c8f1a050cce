// From the configuration's words to what contexts are built of.

import Balancing

extension ServerSettings {
    package init(_ settings: TLSListenerSettings, usesKernelTLS: Bool) {
        let clients: ClientAuthentication =
            switch settings.mutualAuthentication {
            case .off: .off
            case .passthrough: .passthrough
            case .verify(let trust):
                .verify(
                    TrustStore(
                        authorities: trust.caCertificates,
                        revocationLists: [trust.revocationLists].compactMap(\.self),
                        ignoresExpiry: trust.ignoresExpiry, advertisesNames: trust.advertisesNames))
            }
        self.init(
            policy: settings.policy, certificates: settings.certificates, alpn: settings.alpn,
            clients: clients,
            usesKernelTLS: usesKernelTLS)
    }
}

extension ClientSettings {
    package init(
        _ settings: TLSTargetSettings, policy: SecurityPolicy = SecurityPolicy.default.towardsTargets,
        protocols: [String] = [], usesKernelTLS: Bool = false
    ) {
        self.init(
            policy: policy, serverName: settings.serverName,
            trust: settings.caFile.map { TrustStore(authorities: $0) }, certificate: settings.certificate,
            protocols: protocols, usesKernelTLS: usesKernelTLS)
    }
}
