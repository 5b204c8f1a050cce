// Load balancers, their listeners, and the checks that need the whole file.

import Balancing
import Yams

extension ConfigurationReader {
    static let loadBalancerKeys = ["name", "type", "addresses", "ip_freebind", "attributes", "listeners"]
    static let listenerKeys = ["port", "protocol", "default_action", "attributes"]

    private static let unavailableListenerKeys = [
        "ssl_policy": "Let the targets end TLS, and use protocol TCP.",
        "certificates": "Let the targets end TLS, and use protocol TCP.",
        "certificate_arn": "Let the targets end TLS, and use protocol TCP.",
        "alpn_policy": "Let the targets end TLS, and use protocol TCP.",
        "rules": "Rules belong to application load balancers; use default_action.",
    ]

    struct ReadListener {
        var listener: Listener
        var scope: Scope
    }

    mutating func readLoadBalancers(_ top: Scope) -> [Located<LoadBalancer>] {
        let nodes = list(
            "load_balancers", of: top, countMax: Limits.loadBalancerCountMax, nextStep: "Merge some.") ?? []
        var loadBalancers: [Located<LoadBalancer>] = []
        var lines: [String: Int] = [:]
        var listenerCount = 0
        for (index, node) in nodes.enumerated() {
            guard let loadBalancer = readLoadBalancer(node, index: index, listenerCount: &listenerCount)
            else { continue }
            let name = loadBalancer.value.name
            if let line = lines[name] {
                note(
                    "name", of: loadBalancer.scope,
                    "is \"\(name)\", which line \(line) has already. Names are unique; choose another.")
            } else if !name.isEmpty {
                lines[name] = loadBalancer.scope.fields["name"]?.position?.line ?? loadBalancer.scope.mark.line
            }
            loadBalancers.append(loadBalancer)
        }
        if listenerCount > Limits.listenerCountMax {
            note(
                "load_balancers", of: top,
                "have \(listenerCount) listeners in all; at most \(Limits.listenerCountMax) are allowed. Remove some.")
        }
        return loadBalancers
    }

    private mutating func readLoadBalancer(
        _ node: Node, index: Int, listenerCount: inout Int
    ) -> Located<LoadBalancer>? {
        let path = "load_balancers[\(index)]"
        guard let scope = scope(
            of: node, subject: Self.subject(path, of: node), prefix: "", path: path,
            keys: Self.loadBalancerKeys)
        else { return nil }
        let name = name(of: scope)
        readKind(scope)

        var loadBalancer = LoadBalancer(name: name ?? "", addresses: [])
        let addresses = list(
            "addresses", of: scope, countMax: Limits.addressesPerLoadBalancerMax, nextStep: "Remove some.")
        loadBalancer.addresses = readAddresses(
            addresses ?? [], key: "addresses", of: scope, allowsUnspecified: true)
        if scope.fields["addresses"] == nil || addresses?.isEmpty == true {
            note(
                "addresses", of: scope,
                "is \(scope.fields["addresses"] == nil ? "missing" : "empty"). Give the static addresses to listen on, "
                    + "or 0.0.0.0 and \"::\" for every address of this machine.")
        }
        checkWildcards(loadBalancer.addresses, of: scope)
        if let isFreebind = boolean("ip_freebind", of: scope) { loadBalancer.isFreebind = isFreebind }
        readAttributes(of: scope, into: &loadBalancer.attributes)
        loadBalancer.listeners = readListeners(of: scope)
        listenerCount += loadBalancer.listeners.count
        return Located(value: loadBalancer, scope: scope)
    }

    private mutating func readKind(_ scope: Scope) {
        guard let text = requiredText("type", of: scope, "Give type: network.") else { return }
        switch LoadBalancer.Kind(rawValue: text) {
        case .network: return
        case .application:
            note(
                "type", of: scope,
                "is application, which is not available yet in this version. "
                    + "Use type: network with a TCP listener, which carries HTTP unchanged.")
        case nil: note("type", of: scope, "is \"\(Self.shortened(text))\"; it must be network.")
        }
    }

    /// A wildcard beside an address of its own family would bind the same port twice.
    private mutating func checkWildcards(_ addresses: [IPAddress], of scope: Scope) {
        for wildcard in addresses where wildcard.isUnspecified {
            for other in addresses where !other.isUnspecified && other.family == wildcard.family {
                note(
                    "addresses", of: scope,
                    "has \(other) beside \(wildcard), which means every address already. Keep one of them.")
            }
        }
    }

