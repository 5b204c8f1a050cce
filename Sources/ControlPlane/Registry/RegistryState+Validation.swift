// What must hold of the whole state, whoever changed it: a file is checked against what is there already.

import Balancing

extension RegistryState {
    /// Everything that contradicts, one sentence each; empty for a state that can run.
    package func contradictions(with features: DataPlaneFeatures = .all) -> [(code: String, message: String)]
    {
        var found = unsupported(by: features)
        func bound(_ count: Int, _ countMax: Int, _ things: String, _ code: String) {
            guard count > countMax else { return }
            found.append(
                (
                    code,
                    "there would be \(count) \(things); at most \(countMax) are allowed. Remove some, or "
                        + "apply with --prune."
                ))
        }
        bound(loadBalancers.count, Limits.loadBalancerCountMax, "load balancers", "TooManyLoadBalancers")
        bound(
            loadBalancers.reduce(0) { $0 + $1.listeners.count }, Limits.listenerCountMax, "listeners",
            "TooManyListeners")
        bound(groups.count, Limits.targetGroupCountMax, "target groups", "TooManyTargetGroups")
        bound(registeredTargetCount, Limits.targetCountMax, "targets", "TooManyTargets")

        for loadBalancer in loadBalancers {
            for listener in loadBalancer.listeners {
                if listener.protocol.kind != loadBalancer.kind {
                    found.append(
                        (
                            "UnsupportedProtocol",
                            "listener \(loadBalancer.name):\(listener.port) is \(listener.protocol.rawValue), which "
                                + "belongs to \(listener.protocol.kind.rawValue) load balancers, but this one is "
                                + "\(loadBalancer.kind.rawValue). List its listeners, or give it another name."
                        ))
                }
                for choice in listener.actions.flatMap(\.targetGroups) {
                    let id = "listener \(loadBalancer.name):\(listener.port)"
                    guard let group = group(named: choice.targetGroup)?.group else {
                        found.append(
                            (
                                "TargetGroupNotFound",
                                "\(id) forwards to target group \"\(ConfigurationReader.shortened(choice.targetGroup))\", "
                                    + "which does not exist"
                                    + (NearestKey.find(choice.targetGroup, in: groups.map(\.group.name))
                                        .map { "; did you mean \"\($0)\"?" }
                                        ?? ". Keep the group, or change the listener.")
                            ))
                        continue
                    }
                    if !ListenerFit.canForward(listener.protocol, to: group.protocol) {
                        found.append(
                            (
                                "IncompatibleProtocols",
                                "\(id) is \(listener.protocol.rawValue), but target group \"\(group.name)\" "
                                    + "is \(group.protocol.rawValue); "
                                    + "\(ListenerFit.groupsSentence(for: listener.protocol))."
                            ))
                    }
                }
            }
        }
        for overlap in ListenerFit.overlaps(among: loadBalancers) {
            let transport = overlap.transport == .tcp ? "TCP" : "UDP"
            found.append(
                (
                    "DuplicateListener",
                    "listener \(overlap.second) listens on \(overlap.secondAddress) for \(transport), and "
                        + "so does \(overlap.first) on \(overlap.firstAddress). Give one of them another "
                        + "port or address, or remove what the file does not name with --prune."
                ))
        }
        return found
    }

    /// Throws all contradictions as one error.
    package func validate(with features: DataPlaneFeatures = .all) throws(ControlError) {
        let found = contradictions(with: features)
        guard let first = found.first else { return }
        throw ControlError(
            kind: .conflict, code: first.code,
            message: found.count == 1
                ? first.message : "\(first.message) (and \(found.count - 1) more; nothing was changed)",
            details: found.map(\.message))
    }
}
