// Rules of application listeners: priorities, conditions and transforms, in the shape of Terraform's blocks.

import Balancing
import HTTPCore
import Yams

extension ConfigurationReader {
    /// - Parameter place: What the listener speaks and where, as far as it is known.
    mutating func readApplicationRules(
        of listener: Scope, listener place: RedirectWriter.Context?
    ) -> [ListenerRule] {
        guard listener.fields["rules"] != nil else { return [] }
        let nodes =
            list(
                "rules", of: listener, countMax: Limits.applicationRulesPerListenerMax,
                nextStep: "Join some, or use a second listener.") ?? []
        return readRules(nodes, of: listener, keys: Self.ruleKeys) { reader, fields, priority in
            reader.readApplicationRule(fields, priority: priority, listener: place)
        }
    }

    static let ruleKeys = ["priority", "conditions", "actions", "transforms"]

    /// All of a rule but its priority, which is checked against its siblings'.
    mutating func readApplicationRule(
        _ rule: Scope, priority: Int, listener place: RedirectWriter.Context?
    ) -> ListenerRule? {
        let conditions = readApplicationConditions(of: rule)
        let action = readRuleAction(of: rule)
        let transforms = readTransforms(of: rule)
        guard let conditions, let action, let transforms else { return nil }
        let result = ListenerRule(
            priority: priority, conditions: conditions, action: action, transforms: transforms)
        // A wrong priority is noted where it is compared with those of the other rules.
        for fault in RuleFault.check(result, listener: place) where fault.part != .priority {
            let place = Self.place(of: fault.part, in: rule)
            note(
                at: place.mark, path: rule.path(to: place.key), subject: rule.subject,
                "\(place.key): \(fault.message)")
        }
        return result
    }

    /// The entry of a rule that a fault is about.
    private static func place(of part: RuleFault.Part, in rule: Scope) -> (key: String, mark: Position?) {
        func element(_ key: String, _ index: Int) -> (key: String, mark: Position?) {
            let nodes = rule.fields[key]?.sequence.map(Array.init) ?? []
            let mark = nodes.indices.contains(index) ? nodes[index].position : nil
            return ("\(key)[\(index)]", mark ?? rule.mark)
        }
        return switch part {
        case .priority: ("priority", rule.fields["priority"]?.position ?? rule.mark)
        case .conditions: ("conditions", rule.fields["conditions"]?.position ?? rule.mark)
        case .condition(let index): element("conditions", index)
        case .action: element("actions", 0)
        case .transforms: ("transforms", rule.fields["transforms"]?.position ?? rule.mark)
        case .transform(let index): element("transforms", index)
        }
    }

    private mutating func readRuleAction(of rule: Scope) -> RuleAction? {
        onlyNode("actions", of: rule, example: "Give actions: [ \(Self.actionExample) ].").flatMap { node in
            readApplicationAction(
                node, subject: rule.subject, prefix: "actions[0].",
                path: "\(rule.path(to: "actions"))[0]")
        }
    }

    // MARK: Conditions

    private static let conditionKeys = [
        "host_header", "path_pattern", "http_header", "http_request_method", "query_string", "source_ip",
    ]

    private static let conditionVocabulary = ConditionVocabulary(
        keys: conditionKeys,
        // A rule may ask for several headers, each of which must apply, and so for arguments of the query.
        repeatable: ["http_header", "query_string"],
        unavailable: [
            "tls_server_name": "It belongs to TCP listeners; use host_header.",
            "tls_alpn": "It belongs to TCP listeners.",
        ],
        countMax: Limits.conditionsPerRuleMax, nextStep: "Put the values of one kind into one condition.",
        example: "[ { path_pattern: { values: [\"/img/*\"] } } ]",
        choice: "one of \(conditionKeys.joined(separator: ", "))")

    private mutating func readApplicationConditions(of rule: Scope) -> [RuleCondition]? {
        readConditions(of: rule, Self.conditionVocabulary) { reader, key, fields in
            reader.readApplicationCondition(key, of: fields)
        }
    }

    private mutating func readApplicationCondition(_ key: String, of condition: Scope) -> RuleCondition? {
        switch key {
        case "host_header": return readPatterns(key, of: condition).map { .hostHeader($0) }
        case "path_pattern": return readPatterns(key, of: condition).map { .pathPattern($0) }
        case "http_header":
            guard
                let fields = child(
                    key, of: condition, keys: ["http_header_name", "values", "regex_values"])
            else { return nil }
            let name = requiredText("http_header_name", of: fields, "Give the name of the header.")
            let patterns = readPatterns(fields)
            guard let name, let patterns else { return nil }
            return .httpHeader(name: name, patterns)
        case "http_request_method":
            guard let fields = child(key, of: condition, keys: ["values"]) else { return nil }
            return readTexts("values", of: fields).map { .httpRequestMethod($0) }
        case "query_string": return readQueryPatterns(of: condition).map { .queryString($0) }
        default: return readSources(of: condition).map { .sourceIP($0) }
        }
    }

    private mutating func readPatterns(_ key: String, of condition: Scope) -> TextPatterns? {
        child(key, of: condition, keys: ["values", "regex_values"]).flatMap { readPatterns($0) }
    }