    // MARK: Listeners

    private mutating func readListeners(of scope: Scope) -> [Listener] {
        let nodes = list(
            "listeners", of: scope, countMax: Limits.listenerCountMax, nextStep: "Remove some.") ?? []
        var listeners: [Listener] = []
        var lines: [UInt16: Int] = [:]
        for (index, node) in nodes.enumerated() {
            let path = "\(scope.path).listeners[\(index)]"
            let subject = "\(scope.subject): listeners[\(index)]"
            guard let fields = self.scope(
                of: node, subject: subject, prefix: "", path: path, keys: Self.listenerKeys,
                unavailable: Self.unavailableListenerKeys)
            else { continue }
            if fields.fields["port"] == nil {
                note("port", of: fields, "is missing. Give the port where clients arrive.")
            }
            let port = port("port", of: fields)
            let trafficProtocol = readListenerProtocol(fields)
            let action = readAction(of: fields)
            var attributes = ListenerAttributes()
            readAttributes(of: fields, into: &attributes)
            guard let port else { continue }
            if let line = lines[port] {
                note(
                    "port", of: fields,
                    "is \(port), which line \(line) has already. A load balancer has one listener per port; "
                        + "for TCP and UDP on one port use protocol TCP_UDP.")
                continue
            }
            lines[port] = fields.fields["port"]?.position?.line ?? fields.mark.line
            // A listener whose protocol or action was refused is left out: what it would clash with is unknown.
            guard let trafficProtocol, let action else { continue }
            listeners.append(
                Listener(port: port, protocol: trafficProtocol, defaultAction: action, attributes: attributes))
        }
        return listeners
    }

    private mutating func readListenerProtocol(_ scope: Scope) -> TrafficProtocol? {
        guard let text = requiredText("protocol", of: scope, "Give TCP, UDP or TCP_UDP.") else { return nil }
        switch TrafficProtocol(rawValue: text) {
        case .tcp: return .tcp
        case .udp: return .udp
        case .tcpUDP: return .tcpUDP
        case .tls:
            note(
                "protocol", of: scope,
                "is TLS, which is not available yet in this version. Use TCP, and let the targets end TLS.")
        case .http, .https:
            note(
                "protocol", of: scope,
                "is \(text), which belongs to application load balancers and is not available yet in this version. "
                    + "Use TCP, which carries it unchanged.")
        case nil:
            note(
                "protocol", of: scope,
                "is \"\(Self.shortened(text))\"; it must be TCP, UDP or TCP_UDP (in capitals).")
        }
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
        guard let scope = child(
            "default_action", of: listener, keys: ["type", "target_group", "forward", "stickiness"],
            unavailable: [
                "redirect": "It belongs to application load balancers; use type: forward.",
                "fixed_response": "It belongs to application load balancers; use type: forward.",
            ])
        else { return nil }
        guard let type = requiredText("type", of: scope, "Give type: forward.") else { return nil }
        guard type == "forward" else {
            note("type", of: scope, "is \"\(Self.shortened(type))\"; a network load balancer only has forward.")
            return nil
        }
        let isSticky = readGroupStickiness(scope)
        let hasName = scope.fields["target_group"] != nil
        let hasList = scope.fields["forward"] != nil
        guard hasName != hasList else {
            note(
                "target_group", of: scope,
                hasName ? "is given beside forward. Keep one of them." : "is missing. Give target_group or forward.")
            return nil
        }
        if hasName {
            guard let name = text("target_group", of: scope) else { return nil }
            return ForwardAction(
                targetGroups: [ForwardAction.WeightedTargetGroup(targetGroup: name)], isStickyByGroup: isSticky)
        }
        return readWeightedGroups(scope, isSticky: isSticky)
    }

    private mutating func readGroupStickiness(_ scope: Scope) -> Bool {
        guard let fields = child(
            "stickiness", of: scope, keys: ["enabled"],
            unavailable: ["duration": "A client keeps its group by the hash of its address, for good; leave it out."])
        else { return false }
        return boolean("enabled", of: fields) ?? false
    }

