// Listeners of a load balancer and their actions.

import Balancing
import HTTPCore
import Yams

extension ConfigurationReader {
    static let listenerKeys =
        ["port", "protocol", "default_action", "attributes"] + tlsListenerKeys + ["proxy_protocol", "rules"]

    /// - Parameter kind: Nil when the load balancer's type was refused; its listeners then say what it is.
    mutating func readListeners(of scope: Scope, kind: LoadBalancer.Kind?) -> [Listener] {
        let nodes =
            list(
                "listeners", of: scope, countMax: Limits.listenerCountMax, nextStep: "Remove some.") ?? []
        var listeners: [Listener] = []
        var lines: [UInt16: Int] = [:]
        for (index, node) in nodes.enumerated() {
            let path = "\(scope.path).listeners[\(index)]"
            let subject = "\(scope.subject): listeners[\(index)]"
            guard
                let fields = self.scope(
                    of: node, subject: subject, prefix: "", path: path, keys: Self.listenerKeys,
                    unavailable: Self.unavailableListenerKeys)
            else { continue }
            let port = readListenerPort(fields)
            let listener = readListener(fields, port: port, kind: kind)
            guard let port else { continue }
            if let line = lines[port] {
                note(
                    "port", of: fields,
                    "is \(port), which line \(line) has already. A load balancer has one listener per port; "
                        + "for TCP and UDP on one port use protocol TCP_UDP.")
                continue
            }
            lines[port] = fields.fields["port"]?.position?.line ?? fields.mark.line
            // One whose protocol or action was refused is left out: what it would clash with is unknown.
            if let listener { listeners.append(listener) }
        }
        return listeners
    }

    mutating func readListenerPort(_ scope: Scope) -> UInt16? {
        if scope.fields["port"] == nil {
            note("port", of: scope, "is missing. Give the port where clients arrive.")
        }
        return port("port", of: scope)
    }

    /// All of a listener but its port, which is checked against its siblings'.
    mutating func readListener(_ fields: Scope, port: UInt16?, kind: LoadBalancer.Kind?) -> Listener? {
        let trafficProtocol = readListenerProtocol(fields, kind: kind)
        let isNetwork = (kind ?? trafficProtocol?.kind ?? .network) == .network
        let place = trafficProtocol.flatMap { known in
            port.map { RedirectWriter.Context(isSecure: known == .https, port: $0) }
        }
        let action =
            isNetwork
            ? readAction(of: fields).map(RuleAction.forward) : readDefaultAction(of: fields, listener: place)
        var attributes = ListenerAttributes(for: trafficProtocol ?? (isNetwork ? .tcp : .http))
        readAttributes(of: fields, into: &attributes)
        let tls = readListenerTLS(of: fields, protocol: trafficProtocol)
        let proxyProtocol = readProxyProtocol(of: fields, protocol: trafficProtocol)
        let rules = isNetwork ? readRules(of: fields, protocol: trafficProtocol) : []
        let applicationRules = isNetwork ? [] : readApplicationRules(of: fields, listener: place)
        guard let trafficProtocol, let action else { return nil }
        return Listener(
            port: port ?? 0, protocol: trafficProtocol, defaultAction: action, attributes: attributes,
            tls: tls, proxyProtocol: proxyProtocol, rules: rules, applicationRules: applicationRules)
    }

    private mutating func readListenerProtocol(
        _ scope: Scope, kind: LoadBalancer.Kind?
    ) -> TrafficProtocol? {
        let words =
            switch kind {
            case .network: "TCP, UDP, TCP_UDP or TLS"
            case .application: "HTTP or HTTPS"
            case nil: "TCP, UDP, TCP_UDP, TLS, HTTP or HTTPS"
            }
        guard let text = requiredText("protocol", of: scope, "Give \(words).") else { return nil }
        guard let known = TrafficProtocol(rawValue: text) else {
            note(
                "protocol", of: scope,
                "is \"\(Self.shortened(text))\"; it must be \(words) (in capitals).")
            return nil
        }
        guard let kind, known.kind != kind else { return known }
        note(
            "protocol", of: scope,
            "is \(text), which belongs to \(known.kind.rawValue) load balancers; this one is \(kind.rawValue). "
                + "Use \(words), or set type: \(known.kind.rawValue).")
        return nil
    }

