// Load balancers, and the checks that need the whole file.

import Balancing
import Yams

extension ConfigurationReader {
    static let loadBalancerKeys = [
        "name", "type", "addresses", "ip_freebind", "access_logs", "connection_logs", "attributes",
        "listeners",
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
        let kind = readKind(scope)

        var loadBalancer = LoadBalancer(name: name ?? "", kind: kind ?? .network, addresses: [])
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
        readConnectionLogs(of: scope, into: &loadBalancer.attributes)
        loadBalancer.listeners = readListeners(of: scope, kind: kind)
        if let name {
            if scope.fields["listeners"] == nil { unlistedListeners.insert(name) }
            noteUnlistedRules(of: scope, loadBalancer: name)
        }
        listenerCount += loadBalancer.listeners.count
        return Located(value: loadBalancer, scope: scope)
    }

    private mutating func noteUnlistedRules(of scope: Scope, loadBalancer name: String) {
        for node in scope.fields["listeners"]?.sequence.map(Array.init) ?? [] {
            guard let mapping = node.mapping,
                let port = mapping.first(where: { $0.key.scalar?.string == "port" })?.value.scalar,
                let number = Self.wholeNumber(port.string).flatMap(UInt16.init(exactly:)),
                !mapping.contains(where: { $0.key.scalar?.string == "rules" })
            else { continue }
            unlistedRules.insert(ListenerID(loadBalancer: name, port: number))
        }
    }

    /// Terraform's block, with a file where it has a bucket; the same as the attributes under those keys.
    private mutating func readAccessLogs(of scope: Scope, into attributes: inout LoadBalancerAttributes) {
        guard let block = readLogs("access_logs", of: scope, isEnabled: attributes.isAccessLogEnabled) else {
            return
        }
        attributes.isAccessLogEnabled = block.isEnabled
        if let path = block.path { attributes.accessLogFile = path }
        if block.isEnabled, attributes.accessLogFile.isEmpty { noteMissingFile("access_logs", of: scope) }
    }

    /// The same for the connections of an application load balancer.
    private mutating func readConnectionLogs(
        of scope: Scope, into attributes: inout LoadBalancerAttributes
    ) {
        guard attributes.kind == .application else {
            if scope.fields["connection_logs"] != nil {
                note(
                    "connection_logs", of: scope,
                    "belongs to application load balancers. Use access_logs, where the connections of TLS "
                        + "listeners stand, or leave it out.")
            }
            return
        }
        let isEnabled = attributes.application.isConnectionLogEnabled
        guard let block = readLogs("connection_logs", of: scope, isEnabled: isEnabled) else { return }
        attributes.application.isConnectionLogEnabled = block.isEnabled
        if let path = block.path { attributes.application.connectionLogFile = path }
        if block.isEnabled, attributes.application.connectionLogFile.isEmpty {
            noteMissingFile("connection_logs", of: scope)
        }
    }

    /// Nil when something is wrong with the block; what it does not say stays as the attributes have it.
    private mutating func readLogs(
        _ key: String, of scope: Scope, isEnabled: Bool
    ) -> (isEnabled: Bool, path: String?)? {
        guard scope.fields[key] != nil else { return (isEnabled, nil) }
        guard
            let fields = child(
                key, of: scope, keys: ["enabled", "path"],
                unavailable: [
                    "bucket": "Weir writes a file: path: FILE, or path: stdout.",
                    "prefix": "Weir writes a file: path: FILE, or path: stdout.",
                ])
        else { return (isEnabled, nil) }
        // As in Terraform, the block alone does not turn the log on.
        let isEnabled = boolean("enabled", of: fields) ?? isEnabled
        guard let path = text("path", of: fields) else { return (isEnabled, nil) }
        var attributes = LoadBalancerAttributes()
        do throws(AttributeError) {
            try attributes.set(LoadBalancerAttributes.accessLogPathKey, to: path)
        } catch {
            note(
                "path", of: fields,
                "is \"\(Self.shortened(path))\"; it must be \"stdout\" or the whole path of a file, "
                    + "beginning with \"/\" and ending with \".log\".")
            return nil
        }
        return (isEnabled, path)
    }

