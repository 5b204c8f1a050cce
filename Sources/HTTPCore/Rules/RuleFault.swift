// Everything that ELBv2 would refuse in a rule, found before the rule is compiled.
//
// Lengths, characters and which conditions may stand once are those of the API reference (RuleCondition,
// RedirectActionConfig, FixedResponseActionConfig, RuleTransform). How many values a condition has is Weir's bound.

import Balancing

/// One thing that is wrong with a rule.
public struct RuleFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where it is, so that a configuration file can name the line.
    public enum Part: Hashable, Sendable {
        case priority
        case conditions
        /// By place in `ListenerRule.conditions`.
        case condition(Int)
        case action
        case transforms
        case transform(Int)
    }

    public let part: Part
    /// Names the thing, the value, the bound and the next step.
    public let message: String

    public var description: String { message }

    /// Everything that is wrong with a rule; empty for a rule that can be compiled.
    ///
    /// `listener` is what its listener speaks and where; without it, redirects to the same place and from HTTPS to
    /// HTTP are not always seen.
    public static func check(_ rule: ListenerRule, listener: RedirectWriter.Context? = nil) -> [RuleFault] {
        var faults: [RuleFault] = []
        if !(1...Limits.rulePriorityMax).contains(rule.priority) {
            faults.append(
                RuleFault(
                    part: .priority,
                    message: "priority \(rule.priority) is out of range; choose one from 1 to "
                        + "\(Limits.rulePriorityMax)."))
        }
        faults += checkConditions(rule.conditions)
        faults += check(rule.action, listener: listener)
        faults += checkTransforms(rule.transforms)
        return faults
    }

    /// What is wrong with an action, also a default one.
    public static func check(_ action: RuleAction, listener: RedirectWriter.Context? = nil) -> [RuleFault] {
        switch action {
        case .forward: []
        case .redirect(let redirect):
            checkRedirect(redirect, listener: listener).map { RuleFault(part: .action, message: $0) }
        case .fixedResponse(let response):
            checkFixedResponse(response).map { RuleFault(part: .action, message: $0) }
        }
    }
}
