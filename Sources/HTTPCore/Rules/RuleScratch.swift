// What one worker needs beside the rules to match a request; kept and used again.

/// A worker's room for matching rules and rewriting; after a few requests it allocates nothing more.
public struct RuleScratch: ~Copyable, Sendable {
    var expressions = RegularExpressionScratch()
    var marks = RuleMarks()

    /// Rules held against a request, condition by condition, since this was made.
    public internal(set) var candidateCount: UInt64 = 0

    public init() {}

    /// Comparisons made so far by wildcards and expressions: a measure of work that no clock disturbs.
    public var stepCount: UInt64 { expressions.stepCount }
}
