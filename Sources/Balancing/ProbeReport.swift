// What goes to the prober, and what comes back.

/// One target for the prober.
public struct ProbeTarget: Sendable, Hashable {
    public let number: TargetNumber
    /// Where to probe: the target's address and the health check's port.
    public let endpoint: Endpoint
    public let check: HealthCheck
    /// True when a probe is to begin with a PROXY protocol header: its connection, or its datagram.
    public let sendsProxyHeader: Bool

    public init(
        number: TargetNumber, endpoint: Endpoint, check: HealthCheck, sendsProxyHeader: Bool = false
    ) {
        self.number = number
        self.endpoint = endpoint
        self.check = check
        self.sendsProxyHeader = sendsProxyHeader
    }
}

/// What the prober says after each probe of a target.
public struct ProbeReport: Sendable {
    public let number: TargetNumber
    public let outcome: ProbeOutcome
    public let latencyNanoseconds: UInt64
    /// The verdict of the target's health machine after this probe.
    public let verdict: HealthVerdict
    /// True when `verdict` differs from the one before.
    public let isTransition: Bool

    public init(
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
