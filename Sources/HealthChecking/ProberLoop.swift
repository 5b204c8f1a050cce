// The prober's thread: its targets, their schedule, the probes in flight, and nothing shared.
//
// This file holds the state, the turn and the targets; a probe's life is in ProberLoop+Probes.swift, what TLS adds
// to it in ProberLoop+TLS.swift. The work of a turn is bounded by what is due and ready, never by how many targets there are; only an update looks at
// all of them.

import Balancing
import HTTPCore
import LinuxIO
import Reactor

struct ProberLoop: ~Copyable {
    /// Token kinds; 0 is the mailbox's.
    enum Kind {
        static let probe: UInt8 = 1
    }

    let epoll: EpollHandle
    let onReport: @Sendable (ProbeReport) -> Void
    var generator: SplitMix64
    var isStopped = false

    // Targets by entry, the dense index that the schedule knows.
    var targets: [ProbedTarget?] = []
    private var entries: [TargetNumber: Int] = [:]
    /// Verdicts for targets that the next update brings.
    private var restored: [TargetNumber: HealthVerdict] = [:]
    private var entrySlots = SlotAllocator(capacity: Limits.targetNumberCountMax)
    var schedule: ProbeSchedule
    var contexts: ProbeContexts = [:]

    // Probes in flight by slot.
    var probes = [RunningProbe?](repeating: nil, count: Limits.concurrentProbeCountMax)
    var probeSlots = SlotAllocator(capacity: Limits.concurrentProbeCountMax)
    var timeouts: TimerWheel
    var generation: UInt32 = 0
    /// Probes whose budget ran out while they had something to read: they go on in the next turn.
    var unread: [Token] = []
    /// What passes between a probe and its TLS session, for the length of one call.
    let scratch = ByteRegion(byteCount: ProberLoop.streamReceiveByteCountMax)
    // For checks over HTTP/2, used within one call.
    let http2Pool = HTTP2Pool()
    var http2Inbox: HTTP2Inbox? = HTTP2Inbox()
    var fieldBlock = HTTP2FieldBlock()

    init(
        epoll: EpollHandle, seed: UInt64, now: Instant, onReport: @escaping @Sendable (ProbeReport) -> Void
    ) {
        self.epoll = epoll
        self.onReport = onReport
        generator = SplitMix64(seed: seed)
        schedule = ProbeSchedule(entryCountMax: Limits.targetNumberCountMax, now: now)
        timeouts = TimerWheel(entryCount: Limits.concurrentProbeCountMax, now: now)
    }
}

extension ProberLoop: TurnHandler {
    var isFinished: Bool { isStopped }

    mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant) {
        guard token.kind == Kind.probe, isCurrent(token) else { return }
        probeIsReady(token.index, readiness)
    }

    mutating func take(_ message: ProberMessage, at now: Instant) {
        switch message {
        case .restore(let verdicts): restored = verdicts
        case .update(let wanted, let fresh):
            contexts = fresh
            update(wanted, at: now)
            restored = [:]
        case .renewTLS(let fresh): contexts = fresh
        case .trafficRefused(let number): countRefusal(of: number, at: now)
        case .stop: stop()
        }
    }

    mutating func finishTurn(at now: Instant) -> Int? {
        readOn()
        while let slot = timeouts.popDue(at: now) { probeTimedOut(slot) }
        // One start a turn: answers that came meanwhile are seen first, so that a burst of starts is not measured
        // as latency of the probes it began with.
        if !isStopped, let entry = schedule.start(at: now, using: &generator) { startProbe(of: entry) }
        if !unread.isEmpty { return 0 }
        let start = schedule.millisecondsUntilNext(from: now) ?? .max
        let timeout = timeouts.millisecondsUntilNext(from: now) ?? .max
        let soonest = min(start, timeout)
        return soonest == .max ? nil : soonest
    }

    /// An event can outlive its probe: the slot may be free or another's by now.
    func isCurrent(_ token: Token) -> Bool {
        probes[token.index]?.connection.token == token
    }
}

// MARK: - Targets

extension ProberLoop {
    private mutating func update(_ wanted: [ProbeTarget], at now: Instant) {
        let enabled = wanted.filter(\.check.isEnabled)
        let numbers = Set(enabled.map(\.number))
        for (number, entry) in entries where !numbers.contains(number) {
            forget(number, entry)
        }
        for target in enabled {
            if let entry = entries[target.number] {
                revise(entry, to: target, at: now)
            } else {
                admit(target)
            }
        }
    }

    private mutating func admit(_ target: ProbeTarget) {
        // Target numbers are below the same bound, so a slot is always free.
        guard let entry = entrySlots.allocate() else { return }
        while targets.count <= entry { targets.append(nil) }
        targets[entry] = ProbedTarget(target, verdict: restored[target.number] ?? .initial)
        entries[target.number] = entry
        schedule.add(entry, intervalSeconds: target.check.intervalSeconds)
    }

    private mutating func forget(_ number: TargetNumber, _ entry: Int) {
        abandonProbe(of: entry)
        schedule.remove(entry)
        targets[entry] = nil
        entries[number] = nil
        entrySlots.free(entry)
    }

    private mutating func revise(_ entry: Int, to next: ProbeTarget, at now: Instant) {
        guard let known = targets[entry], known.target != next else { return }
        guard known.isSameQuestion(as: next) else {
            forget(next.number, entry)
            admit(next)
            return
        }
        targets[entry]?.adopt(next)
        if known.target.check.intervalSeconds != next.check.intervalSeconds {
            schedule.setInterval(
                entry, toSeconds: next.check.intervalSeconds, at: now, using: &generator)
        }
    }

    private mutating func countRefusal(of number: TargetNumber, at now: Instant) {
        // A worker may report a target that has just left.
        guard let entry = entries[number], targets[entry]?.mayCountRefusal(at: now) == true else { return }
        report(.failure(.trafficRefused), of: entry, latencyNanoseconds: 0)
        schedule.hasten(entry)
    }

    private mutating func stop() {
        for entry in targets.indices { abandonProbe(of: entry) }
        isStopped = true
    }

    /// Feeds the health machine and tells what came of it.
    mutating func report(_ outcome: ProbeOutcome, of entry: Int, latencyNanoseconds: UInt64) {
        let isTransition = targets[entry]?.observe(outcome) ?? false
        guard let probed = targets[entry] else { return }
        onReport(
            ProbeReport(
                number: probed.target.number, outcome: outcome, latencyNanoseconds: latencyNanoseconds,
                verdict: probed.machine.verdict, isTransition: isTransition))
    }
}
