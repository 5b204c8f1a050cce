// What follows for every registration once it is known how the state routes.

import Balancing

/// Flows that are to end.
package struct EvictionOrder: Sendable, Equatable {
    package let number: TargetNumber
    package let eviction: FlowEviction

    package init(number: TargetNumber, eviction: FlowEviction) {
        self.number = number
        self.eviction = eviction
    }
}

extension RegistryState {
    /// Takes probe reports; true when any may change how flows are routed or what is shown.
    package mutating func observe(_ reports: [ProbeReport], at now: Instant, secondsSince1970: Double) -> Bool
    {
        var isChanged = false
        /// One beginning for each group: targets that become healthy together must not take each other for veterans.
        var slowStarts: [Int: Instant?] = [:]
        for report in reports {
            guard let place = place(of: report.number) else { continue }
            if slowStarts[place.group] == nil {
                slowStarts[place.group] = .some(groups[place.group].slowStart(at: now))
            }
            if self[group: place.group][place.registration].observe(
                report, slowStart: slowStarts[place.group] ?? nil, secondsSince1970: secondsSince1970)
            {
                isChanged = true
            }
        }
        return isChanged
    }

    /// Brings every registration in line with the compiled outlook; the answer is which flows are to end.
    ///
    /// A target is cut off when it is unhealthy and no route of its group leads to it any more. In a
    /// fail-open group every target stays in the routes, so nothing is cut off: its flows are as good
    /// there as anywhere.
    package mutating func settle(
        _ outlooks: [String: SnapshotCompiler.Outlook], at now: Instant, secondsSince1970: Double
    ) -> [EvictionOrder] {
        var orders: [EvictionOrder] = []
        for position in groups.indices {
            let group = groups[position].group
            let outlook = outlooks[group.name]
            let isProbed = outlook != nil && group.healthCheck.isEnabled
            for index in groups[position].registrations.indices {
                if !isProbed, groups[position][index].lastProbe != nil {
                    self[group: position][index].forgetProbes()
                }
                if let order = settleCutOff(group: position, index: index, outlook: outlook, at: now) {
                    orders.append(order)
                }
                self[group: position][index].refreshShownState(
                    in: group, isInUse: outlook != nil, secondsSince1970: secondsSince1970)
            }
        }
        return orders
    }

    private mutating func settleCutOff(
        group position: Int, index: Int, outlook: SnapshotCompiler.Outlook?, at now: Instant
    ) -> EvictionOrder? {
        let registration = groups[position][index]
        guard !registration.isDraining, let outlook else { return nil }
        let group = groups[position].group
        let isUnhealthy =
            switch registration.routedVerdict(with: group.healthCheck) {
            case .unhealthy: true
            case .initial, .healthy, .lameDuck: false
            }
        return self[group: position][index].setCutOff(
            isUnhealthy && !outlook.eligible.contains(registration.number), attributes: group.attributes,
            at: now
        ).map { EvictionOrder(number: registration.number, eviction: $0) }
    }

    // MARK: Deadlines

    /// What is due at `now`, given which numbers have live flows.
    package struct Due: Sendable, Equatable {
        /// Draining targets that leave their list.
        package var leaving: Set<TargetNumber> = []
        package var evictions: [EvictionOrder] = []
    }

    /// The numbers whose live flows decide what is due.
    package var numbersWithDeadlines: [TargetNumber] {
        groups.flatMap { group in
            group.registrations.filter { $0.isDraining || $0.unhealthyDrainingUntil != nil }.map(\.number)
        } + retiredTargets.map(\.number)
    }

    /// Collects what is due and ends the deadlines that are over.
    package mutating func takeDue(_ report: CounterReport, at now: Instant) -> Due {
        var due = Due()
        for position in groups.indices {
            let attributes = groups[position].group.attributes
            for index in groups[position].registrations.indices {
                let registration = groups[position][index]
                if case .draining(let deadline) = registration.membership {
                    let hasFlows = report.targets[registration.number].map(FlowCounters.hasLiveFlows) ?? false
                    if !hasFlows || deadline <= now { due.leaving.insert(registration.number) }
                    if hasFlows, deadline <= now, attributes.terminatesConnectionsOnDeregistration {
                        due.evictions.append(EvictionOrder(number: registration.number, eviction: .all))
                    }
                } else if let deadline = registration.unhealthyDrainingUntil, deadline <= now {
                    self[group: position][index].endUnhealthyDraining()
                    due.evictions.append(EvictionOrder(number: registration.number, eviction: .all))
                }
            }
        }
        for retired in retiredTargets {
            guard let deadline = retired.evictAt, deadline <= now else { continue }
            due.evictions.append(EvictionOrder(number: retired.number, eviction: .all))
            clearEviction(of: retired.number)
        }
        return due
    }
}

extension GroupState {
    /// `now` when a target that becomes healthy is to begin slowly; nil when it takes its full share at once.
    ///
    /// As in ELBv2, somebody must be there to carry the load meanwhile: a healthy target that is not beginning itself.
    fileprivate func slowStart(at now: Instant) -> Instant? {
        let seconds = group.attributes.application.slowStartSeconds
        guard seconds > 0, group.healthCheck.isEnabled else { return nil }
        let isCarried = registrations.contains { registration in
            guard !registration.isDraining, registration.target.weight > 0, registration.verdict == .healthy
            else { return false }
            return registration.slowStartBegan.map { $0.advanced(bySeconds: seconds) <= now } ?? true
        }
        return isCarried ? now : nil
    }
}
