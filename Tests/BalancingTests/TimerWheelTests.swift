// Deadlines: never early, at most one slot late, whatever was set, replaced and cancelled.

import Balancing
import Testing

@Suite struct `Timer wheel` {
    private static let tick = TimerWheel.tickNanoseconds
    private let start = Instant(nanoseconds: 1_000 * TimerWheel.tickNanoseconds)

    /// Everything due at `now`, in the order in which it is taken.
    private func drain(_ wheel: inout TimerWheel, at now: Instant) -> [Int] {
        var entries: [Int] = []
        while let entry = wheel.popDue(at: now) { entries.append(entry) }
        return entries
    }

    @Test func `a deadline fires after it and within two slots`() {
        for milliseconds in [0, 1, 99, 100, 101, 350, 25_599, 25_600, 25_601, 120_000, 6_000_000] {
            var wheel = TimerWheel(entryCount: 1, now: start)
            let deadline = start.advanced(byMilliseconds: milliseconds)
            wheel.set(0, to: deadline)
            var now = start
            while now < deadline {
                #expect(drain(&wheel, at: now).isEmpty, "\(milliseconds) ms fired early")
                now = now.advanced(byMilliseconds: max(50, milliseconds / 1_000))
            }
            #expect(drain(&wheel, at: deadline.advanced(byMilliseconds: 100)) == [0], "\(milliseconds) ms")
            #expect(wheel.armedCount == 0 && !wheel.isArmed(0))
        }
    }

    @Test func `another deadline replaces the one before`() {
        var wheel = TimerWheel(entryCount: 2, now: start)
        wheel.set(1, to: start.advanced(bySeconds: 1))
        wheel.set(1, to: start.advanced(bySeconds: 10))
        #expect(wheel.armedCount == 1)
        #expect(drain(&wheel, at: start.advanced(bySeconds: 9)).isEmpty)
        #expect(drain(&wheel, at: start.advanced(bySeconds: 11)) == [1])
    }

    @Test func `a cancelled deadline does not fire, and cancelling again is nothing`() {
        var wheel = TimerWheel(entryCount: 2, now: start)
        wheel.set(0, to: start)
        wheel.cancel(0)
        wheel.cancel(0)
        wheel.cancel(1)
        #expect(wheel.armedCount == 0)
        #expect(drain(&wheel, at: start.advanced(bySeconds: 100)).isEmpty)
        #expect(wheel.millisecondsUntilNext(from: start) == nil)
    }

    /// While a slot is emptied its owner sets and cancels others of the same slot.
    @Test func `changes during a drain are kept`() {
        var wheel = TimerWheel(entryCount: 4, now: start)
        for entry in 0..<4 { wheel.set(entry, to: start.advanced(bySeconds: 1)) }
        let now = start.advanced(bySeconds: 2)
        let first = wheel.popDue(at: now)
        #expect(first == 3)
        wheel.cancel(2)
        wheel.set(1, to: now.advanced(bySeconds: 1))
        wheel.set(3, to: now.advanced(bySeconds: 1))
        #expect(drain(&wheel, at: now) == [0])
        #expect(Set(drain(&wheel, at: now.advanced(bySeconds: 2))) == [1, 3])
    }

    @Test func `after a sleep of many rounds all that is due fires at once`() {
        var wheel = TimerWheel(entryCount: 300, now: start)
        for entry in 0..<300 { wheel.set(entry, to: start.advanced(byMilliseconds: 100 * entry)) }
        wheel.set(0, to: start.advanced(bySeconds: 1_000_000))
        #expect(Set(drain(&wheel, at: start.advanced(bySeconds: 9_999))) == Set(1..<300))
        #expect(wheel.isArmed(0))
    }

    /// Against a dictionary of deadlines.
    @Test func `any sequence of changes agrees with a list of deadlines`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let count = 24
            var now = start
            var wheel = TimerWheel(entryCount: count, now: now)
            var armed: [Int: (deadline: Instant, setAt: Instant)] = [:]
            for _ in 0..<300 {
                switch Int.random(in: 0..<10, using: &generator) {
                case 0..<5:
                    let entry = Int.random(in: 0..<count, using: &generator)
                    let spans = [0, 90, 1_000, 25_600, 60_000, 400_000]
                    let span = spans[Int.random(in: 0..<spans.count, using: &generator)]
                    let deadline = now.advanced(byMilliseconds: .random(in: 0...span, using: &generator))
                    wheel.set(entry, to: deadline)
                    armed[entry] = (deadline, now)
                case 5:
                    let entry = Int.random(in: 0..<count, using: &generator)
                    wheel.cancel(entry)
                    armed[entry] = nil
                default:
                    now = advance(now, of: wheel, armed: armed.values.map(\.deadline), using: &generator)
                    for entry in drain(&wheel, at: now) {
                        let taken = armed.removeValue(forKey: entry)
                        #expect(taken != nil, "seed \(seed): \(entry) fired unarmed")
                        if let taken { #expect(taken.deadline <= now, "seed \(seed): \(entry) fired early") }
                    }
                    for (entry, timer) in armed {
                        let due = max(timer.deadline, timer.setAt).nanoseconds / Self.tick + 1
                        #expect(due > now.nanoseconds / Self.tick, "seed \(seed): \(entry) is late")
                    }
                }
                #expect(wheel.armedCount == armed.count, "seed \(seed)")
            }
        }
    }

    /// Sleeps as long as the wheel allows, or less; checks that the wheel does not let it oversleep.
    private func advance(
        _ now: Instant, of wheel: TimerWheel, armed deadlines: [Instant], using generator: inout SplitMix64
    ) -> Instant {
        guard let milliseconds = wheel.millisecondsUntilNext(from: now) else {
            #expect(deadlines.isEmpty)
            return now.advanced(byMilliseconds: .random(in: 0...100_000, using: &generator))
        }
        #expect(milliseconds <= 25_701)
        if let first = deadlines.min() {
            let latest = first.advanced(byMilliseconds: 201)
            #expect(
                now.advanced(byMilliseconds: milliseconds) <= max(latest, now.advanced(byMilliseconds: 201)))
        }
        // Sometimes a thread oversleeps all the same.
        let extra = Int.random(in: 0..<20, using: &generator) == 0 ? 60_000 : 0
        return now.advanced(byMilliseconds: .random(in: 0...milliseconds + extra, using: &generator))
    }
}
