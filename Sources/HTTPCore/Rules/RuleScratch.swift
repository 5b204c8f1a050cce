// What one worker needs beside the rules to match a request; kept and used again.

/// A worker's room for matching rules and rewriting; after a few requests it allocates nothing more.
public struct RuleScratch: ~Copyable, Sendable {
    var expressions = RegularExpressionScratch()

    public init() {}

    /// Comparisons made so far by wildcards and expressions: a measure of work that no clock disturbs.
    public var stepCount: UInt64 { expressions.stepCount }
}
