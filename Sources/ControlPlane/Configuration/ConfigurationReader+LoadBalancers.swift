// Load balancers, and the checks that need the whole file.

import Balancing
import Yams

extension ConfigurationReader {
    static let loadBalancerKeys = [
        "name", "type", "addresses", "ip_freebind", "access_logs", "attributes", "listeners",
    ]

    mutating func readLoadBalancers(_ top: Scope) -> [Located<LoadBalancer>] {
        let nodes =
            list(
                "load_balancers", of: top, countMax: Limits.loadBalancerCountMax, nextStep: "Merge some.")
            ?? []
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
                lines[name] =
                    loadBalancer.scope.fields["name"]?.position?.line ?? loadBalancer.scope.mark.line
            }
            loadBalancers.append(loadBalancer)
        }
        if listenerCount > Limits.listenerCountMax {
            note(
                "load_balancers", of: top,
                "have \(listenerCount) listeners in all; at most \(Limits.listenerCountMax) are allowed. "
                    + "Remove some.")
        }
        return loadBalancers
    }

    private mutating func readLoadBalancer(
        _ node: Node, index: Int, listenerCount: inout Int
    ) -> Located<LoadBalancer>? {
        let path = "load_balancers[\(index)]"
        guard
            let scope = scope(
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
        if loadBalancer.addresses.isEmpty, addresses?.isEmpty ?? (scope.fields["addresses"] == nil) {
            note(
                "addresses", of: scope,
                "is \(addresses == nil ? "missing" : "empty"). Give the static addresses to listen on, "
                    + "or 0.0.0.0 and \"::\" for every address of this machine.")
        }
        checkWildcards(loadBalancer.addresses, of: scope)
        if let isFreebind = boolean("ip_freebind", of: scope) { loadBalancer.isFreebind = isFreebind }
        readAttributes(of: scope, into: &loadBalancer.attributes)
        readAccessLogs(of: scope, into: &loadBalancer.attributes)
        loadBalancer.listeners = readListeners(of: scope)
        listenerCount += loadBalancer.listeners.count
        return Located(value: loadBalancer, scope: scope)
    }

    /// Terraform's block, with a file where it has a bucket; the same as the attributes under those keys.
    private mutating func readAccessLogs(of scope: Scope, into attributes: inout LoadBalancerAttributes) {
        if let fields = child(
            "access_logs", of: scope, keys: ["enabled", "path"],
            unavailable: [
                "bucket": "Weir writes a file: path: FILE, or path: stdout.",
                "prefix": "Weir writes a file: path: FILE, or path: stdout.",
            ])
        {
            // As in Terraform, the block alone does not turn the log on.
            if let isEnabled = boolean("enabled", of: fields) { attributes.isAccessLogEnabled = isEnabled }
            if let path = text("path", of: fields) {
                do throws(AttributeError) {
                    try attributes.set(LoadBalancerAttributes.accessLogPathKey, to: path)
                } catch {
                    note(
                        "path", of: fields,
                        "is \"\(Self.shortened(path))\"; it must be \"stdout\" or the whole path of a file, "
                            + "beginning with \"/\" and ending with \".log\".")
                    return
                }
            }
        }
        if attributes.isAccessLogEnabled, attributes.accessLogFile.isEmpty {
            note(
                "access_logs", of: scope,
                "is enabled, but names no file. Give access_logs: { enabled: true, path: FILE }.")
        }
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

    // MARK: The whole file

    /// Checks what listeners name and whether they can live side by side.
    mutating func checkReferences(
        of loadBalancers: [Located<LoadBalancer>], to groups: [Located<ConfiguredTargetGroup>]
    ) {
        let protocols = Dictionary(
            groups.map { ($0.value.group.name, $0.value.group.protocol) },
            uniquingKeysWith: { first, _ in first })
        for loadBalancer in loadBalancers {
            for listener in loadBalancer.value.listeners {
                for choice in listener.actions.flatMap(\.targetGroups) {
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
                "listener \(overlap.second) listens on \(overlap.secondAddress) for \(transport), and so "
                    + "does \(overlap.first) on \(overlap.firstAddress). Give one of them another port or "
                    + "address.")
        }
    }

    private mutating func check(
        _ name: String, for listener: Listener, of loadBalancer: Located<LoadBalancer>,
        protocols: [String: TrafficProtocol]
    ) {
        let place = place(ofPort: listener.port, in: loadBalancer)
        guard let group = protocols[name] else {
            let known = protocols.keys.filter { !$0.isEmpty }.sorted()
            let advice =
                known.isEmpty
                ? ". Add it under target_groups." : NearestKey.advice(for: name, in: known)
            note(
                at: place.mark, path: "\(place.path).default_action", subject: loadBalancer.scope.subject,
                "listener port \(listener.port) forwards to target group \"\(Self.shortened(name))\", which "
                    + "the file does not have" + advice)
            return
        }
        guard ListenerRule.canForward(listener.protocol, to: group) else {
            note(
                at: place.mark, path: "\(place.path).default_action", subject: loadBalancer.scope.subject,
                "listener port \(listener.port) is \(listener.protocol.rawValue), but target group "
                    + "\"\(name)\" is \(group.rawValue); "
                    + "\(ListenerRule.groupsSentence(for: listener.protocol)).")
            return
        }
    }

    /// The place of the listener with a port, found again in the document.
    private func place(ofPort port: UInt16, in loadBalancer: Located<LoadBalancer>) -> (
        mark: Position?, path: String
    ) {
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
