// Dense numbers for tables and counters of the data plane, reused only when nothing can mean the old use.
//
// The counters of a number only ever rise, so a number comes back with its counters at release as the
// baseline of its next use. It also rests for a while: a probe's report of the old use may still be in
// the prober's stream.

import Balancing

package struct NumberPool: Sendable {
    package struct Lease: Sendable, Equatable {
        package let number: UInt32
        /// The counters when the number was taken, by `FlowCounter.rawValue`; empty means all zero.
        package let baseline: [UInt64]
    }

    private struct Resting: Sendable {
        let lease: Lease
        let until: Instant
    }

    package static let restSeconds = 10

    private let countMax: Int
    private var nextNumber: UInt32 = 0
    /// In the order of release, which is the order of `until`.
    private var resting: [Resting] = []

    package init(countMax: Int) {
        self.countMax = countMax
    }

    /// How many numbers are in use, or were and could not be released yet.
    package var usedCount: Int { Int(nextNumber) - resting.count }

    /// A number that rested long enough, else a new one, else the one that rested longest.
    package mutating func take(at now: Instant) -> Lease? {
        if let first = resting.first, first.until <= now { return resting.removeFirst().lease }
        if Int(nextNumber) < countMax {
            defer { nextNumber += 1 }
            return Lease(number: nextNumber, baseline: [])
        }
        return resting.isEmpty ? nil : resting.removeFirst().lease
    }

    /// Gives a number back. No flow of it may live, and no worker may route by it.
    package mutating func release(_ number: UInt32, counters: [UInt64], at now: Instant) {
        assert(number < nextNumber && !resting.contains { $0.lease.number == number })
        resting.append(
            Resting(
                lease: Lease(number: number, baseline: counters),
                until: now.advanced(bySeconds: Self.restSeconds)))
    }
}
