// Rules and actions as the admin API shows them, and as a difference compares them.

import AdminModel
import Balancing

extension ForwardAction {
    var adminDescription: [ForwardDescription] {
        targetGroups.map { ForwardDescription(targetGroup: $0.targetGroup, weight: $0.weight) }
    }
}

extension RuleAction {
    var adminDescription: ActionDescription {
        switch self {
        case .forward(let action):
            .forward(
                action.adminDescription,
                stickiness: action.isStickyByGroup
                    ? StickinessDescription(enabled: true, duration: action.stickinessSeconds) : nil)
        case .redirect(let action):
            .redirect(
                RedirectDescription(
                    protocol: action.protocol, host: action.host, port: action.port, path: action.path,
                    query: action.query, statusCode: "HTTP_\(action.statusCode)"))
        case .fixedResponse(let response):
            .fixedResponse(
                FixedResponseDescription(
                    statusCode: String(response.statusCode), contentType: response.contentType,
                    messageBody: response.messageBody))
        }
    }
}

extension TextPatterns {
    fileprivate var values: [String]? { wildcards.isEmpty ? nil : wildcards }
    fileprivate var regexValues: [String]? { regularExpressions.isEmpty ? nil : regularExpressions }

    fileprivate var adminDescription: ConditionDescription.Values {
        ConditionDescription.Values(values: values, regexValues: regexValues)
    }
}

extension RuleCondition {
    var adminDescription: ConditionDescription {
        var description = ConditionDescription()
        switch self {
        case .hostHeader(let patterns): description.hostHeader = patterns.adminDescription
        case .pathPattern(let patterns): description.pathPattern = patterns.adminDescription
        case .httpHeader(let name, let patterns):
            description.httpHeader = ConditionDescription.HeaderValues(
                httpHeaderName: name, values: patterns.values, regexValues: patterns.regexValues)
        case .httpRequestMethod(let methods):
            description.httpRequestMethod = ConditionDescription.Values(values: methods)
        case .queryString(let patterns):
            description.queryString = ConditionDescription.QueryValues(
                values: patterns.map { ConditionDescription.QueryValues.Pair(key: $0.key, value: $0.value) })
        case .sourceIP(let ranges):
            description.sourceIp = ConditionDescription.Values(values: ranges.map(\.description))
        }
        return description
    }
}

extension RuleTransform {
    var adminDescription: TransformDescription {
        func rewrites(_ rewrite: Rewrite) -> TransformDescription.Rewrites {
            TransformDescription.Rewrites(
                rewrites: [.init(regex: rewrite.regularExpression, replace: rewrite.replacement)])
        }
        return switch self {
        case .hostHeaderRewrite(let rewrite): TransformDescription(hostHeaderRewrite: rewrites(rewrite))
        case .urlRewrite(let rewrite): TransformDescription(urlRewrite: rewrites(rewrite))
        }
    }
}

extension ListenerRule {
    func adminDescription(of listener: ListenerID) -> RuleDescription {
        RuleDescription(
            listener: listener.description, priority: priority,
            conditions: conditions.map(\.adminDescription), action: action.adminDescription,
            transforms: transforms.isEmpty ? nil : transforms.map(\.adminDescription))
    }
}

extension PassthroughRule {
    func adminDescription(of listener: ListenerID) -> RuleDescription {
        RuleDescription(
            listener: listener.description, priority: priority,
            conditions: conditions.map { condition in
                var description = ConditionDescription()
                switch condition {
                case .serverName(let patterns):
                    description.tlsServerName = .init(values: patterns.map(\.description))
                case .alpn(let protocols): description.tlsAlpn = .init(values: protocols)
                }
                return description
            },
            action: RuleAction.forward(action).adminDescription)
    }
}

extension Listener {
    var ruleCount: Int { rules.count + applicationRules.count }

    /// Every rule in rising priority, and the default action.
    func ruleDescriptions(of id: ListenerID) -> [RuleDescription] {
        rules.map { $0.adminDescription(of: id) } + applicationRules.map { $0.adminDescription(of: id) } + [
            RuleDescription(
                listener: id.description, priority: nil, conditions: [],
                action: defaultAction.adminDescription)
        ]
    }

    /// Each rule under a key of its own; one that is gone shows in the list of priorities alone.
    var ruleValues: [(key: String, value: String)] {
        let id = ListenerID(loadBalancer: "", port: port)
        return ruleDescriptions(of: id).compactMap { rule in
            rule.priority.map { ("rules.\($0)", rule.text) }
        }
    }
}
