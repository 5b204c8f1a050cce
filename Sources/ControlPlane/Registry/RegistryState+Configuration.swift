// A configuration merged into the state: it creates and updates what it names.
//
// What a list of the file has is the whole list: of the targets of a group, the listeners of a load balancer, the
// rules of a listener. Where the file has no such list, what was registered or created at runtime stays. With pruning,
// load balancers and groups that the file does not name go too.

import AdminModel
import Balancing

extension RegistryState {
    /// Merges `configuration` and tells what that changed, in the order in which it happens.
    ///
    /// The result is to be validated before it is used. Errors are those of bounds that only show here.
    package mutating func merge(
        _ configuration: Configuration, prune: Bool, at now: Instant, secondsSince1970: Double
    ) throws(ControlError) -> [ChangeDescription] {
        var changes: [ChangeDescription] = []
        for configured in configuration.targetGroups {
            let position = mergeGroup(configured.group, changes: &changes)
            if let targets = configured.targets {
                try mergeTargets(
                    targets, group: position, at: now, secondsSince1970: secondsSince1970, changes: &changes)
            }
        }
        for configured in configuration.loadBalancers {
            mergeLoadBalancer(keepingUnlisted(of: configured, by: configuration), changes: &changes)
        }
        if prune { removeUnnamed(configuration, at: now, changes: &changes) }
        try numberListeners(at: now)
        return changes
    }

    /// Gives every listener a number; see `assignListenerNumbers`.
    package mutating func numberListeners(at now: Instant) throws(ControlError) {
        guard let id = assignListenerNumbers(at: now) else { return }
        throw ControlError(
            kind: .failed, code: "TooManyListeners",
            message: "listener \(id) finds no number: \(Limits.listenerNumberCountMax) are in use or "
                + "wait for flows of removed listeners to end. Repeat the command when those have ended.")
    }

    // MARK: Groups and targets

    private mutating func mergeGroup(_ group: TargetGroup, changes: inout [ChangeDescription]) -> Int {
        let subject = "target group \"\(group.name)\""
        guard let position = groupPosition(named: group.name) else {
            changes.append(
                ChangeDescription(
                    action: "create", subject: subject,
                    details: ["protocol: \(group.protocol.rawValue)", "port: \(group.port)"]))
            insertGroup(group)
            return groups.count - 1
        }
        let details = Self.differences(from: self[group: position].group.values, to: group.values)
        if !details.isEmpty {
            changes.append(ChangeDescription(action: "modify", subject: subject, details: details))
        }
        self[group: position].group = group
        return position
    }

    private mutating func mergeTargets(
        _ targets: [Target], group position: Int, at now: Instant, secondsSince1970: Double,
        changes: inout [ChangeDescription]
    ) throws(ControlError) {
        let name = groups[position].group.name
        for target in targets {
            switch try register(target, group: position, at: now, secondsSince1970: secondsSince1970) {
            case .unchanged: break
            case .registered:
                changes.append(
                    ChangeDescription(action: "register", subject: "target \(target.id) of \"\(name)\""))
            case .modified(let details):
                changes.append(
                    ChangeDescription(
                        action: "modify", subject: "target \(target.id) of \"\(name)\"", details: details))
            }
        }
        let listed = Set(targets.map(\.id))
        for registration in groups[position].registrations
        where !registration.isDraining && !listed.contains(registration.target.id) {
            deregister(registration.target.id, group: position, at: now)
            changes.append(
                ChangeDescription(
                    action: "deregister", subject: "target \(registration.target.id) of \"\(name)\""))
        }
    }

    package enum RegisterOutcome: Sendable, Equatable {
        case unchanged
        case registered
        case modified([String])
    }

    /// Registers a target, brings it back while it drains, or updates its weight and zone.
    package mutating func register(
        _ target: Target, group position: Int, at now: Instant, secondsSince1970: Double
    ) throws(ControlError) -> RegisterOutcome {
        guard let index = groups[position].position(of: target.id) else {
            guard insertTarget(target, group: position, at: now, secondsSince1970: secondsSince1970) != nil
            else {
                throw ControlError(
                    kind: .failed, code: "TooManyTargets",
                    message: "target \(target.id) of \"\(groups[position].group.name)\" finds no number: "
                        + "\(Limits.targetNumberCountMax) are in use or wait for flows of removed targets "
                        + "to end. Repeat the command when those have ended.")
            }
            noteNewcomer(target.id, group: position)
            return .registered
        }
        let before = groups[position][index]
        self[group: position][index].target = target
        if before.isDraining {
            self[group: position][index].registerAgain()
            noteNewcomer(target.id, group: position)
            return .registered
        }
        let details = Self.differences(
            from: [
                ("weight", String(before.target.weight)),
                ("availability_zone", before.target.availabilityZone ?? "none"),
            ],
            to: [("weight", String(target.weight)), ("availability_zone", target.availabilityZone ?? "none")])
        return details.isEmpty ? .unchanged : .modified(details)
    }