    // MARK: Actions

    private mutating func readAction(of listener: Scope) -> ForwardAction? {
        guard listener.fields["default_action"] != nil else {
            note(
                "default_action", of: listener,
                "is missing. Give default_action: { type: forward, target_group: NAME }.")
            return nil
        }
        guard let node = value("default_action", of: listener) else { return nil }
        return actionScope(
            of: node, subject: listener.subject, prefix: "\(listener.prefix)default_action.",
            path: listener.path(to: "default_action")
        ).flatMap { readForward($0) }
    }

    mutating func actionScope(of node: Node, subject: String, prefix: String, path: String) -> Scope? {
        scope(
            of: node, subject: subject, prefix: prefix, path: path,
            keys: ["type", "target_group", "forward", "stickiness"],
            unavailable: [
                "redirect": "It belongs to application load balancers; use type: forward.",
                "fixed_response": "It belongs to application load balancers; use type: forward.",
            ])
    }

    /// The action of a listener or rule; a network load balancer only forwards.
    mutating func readForward(_ scope: Scope) -> ForwardAction? {
        guard let type = requiredText("type", of: scope, "Give type: forward.") else { return nil }
        guard type == "forward" else {
            note(
                "type", of: scope,
                "is \"\(Self.shortened(type))\"; a network load balancer only has "
                    + "forward.")
            return nil
        }
        return readForwardAction(scope, isSticky: readGroupStickiness(scope))
    }

    /// The groups of a forward action, in the short or the long form.
    mutating func readForwardAction(
        _ scope: Scope, isSticky: Bool, stickinessSeconds: Int? = nil
    ) -> ForwardAction? {
        let hasName = scope.fields["target_group"] != nil
        let hasList = scope.fields["forward"] != nil
        guard hasName != hasList else {
            note(
                "target_group", of: scope,
                hasName
                    ? "is given beside forward. Keep one of them."
                    : "is missing. Give target_group or "
                        + "forward.")
            return nil
        }
        if hasName {
            guard let name = text("target_group", of: scope) else { return nil }
            return ForwardAction(
                targetGroups: [ForwardAction.WeightedTargetGroup(targetGroup: name)],
                isStickyByGroup: isSticky, stickinessSeconds: stickinessSeconds)
        }
        return readWeightedGroups(scope).map {
            ForwardAction(
                targetGroups: $0, isStickyByGroup: isSticky, stickinessSeconds: stickinessSeconds)
        }
    }

    private mutating func readGroupStickiness(_ scope: Scope) -> Bool {
        guard
            let fields = child(
                "stickiness", of: scope, keys: ["enabled"],
                unavailable: [
                    "duration": "A client keeps its group by the hash of its address, for good; leave "
                        + "it out."
                ])
        else { return false }
        return boolean("enabled", of: fields) ?? false
    }

    private mutating func readWeightedGroups(_ scope: Scope) -> [ForwardAction.WeightedTargetGroup]? {
        guard
            let nodes = list(
                "forward", of: scope, countMax: Limits.targetGroupsPerActionMax, nextStep: "Remove some.")
        else { return nil }
        var groups: [ForwardAction.WeightedTargetGroup] = []
        for (index, node) in nodes.enumerated() {
            guard
                let fields = self.scope(
                    of: node, subject: scope.subject, prefix: "\(scope.prefix)forward[\(index)].",
                    path: "\(scope.path(to: "forward"))[\(index)]", keys: ["target_group", "weight"]),
                let name = requiredText("target_group", of: fields, "Name a target group.")
            else { continue }
            let weight = integer("weight", of: fields, in: TargetRule.weights) ?? 1
            if groups.contains(where: { $0.targetGroup == name }) {
                note(
                    "target_group", of: fields,
                    "is \"\(Self.shortened(name))\", which the action names "
                        + "already. Keep one.")
                continue
            }
            groups.append(ForwardAction.WeightedTargetGroup(targetGroup: name, weight: weight))
        }
        guard groups.contains(where: { $0.weight > 0 }) else {
            if groups.count == nodes.count {
                note(
                    "forward", of: scope,
                    "has no group of positive weight, so no flow could go anywhere. "
                        + "Raise a weight.")
            }
            return nil
        }
        return groups
    }
}