    private mutating func readWeightedGroups(_ scope: Scope, isSticky: Bool) -> ForwardAction? {
        guard let nodes = list(
            "forward", of: scope, countMax: Limits.targetGroupsPerActionMax, nextStep: "Remove some.")
        else { return nil }
        var groups: [ForwardAction.WeightedTargetGroup] = []
        for (index, node) in nodes.enumerated() {
            guard let fields = self.scope(
                of: node, subject: scope.subject, prefix: "\(scope.prefix)forward[\(index)].",
                path: "\(scope.path(to: "forward"))[\(index)]", keys: ["target_group", "weight"]),
                let name = requiredText("target_group", of: fields, "Name a target group.")
            else { continue }
            let weight = integer("weight", of: fields, in: TargetRule.weights) ?? 1
            if groups.contains(where: { $0.targetGroup == name }) {
                note("target_group", of: fields, "is \"\(Self.shortened(name))\", which the action names already. Keep one.")
                continue
            }
            groups.append(ForwardAction.WeightedTargetGroup(targetGroup: name, weight: weight))
        }
        guard groups.contains(where: { $0.weight > 0 }) else {
            if groups.count == nodes.count {
                note("forward", of: scope, "has no group of positive weight, so no flow could go anywhere. Raise a weight.")
            }
            return nil
        }
        return ForwardAction(targetGroups: groups, isStickyByGroup: isSticky)
    }

    // MARK: The whole file

    /// Checks what listeners name and whether they can live side by side.
    mutating func checkReferences(
        of loadBalancers: [Located<LoadBalancer>], to groups: [Located<ConfiguredTargetGroup>]
    ) {
        let protocols = Dictionary(
            groups.map { ($0.value.group.name, $0.value.group.protocol) }, uniquingKeysWith: { first, _ in first })
        for loadBalancer in loadBalancers {
            for listener in loadBalancer.value.listeners {
                for choice in listener.defaultAction.targetGroups {
                    check(choice.targetGroup, for: listener, of: loadBalancer, protocols: protocols)
                }
            }
        }
        for overlap in ListenerRule.overlaps(among: loadBalancers.map(\.value)) {
            guard let second = loadBalancers.last(where: { $0.value.name == overlap.second.loadBalancer })
            else { continue }
            let place = place(ofPort: overlap.second.port, in: second)
            let transport = overlap.transport == .tcp ? "TCP" : "UDP"
            note(
                at: place.mark, path: place.path, subject: second.scope.subject,
                "listener \(overlap.second) listens on \(overlap.secondAddress) for \(transport), and so does "
                    + "\(overlap.first) on \(overlap.firstAddress). Give one of them another port or address.")
        }
    }

    private mutating func check(
        _ name: String, for listener: Listener, of loadBalancer: Located<LoadBalancer>,
        protocols: [String: TrafficProtocol]
    ) {
        let place = place(ofPort: listener.port, in: loadBalancer)
        guard let group = protocols[name] else {
            let known = protocols.keys.filter { !$0.isEmpty }.sorted()
            let advice = known.isEmpty
                ? ". Add it under target_groups." : NearestKey.advice(for: name, in: known)
            note(
                at: place.mark, path: "\(place.path).default_action", subject: loadBalancer.scope.subject,
                "listener port \(listener.port) forwards to target group \"\(Self.shortened(name))\", which the file "
                    + "does not have" + advice)
            return
        }
        guard ListenerRule.canForward(listener.protocol, to: group) else {
            note(
                at: place.mark, path: "\(place.path).default_action", subject: loadBalancer.scope.subject,
                "listener port \(listener.port) is \(listener.protocol.rawValue), but target group \"\(name)\" is "
                    + "\(group.rawValue); \(ListenerRule.groupsSentence(for: listener.protocol)).")
            return
        }
    }

    /// The place of the listener with a port, found again in the document.
    private func place(ofPort port: UInt16, in loadBalancer: Located<LoadBalancer>) -> (mark: Position?, path: String) {
        guard case .sequence(let nodes)? = loadBalancer.scope.fields["listeners"] else {
            return (loadBalancer.scope.mark, loadBalancer.scope.path)
        }
        for (index, node) in nodes.enumerated() {
            guard case .mapping(let mapping) = node,
                case .scalar(let scalar)? = mapping.first(where: { $0.key.scalar?.string == "port" })?.value,
                scalar.string == String(port)
            else { continue }
            return (node.position, "\(loadBalancer.scope.path).listeners[\(index)]")
        }
        return (loadBalancer.scope.mark, loadBalancer.scope.path)
    }
}
