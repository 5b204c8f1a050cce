// What the admin API reads. Nothing here waits for a change: readers see what was true last. Only the list of
// flows asks the workers.

import AdminModel
import Balancing

extension Registry {
    package func status() async -> StatusReport {
        let report = allCounters()
        var status = StatusReport(
            version: version, uptimeSeconds: Int(clock.now().nanoseconds(since: startedAt) / 1_000_000_000),
            workerCount: workers.workerCount, isDraining: isDraining,
            warnings: workers.warnings + certificateWarnings(),
            counters: FlowCounters.workerCounters(report.workers),
            loadBalancers: state.loadBalancers.map { describe($0, report) },
            targetGroups: state.groups.map { describe($0, report) })
        let certificates = describeCertificates()
        if !certificates.isEmpty { status.certificates = certificates }
        return status
    }

    package func loadBalancers() async -> [LoadBalancerDescription] {
        let report = allCounters()
        return state.loadBalancers.map { describe($0, report) }
    }

    package func loadBalancer(named name: String) async throws(ControlError) -> LoadBalancerDescription {
        guard let loadBalancer = state.loadBalancers.first(where: { $0.name == name }) else {
            throw loadBalancerNotFound(name)
        }
        return describe(loadBalancer, allCounters())
    }

    func loadBalancerNotFound(_ name: String) -> ControlError {
        let known = state.loadBalancers.map(\.name)
        return ControlError(
            kind: .notFound, code: "LoadBalancerNotFound",
            message: "load balancer \"\(ConfigurationReader.shortened(name))\" does not exist"
                + (known.isEmpty ? ". There is none yet." : NearestKey.advice(for: name, in: known)))
    }

    package func listener(_ id: String) async throws(ControlError) -> ListenerDescription {
        let (loadBalancer, listener) = try findListener(id)
        return describe(listener, of: loadBalancer, allCounters())
    }

    package func targetGroups() async -> [TargetGroupDescription] {
        let report = allCounters()
        return state.groups.map { describe($0, report) }
    }

    package func targetGroup(named name: String) async throws(ControlError) -> TargetGroupDescription {
        guard let group = state.group(named: name) else { throw Self.groupNotFound(name, in: state) }
        return describe(group, allCounters())
    }

    /// Throws `unavailable` when the workers do not say what they have in time.
    package func flows(countMax: Int) async throws(ControlError) -> FlowsResponse {
        guard let (records, omittedCount) = await workers.flows(countMax: max(0, countMax)) else {
            throw ControlError(
                kind: .unavailable, code: "ServiceUnavailable",
                message: "the workers are too busy to list their flows. Try again, or read the counters of "
                    + "\"weir status\".")
        }
        var listeners: [ListenerNumber: ListenerID] = [:]
        for entry in state.retiredListeners + state.listeners.values { listeners[entry.number] = entry.id }
        var targets: [TargetNumber: (group: String, id: TargetID)] = [:]
        for retired in state.retiredTargets { targets[retired.number] = (retired.groupName, retired.id) }
        for group in state.groups {
            for registration in group.registrations {
                targets[registration.number] = (group.group.name, registration.target.id)
            }
        }
        let flows = records.map { record in
            FlowDescription(
                transport: record.key.transport == .tcp ? "TCP" : "UDP",
                listener: listeners[record.listener]?.description ?? "",
                client: record.key.client.description, targetGroup: targets[record.target]?.group ?? "",
                target: targets[record.target]?.id.description ?? "", state: record.state.rawValue,
                ageSeconds: Double(record.ageNanoseconds) / 1e9,
                idleSeconds: Double(record.idleNanoseconds) / 1e9,
                clientBytes: record.clientBytes, targetBytes: record.targetBytes, worker: record.worker)
        }
        return FlowsResponse(flows: flows, omittedCount: omittedCount)
    }

    // MARK: Finding

    func findListener(_ text: String) throws(ControlError) -> (LoadBalancer, Listener) {
        if let id = ListenerID(text),
            let loadBalancer = state.loadBalancers.first(where: { $0.name == id.loadBalancer }),
            let listener = loadBalancer.listeners.first(where: { $0.port == id.port })
        {
            return (loadBalancer, listener)
        }
        let known = state.loadBalancers.flatMap { loadBalancer in
            loadBalancer.listeners.map { "\(loadBalancer.name):\($0.port)" }
        }
        throw ControlError(
            kind: .notFound, code: "ListenerNotFound",
            message: "listener \"\(ConfigurationReader.shortened(text))\" does not exist; listeners are "
                + "named LOAD_BALANCER:PORT"
                + (known.isEmpty ? ". There is none yet." : NearestKey.advice(for: text, in: known)))
    }

    // MARK: Counters

    func allCounters() -> CounterReport {
        workers.counters(
            targets: state.groups.flatMap { $0.registrations.map(\.number) }
                + state.retiredTargets.map(\.number),
            listeners: state.listeners.values.map(\.number) + state.retiredListeners.map(\.number))
    }

    private func statistics(
        _ counters: [UInt64]?, since baseline: [UInt64], isApplication: Bool
    ) -> FlowStatistics {
        FlowStatistics(
            counters: FlowCounters.difference(counters ?? [], since: baseline), isApplication: isApplication)
    }

    // MARK: Describing