    /// Wildcard patterns or regular expressions, not both.
    private mutating func readPatterns(_ fields: Scope) -> TextPatterns? {
        guard fields.fields["regex_values"] != nil else {
            return readTexts("values", of: fields).map { TextPatterns(wildcards: $0) }
        }
        guard fields.fields["values"] == nil else {
            note(
                "regex_values", of: fields,
                "is given beside values. Keep one of them; use two rules for both.")
            return nil
        }
        return readTexts("regex_values", of: fields).map { TextPatterns(regularExpressions: $0) }
    }

    /// The values of a condition; nil when there is none, or one is no text.
    private mutating func readTexts(_ key: String, of fields: Scope) -> [String]? {
        guard let nodes = readValues(key, of: fields) else { return nil }
        var texts: [String] = []
        for (index, node) in nodes.enumerated() {
            guard case .scalar(let scalar) = node, !node.isEmptyScalar else {
                note(
                    at: node.position, path: "\(fields.path(to: key))[\(index)]", subject: fields.subject,
                    "\(fields.prefix)\(key)[\(index)] is \(Self.describe(node)); it must be a single value.")
                continue
            }
            texts.append(scalar.string)
        }
        return texts.count == nodes.count ? texts : nil
    }

    private mutating func readValues(_ key: String, of fields: Scope) -> [Node]? {
        readValues(key, of: fields, "Give the values, any of which applies.")
    }

    private mutating func readQueryPatterns(of condition: Scope) -> [QueryPattern]? {
        guard let fields = child("query_string", of: condition, keys: ["values"]),
            let nodes = readValues("values", of: fields)
        else { return nil }
        var patterns: [QueryPattern] = []
        for (index, node) in nodes.enumerated() {
            let key = "values[\(index)]"
            if case .scalar(let scalar) = node, !node.isEmptyScalar {
                patterns.append(QueryPattern(value: scalar.string))
                continue
            }
            guard
                let pair = scope(
                    of: node, subject: fields.subject, prefix: "\(fields.prefix)\(key).",
                    path: fields.path(to: key), keys: ["key", "value"]),
                let value = requiredText("value", of: pair, "Give the value; the key may be left out.")
            else { continue }
            patterns.append(QueryPattern(key: text("key", of: pair), value: value))
        }
        return patterns.count == nodes.count ? patterns : nil
    }

    private mutating func readSources(of condition: Scope) -> [IPPrefix]? {
        guard let fields = child("source_ip", of: condition, keys: ["values"]),
            let nodes = readValues("values", of: fields)
        else { return nil }
        let ranges = readRanges(nodes, of: "values", in: fields)
        return ranges.count == nodes.count ? ranges : nil
    }

    // MARK: Transforms

    private static let transformKeys = ["host_header_rewrite", "url_rewrite"]

    /// Nil when one is wrong; empty when there is none.
    private mutating func readTransforms(of rule: Scope) -> [RuleTransform]? {
        guard rule.fields["transforms"] != nil else { return [] }
        guard
            let nodes = list(
                "transforms", of: rule, countMax: Self.transformKeys.count, nextStep: "Keep one of each kind."
            )
        else { return nil }
        var transforms: [RuleTransform] = []
        var seen: Set<String> = []
        for (index, node) in nodes.enumerated() {
            let prefix = "transforms[\(index)]"
            guard
                let fields = scope(
                    of: node, subject: rule.subject, prefix: "\(prefix).", path: rule.path(to: prefix),
                    keys: Self.transformKeys)
            else { continue }
            let given = Self.transformKeys.filter { fields.fields[$0] != nil }
            guard given.count == 1 else {
                note(
                    at: fields.mark, path: fields.path, subject: rule.subject,
                    "\(prefix) has \(given.isEmpty ? "no kind" : given.joined(separator: " and ")); a "
                        + "transform has one of \(Self.transformKeys.joined(separator: ", ")).")
                continue
            }
            guard seen.insert(given[0]).inserted else {
                note(given[0], of: fields, "stands twice in one rule. Keep one.")
                continue
            }
            guard let rewrite = readRewrite(given[0], of: fields) else { continue }
            transforms.append(
                given[0] == "url_rewrite" ? .urlRewrite(rewrite) : .hostHeaderRewrite(rewrite))
        }
        return transforms.count == nodes.count ? transforms : nil
    }

    private mutating func readRewrite(_ key: String, of transform: Scope) -> Rewrite? {
        guard let fields = child(key, of: transform, keys: ["rewrites"]) else { return nil }
        let example = "Give rewrites: [ { regex: PATTERN, replace: TEXT } ]."
        guard let node = onlyNode("rewrites", of: fields, example: example) else { return nil }
        guard
            let pair = scope(
                of: node, subject: fields.subject, prefix: "\(fields.prefix)rewrites[0].",
                path: "\(fields.path(to: "rewrites"))[0]", keys: ["regex", "replace"])
        else { return nil }
        let regex = requiredText("regex", of: pair, "Give what is to be replaced.")
        let replacement = requiredText("replace", of: pair, "Give what takes its place.")
        guard let regex, let replacement else { return nil }
        return Rewrite(regularExpression: regex, replacement: replacement)
    }
}
