// A target as the prober keeps it: what to ask, and what the answers have said so far.

import Balancing

package struct ProbedTarget: Sendable {
    package private(set) var target: ProbeTarget
    package private(set) var machine: HealthMachine
    /// The slot of its running probe.
    var probeSlot: Int?
    private var refusalCountedAt: Instant?

    /// - Parameter verdict: What is known of the target already.
    package init(_ target: ProbeTarget, verdict: HealthVerdict = .initial) {
        self.target = target
        machine = HealthMachine(target.check, verdict: verdict)
    }

    /// True when `next` asks the same question of the same endpoint: then what is known of the target stays known.
    ///
    /// How often, how patiently and how many times to ask is no part of the question.
    package func isSameQuestion(as next: ProbeTarget) -> Bool {
        var check = target.check
        check.port = next.check.port
        check.intervalSeconds = next.check.intervalSeconds
        check.timeoutSeconds = next.check.timeoutSeconds
        check.healthyThresholdCount = next.check.healthyThresholdCount
        check.unhealthyThresholdCount = next.check.unhealthyThresholdCount
        return target.endpoint == next.endpoint && target.sendsProxyHeader == next.sendsProxyHeader
            && check == next.check
    }

    /// Takes new settings for the same question. With new thresholds the verdict stays and counting starts anew.
    package mutating func adopt(_ next: ProbeTarget) {
        let old = target.check
        target = next
        guard
            old.healthyThresholdCount != next.check.healthyThresholdCount
                || old.unhealthyThresholdCount != next.check.unhealthyThresholdCount
        else { return }
        machine = HealthMachine(next.check, verdict: machine.verdict)
    }

    /// Takes a result; true when the verdict changed.
    ///
    /// A fault of ours says nothing about the target: it must not take a healthy one out of service.
    package mutating func observe(_ outcome: ProbeOutcome) -> Bool {
        if case .failure(.balancerFault) = outcome { return false }
        return machine.observe(outcome)
    }

    /// True at most once a second, so that several workers that see one dead service count as one sign.
    package mutating func mayCountRefusal(at now: Instant) -> Bool {
        if let last = refusalCountedAt, now < last.advanced(bySeconds: 1) { return false }
        refusalCountedAt = now
        return true
    }
}

extension HealthMachine {
    init(_ check: HealthCheck) {
        self.init(
            healthyThresholdCount: check.healthyThresholdCount,
            unhealthyThresholdCount: check.unhealthyThresholdCount)
    }

    /// A machine that has come to `verdict` and counts from there.
    init(_ check: HealthCheck, verdict: HealthVerdict) {
        self.init(check)
        switch verdict {
        case .initial:
            break
        case .healthy:
            _ = observe(.success)
        case .lameDuck:
            _ = observe(.lameDuck)
        case .unhealthy(let failure):
            for _ in 0..<check.unhealthyThresholdCount { _ = observe(.failure(failure)) }
        }
    }
}
