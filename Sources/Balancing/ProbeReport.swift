// What goes to the prober, and what comes back.

/// One target for the prober.
package struct ProbeTarget: Sendable, Hashable {
    package let number: TargetNumber
    /// Where to probe: the target's address and the health check's port.
    package let endpoint: Endpoint
    package let check: HealthCheck

    package init(number: TargetNumber, endpoint: Endpoint, check: HealthCheck) {
        self.number = number
        self.endpoint = endpoint
        self.check = check
    }
}

/// What the prober says after each probe of a target.
package struct ProbeReport: Sendable {
    package let number: TargetNumber
    package let outcome: ProbeOutcome
    package let latencyNanoseconds: UInt64
    /// The verdict of the target's health machine after this probe.
    package let verdict: HealthVerdict
    /// True when `verdict` differs from the one before.
    package let isTransition: Bool

    package init(
        number: TargetNumber, outcome: ProbeOutcome, latencyNanoseconds: UInt64, verdict: HealthVerdict,
        isTransition: Bool
    ) {
        self.number = number
        self.outcome = outcome
        self.latencyNanoseconds = latencyNanoseconds
        self.verdict = verdict
        self.isTransition = isTransition
    }
}
