// How a new target's share grows: ELBv2's slow start, as a pure function of time.

public enum SlowStart {
    /// A share never begins at nothing: a target without requests has nothing to warm up with.
    public static let permilleMin: UInt64 = 10

    /// The share of its weight that a target gets, in thousandths: rises linearly to 1,000 at the end of
    /// `seconds`, and is 1,000 from then on and for a target that is not starting slowly.
    public static func permille(startedAt: Instant?, seconds: Int, at now: Instant) -> UInt64 {
        guard let startedAt, seconds > 0 else { return 1_000 }
        let duration = UInt64(seconds).multipliedSaturating(by: 1_000_000)
        return min(1_000, max(permilleMin, now.nanoseconds(since: startedAt) / duration))
    }

    /// How long a share may stay as it is while it should grow: a hundredth of the whole.
    static func stepNanoseconds(seconds: Int) -> UInt64 {
        UInt64(max(1, seconds)).multipliedSaturating(by: 10_000_000)
    }
}
