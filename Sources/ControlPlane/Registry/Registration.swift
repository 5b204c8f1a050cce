// One target in one group, from registration until it leaves the list: ELBv2's target lifecycle.
//
//   registered ── verdicts of the prober ──> initial, healthy, unhealthy, lame duck
//       │  ▲
//       │  └── registered again
//       ▼
//   draining ── no live flow, or the deregistration delay is over ──> gone (the number retires)
//
// What is shown follows from this value, the group and whether a listener uses it; nothing else is kept.

import Balancing

package struct Registration: Sendable {
    package enum Membership: Sendable, Hashable {
        case registered
        /// No new flows; live ones go on until then.
        case draining(until: Instant)
    }

    package struct LastProbe: Sendable, Hashable {
        package let outcome: ProbeOutcome
        package let latencyNanoseconds: UInt64
        package let secondsSince1970: Double
    }

    package let number: TargetNumber
    /// The counters of the number when this registration took it; empty means all zero.
    package let baseline: [UInt64]
    package var target: Target
    package private(set) var membership = Membership.registered
    package private(set) var verdict = HealthVerdict.initial
    package private(set) var lastProbe: LastProbe?
    /// True while unhealthy and without new flows. False when the group is fail-open: then its flows stay.
    package private(set) var isCutOff = false
    /// When an application group's target last became healthy while others already took their full share: the
    /// beginning of its slow start.
    package private(set) var slowStartBegan: Instant?
    /// Registered while others of an application group were healthy: then its first share is a small one.
    package private(set) var isNewcomer = false
    /// When the flows of a cut-off target end, if they may go on for a while.
    package private(set) var unhealthyDrainingUntil: Instant?
    /// The state as last shown, and since when.
    package private(set) var shownState = TargetHealthState.initial
    package private(set) var since: Double

    package init(target: Target, lease: NumberPool.Lease, secondsSince1970: Double) {
        self.target = target
        number = TargetNumber(lease.number)
        baseline = lease.baseline
        since = secondsSince1970
    }

    package var isDraining: Bool {
        switch membership {
        case .registered: false
        case .draining: true
        }
    }

    /// To be called for one that is registered, or registered again, beside healthy targets.
    package mutating func becomeNewcomer() {
        isNewcomer = true
    }

    // MARK: Membership

    package mutating func deregister(until deadline: Instant) {
        guard !isDraining else { return }
        membership = .draining(until: deadline)
        isCutOff = false
        unhealthyDrainingUntil = nil
    }

    /// Back into service. The prober begins anew with the target, and so does its verdict.
    package mutating func registerAgain() {
        guard isDraining else { return }
        membership = .registered
        forgetProbes()
    }

    // MARK: Health

    /// Takes a report; true when what may be routed or shown changed kind.
    ///
    /// - Parameter slowStart: What to note as the beginning of a slow start, should this report bring the target into
    ///   service.
    package mutating func observe(
        _ report: ProbeReport, slowStart: Instant? = nil, secondsSince1970: Double
    ) -> Bool {
        guard !isDraining else { return false }
        let isFirst = lastProbe == nil
        lastProbe = LastProbe(
            outcome: report.outcome, latencyNanoseconds: report.latencyNanoseconds,
            secondsSince1970: secondsSince1970)
        switch (verdict, report.verdict) {
        case (.healthy, .initial), (.lameDuck, .initial), (.unhealthy, .initial):
            // The prober began anew because the check changed. What was known holds until it knows better.
            return false
        case (.unhealthy, .unhealthy):
            verdict = report.verdict
            return false
        case (.initial, .initial):
            return isFirst
        case (.healthy, .healthy), (.lameDuck, .lameDuck):
            return false
        case (_, .healthy):
            // One that a process found registered when it began has served before.
            slowStartBegan = verdict == .initial && !isNewcomer ? nil : slowStart
            isNewcomer = false
            verdict = report.verdict
            return true
        case (_, .lameDuck), (_, .unhealthy):
            verdict = report.verdict
            slowStartBegan = nil
            return true
        }
    }

    /// Forgets verdict and probes, because the target is not probed any more or anew.
    package mutating func forgetProbes() {
        verdict = .initial
        lastProbe = nil
        isCutOff = false
        unhealthyDrainingUntil = nil
        slowStartBegan = nil
    }

    /// What routing goes by: a group without health checks counts all its targets as healthy.
    package func routedVerdict(with check: HealthCheck) -> HealthVerdict {
        check.isEnabled ? verdict : .healthy
    }

    /// Notes whether the target is cut off from new flows by its health; the answer is what must end now.
    package mutating func setCutOff(
        _ isCutOff: Bool, attributes: TargetGroupAttributes, at now: Instant
    ) -> FlowEviction? {
        guard isCutOff != self.isCutOff else { return nil }
        self.isCutOff = isCutOff
        unhealthyDrainingUntil = nil
        guard isCutOff else { return nil }
        if attributes.terminatesConnectionsWhenUnhealthy { return .all }
        if attributes.unhealthyDrainingIntervalSeconds > 0 {
            unhealthyDrainingUntil = now.advanced(bySeconds: attributes.unhealthyDrainingIntervalSeconds)
        }
        return .datagramFlows
    }

    /// Ends the draining interval of an unhealthy target.
    package mutating func endUnhealthyDraining() {
        unhealthyDrainingUntil = nil
    }

    // MARK: Taking over

    /// What a process knew of the target that this one takes over from.
    package struct Past: Sendable {
        package var verdict: HealthVerdict
        package var lastProbe: LastProbe?
        package var isCutOff: Bool
        package var unhealthyDrainingUntil: Instant?
        package var slowStartBegan: Instant?
        package var isNewcomer = false
        package var shownState: TargetHealthState
        package var since: Double
    }

    package var past: Past {
        Past(
            verdict: verdict, lastProbe: lastProbe, isCutOff: isCutOff,
            unhealthyDrainingUntil: unhealthyDrainingUntil, slowStartBegan: slowStartBegan,
            isNewcomer: isNewcomer, shownState: shownState, since: since)
    }

    package mutating func restore(_ past: Past) {
        verdict = past.verdict
        lastProbe = past.lastProbe
        isCutOff = past.isCutOff
        unhealthyDrainingUntil = past.unhealthyDrainingUntil
        slowStartBegan = past.slowStartBegan
        isNewcomer = past.isNewcomer
        shownState = past.shownState
        since = past.since
    }

    // MARK: Showing

    /// Keeps `since` at the moment when the shown state last changed.
    package mutating func refreshShownState(in group: TargetGroup, isInUse: Bool, secondsSince1970: Double) {
        let state = health(in: group, isInUse: isInUse, hasLiveFlows: false).state
        guard state != shownState else { return }
        shownState = state
        since = secondsSince1970
    }

    /// State, reason and sentence as people see them.
    ///
    /// - Parameter hasLiveFlows: Tells unhealthy from unhealthy.draining.
    package func health(in group: TargetGroup, isInUse: Bool, hasLiveFlows: Bool) -> TargetHealth {
        if isDraining {
            return TargetHealth(
                state: .draining, reason: .deregistrationInProgress,
                sentence: "The target is deregistered: it gets no new flows, and its live ones may go on "
                    + "for up to \(group.attributes.deregistrationDelaySeconds) s.")
        }
        guard isInUse else {
            return TargetHealth(
                state: .unused, reason: .notInUse,
                sentence: "No listener forwards to target group \"\(group.name)\", so the target gets no "
                    + "flows and no health checks.")
        }
        guard group.healthCheck.isEnabled else {
            return TargetHealth(
                state: .unavailable, reason: .healthCheckDisabled,
                sentence: "Health checks are disabled for target group \"\(group.name)\"; the target counts "
                    + "as healthy.")
        }
        switch verdict {
        case .initial: return initialHealth(in: group)
        case .healthy: return .healthy
        case .lameDuck:
            return TargetHealth(
                state: .draining, reason: .deregistrationInProgress,
                sentence: "The target itself asks for no new flows (lame duck); its live ones go on.")
        case .unhealthy(let failure):
            return unhealthyHealth(failure, in: group, hasLiveFlows: hasLiveFlows)
        }
    }

    private func initialHealth(in group: TargetGroup) -> TargetHealth {
        guard let lastProbe else {
            return TargetHealth(
                state: .initial, reason: .registrationInProgress,
                sentence: "The target is being registered: its first health check has not ended yet.")
        }
        guard case .failure(let failure) = lastProbe.outcome else {
            return TargetHealth(
                state: .initial, reason: .initialHealthChecking,
                sentence: "Initial health checks are in "
                    + "progress.")
        }
        return TargetHealth(
            state: .initial, reason: .initialHealthChecking,
            sentence: "Initial health checks are in progress; the last one failed: "
                + failure.sentence(probing: probeEndpoint(with: group.healthCheck), with: group.healthCheck))
    }

    private func unhealthyHealth(
        _ failure: ProbeFailure, in group: TargetGroup, hasLiveFlows: Bool
    ) -> TargetHealth {
        let cause = failure.sentence(probing: probeEndpoint(with: group.healthCheck), with: group.healthCheck)
        guard hasLiveFlows, unhealthyDrainingUntil != nil else {
            return TargetHealth(state: .unhealthy, reason: failure.reason, sentence: cause)
        }
        return TargetHealth(
            state: .unhealthyDraining, reason: failure.reason,
            sentence: "\(cause) Its established flows may go on for up to "
                + "\(group.attributes.unhealthyDrainingIntervalSeconds) s.")
    }

    package func probeEndpoint(with check: HealthCheck) -> Endpoint {
        switch check.port {
        case .trafficPort: target.id.endpoint
        case .number(let port): Endpoint(address: target.id.address, port: port)
        }
    }
}
