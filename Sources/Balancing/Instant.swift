// Monotonic time as a value, so that every machine takes the time as an argument and can be simulated.

/// A point on the monotonic clock, in nanoseconds; see clock_gettime(2), CLOCK_MONOTONIC.
public struct Instant: Hashable, Comparable, Sendable, BitwiseCopyable {
    public let nanoseconds: UInt64

    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    public static let distantFuture = Instant(nanoseconds: .max)

    public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// Saturates at `distantFuture` instead of trapping.
    public func advanced(bySeconds seconds: Int) -> Instant {
        advanced(byNanoseconds: UInt64(max(0, seconds)).multipliedSaturating(by: 1_000_000_000))
    }

    public func advanced(byMilliseconds milliseconds: Int) -> Instant {
        advanced(byNanoseconds: UInt64(max(0, milliseconds)).multipliedSaturating(by: 1_000_000))
    }

    public func advanced(byNanoseconds duration: UInt64) -> Instant {
        let (sum, isOverflow) = nanoseconds.addingReportingOverflow(duration)
        return isOverflow ? .distantFuture : Instant(nanoseconds: sum)
    }

    /// Nanoseconds from `earlier` to here; zero when `earlier` is later.
    public func nanoseconds(since earlier: Instant) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
    }
}

extension UInt64 {
    public func multipliedSaturating(by factor: UInt64) -> UInt64 {
        let (product, isOverflow) = multipliedReportingOverflow(by: factor)
        return isOverflow ? .max : product
    }
}
