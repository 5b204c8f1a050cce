// What of the state needs TLS contexts, and what needs a data plane that has more than TCP and UDP.

import Balancing

extension RegistryState {
    /// Every context that the state needs, each use once, in the order of the configuration.
    package var tlsDemand: TLSDemand {
        var demand = TLSDemand()
        var seen: Set<TLSDemand.TargetUse> = []
        for loadBalancer in loadBalancers {
            for listener in loadBalancer.listeners {
                let tls = loadBalancer.tls(of: listener)
                if let tls {
                    let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
                    demand.listeners.append(TLSDemand.ListenerUse(listener: id, settings: tls))
                }
                for choice in listener.actions.flatMap(\.targetGroups) {
                    guard let group = group(named: choice.targetGroup)?.group, let settings = group.tls
                    else { continue }
                    let use = TLSDemand.TargetUse(
                        targetGroup: choice.targetGroup,
                        route: TLSTargetRoute(
                            settings: settings, policy: tls.policyTowardsTargets,
                            asksForHTTP2: group.speaksHTTP2ToTargets))
                    if seen.insert(use).inserted { demand.targets.append(use) }
                }
            }
        }
        for group in groups {
            guard let settings = group.group.healthCheck.tls else { continue }
            demand.probes.append(TLSDemand.ProbeUse(targetGroup: group.group.name, settings: settings))
        }
        return demand
    }

    /// What of the state the data plane cannot carry out, one sentence each.
    func unsupported(by features: DataPlaneFeatures) -> [(code: String, message: String)] {
        var found: [(code: String, message: String)] = []
        func lacks(_ feature: DataPlaneFeatures, _ code: String, _ subject: String, _ nextStep: String) {
            guard !features.contains(feature) else { return }
            found.append((code, "\(subject), which this build of Weir does not have. \(nextStep)"))
        }
        let code = "InvalidConfigurationRequest"
        for loadBalancer in loadBalancers {
            for listener in loadBalancer.listeners {
                let subject = "listener \(loadBalancer.name):\(listener.port)"
                if !listener.protocol.isNetwork {
                    lacks(
                        .applicationMode, "UnsupportedProtocol",
                        "\(subject) is \(listener.protocol.rawValue)",
                        "Use type: network with a TCP listener, which carries HTTP unchanged.")
                }
                if listener.protocol.usesTLS {
                    lacks(
                        .tls, "UnsupportedProtocol", "\(subject) is \(listener.protocol.rawValue)",
                        listener.protocol == .tls ? "Use TCP, and let the targets end TLS." : "Use HTTP.")
                }
                if listener.proxyProtocol != nil {
                    lacks(.proxyProtocol, code, "\(subject) has proxy_protocol", "Leave it out.")
                }
                if !listener.rules.isEmpty {
                    lacks(.passthroughRules, code, "\(subject) has rules", "Use default_action alone.")
                }
            }
        }
        for group in groups.map(\.group) {
            let subject = "target group \"\(group.name)\""
            if group.protocol.usesTLS {
                lacks(
                    .tls, "UnsupportedProtocol", "\(subject) is \(group.protocol.rawValue)",
                    group.protocol == .tls ? "Use TCP." : "Use HTTP.")
            }
            if group.healthCheck.protocol.usesTLS {
                lacks(
                    .tlsProbes, "UnsupportedProtocol",
                    "\(subject) has \(group.healthCheck.protocol.rawValue) health checks",
                    "Use HTTP on a plain port, or TCP.")
            }
            if group.attributes.sendsProxyProtocol {
                lacks(.proxyProtocol, code, "\(subject) has proxy_protocol_v2.enabled", "Leave it out.")
            }
            if group.attributes.preservesClientIP, !features.contains(.clientIPPreservation) {
                found.append(
                    (
                        code,
                        "\(subject) has preserve_client_ip.enabled, for which this process lacks CAP_NET_ADMIN: it is "
                            + "kept only from a start at which a group needs it. Put the group into the "
                            + "configuration file and restart Weir, as root or with "
                            + "AmbientCapabilities=CAP_NET_ADMIN in its unit (see config/weir.service)."
                    ))
            }
        }
        return found
    }
}

extension TLSListenerSettings? {
    /// What a listener's flows use towards targets: its own policy, and the default one where it ends no TLS.
    var policyTowardsTargets: SecurityPolicy { (self?.policy ?? .default).towardsTargets }
}
