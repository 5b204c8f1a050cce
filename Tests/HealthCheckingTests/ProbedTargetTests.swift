// What the prober keeps of a target: whom outcomes count against, and what survives new settings.

import Balancing
import HealthChecking
import Testing

@Suite struct `Probed target` {
    private static let endpoint = Endpoint(address: IPAddress(v4: 0xC000_0201), port: 80)

    private static let ours = ProbeOutcome.failure(.balancerFault("Too many open files (EMFILE)"))
    private static let refused = ProbeOutcome.failure(.connectionRefused)

    @Test func `a fault of ours leaves a healthy target healthy`() {
        var subject = ProbedTarget(target(1, Self.endpoint, HealthCheck()))
        #expect(
            changes(of: &subject, by: [.success, Self.ours, Self.ours, Self.ours]) == [
                true, false, false, false,
            ])
        #expect(subject.machine.verdict == .healthy)
    }

    @Test func `a fault of ours does not interrupt a run of failures`() {
        var subject = ProbedTarget(target(1, Self.endpoint, HealthCheck()))
        #expect(changes(of: &subject, by: [Self.refused, Self.ours, Self.refused]) == [false, false, true])
    }

    private static let histories: [[ProbeOutcome]] = [
        [], [.success], [.lameDuck], [.failure(.connectionReset), .failure(.connectionReset)],
    ]

    @Test(arguments: histories)
    func `other thresholds keep the verdict`(outcomes: [ProbeOutcome]) {
        var subject = ProbedTarget(target(1, Self.endpoint, HealthCheck()))
        for outcome in outcomes { _ = subject.observe(outcome) }
        let verdict = subject.machine.verdict
        let next = target(
            1, Self.endpoint,
            HealthCheck(
                intervalSeconds: 7, timeoutSeconds: 3, healthyThresholdCount: 3, unhealthyThresholdCount: 4))
        #expect(subject.isSameQuestion(as: next))
        subject.adopt(next)
        #expect(subject.machine.verdict == verdict)
        #expect(subject.target == next)
    }

    @Test func `a verdict of another process is where counting begins`() {
        let failed = HealthVerdict.unhealthy(.connectionRefused)
        var subject = ProbedTarget(
            target(1, Self.endpoint, HealthCheck(healthyThresholdCount: 2)), verdict: failed)
        #expect(subject.machine.verdict == failed)
        // One success makes a new target healthy, but not one that is known to be unhealthy.
        #expect(changes(of: &subject, by: [.success, .success]) == [false, true])
    }

    @Test func `new thresholds count from the verdict on`() {
        var subject = ProbedTarget(target(1, Self.endpoint, HealthCheck()))
        _ = subject.observe(.success)
        subject.adopt(
            target(1, Self.endpoint, HealthCheck(healthyThresholdCount: 2, unhealthyThresholdCount: 3)))
        #expect(
            changes(of: &subject, by: [Self.refused, Self.refused, Self.refused, .success, .success])
                == [false, false, true, false, true])
    }

    @Test func `another path, endpoint or matcher is another question`() throws {
        let http = HealthCheck(protocol: .http)
        let subject = ProbedTarget(target(1, Self.endpoint, http))
        var other = http
        other.path = "/other"
        #expect(!subject.isSameQuestion(as: target(1, Self.endpoint, other)))
        other = http
        other.matcher = try #require(StatusMatcher("200"))
        #expect(!subject.isSameQuestion(as: target(1, Self.endpoint, other)))
        let elsewhere = Endpoint(address: Self.endpoint.address, port: 81)
        #expect(!subject.isSameQuestion(as: target(1, elsewhere, http)))
    }

    /// For each outcome whether it changed the verdict.
    private func changes(of subject: inout ProbedTarget, by outcomes: [ProbeOutcome]) -> [Bool] {
        var changes: [Bool] = []
        for outcome in outcomes { changes.append(subject.observe(outcome)) }
        return changes
    }
}