    private mutating func noteMissingFile(_ key: String, of scope: Scope) {
        note(
            key, of: scope,
            "is enabled, but names no file. Give \(key): { enabled: true, path: FILE }.")
    }

    private mutating func readKind(_ scope: Scope) -> LoadBalancer.Kind? {
        guard let text = requiredText("type", of: scope, "Give type: network or type: application.") else {
            return nil
        }
        if let kind = LoadBalancer.Kind(rawValue: text) { return kind }
        note("type", of: scope, "is \"\(Self.shortened(text))\"; it must be network or application.")
        return nil
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
                let rules =
                    listener.rules.map { (priority: $0.priority, action: $0.action) }
                    + listener.applicationRules.compactMap { rule in
                        rule.action.forward.map { (priority: rule.priority, action: $0) }
                    }
                for rule in rules {
                    check(
                        rule.action, rule: rule.priority, for: listener, of: loadBalancer,
                        protocols: protocols)
                }
                if let action = listener.defaultAction.forward {
                    check(action, rule: nil, for: listener, of: loadBalancer, protocols: protocols)
                }
            }
        }
        for overlap in ListenerFit.overlaps(among: loadBalancers.map(\.value)) {
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

    /// - Parameter rule: The priority of the rule whose action it is; nil for the default action.
    private mutating func check(
        _ action: ForwardAction, rule: Int?, for listener: Listener, of loadBalancer: Located<LoadBalancer>,
        protocols: [String: TrafficProtocol]
    ) {
        for name in action.targetGroups.map(\.targetGroup) {
            let group = protocols[name]
            if let group, ListenerFit.canForward(listener.protocol, to: group) { continue }
            var place = place(ofPort: listener.port, in: loadBalancer)
            var subject = "listener port \(listener.port)"
            if let rule {
                place = self.place(ofRule: rule, listener: place)
                subject += ", rule \(rule)"
            } else {
                place.path += ".default_action"
            }
            guard let group else {
                let known = protocols.keys.filter { !$0.isEmpty }.sorted()
                let advice =
                    known.isEmpty
                    ? ". Add it under target_groups." : NearestKey.advice(for: name, in: known)
                note(
                    at: place.mark, path: place.path, subject: loadBalancer.scope.subject,
                    "\(subject) forwards to target group \"\(Self.shortened(name))\", which "
                        + "the file does not have" + advice)
                continue
            }
            note(
                at: place.mark, path: place.path, subject: loadBalancer.scope.subject,
                "\(subject) is \(listener.protocol.rawValue), but target group "
                    + "\"\(name)\" is \(group.rawValue); "
                    + "\(ListenerFit.groupsSentence(for: listener.protocol)).")
        }
    }

    private typealias Place = (mark: Position?, path: String, node: Node?)

    /// The place of the listener with a port, found again in the document.
    private func place(ofPort port: UInt16, in loadBalancer: Located<LoadBalancer>) -> Place {
        guard case .sequence(let nodes)? = loadBalancer.scope.fields["listeners"] else {
            return (loadBalancer.scope.mark, loadBalancer.scope.path, nil)
        }
        for (index, node) in nodes.enumerated() {
            guard case .mapping(let mapping) = node,
                case .scalar(let scalar)? = mapping.first(where: { $0.key.scalar?.string == "port" })?.value,
                scalar.string == String(port)
            else { continue }
            return (node.position, "\(loadBalancer.scope.path).listeners[\(index)]", node)
        }
        return (loadBalancer.scope.mark, loadBalancer.scope.path, nil)
    }

    /// The place of the rule with a priority within that of its listener.
    private func place(ofRule priority: Int, listener: Place) -> Place {
        guard case .mapping(let fields)? = listener.node,
            case .sequence(let nodes)? = fields.first(where: { $0.key.scalar?.string == "rules" })?.value
        else { return listener }
        for (index, node) in nodes.enumerated() {
            guard case .mapping(let mapping) = node,
                case .scalar(let scalar)? = mapping.first(where: { $0.key.scalar?.string == "priority" })?
                    .value,
                scalar.string == String(priority)
            else { continue }
            return (node.position, "\(listener.path).rules[\(index)]", node)
        }
        return listener
    }
}
