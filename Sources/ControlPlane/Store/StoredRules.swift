// The JSON of actions and application rules in the store.
//
// See StoredDefinitions.swift. Stores written before these existed lack the keys, which reads as nil.

import Balancing

extension ForwardAction {
    var storedChoices: [StoredListener.Choice] {
        targetGroups.map { StoredListener.Choice(targetGroup: $0.targetGroup, weight: $0.weight) }
    }
}

extension StoredListener.Choice {
    var group: ForwardAction.WeightedTargetGroup {
        ForwardAction.WeightedTargetGroup(targetGroup: targetGroup, weight: weight)
    }
}

/// The default action or a rule's, of an application listener: one of three.
struct StoredAction: Codable {
    struct Forward: Codable {
        var groups: [StoredListener.Choice]
        /// Nil when clients are not kept on their group.
        var stickinessSeconds: Int?
    }

    struct Redirect: Codable {
        var `protocol`: String
        var host: String
        var port: String
        var path: String
        var query: String
        var statusCode: Int
    }

    struct Response: Codable {
        var statusCode: Int
        var contentType: String
        var messageBody: String
    }

    var forward: Forward?
    var redirect: Redirect?
    var fixedResponse: Response?

    init(_ action: RuleAction) {
        switch action {
        case .forward(let action):
            forward = Forward(groups: action.storedChoices, stickinessSeconds: action.stickinessSeconds)
        case .redirect(let action):
            redirect = Redirect(
                protocol: action.protocol, host: action.host, port: action.port, path: action.path,
                query: action.query, statusCode: action.statusCode)
        case .fixedResponse(let response):
            fixedResponse = Response(
                statusCode: response.statusCode, contentType: response.contentType,
                messageBody: response.messageBody)
        }
    }

    func action() throws(StoredDefinitionError) -> RuleAction {
        if let forward {
            return .forward(
                ForwardAction(
                    targetGroups: forward.groups.map(\.group), stickinessSeconds: forward.stickinessSeconds))
        }
        if let redirect {
            return .redirect(
                RedirectAction(
                    protocol: redirect.protocol, host: redirect.host, port: redirect.port,
                    path: redirect.path, query: redirect.query, statusCode: redirect.statusCode))
        }
        guard let response = fixedResponse else {
            throw StoredDefinitionError(message: "an action is of a kind that this version does not know")
        }
        return .fixedResponse(
            FixedResponse(
                statusCode: response.statusCode, contentType: response.contentType,
                messageBody: response.messageBody))
    }
}

struct StoredCondition: Codable {
    struct Query: Codable {
        var key: String?
        var value: String
    }

    /// `host_header`, `path_pattern`, `http_header`, `http_request_method`, `query_string` or `source_ip`.
    var kind: String
    /// Of `http_header`.
    var headerName: String?
    var values: [String]?
    var regularExpressions: [String]?
    var queries: [Query]?

    init(_ condition: RuleCondition) {
        switch condition {
        case .hostHeader(let patterns):
            kind = "host_header"
            (values, regularExpressions) = (patterns.wildcards, patterns.regularExpressions)
        case .pathPattern(let patterns):
            kind = "path_pattern"
            (values, regularExpressions) = (patterns.wildcards, patterns.regularExpressions)
        case .httpHeader(let name, let patterns):
            kind = "http_header"
            headerName = name
            (values, regularExpressions) = (patterns.wildcards, patterns.regularExpressions)
        case .httpRequestMethod(let methods):
            kind = "http_request_method"
            values = methods
        case .queryString(let patterns):
            kind = "query_string"
            queries = patterns.map { Query(key: $0.key, value: $0.value) }
        case .sourceIP(let ranges):
            kind = "source_ip"
            values = ranges.map(\.description)
        }
    }

    private var patterns: TextPatterns {
        TextPatterns(wildcards: values ?? [], regularExpressions: regularExpressions ?? [])
    }

    func condition() throws(StoredDefinitionError) -> RuleCondition {
        switch kind {
        case "host_header": return .hostHeader(patterns)
        case "path_pattern": return .pathPattern(patterns)
        case "http_header": return .httpHeader(name: headerName ?? "", patterns)
        case "http_request_method": return .httpRequestMethod(values ?? [])
        case "query_string":
            return .queryString((queries ?? []).map { QueryPattern(key: $0.key, value: $0.value) })
        case "source_ip":
            var ranges: [IPPrefix] = []
            for text in values ?? [] {
                guard let range = IPPrefix(text) else {
                    throw StoredDefinitionError(message: "\"\(text)\" is no address range")
                }
                ranges.append(range)
            }
            return .sourceIP(ranges)
        default:
            // A condition left out would let the rule take what it must not.
            throw StoredDefinitionError(message: "condition \"\(kind)\" is unknown")
        }
    }
}

struct StoredApplicationRule: Codable {
    struct Transform: Codable {
        /// `host_header_rewrite` or `url_rewrite`.
        var kind: String
        var regularExpression: String
        var replacement: String
    }

    var priority: Int
    var conditions: [StoredCondition]
    var action: StoredAction
    var transforms: [Transform]?

    init(_ rule: ListenerRule) {
        priority = rule.priority
        conditions = rule.conditions.map(StoredCondition.init)
        action = StoredAction(rule.action)
        guard !rule.transforms.isEmpty else { return }
        transforms = rule.transforms.map { transform in
            let (kind, rewrite) =
                switch transform {
                case .hostHeaderRewrite(let rewrite): ("host_header_rewrite", rewrite)
                case .urlRewrite(let rewrite): ("url_rewrite", rewrite)
                }
            return Transform(
                kind: kind, regularExpression: rewrite.regularExpression, replacement: rewrite.replacement)
        }
    }

    func rule() throws(StoredDefinitionError) -> ListenerRule {
        var rule = ListenerRule(priority: priority, conditions: [], action: try action.action())
        for condition in conditions { rule.conditions.append(try condition.condition()) }
        // A rule without conditions would take every request.
        guard !rule.conditions.isEmpty else {
            throw StoredDefinitionError(message: "rule \(priority) has no condition")
        }
        for transform in transforms ?? [] {
            let rewrite = Rewrite(
                regularExpression: transform.regularExpression, replacement: transform.replacement)
            switch transform.kind {
            case "host_header_rewrite": rule.transforms.append(.hostHeaderRewrite(rewrite))
            case "url_rewrite": rule.transforms.append(.urlRewrite(rewrite))
            default: throw StoredDefinitionError(message: "transform \"\(transform.kind)\" is unknown")
            }
        }
        return rule
    }
}
