// What rules of network and of application listeners have in common: priorities, the one action, conditions of
// one kind each.

import Balancing
import Yams

/// The conditions that a kind of listener knows.
struct ConditionVocabulary {
    let keys: [String]
    /// Conditions that may stand several times in a rule.
    var repeatable: Set<String> = []
    /// Conditions of the other kind of listener, with what to use in their place.
    let unavailable: [String: String]
    /// How many a rule may have, and what to do about more.
    let countMax: Int
    let nextStep: String
    /// For a rule without `conditions`, and for one with an empty list.
    let example: String
    let choice: String
}

extension ConfigurationReader {
    /// Reads `rules` in rising priority; a rule whose priority is another's is left out and noted.
    mutating func readRules<Rule>(
        _ nodes: [Node], of listener: Scope, keys: [String],
        _ read: (inout Self, _ fields: Scope, _ priority: Int) -> Rule?
    ) -> [Rule] {
        var rules: [(priority: Int, rule: Rule)] = []
        var lines: [Int: Int] = [:]
        for (index, node) in nodes.enumerated() {
            guard
                let fields = scope(
                    of: node, subject: "\(listener.subject): rules[\(index)]", prefix: "",
                    path: "\(listener.path(to: "rules"))[\(index)]", keys: keys)
            else { continue }
            let priority = readPriority(of: fields)
            let rule = read(&self, fields, priority ?? 0)
            guard let priority else { continue }
            if let line = lines[priority] {
                note(
                    "priority", of: fields,
                    "is \(priority), which line \(line) has already. Priorities are unique; choose another.")
                continue
            }
            lines[priority] = fields.fields["priority"]?.position?.line ?? fields.mark.line
            if let rule { rules.append((priority, rule)) }
        }
        return rules.sorted { $0.priority < $1.priority }.map(\.rule)
    }

    mutating func readPriority(of rule: Scope) -> Int? {
        if rule.fields["priority"] == nil {
            note("priority", of: rule, "is missing. Give a number of its own; the lowest comes first.")
        }
        return integer("priority", of: rule, in: 1...Limits.rulePriorityMax)
    }

    /// The only entry of a list that must have one; nil, and noted, when it has not.
    ///
    /// - Parameter example: The sentence that says what to give.
    mutating func onlyNode(_ key: String, of fields: Scope, example: String) -> Node? {
        guard fields.fields[key] != nil else {
            note(key, of: fields, "is missing. \(example)")
            return nil
        }
        guard let nodes = list(key, of: fields, countMax: 1, nextStep: "Keep one.") else { return nil }
        if nodes.isEmpty { note(key, of: fields, "is empty. \(example)") }
        return nodes.first
    }

    /// Reads `conditions`, each of one kind; nil when there is none, or one is wrong.
    mutating func readConditions<Condition>(
        of rule: Scope, _ vocabulary: ConditionVocabulary,
        _ read: (inout Self, _ key: String, _ fields: Scope) -> Condition?
    ) -> [Condition]? {
        guard rule.fields["conditions"] != nil else {
            note(
                "conditions", of: rule,
                "is missing. Give conditions: \(vocabulary.example); what no rule takes goes to default_action."
            )
            return nil
        }
        guard
            let nodes = list(
                "conditions", of: rule, countMax: vocabulary.countMax, nextStep: vocabulary.nextStep)
        else { return nil }
        if nodes.isEmpty { note("conditions", of: rule, "is empty. Give \(vocabulary.choice).") }
        var conditions: [Condition] = []
        var seen: Set<String> = []
        for (index, node) in nodes.enumerated() {
            let prefix = "conditions[\(index)]"
            guard
                let fields = scope(
                    of: node, subject: rule.subject, prefix: "\(prefix).", path: rule.path(to: prefix),
                    keys: vocabulary.keys, unavailable: vocabulary.unavailable)
            else { continue }
            let given = vocabulary.keys.filter { fields.fields[$0] != nil }
            guard given.count == 1 else {
                // A key that was refused above says enough.
                let isEmpty = node.mapping?.isEmpty ?? false
                if given.count > 1 || isEmpty {
                    note(
                        at: fields.mark, path: fields.path, subject: rule.subject,
                        "\(prefix) has \(given.isEmpty ? "no kind" : given.joined(separator: " and ")); a "
                            + "condition has one of \(vocabulary.keys.joined(separator: ", ")).")
                }
                continue
            }
            guard vocabulary.repeatable.contains(given[0]) || seen.insert(given[0]).inserted else {
                note(given[0], of: fields, "stands twice in one rule. Put all values in one condition.")
                continue
            }
            if let condition = read(&self, given[0], fields) { conditions.append(condition) }
        }
        return conditions.count == nodes.count && !conditions.isEmpty ? conditions : nil
    }

    /// The values of a condition; nil, and noted, when there is none.
    ///
    /// - Parameter advice: The sentence that says what to give.
    mutating func readValues(_ key: String, of fields: Scope, _ advice: String) -> [Node]? {
        guard fields.fields[key] != nil else {
            note(key, of: fields, "is missing. \(advice)")
            return nil
        }
        guard
            let nodes = list(
                key, of: fields, countMax: Limits.valuesPerConditionMax,
                nextStep: "Use a second rule for the rest.")
        else { return nil }
        if nodes.isEmpty { note(key, of: fields, "is empty. \(advice)") }
        return nodes.isEmpty ? nil : nodes
    }

    /// Addresses and ranges, without those that are noted as neither.
    mutating func readRanges(_ nodes: [Node], of key: String, in fields: Scope) -> [IPPrefix] {
        var ranges: [IPPrefix] = []
        for (index, node) in nodes.enumerated() {
            guard let range = node.scalar.flatMap({ IPPrefix($0.string) }) else {
                note(
                    at: node.position, path: "\(fields.path(to: key))[\(index)]", subject: fields.subject,
                    "\(fields.prefix)\(key)[\(index)] is \(Self.describe(node)); it must be an address, or a "
                        + "range such as 10.0.0.0/24 with no bit set behind its length.")
                continue
            }
            ranges.append(range)
        }
        return ranges
    }
}
