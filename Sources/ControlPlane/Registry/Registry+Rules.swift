// Rules of listeners, changed one by one; each change is acknowledged when it is kept and every worker follows it.

import AdminModel
import Balancing

extension Registry {
    package func rules(of listener: String) async throws(ControlError) -> RulesResponse {
        let (loadBalancer, found) = try findListener(listener)
        let id = ListenerID(loadBalancer: loadBalancer.name, port: found.port)
        return RulesResponse(rules: found.ruleDescriptions(of: id))
    }

    /// - Parameter priority: A number, or `default`.
    package func rule(_ priority: String, of listener: String) async throws(ControlError) -> RuleDescription {
        let rules = try await rules(of: listener).rules
        if priority == "default", let last = rules.last { return last }
        guard let rule = rules.first(where: { $0.priority.map(String.init) == priority }) else {
            throw Self.ruleNotFound(priority, in: rules, of: listener)
        }
        return rule
    }

    package func createRule(
        _ request: RuleRequest, of listener: String
    ) async throws(ControlError) -> RuleDescription {
        let id = try await changeListener(listener) { (listener, id) throws(ControlError) in
            if let priority = request.priority { try Self.refuseTaken(priority, of: listener, id: id) }
            try Self.insert(request, into: &listener, id: id)
        }
        return try await rule(String(request.priority ?? 0), of: id.description)
    }

