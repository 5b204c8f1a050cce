// The probe schedule under a virtual clock: seeded runs with every promise checked at every step.

import Balancing
import Testing

@Suite struct `Probe schedule` {
    @Test func `a new target is due at once`() {
        var run = ScheduleRun(seed: 1, runningCountMax: 8)
        run.add(0, intervalSeconds: 30)
        #expect(run.schedule.canStart)
        #expect(run.schedule.millisecondsUntilNext(from: run.now) == 0)
        #expect(run.startNext() == 0)
        #expect(run.startNext() == nil)
    }

    @Test(arguments: UInt64(0)..<64)
    func `the second probe follows after half to a whole interval`(seed: UInt64) {
        var run = ScheduleRun(seed: seed, runningCountMax: 8)
        run.add(0, intervalSeconds: 10)
        let first = run.now
        #expect(run.startNext() == 0)
        run.finish(0)
        while run.startNext() == nil { run.advance(milliseconds: 10) }
        let gap = run.now.nanoseconds(since: first)
        #expect(gap >= 5_000_000_000)
        #expect(gap <= 10_000_000_000 + ScheduleRun.slackNanoseconds)
    }

    @Test func `while nothing can start without time passing, it says how long`() throws {
        var run = ScheduleRun(seed: 3, runningCountMax: 1)
        #expect(run.schedule.millisecondsUntilNext(from: run.now) == nil)
        run.add(0, intervalSeconds: 1)
        run.add(1, intervalSeconds: 1)
        #expect(run.startNext() == 0)
        #expect(!run.schedule.canStart)
        #expect(run.schedule.millisecondsUntilNext(from: run.now) == nil, "only the end of a probe helps")
        run.finish(0)
        #expect(run.schedule.canStart)
        #expect(run.startNext() == 1)
        let wait = try #require(run.schedule.millisecondsUntilNext(from: run.now))
        #expect((1...1_200).contains(wait))
    }

    @Test func `what is due beyond the bound waits in the order in which it came due`() {
        var run = ScheduleRun(seed: 4, runningCountMax: 2)
        for entry in 0..<6 { run.add(entry, intervalSeconds: 30) }
        #expect(run.startNext() == 0)
        #expect(run.startNext() == 1)
        #expect(run.startNext() == nil)
        run.remove(3)
        run.finish(1)
        #expect(run.startNext() == 2)
        run.finish(0)
        #expect(run.startNext() == 4)
        run.remove(4)
        #expect(run.startNext() == 5)
        #expect(run.schedule.runningCount == 2)
    }

    @Test func `a hastened target is probed at once and keeps its phase`() {
        var run = ScheduleRun(seed: 5, runningCountMax: 8)
        run.add(0, intervalSeconds: 100)
        // Past the coin: from the third probe on the phase stands.
        var starts: [Instant] = []
        while starts.count < 4 {
            if run.startNext() != nil {
                starts.append(run.now)
                run.finish(0)
            }
            run.advance(milliseconds: 50)
        }
        run.advance(milliseconds: 30_000)
        run.hasten(0)
        #expect(run.startNext() == 0)
        run.finish(0)
        while run.startNext() == nil { run.advance(milliseconds: 50) }
        let gap = run.now.nanoseconds(since: starts[3])
        #expect(gap + ScheduleRun.slackNanoseconds >= 100_000_000_000)
        #expect(gap <= 100_000_000_000 + ScheduleRun.slackNanoseconds)
    }

    @Test func `a target hastened while its probe runs is probed again right after`() {
        var run = ScheduleRun(seed: 6, runningCountMax: 8)
        run.add(0, intervalSeconds: 100)
        #expect(run.startNext() == 0)
        run.hasten(0)
        #expect(run.startNext() == nil)
        run.finish(0)
        #expect(run.startNext() == 0)
        run.finish(0)
        #expect(run.startNext() == nil)
    }

    @Test(arguments: UInt64(0)..<32)
    func `a shorter interval takes effect within itself`(seed: UInt64) {
        var run = ScheduleRun(seed: seed, runningCountMax: 8)
        run.add(0, intervalSeconds: 300)
        #expect(run.startNext() == 0)
        run.finish(0)
        run.advance(milliseconds: 40_000)
        let change = run.now
        run.setInterval(0, toSeconds: 5)
        while run.startNext() == nil { run.advance(milliseconds: 10) }
        #expect(run.now.nanoseconds(since: change) <= 5_000_000_000 + ScheduleRun.slackNanoseconds)
    }

    @Test func `a thousand targets registered together do not pulse together`() {
        var run = ScheduleRun(seed: 7, runningCountMax: 1_000)
        for entry in 0..<1_000 { run.add(entry, intervalSeconds: 10) }
        var startCounts: [Int] = []
        // After 25 s everyone has its phase.
        for _ in 0..<600 {
            var count = 0
            while let entry = run.startNext() {
                run.finish(entry)
                count += 1
            }
            startCounts.append(count)
            run.advance(milliseconds: 100)
        }
        #expect(startCounts[0] == 1_000)
        // The mean is 10 per 100 ms.
        for position in stride(from: 250, to: 600, by: 10) {
            let perSecond = startCounts[position..<(position + 10)].reduce(0, +)
            #expect((55...155).contains(perSecond), "second \(position / 10): \(perSecond)")
        }
    }

