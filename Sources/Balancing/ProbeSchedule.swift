// When each target is probed next. Pure: time is an argument, randomness is injected.
//
// The first probe goes out at once. The second follows after a uniformly random part, from half to whole, of
// the interval, the third after half or a whole one by the toss of a coin, and from it on every target keeps
// its phase. Part and coin together are uniform over the interval: thousands that were registered together do
// not pulse together. A probe that started late or early moves no phase: after a start comes the first point
// of the phase that is at least a quarter of an interval away. Times are met to a tick of the wheel (100 ms).
//
// A target has at most one probe running. At most `runningCountMax` run at all; what is due beyond waits in
// the order in which it came due, and is never dropped.

public struct ProbeSchedule: Sendable {
    private enum Phase: Sendable {
        case absent
        /// Its next probe is on the wheel.
        case waiting
        /// Due, in the queue.
        case ready
        case running
    }

    private struct Entry: Sendable {
        var phase = Phase.absent
        var intervalNanoseconds: UInt64 = 0
        var startedAt = Instant(nanoseconds: 0)
        /// The next point of the phase; nil before the first probe.
        var dueAt: Instant?
        /// The coin is still to be tossed.
        var isHalfSpread = false
        /// A probe was asked for while one ran.
        var isWantedAgain = false
        // Neighbours in the queue.
        var previous = -1
        var next = -1
    }

    private var entries: [Entry] = []
    private let entryCountMax: Int
    private var wheel: TimerWheel
    private var firstReady = -1
    private var lastReady = -1
    public private(set) var runningCount = 0
    public let runningCountMax: Int

    /// - Parameters:
    ///   - entryCountMax: Targets are numbered below this.
    ///   - runningCountMax: How many probes may run at the same time.
    ///   - now: The time from which the schedule counts.
    public init(
        entryCountMax: Int, runningCountMax: Int = Limits.concurrentProbeCountMax, now: Instant
    ) {
        self.entryCountMax = entryCountMax
        self.runningCountMax = runningCountMax
        wheel = TimerWheel(entryCount: entryCountMax, now: now)
    }

    // MARK: Targets

    /// Takes in a target, whose first probe is due at once.
    public mutating func add(_ entry: Int, intervalSeconds: Int) {
        precondition(entry >= 0 && entry < entryCountMax)
        while entries.count <= entry { entries.append(Entry()) }
        precondition(entries[entry].phase == .absent, "a target was added twice")
        entries[entry] = Entry(intervalNanoseconds: Self.nanoseconds(intervalSeconds))
        enqueue(entry)
    }

    /// Forgets a target in any phase. If its probe runs, the caller ends that one without `finish`.
    public mutating func remove(_ entry: Int) {
        switch entries[entry].phase {
        case .absent: return
        case .waiting: wheel.cancel(entry)
        case .ready: unlink(entry)
        case .running: runningCount -= 1
        }
        entries[entry].phase = .absent
    }

    /// Sets another interval, with a new phase: a group whose interval is changed does not begin to pulse.
    ///
    /// The next probe comes within one new interval, but not sooner than a quarter of it after the last.
    public mutating func setInterval(
        _ entry: Int, toSeconds seconds: Int, at now: Instant,
        using generator: inout some RandomNumberGenerator
    ) {
        let interval = Self.nanoseconds(seconds)
        entries[entry].intervalNanoseconds = interval
        switch entries[entry].phase {
        case .absent, .ready:
            return
        case .running:
            spread(entry, using: &generator)
        case .waiting:
            let soonest = entries[entry].startedAt.advanced(byNanoseconds: interval / 4)
            let part = UInt64.random(in: 0...interval, using: &generator)
            let dueAt = max(soonest, now.advanced(byNanoseconds: part))
            entries[entry].dueAt = dueAt
            entries[entry].isHalfSpread = false
            wheel.set(entry, to: dueAt)
        }
    }