    func describe(_ loadBalancer: LoadBalancer, _ report: CounterReport) -> LoadBalancerDescription {
        var totals = state.removedListenerTotals[loadBalancer.name] ?? []
        let own =
            state.listeners.values.filter { $0.id.loadBalancer == loadBalancer.name }
            + state.retiredListeners.filter { $0.id.loadBalancer == loadBalancer.name }
        for entry in own {
            FlowCounters.add(
                FlowCounters.difference(report.listeners[entry.number] ?? [], since: entry.baseline),
                to: &totals)
        }
        let groups = loadBalancer.listeners.flatMap(\.actions).flatMap(\.targetGroups).map(\.targetGroup)
        return LoadBalancerDescription(
            name: loadBalancer.name, type: loadBalancer.kind.rawValue,
            addresses: loadBalancer.addresses.map(\.description),
            attributes: loadBalancer.attributes.dictionary,
            isAvailable: groups.allSatisfy { published.outlooks[$0]?.isBelowFailoverMinimum != true },
            statistics: FlowStatistics(counters: totals, isApplication: loadBalancer.kind == .application),
            listeners: loadBalancer.listeners.map { describe($0, of: loadBalancer, report) })
    }

    func describe(
        _ listener: Listener, of loadBalancer: LoadBalancer, _ report: CounterReport
    ) -> ListenerDescription {
        let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
        let entry = state.listeners[id]
        var description = ListenerDescription(
            id: id.description, loadBalancer: loadBalancer.name, port: Int(listener.port),
            protocol: listener.protocol.rawValue,
            forward: listener.defaultAction.forward?.adminDescription ?? [],
            attributes: listener.attributes.dictionary,
            statistics: statistics(
                entry.flatMap { report.listeners[$0.number] }, since: entry?.baseline ?? [],
                isApplication: loadBalancer.kind == .application))
        description.tls = loadBalancer.tls(of: listener)?.adminDescription
        description.proxyProtocol = listener.proxyProtocol?.adminDescription
        description.defaultAction = listener.defaultAction.adminDescription
        if !listener.rules.isEmpty {
            description.rules = listener.rules.map { $0.adminDescription(of: id) }
        }
        if listener.ruleCount > 0 { description.ruleCount = listener.ruleCount }
        return description
    }

    func describe(_ group: GroupState, _ report: CounterReport) -> TargetGroupDescription {
        let name = group.group.name
        var totals = group.removedTotals
        for registration in group.registrations {
            FlowCounters.add(
                FlowCounters.difference(
                    report.targets[registration.number] ?? [], since: registration.baseline),
                to: &totals)
        }
        for retired in state.retiredTargets where retired.groupIdentity == group.identity {
            FlowCounters.add(
                FlowCounters.difference(report.targets[retired.number] ?? [], since: retired.baseline),
                to: &totals)
        }
        let targets = group.registrations.map { describe($0, in: group.group, report) }
        let healthyStates = [TargetHealthState.healthy.rawValue, TargetHealthState.unavailable.rawValue]
        var description = TargetGroupDescription(
            name: name, protocol: group.group.protocol.rawValue, port: Int(group.group.port),
            healthCheck: group.group.healthCheck.adminDescription,
            attributes: group.group.attributes.dictionary,
            loadBalancers: state.loadBalancers.filter { loadBalancer in
                loadBalancer.listeners.contains { listener in
                    listener.actions.flatMap(\.targetGroups).contains { $0.targetGroup == name }
                }
            }.map(\.name),
            healthyTargetCount: targets.count { healthyStates.contains($0.health.state) },
            targetCount: group.registrations.count { !$0.isDraining },
            isFailOpen: published.outlooks[name]?.isFailOpen ?? false,
            statistics: FlowStatistics(counters: totals, isApplication: !group.group.protocol.isNetwork),
            targets: targets)
        description.protocolVersion = group.group.protocolVersion?.rawValue
        description.tls = group.group.tls?.adminDescription
        description.clientAddress = group.group.attributes.clientAddress
        return description
    }

    func describe(_ registration: Registration, in group: TargetGroup, _ report: CounterReport)
        -> TargetDescription
    {
        let counters = report.targets[registration.number]
        let health = registration.health(
            in: group, isInUse: published.outlooks[group.name] != nil,
            hasLiveFlows: counters.map(FlowCounters.hasLiveFlows) ?? false)
        var description = HealthDescription(
            state: health.state.rawValue, reason: health.reason?.rawValue, description: health.sentence,
            since: registration.since)
        if case .draining(let deadline) = registration.membership {
            let nanoseconds = deadline.nanoseconds(since: clock.now())
            description.drainingSecondsLeft = Int((nanoseconds + 999_999_999) / 1_000_000_000)
        }
        if let probe = registration.lastProbe {
            description.lastProbeMilliseconds = Double(probe.latencyNanoseconds) / 1e6
            description.lastProbeAt = probe.secondsSince1970
        }
        return TargetDescription(
            id: registration.target.id.address.description, port: Int(registration.target.id.port),
            weight: registration.target.weight, availabilityZone: registration.target.availabilityZone,
            health: description,
            statistics: statistics(
                counters, since: registration.baseline, isApplication: !group.protocol.isNetwork))
    }

    /// The named targets of a group; those that have left the list show as not registered.
    func describe(
        _ ids: [TargetID], in name: String, departedFrom before: GroupState? = nil
    ) -> TargetsResponse {
        let report = allCounters()
        let group = state.group(named: name)
        let targets = ids.compactMap { id -> TargetDescription? in
            if let group, let position = group.position(of: id) {
                return describe(group[position], in: group.group, report)
            }
            guard let before, let position = before.position(of: id) else { return nil }
            let target = before[position].target
            return TargetDescription(
                id: id.address.description, port: Int(id.port), weight: target.weight,
                availabilityZone: target.availabilityZone,
                health: HealthDescription(
                    state: TargetHealthState.unused.rawValue,
                    reason: TargetHealthReason.notRegistered.rawValue,
                    description: "The target is deregistered and had no live flow.",
                    since: clock.secondsSince1970()),
                statistics: FlowStatistics())
        }
        return TargetsResponse(targets: targets)
    }
}
