// The rules of one listener, compiled once per snapshot and shared by all workers.

import Balancing

/// Finds the rule of a request.
public final class CompiledRules: Sendable {
    private struct Rule: Sendable, BitwiseCopyable {
        let conditionStart: Int
        let conditionCount: Int
    }

    /// What this was made from; `match` returns places in it.
    public let routes: [RuleRoute]
    /// The place of the default action: the route without a priority, else the last.
    public let defaultIndex: Int
    private let rules: [Rule]
    private let conditions: [CompiledCondition]
    private let pool: ConditionPool
    private let index: RuleIndex
    private let looksAtHosts: Bool
    private let looksAtQueries: Bool
    private let transforms: [CompiledTransforms?]

    /// Compiles rules that `RuleFault.check` has passed, in rising priority with the default action last.
    ///
    /// Cannot fail: a pattern that does not compile never matches. Takes milliseconds for a thousand rules.
    public init(_ rules: [RuleRoute]) {
        routes = rules
        defaultIndex = rules.firstIndex { $0.priority == nil } ?? max(0, rules.count - 1)
        var pool = ConditionPool()
        var conditions: [CompiledCondition] = []
        self.rules = rules.map { route in
            let start = conditions.count
            conditions += route.conditions.map { pool.add($0) }
            return Rule(conditionStart: start, conditionCount: route.conditions.count)
        }
        self.conditions = conditions
        looksAtHosts = conditions.contains { $0.kind == .host }
        looksAtQueries = conditions.contains { $0.kind == .query }
        self.pool = pool
        index =
            RuleIndexBuilder(
                rules.map(\.conditions), rules: rules.indices.filter { [defaultIndex] in $0 != defaultIndex }
            ).index
        transforms = rules.map { $0.transforms.isEmpty ? nil : CompiledTransforms($0.transforms) }
    }

    /// What the rule at `index` changes in requests before they are forwarded; nil, at no cost, for nothing.
    public func transforms(at index: Int) -> CompiledTransforms? { transforms[index] }

    /// The place in `routes` of the rule that applies to a request; the default action's when none does.
    ///
    /// `bytes` are those that the head was read from. Allocates nothing once `scratch` is warm.
    public func match(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, client: IPAddress, scratch: inout RuleScratch
    ) -> Int {
        let text = RequestText(head, bytes, cutsHost: looksAtHosts, cutsQuery: looksAtQueries)
        scratch.marks.begin(count: index.nodes.count + rules.count)
        var best = UInt32(truncatingIfNeeded: rules.count)
        scratch.marks.push(UInt32(truncatingIfNeeded: index.nodes.count - 1))
        while let number = scratch.marks.pop() {
            let node = index.nodes[Int(number)]
            guard node.firstRule < best else { continue }
            if node.dimension != nil {
                index.lookUp(node, text, head, bytes, client: client, &scratch.marks)
                continue
            }
            for place in 0..<Int(node.ruleCount) {
                let rule = index.leafRules[Int(node.ruleStart) + place]
                guard rule < best else { break }
                // A rule of many values stands in many leaves.
                guard scratch.marks.isNew(index.nodes.count + Int(rule)) else { continue }
                scratch.candidateCount &+= 1
                guard applies(Int(rule), text, head, bytes, client: client, &scratch) else { continue }
                best = rule
                break
            }
        }
        return best < rules.count ? Int(best) : defaultIndex
    }

    private func applies(
        _ index: Int, _ text: RequestText, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        client: IPAddress, _ scratch: inout RuleScratch
    ) -> Bool {
        let rule = rules[index]
        for place in rule.conditionStart..<rule.conditionStart + rule.conditionCount
        where !pool.isMet(conditions[place], by: text, head, bytes, client: client, &scratch.expressions) {
            return false
        }
        return true
    }

    /// Which rule a request takes, and of each rule before it which conditions were met and which were not.
    ///
    /// For people: goes through the rules one by one, and allocates.
    public func explain(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, client: IPAddress
    ) -> RuleExplanation {
        let text = RequestText(head, bytes)
        var scratch = RegularExpressionScratch()
        var looks: [RuleExplanation.Look] = []
        // The order of `routes`, whatever the index finds: `explain` is what the index is tested against.
        for (index, rule) in rules.enumerated() where index != defaultIndex {
            let places = rule.conditionStart..<rule.conditionStart + rule.conditionCount
            var met: [Bool] = []
            for place in places {
                met.append(
                    pool.isMet(conditions[place], by: text, head, bytes, client: client, &scratch))
            }
            let look = RuleExplanation.Look(
                index: index, priority: routes[index].priority,
                conditions: zip(routes[index].conditions, met).map {
                    RuleExplanation.ConditionLook($0, isMet: $1, head: head, text: text, bytes: bytes, client)
                })
            looks.append(look)
            if look.applies { return RuleExplanation(index: index, looks: looks) }
        }
        return RuleExplanation(index: defaultIndex, looks: looks)
    }
}