    /// Asks for a probe now, or right after the one that runs. The phase stays.
    public mutating func hasten(_ entry: Int) {
        switch entries[entry].phase {
        case .absent, .ready:
            return
        case .waiting:
            wheel.cancel(entry)
            enqueue(entry)
        case .running:
            entries[entry].isWantedAgain = true
        }
    }

    // MARK: Probes

    /// The next target whose probe starts now, which the caller owes a `finish`; nil when none may. Call until nil.
    public mutating func start(
        at now: Instant, using generator: inout some RandomNumberGenerator
    ) -> Int? {
        while let entry = wheel.popDue(at: now) { enqueue(entry) }
        guard runningCount < runningCountMax, firstReady >= 0 else { return nil }
        let entry = firstReady
        unlink(entry)
        runningCount += 1
        entries[entry].phase = .running
        entries[entry].startedAt = now
        entries[entry].isWantedAgain = false
        if entries[entry].dueAt == nil {
            spread(entry, using: &generator)
        } else {
            moveOn(entry, using: &generator)
        }
        return entry
    }

    /// The probe of a target has ended, however.
    public mutating func finish(_ entry: Int) {
        precondition(entries[entry].phase == .running, "a probe ended that did not run")
        runningCount -= 1
        guard let dueAt = entries[entry].dueAt, !entries[entry].isWantedAgain else {
            enqueue(entry)
            return
        }
        entries[entry].phase = .waiting
        wheel.set(entry, to: dueAt)
    }

    /// True when `start` has a target to give without waiting for time to pass.
    public var canStart: Bool { firstReady >= 0 && runningCount < runningCountMax }

    /// How long until time alone makes a probe due; nil when only events can.
    public func millisecondsUntilNext(from now: Instant) -> Int? {
        canStart ? 0 : wheel.millisecondsUntilNext(from: now)
    }

    /// Chooses when the second probe is due, counted from the start of the first.
    private mutating func spread(_ entry: Int, using generator: inout some RandomNumberGenerator) {
        let interval = entries[entry].intervalNanoseconds
        let part = UInt64.random(in: interval / 2...interval, using: &generator)
        entries[entry].dueAt = entries[entry].startedAt.advanced(byNanoseconds: part)
        entries[entry].isHalfSpread = true
    }

    /// Finds the point of the phase that follows a start.
    private mutating func moveOn(_ entry: Int, using generator: inout some RandomNumberGenerator) {
        guard var point = entries[entry].dueAt else { return }
        let interval = entries[entry].intervalNanoseconds
        if entries[entry].isHalfSpread, point <= entries[entry].startedAt {
            entries[entry].isHalfSpread = false
            if Bool.random(using: &generator) { point = point.advanced(byNanoseconds: interval / 2) }
        }
        let soonest = entries[entry].startedAt.advanced(byNanoseconds: interval / 4)
        if point < soonest {
            let stepCount = (soonest.nanoseconds(since: point) + interval - 1) / interval
            point = point.advanced(byNanoseconds: stepCount.multipliedSaturating(by: interval))
        }
        entries[entry].dueAt = point
    }

    private static func nanoseconds(_ seconds: Int) -> UInt64 {
        UInt64(max(1, seconds)).multipliedSaturating(by: 1_000_000_000)
    }

    // MARK: The queue of due probes

    private mutating func enqueue(_ entry: Int) {
        assert(entries[entry].phase != .ready)
        entries[entry].phase = .ready
        entries[entry].previous = lastReady
        entries[entry].next = -1
        if lastReady >= 0 { entries[lastReady].next = entry } else { firstReady = entry }
        lastReady = entry
    }

    private mutating func unlink(_ entry: Int) {
        let before = entries[entry].previous
        let after = entries[entry].next
        if before >= 0 { entries[before].next = after } else { firstReady = after }
        if after >= 0 { entries[after].previous = before } else { lastReady = before }
    }
}
