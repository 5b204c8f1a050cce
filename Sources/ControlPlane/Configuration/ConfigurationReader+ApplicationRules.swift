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
        var rules: [ListenerRule] = []
        var lines: [Int: Int] = [:]
        for (index, node) in nodes.enumerated() {
            guard
                let fields = scope(
                    of: node, subject: "\(listener.subject): rules[\(index)]", prefix: "",
                    path: "\(listener.path(to: "rules"))[\(index)]", keys: Self.ruleKeys)
            else { continue }
            let priority = readPriority(of: fields)
            let rule = readApplicationRule(fields, priority: priority ?? 0, listener: place)
            guard let priority else { continue }
            if let line = lines[priority] {
                note(
                    "priority", of: fields,
                    "is \(priority), which line \(line) has already. Priorities are unique; choose another.")
                continue
            }
            lines[priority] = fields.fields["priority"]?.position?.line ?? fields.mark.line
            if let rule { rules.append(rule) }
        }
        return rules.sorted { $0.priority < $1.priority }
    }

    static let ruleKeys = ["priority", "conditions", "actions", "transforms"]

    mutating func readPriority(of rule: Scope) -> Int? {
        if rule.fields["priority"] == nil {
            note("priority", of: rule, "is missing. Give a number of its own; the lowest comes first.")
        }
        return integer("priority", of: rule, in: 1...Limits.rulePriorityMax)
    }

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
        let example = "Give actions: [ \(Self.actionExample) ]."
        guard rule.fields["actions"] != nil else {
            note("actions", of: rule, "is missing. \(example)")
            return nil
        }
        guard let nodes = list("actions", of: rule, countMax: 1, nextStep: "Keep one.") else { return nil }
        guard let node = nodes.first else {
            note("actions", of: rule, "is empty. \(example)")
            return nil
        }
        return readApplicationAction(
            node, subject: rule.subject, prefix: "actions[0].", path: "\(rule.path(to: "actions"))[0]")
    }

    // MARK: Conditions

    private static let conditionKeys = [
        "host_header", "path_pattern", "http_header", "http_request_method", "query_string", "source_ip",
    ]
    /// A rule may ask for several headers, each of which must apply, and so for arguments of the query.
    private static let repeatableConditions: Set = ["http_header", "query_string"]

    private static let passthroughConditions = [
        "tls_server_name": "It belongs to TCP listeners; use host_header.",
        "tls_alpn": "It belongs to TCP listeners.",
    ]

    private mutating func readApplicationConditions(of rule: Scope) -> [RuleCondition]? {
        guard rule.fields["conditions"] != nil else {
            note(
                "conditions", of: rule,
                "is missing. Give conditions: [ { path_pattern: { values: [\"/img/*\"] } } ]; what no rule takes "
                    + "goes to default_action.")
            return nil
        }
        guard
            let nodes = list(
                "conditions", of: rule, countMax: Limits.conditionsPerRuleMax,
                nextStep: "Put the values of one kind into one condition.")
        else { return nil }
        if nodes.isEmpty {
            note(
                "conditions", of: rule, "is empty. Give one of \(Self.conditionKeys.joined(separator: ", "))."
            )
        }
        var conditions: [RuleCondition] = []
        var seen: Set<String> = []
        for (index, node) in nodes.enumerated() {
            let prefix = "conditions[\(index)]"
            guard
                let fields = scope(
                    of: node, subject: rule.subject, prefix: "\(prefix).", path: rule.path(to: prefix),
                    keys: Self.conditionKeys, unavailable: Self.passthroughConditions)
            else { continue }
            let given = Self.conditionKeys.filter { fields.fields[$0] != nil }
            guard given.count == 1 else {
                // A key that was refused above says enough.
                let isEmpty = node.mapping?.isEmpty ?? false
                if given.count > 1 || isEmpty {
                    note(
                        at: fields.mark, path: fields.path, subject: rule.subject,
                        "\(prefix) has \(given.isEmpty ? "no kind" : given.joined(separator: " and ")); a "
                            + "condition has one of \(Self.conditionKeys.joined(separator: ", ")).")
                }
                continue
            }
            guard Self.repeatableConditions.contains(given[0]) || seen.insert(given[0]).inserted else {
                note(given[0], of: fields, "stands twice in one rule. Put all values in one condition.")
                continue
            }
            if let condition = readApplicationCondition(given[0], of: fields) { conditions.append(condition) }
        }
        return conditions.count == nodes.count && !conditions.isEmpty ? conditions : nil
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
        guard fields.fields[key] != nil else {
            note(key, of: fields, "is missing. Give the values, any of which applies.")
            return nil
        }
        guard
            let nodes = list(
                key, of: fields, countMax: Limits.valuesPerConditionMax,
                nextStep: "Use a second rule for the rest.")
        else { return nil }
        if nodes.isEmpty { note(key, of: fields, "is empty. Give the values, any of which applies.") }
        return nodes.isEmpty ? nil : nodes
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
        var ranges: [IPPrefix] = []
        for (index, node) in nodes.enumerated() {
            guard let range = node.scalar.flatMap({ IPPrefix($0.string) }) else {
                note(
                    at: node.position, path: "\(fields.path(to: "values"))[\(index)]",
                    subject: fields.subject,
                    "\(fields.prefix)values[\(index)] is \(Self.describe(node)); it must be an address, or a "
                        + "range such as 10.0.0.0/24 with no bit set behind its length.")
                continue
            }
            ranges.append(range)
        }
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
        guard fields.fields["rewrites"] != nil else {
            note("rewrites", of: fields, "is missing. \(example)")
            return nil
        }
        guard let nodes = list("rewrites", of: fields, countMax: 1, nextStep: "Keep one.") else { return nil }
        guard let node = nodes.first else {
            note("rewrites", of: fields, "is empty. \(example)")
            return nil
        }
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
