// One worker's exchanges in flight, by target.

/// Counts by target number, of all groups: a target keeps its count while no snapshot lists it as eligible.
///
/// Passed as a whole and not as a span, since a span of one property keeps all others of its owner from being
/// changed, and who owns this table owns the spreaders too.
public struct OutstandingRequests: Sendable {
    private var counts: [UInt32]

    /// - Parameter targetNumberCountMax: How many numbers there may be. More are counted as well, at the price of an
    ///   allocation when the first of them comes up.
    public init(targetNumberCountMax: Int = 4_096) {
        counts = [UInt32](repeating: 0, count: max(0, targetNumberCountMax))
    }

    public subscript(target: TargetNumber) -> UInt32 {
        let number = Int(target.rawValue)
        return number < counts.count ? counts[number] : 0
    }

    public mutating func begin(_ target: TargetNumber) {
        let number = Int(target.rawValue)
        if number >= counts.count { grow(to: number) }
        counts[number] += 1
    }

    /// Every beginning ends once; ending what did not begin is a broken account.
    public mutating func end(_ target: TargetNumber) {
        let number = Int(target.rawValue)
        precondition(number < counts.count && counts[number] > 0, "an exchange ended that was not counted")
        counts[number] -= 1
    }

    private mutating func grow(to number: Int) {
        precondition(number < Limits.targetNumberCountMax, "a target number beyond the bound")
        let count = min(Limits.targetNumberCountMax, max(2 * counts.count, number + 1))
        counts += repeatElement(0, count: count - counts.count)
    }
}