    /// What the request does not name stays as it is.
    package func modifyRule(
        _ priority: String, _ request: RuleRequest, of listener: String
    ) async throws(ControlError) -> RuleDescription {
        guard request.priority == nil else {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: "a priority is changed by itself, together with others: \"weir rules set-priorities "
                    + "LISTENER OLD=NEW\".")
        }
        let id = try await changeListener(listener) { (listener, id) throws(ControlError) in
            guard priority != "default" else {
                try Self.modifyDefault(request, of: &listener, of: id)
                return
            }
            let known = try Self.take(priority, from: &listener, id: id)
            try Self.insert(RuleRequest(known).merged(with: request), into: &listener, id: id)
        }
        return try await rule(priority, of: id.description)
    }

    /// Requests and flows that the rule has taken already go on.
    package func deleteRule(_ priority: String, of listener: String) async throws(ControlError)
        -> RulesResponse
    {
        let id = try await changeListener(listener) { (listener, id) throws(ControlError) in
            guard priority != "default" else {
                throw ControlError(
                    kind: .invalid, code: "OperationNotPermitted",
                    message:
                        "the default action of listener \(id) cannot be deleted: something has to happen to "
                        + "what no rule takes. Change it, or delete the listener.")
            }
            _ = try Self.take(priority, from: &listener, id: id)
        }
        return try await rules(of: id.description)
    }

    /// All or none; rules may change places, since only the outcome must have no priority twice.
    package func setRulePriorities(
        _ request: RulePrioritiesRequest, of listener: String
    ) async throws(ControlError) -> RulesResponse {
        let id = try await changeListener(listener) { (listener, id) throws(ControlError) in
            try Self.setPriorities(request.priorities, of: &listener, id: id)
        }
        return try await rules(of: id.description)
    }

    // MARK: On the listener

    private static func insert(
        _ request: RuleRequest, into listener: inout Listener, id: ListenerID
    ) throws(ControlError) {
        switch listener.protocol {
        case .http, .https:
            let rule = try ConfigurationReader.applicationRule(request, of: listener, id: id)
            listener.applicationRules.append(rule)
            listener.applicationRules.sort { $0.priority < $1.priority }
        case .tcp:
            listener.rules.append(try ConfigurationReader.passthroughRule(request, id: id))
            listener.rules.sort { $0.priority < $1.priority }
        case .udp, .tcpUDP, .tls:
            throw ControlError(
                kind: .invalid, code: "UnsupportedProtocol",
                message:
                    "listener \(id) is \(listener.protocol.rawValue), which has no rules. HTTP and HTTPS "
                    + "listeners have rules by the request, TCP listeners by the TLS greeting.")
        }
        let countMax =
            listener.protocol.isNetwork ? Limits.rulesPerListenerMax : Limits.applicationRulesPerListenerMax
        guard listener.ruleCount <= countMax else {
            throw ControlError(
                kind: .invalid, code: "TooManyRules",
                message:
                    "listener \(id) would have \(listener.ruleCount) rules; at most \(countMax) are allowed. "
                    + "Join some, or use a second listener.")
        }
    }

    private static func refuseTaken(
        _ priority: Int, of listener: Listener, id: ListenerID
    ) throws(ControlError) {
        guard listener.priorities.contains(priority) else { return }
        throw ControlError(
            kind: .conflict, code: "PriorityInUse",
            message:
                "listener \(id) has a rule of priority \(priority) already. Choose another priority, or modify "
                + "that rule.")
    }

    /// Takes a rule out and describes it.
    private static func take(
        _ priority: String, from listener: inout Listener, id: ListenerID
    ) throws(ControlError) -> RuleDescription {
        let rules = listener.ruleDescriptions(of: id)
        guard let rule = rules.first(where: { $0.priority.map(String.init) == priority }) else {
            throw ruleNotFound(priority, in: rules, of: id.description)
        }
        listener.rules.removeAll { $0.priority == rule.priority }
        listener.applicationRules.removeAll { $0.priority == rule.priority }
        return rule
    }

    private static func modifyDefault(
        _ request: RuleRequest, of listener: inout Listener, of id: ListenerID
    ) throws(ControlError) {
        guard request.conditions == nil, request.transforms == nil else {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message:
                    "the default action of listener \(id) has neither conditions nor transforms. Create a rule "
                    + "that has.")
        }
        guard request.action != nil else { return }
        var change = ListenerRequest()
        change.defaultAction = request.action
        listener.defaultAction = try ConfigurationReader.listener(
            ListenerRequest(listener).merged(with: change),
            of: LoadBalancer(name: id.loadBalancer, kind: listener.protocol.kind, addresses: [])
        ).defaultAction
    }

    private static func setPriorities(
        _ changes: [RulePrioritiesRequest.Change], of listener: inout Listener, id: ListenerID
    ) throws(ControlError) {
        var new: [Int: Int] = [:]
        for change in changes {
            guard (1...Limits.rulePriorityMax).contains(change.newPriority) else {
                throw ControlError(
                    kind: .invalid, code: "ValidationError",
                    message: "priority \(change.newPriority) is out of range; choose one from 1 to "
                        + "\(Limits.rulePriorityMax).")
            }
            guard listener.priorities.contains(change.priority) else {
                throw ruleNotFound(
                    String(change.priority), in: listener.ruleDescriptions(of: id), of: id.description)
            }
            guard new.updateValue(change.newPriority, forKey: change.priority) == nil else {
                throw ControlError(
                    kind: .invalid, code: "ValidationError",
                    message: "rule \(change.priority) is given two new priorities. Keep one of them.")
            }
        }
        let outcome = listener.priorities.map { new[$0] ?? $0 }
        if let twice = Dictionary(grouping: outcome, by: \.self).filter({ $0.value.count > 1 }).keys.min() {
            throw ControlError(
                kind: .conflict, code: "PriorityInUse",
                message:
                    "two rules of listener \(id) would have priority \(twice); nothing was changed. Give the "
                    + "other one a new priority in the same command.")
        }
        for index in listener.rules.indices {
            let old = listener.rules[index].priority
            listener.rules[index].priority = new[old] ?? old
        }
        for index in listener.applicationRules.indices {
            let old = listener.applicationRules[index].priority
            listener.applicationRules[index].priority = new[old] ?? old
        }
        listener.rules.sort { $0.priority < $1.priority }
        listener.applicationRules.sort { $0.priority < $1.priority }
    }

    private static func ruleNotFound(
        _ priority: String, in rules: [RuleDescription], of listener: String
    ) -> ControlError {
        let known = rules.compactMap { $0.priority.map(String.init) }
        return ControlError(
            kind: .notFound, code: "RuleNotFound",
            message: "listener \(ConfigurationReader.shortened(listener)) has no rule of priority "
                + "\"\(ConfigurationReader.shortened(priority))\"; "
                + (known.isEmpty
                    ? "it has the default action alone."
                    : "it has \(known.prefix(20).joined(separator: ", "))"
                        + (known.count > 20 ? " and \(known.count - 20) more." : ".")))
    }
}

extension Listener {
    fileprivate var priorities: [Int] { rules.map(\.priority) + applicationRules.map(\.priority) }
}
