// Which targets fail more than their peers though they pass their health checks, and how much less they get.
//
// ELBv2's automatic target weights: with at least three targets, one whose share of 5xx answers and connection
// errors stands out among the others' is anomalous. Mitigation halves its weight with every window in which it still
// stands out, down to a trickle that shows when it is well again, and gives the weight back step by step. ELBv2 does
// not publish its test and its steps; these are Weir's. Every worker judges by its own exchanges, as every node of
// an ELBv2 load balancer does.

struct AnomalyWatch: Sendable {
    /// ELBv2's: fewer have no "others" to be compared with.
    static let targetCountMin = 3
    static let windowNanoseconds: UInt64 = 10_000_000_000
    /// Exchanges of a window that a verdict takes; fewer are kept for the next window.
    static let exchangeCountMin: UInt32 = 20
    /// An anomalous target has few, and gets its verdict of so many, or of what there was in so many windows.
    static let anomalousExchangeCountMin: UInt32 = 5
    static let patienceWindowCount: UInt32 = 6
    /// Steps of mitigation, each halving the weight: 1/64 at most.
    static let levelMax: UInt8 = 6
    /// Never more than half of the targets carry less: an error that most have is not theirs.
    static let mitigatedPercentMax = 50

    struct Tally: Sendable, BitwiseCopyable {
        var exchangeCount: UInt32 = 0
        var errorCount: UInt32 = 0
        /// Windows that the counts are of, without the current one.
        var windowCount: UInt32 = 0
        var level: UInt8 = 0
        var isAnomalous = false

        var permille: UInt64 { 1_000 >> UInt64(level) }
    }

    private(set) var tallies: [Tally] = []
    private(set) var windowEndsAt = Instant.distantFuture
    private var mitigates = false

    /// - Parameters:
    ///   - tallies: One for each target, kept for those that stay.
    ///   - mitigates: False to only tell.
    mutating func begin(_ tallies: [Tally], mitigates: Bool, at now: Instant) {
        let isWatching = tallies.count >= Self.targetCountMin
        self.tallies = isWatching ? tallies : tallies.map { _ in Tally() }
        self.mitigates = mitigates && isWatching
        if !self.mitigates {
            for index in self.tallies.indices { self.tallies[index].level = 0 }
        }
        if !isWatching {
            windowEndsAt = .distantFuture
        } else if windowEndsAt == .distantFuture {
            windowEndsAt = now.advanced(byNanoseconds: Self.windowNanoseconds)
        }
    }

    mutating func note(isError: Bool, position: Int) {
        tallies[position].exchangeCount &+= 1
        if isError { tallies[position].errorCount &+= 1 }
    }

    /// Ends the window if its time has come. Call at any pace; costs O(targets) once a window.
    ///
    /// - Returns: Whether the weight of any target changed.
    mutating func judge(at now: Instant) -> Bool {
        guard now >= windowEndsAt else { return false }
        let elapsed = 1 + now.nanoseconds(since: windowEndsAt) / Self.windowNanoseconds
        windowEndsAt = now.advanced(byNanoseconds: Self.windowNanoseconds)
        var exchangeCount: UInt64 = 0
        var errorCount: UInt64 = 0
        var mitigatedCount = 0
        var position = 0
        while position < tallies.count {
            exchangeCount += UInt64(tallies[position].exchangeCount)
            errorCount += UInt64(tallies[position].errorCount)
            if tallies[position].level > 0 { mitigatedCount += 1 }
            position += 1
        }
        let mitigatedCountMax = tallies.count * Self.mitigatedPercentMax / 100
        var isChanged = false
        position = 0
        while position < tallies.count {
            var tally = tallies[position]
            let level = tally.level
            tally.windowCount = UInt32(clamping: UInt64(tally.windowCount) + elapsed)
            Self.judge(
                &tally, exchangeCount: exchangeCount, errorCount: errorCount,
                mayMitigate: mitigates && (level > 0 || mitigatedCount < mitigatedCountMax))
            if tally.level != level {
                isChanged = true
                if level == 0 { mitigatedCount += 1 }
                if tally.level == 0 { mitigatedCount -= 1 }
            }
            tallies[position] = tally
            position += 1
        }
        return isChanged
    }

    private static func judge(
        _ tally: inout Tally, exchangeCount: UInt64, errorCount: UInt64, mayMitigate: Bool
    ) {
        let isSuspect = tally.isAnomalous || tally.level > 0
        let countMin = isSuspect ? anomalousExchangeCountMin : exchangeCountMin
        let isPatienceOver = tally.windowCount >= patienceWindowCount
        guard tally.exchangeCount >= countMin || isPatienceOver else { return }
        let otherCount = exchangeCount - UInt64(tally.exchangeCount)
        if tally.exchangeCount < countMin {
            // Too little to accuse anybody. A suspect that did no wrong in all that time is trusted a little more.
            if isSuspect, tally.errorCount == 0 { improve(&tally) }
        } else if otherCount >= UInt64(exchangeCountMin) || isPatienceOver {
            tally.isAnomalous = standsOut(
                errors: tally.errorCount, of: tally.exchangeCount, isSuspect: isSuspect,
                otherErrors: errorCount - UInt64(tally.errorCount), of: otherCount)
            if !tally.isAnomalous {
                improve(&tally)
            } else if mayMitigate, tally.level < levelMax {
                tally.level += 1
            }
        } else {
            return
        }
        tally.exchangeCount = 0
        tally.errorCount = 0
        tally.windowCount = 0
    }

    private static func improve(_ tally: inout Tally) {
        tally.isAnomalous = false
        if tally.level > 0 { tally.level -= 1 }
    }

    /// A difference that matters (5 points) and that chance hardly makes (three standard errors of the difference
    /// of two proportions); half and two for one that already stood out, so that no verdict flickers.
    static func standsOut(
        errors: UInt32, of count: UInt32, isSuspect: Bool, otherErrors: UInt64, of otherCount: UInt64
    ) -> Bool {
        guard count > 0, otherCount > 0 else { return false }
        let ratio = Double(errors) / Double(count)
        let difference = ratio - Double(otherErrors) / Double(otherCount)
        guard difference >= (isSuspect ? 0.025 : 0.05) else { return false }
        let pooled = (Double(errors) + Double(otherErrors)) / (Double(count) + Double(otherCount))
        let deviation = (pooled * (1 - pooled) * (1 / Double(count) + 1 / Double(otherCount))).squareRoot()
        return difference >= (isSuspect ? 2 : 3) * deviation
    }
}
