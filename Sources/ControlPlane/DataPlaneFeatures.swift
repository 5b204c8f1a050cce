// What a data plane offers beside plain TCP and UDP.
//
// A configuration that asks for more is refused as a whole: a listener that silently served TLS as plain TCP,
// or a rule that silently did nothing, would be worse than none.

/// Which parts of the configuration the data plane can carry out.
package struct DataPlaneFeatures: OptionSet, Sendable, Hashable {
    package let rawValue: Int

    package init(rawValue: Int) {
        self.rawValue = rawValue
    }

    /// TLS listeners and TLS towards targets.
    package static let tls = DataPlaneFeatures(rawValue: 1 << 0)
    /// HTTPS and TLS health checks.
    package static let tlsProbes = DataPlaneFeatures(rawValue: 1 << 1)
    /// PROXY protocol headers from clients and towards targets.
    package static let proxyProtocol = DataPlaneFeatures(rawValue: 1 << 2)
    /// `preserve_client_ip.enabled`: the process has CAP_NET_ADMIN.
    package static let clientIPPreservation = DataPlaneFeatures(rawValue: 1 << 3)
    /// Rules by the ClientHello.
    package static let passthroughRules = DataPlaneFeatures(rawValue: 1 << 4)

    /// Application load balancers.
    package static let applicationMode = DataPlaneFeatures(rawValue: 1 << 5)

    package static let all: DataPlaneFeatures = [
        .tls, .tlsProbes, .proxyProtocol, .clientIPPreservation, .passthroughRules, .applicationMode,
    ]
}