    @Test(arguments: UInt64(0)..<128)
    func `no overlap, no excess, no starvation, whatever happens`(seed: UInt64) {
        var run = ScheduleRun(seed: seed, runningCountMax: Int(seed % 5) + 3)
        run.simulate(targetCount: 30, stepCount: 2_000)
    }
}

/// A schedule with a clock, and a model of what it owes.
private struct ScheduleRun {
    /// A tick of the wheel, rounded up twice, and a step of the clock.
    static let slackNanoseconds: UInt64 = 300_000_000

    struct Model {
        var intervalSeconds = 0
        var isRunning = false
        var finishAt = Instant(nanoseconds: 0)
        var lastStart: Instant?
        /// When the target last could have begun to wait: registration, change or start.
        var waitsSince = Instant(nanoseconds: 0)
        var isHastened = false
    }

    var generator: ScheduleGenerator
    var schedule: ProbeSchedule
    var now = Instant(nanoseconds: 5_000_000_000_123)
    var models: [Int: Model] = [:]

    init(seed: UInt64, runningCountMax: Int) {
        generator = ScheduleGenerator(state: seed)
        schedule = ProbeSchedule(entryCountMax: 1_000, runningCountMax: runningCountMax, now: now)
    }

    mutating func advance(milliseconds: Int) {
        now = now.advanced(byMilliseconds: milliseconds)
    }

    mutating func add(_ entry: Int, intervalSeconds: Int) {
        schedule.add(entry, intervalSeconds: intervalSeconds)
        models[entry] = Model(intervalSeconds: intervalSeconds, waitsSince: now)
    }

    mutating func remove(_ entry: Int) {
        schedule.remove(entry)
        models[entry] = nil
    }

    mutating func hasten(_ entry: Int) {
        schedule.hasten(entry)
        models[entry]?.isHastened = true
    }

    mutating func setInterval(_ entry: Int, toSeconds seconds: Int) {
        schedule.setInterval(entry, toSeconds: seconds, at: now, using: &generator)
        models[entry]?.intervalSeconds = seconds
        models[entry]?.waitsSince = now
    }

    /// Starts the next probe and checks that it may.
    mutating func startNext() -> Int? {
        guard let entry = schedule.start(at: now, using: &generator) else { return nil }
        guard let model = models[entry] else {
            Issue.record("\(entry) is not scheduled")
            return entry
        }
        #expect(!model.isRunning, "\(entry) overlaps its predecessor")
        if let last = model.lastStart, !model.isHastened {
            let quarter = UInt64(model.intervalSeconds) * 250_000_000
            #expect(now.nanoseconds(since: last) >= quarter, "\(entry) is probed too soon")
        }
        models[entry]?.isRunning = true
        models[entry]?.isHastened = false
        models[entry]?.lastStart = now
        models[entry]?.waitsSince = now
        #expect(schedule.runningCount == models.values.count(where: \.isRunning))
        #expect(schedule.runningCount <= schedule.runningCountMax)
        return entry
    }

    mutating func finish(_ entry: Int) {
        schedule.finish(entry)
        models[entry]?.isRunning = false
    }

    /// Adds, removes, hastens and changes targets at random while their probes run for up to 300 ms.
    mutating func simulate(targetCount: Int, stepCount: Int) {
        for _ in 0..<stepCount {
            advance(milliseconds: Int.random(in: 1...100, using: &generator))
            for (entry, model) in models.sorted(by: { $0.key < $1.key })
            where model.isRunning && model.finishAt <= now {
                finish(entry)
            }
            disturb(targetCount)
            while let entry = startNext() {
                let duration = Int.random(in: 0...300, using: &generator)
                models[entry]?.finishAt = now.advanced(byMilliseconds: duration)
            }
            expectNoStarvation(queueSeconds: targetCount / schedule.runningCountMax + 1)
        }
    }

    private mutating func disturb(_ targetCount: Int) {
        let entry = Int.random(in: 0..<targetCount, using: &generator)
        let intervalSeconds = Int.random(in: 10...40, using: &generator)
        guard models[entry] != nil else {
            add(entry, intervalSeconds: intervalSeconds)
            return
        }
        switch Int.random(in: 0..<40, using: &generator) {
        case 0:
            remove(entry)
        case 1:
            hasten(entry)
        case 2:
            setInterval(entry, toSeconds: intervalSeconds)
        default:
            break
        }
    }

    private func expectNoStarvation(queueSeconds: Int) {
        for (entry, model) in models where !model.isRunning {
            let patience =
                UInt64(model.intervalSeconds) * 1_250_000_000 + UInt64(queueSeconds) * 1_000_000_000
            // Asked at every step of every seed, where an expectation each would take most of the time.
            if now.nanoseconds(since: model.waitsSince) > patience { Issue.record("\(entry) starves") }
        }
    }
}

/// SplitMix64 (Steele, Lea & Flood, 2014).
private struct ScheduleGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