    private mutating func noteNewcomer(_ id: TargetID, group position: Int) {
        let group = groups[position]
        let isCarried = group.registrations.contains { !$0.isDraining && $0.verdict == .healthy }
        guard isCarried, let index = group.position(of: id) else { return }
        self[group: position][index].becomeNewcomer()
    }

    /// Starts draining; a target that drains already keeps its deadline.
    package mutating func deregister(_ id: TargetID, group position: Int, at now: Instant) {
        guard let index = groups[position].position(of: id) else { return }
        let delay = groups[position].group.attributes.deregistrationDelaySeconds
        self[group: position][index].deregister(until: now.advanced(bySeconds: delay))
    }

    // MARK: Load balancers

    /// The load balancer with the listeners and rules of the present one where the file lists none.
    private func keepingUnlisted(
        of configured: LoadBalancer, by configuration: Configuration
    ) -> LoadBalancer {
        guard let present = loadBalancers.first(where: { $0.name == configured.name }),
            present.kind == configured.kind
        else { return configured }
        var result = configured
        if configuration.unlistedListeners.contains(configured.name) { result.listeners = present.listeners }
        for index in result.listeners.indices {
            let port = result.listeners[index].port
            let id = ListenerID(loadBalancer: configured.name, port: port)
            guard configuration.unlistedRules.contains(id),
                let listener = present.listeners.first(where: { $0.port == port })
            else { continue }
            if result.listeners[index].protocol == .tcp { result.listeners[index].rules = listener.rules }
            result.listeners[index].applicationRules = listener.applicationRules
        }
        return result
    }

    private mutating func mergeLoadBalancer(_ configured: LoadBalancer, changes: inout [ChangeDescription]) {
        let subject = "load balancer \"\(configured.name)\""
        guard let index = loadBalancers.firstIndex(where: { $0.name == configured.name }) else {
            changes.append(
                ChangeDescription(
                    action: "create", subject: subject,
                    details: ["addresses: \(configured.addresses.map(\.description).joined(separator: ", "))"]
                ))
            for listener in configured.listeners {
                changes.append(Self.creation(of: listener, in: configured))
            }
            loadBalancers.append(configured)
            return
        }
        let before = loadBalancers[index]
        let details = Self.differences(from: before.values, to: configured.values)
        if !details.isEmpty {
            changes.append(ChangeDescription(action: "modify", subject: subject, details: details))
        }
        for listener in configured.listeners {
            guard let old = before.listeners.first(where: { $0.port == listener.port }) else {
                changes.append(Self.creation(of: listener, in: configured))
                continue
            }
            let details = Self.differences(from: old.values, to: listener.values)
            if !details.isEmpty {
                changes.append(
                    ChangeDescription(
                        action: "modify", subject: "listener \(configured.name):\(listener.port)",
                        details: details))
            }
        }
        for old in before.listeners where !configured.listeners.contains(where: { $0.port == old.port }) {
            changes.append(
                ChangeDescription(
                    action: "delete",
                    subject: "listener "
                        + "\(configured.name):\(old.port)"))
        }
        loadBalancers[index] = configured
    }

    private static func creation(of listener: Listener, in loadBalancer: LoadBalancer) -> ChangeDescription {
        ChangeDescription(
            action: "create", subject: "listener \(loadBalancer.name):\(listener.port)",
            details: [
                "protocol: \(listener.protocol.rawValue)",
                "default_action: \(listener.defaultAction.adminDescription.text)",
            ] + (listener.ruleCount == 0 ? [] : ["rules: \(listener.ruleCount)"]))
    }

    private mutating func removeUnnamed(
        _ configuration: Configuration, at now: Instant, changes: inout [ChangeDescription]
    ) {
        let namedLoadBalancers = Set(configuration.loadBalancers.map(\.name))
        for loadBalancer in loadBalancers where !namedLoadBalancers.contains(loadBalancer.name) {
            for listener in loadBalancer.listeners {
                changes.append(
                    ChangeDescription(
                        action: "delete",
                        subject: "listener "
                            + "\(loadBalancer.name):\(listener.port)"))
            }
            changes.append(
                ChangeDescription(action: "delete", subject: "load balancer \"\(loadBalancer.name)\""))
        }
        loadBalancers.removeAll { !namedLoadBalancers.contains($0.name) }

        let namedGroups = Set(configuration.targetGroups.map(\.group.name))
        for name in groups.map(\.group.name) where !namedGroups.contains(name) {
            removeGroup(named: name, at: now)
            changes.append(ChangeDescription(action: "delete", subject: "target group \"\(name)\""))
        }
    }

    // MARK: Differences

    /// `KEY: OLD → NEW` for every value that differs; both lists name the same keys or more.
    static func differences(
        from old: [(key: String, value: String)], to new: [(key: String, value: String)]
    ) -> [String] {
        let before = Dictionary(old.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        return new.compactMap { key, value in
            let old = before[key] ?? "none"
            return old == value ? nil : "\(key): \(old) → \(value)"
        }
    }
}
