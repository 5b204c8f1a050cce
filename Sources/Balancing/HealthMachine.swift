// From single probe results to the state of a target: ELBv2's thresholds.
//
// A new target needs one success to be healthy; a healthy or new one needs `unhealthyThresholdCount`
// failures in a row to be unhealthy; an unhealthy one `healthyThresholdCount` successes in a row to
// be healthy again. Lame duck is an answer of the target itself and takes effect with one probe.

/// What the probes say of a target.
public enum HealthVerdict: Hashable, Sendable {
    case initial
    case healthy
    /// Healthy, but the target itself asks for no new flows.
    case lameDuck
    case unhealthy(ProbeFailure)

    public var isHealthy: Bool { self == .healthy }
}

public struct HealthMachine: Hashable, Sendable {
    public private(set) var verdict = HealthVerdict.initial
    private var successRunCount = 0
    private var failureRunCount = 0
    private let healthyThresholdCount: Int
    private let unhealthyThresholdCount: Int

    /// - Parameters:
    ///   - healthyThresholdCount: 2–10.
    ///   - unhealthyThresholdCount: 2–10.
    public init(healthyThresholdCount: Int, unhealthyThresholdCount: Int) {
        self.healthyThresholdCount = healthyThresholdCount
        self.unhealthyThresholdCount = unhealthyThresholdCount
    }

    /// Takes one result; true when the verdict changed kind, not when only its failure did.
    public mutating func observe(_ outcome: ProbeOutcome) -> Bool {
        switch outcome {
        case .success: observeSuccess(as: .healthy)
        case .lameDuck: observeSuccess(as: .lameDuck)
        case .failure(let failure): observeFailure(failure)
        }
    }

    private mutating func observeSuccess(as next: HealthVerdict) -> Bool {
        failureRunCount = 0
        successRunCount = min(successRunCount + 1, healthyThresholdCount)
        switch verdict {
        case .initial, .healthy, .lameDuck:
            guard verdict != next else { return false }
            verdict = next
            return true
        case .unhealthy:
            guard successRunCount == healthyThresholdCount else { return false }
            verdict = next
            return true
        }
    }

    private mutating func observeFailure(_ failure: ProbeFailure) -> Bool {
        successRunCount = 0
        failureRunCount = min(failureRunCount + 1, unhealthyThresholdCount)
        switch verdict {
        case .unhealthy:
            // The newest cause is the one that helps whoever looks.
            verdict = .unhealthy(failure)
            return false
        case .initial, .healthy, .lameDuck:
            guard failureRunCount == unhealthyThresholdCount else { return false }
            verdict = .unhealthy(failure)
            return true
        }
    }
}
