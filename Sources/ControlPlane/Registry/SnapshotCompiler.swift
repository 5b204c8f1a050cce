// From the registry's state to what the planes work with: a snapshot, bindings and probe targets.
//
// Pure but for its caches: the tables of FlowHash are rebuilt only for groups whose eligible targets or
// weights changed, and the rules of an application listener only when it changed. Entries stand in the order of their endpoints, never of registration, so that
// appliances that share a seed build the same table.

import Balancing

package struct SnapshotCompiler: Sendable {
    /// What routing made of one group.
    package struct Outlook: Sendable, Equatable {
        package var isFailOpen = false
        package var isBelowFailoverMinimum = false
        /// The targets that may get new flows in any zone setting of the group.
        package var eligible: Set<TargetNumber> = []
    }

    package struct Result: Sendable {
        package let snapshot: RoutingSnapshot
        package let bindings: [ListenerBinding]
        package let probes: [ProbeTarget]
        /// For each group that a listener forwards to.
        package let outlooks: [String: Outlook]
    }

    /// A group may be seen with and without the appliance's zone by load balancers that differ in this.
    private struct RouteKey: Hashable {
        let group: String
        let isZonal: Bool
        /// The policy towards targets of a TLS group, which is the listener's to say.
        let policy: SecurityPolicy?
    }

    /// Tables do not depend on the policy.
    private struct TableKey: Hashable {
        let group: String
        let isZonal: Bool
    }

    /// Routes as they are being collected over all listeners.
    private struct Routes {
        var list: [GroupRoute] = []
        var indices: [RouteKey: Int] = [:]
        var outlooks: [String: Outlook] = [:]
    }

    /// A listener's rules as they were compiled last, and all that they were made of.
    private struct CachedApplication {
        let listener: Listener
        let attributes: LoadBalancerAttributes
        /// Of every choice of every rule, in order.
        let groupIndices: [Int]
        let route: ApplicationRoute
    }

    private struct CachedTable {
        let ids: [TargetID]
        let weights: [Int]
        let flowHash: FlowHash
    }

    package let seed: HashSeed
    private let zone: String?
    private let sourceAddresses: [IPAddress]
    private let tableSlotCount: Int
    private var tables: [TableKey: CachedTable] = [:]
    private var applications: [ListenerID: CachedApplication] = [:]
    /// For tests: how many tables were filled so far.
    package private(set) var builtTableCount = 0

    package init(
        seed: HashSeed, zone: String?, sourceAddresses: [IPAddress],
        tableSlotCount: Int = FlowHash.slotCountDefault
    ) {
        self.seed = seed
        self.zone = zone
        self.sourceAddresses = sourceAddresses
        self.tableSlotCount = tableSlotCount
    }

    package mutating func compile(_ state: RegistryState, version: UInt64) -> Result {
        var routes = Routes()
        var listeners: [ListenerRoute?] = []
        for loadBalancer in state.loadBalancers {
            for listener in loadBalancer.listeners {
                let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
                guard let number = state.listeners[id]?.number else { continue }
                let route =
                    listener.protocol.isNetwork
                    ? networkRoute(of: listener, id: id, of: loadBalancer, in: state, adding: &routes)
                    : applicationRoute(of: listener, id: id, of: loadBalancer, in: state, adding: &routes)
                Self.place(route, at: Int(number.rawValue), in: &listeners)
            }
        }
        let used = Set(routes.indices.keys.map { TableKey(group: $0.group, isZonal: $0.isZonal) })
        tables = tables.filter { used.contains($0.key) }
        applications = applications.filter { state.listeners[$0.key] != nil }
        let snapshot = RoutingSnapshot(
            version: version, seed: seed, listeners: listeners, groups: routes.list,
            endpoints: Self.endpoints(of: state),
            sourceAddresses: sourceAddresses)
        return Result(
            snapshot: snapshot, bindings: Self.bindings(of: state), probes: Self.probes(of: state),
            outlooks: routes.outlooks)
    }

    // MARK: Listeners

    private mutating func networkRoute(
        of listener: Listener, id: ListenerID, of loadBalancer: LoadBalancer, in state: RegistryState,
        adding routes: inout Routes
    ) -> ListenerRoute {
        let rules = listener.rules.map { rule in
            PassthroughRoute(
                priority: rule.priority, conditions: rule.conditions,
                choices: collectChoices(
                    of: rule.action, listener: listener, of: loadBalancer, in: state, adding: &routes),
                isStickyByGroup: rule.action.isStickyByGroup)
        }
        let action = listener.defaultAction.forward ?? ForwardAction(targetGroups: [])
        return ListenerRoute(
            id: id,
            choices: collectChoices(
                of: action, listener: listener, of: loadBalancer, in: state, adding: &routes),
            isStickyByGroup: action.isStickyByGroup,
            tcpIdleTimeoutSeconds: listener.attributes.tcpIdleTimeoutSeconds,
            tls: loadBalancer.tls(of: listener), proxyProtocol: listener.proxyProtocol, rules: rules,
            accessLogPath: listener.tls == nil ? nil : loadBalancer.attributes.accessLogPath)
    }

    private mutating func applicationRoute(
        of listener: Listener, id: ListenerID, of loadBalancer: LoadBalancer, in state: RegistryState,
        adding routes: inout Routes
    ) -> ListenerRoute {
        var groupIndices: [Int] = []
        func route(_ action: RuleAction) -> RuleRoute.Action {
            switch action {
            case .forward(let action):
                let choices = collectChoices(
                    of: action, listener: listener, of: loadBalancer, in: state, adding: &routes)
                groupIndices += choices.map(\.groupIndex)
                return .forward(choices, stickinessSeconds: action.stickinessSeconds)
            case .redirect(let action): return .redirect(action)
            case .fixedResponse(let response): return .fixedResponse(response)
            }
        }
        var rules = listener.applicationRules.map { rule in
            RuleRoute(
                priority: rule.priority, conditions: rule.conditions, action: route(rule.action),
                transforms: rule.transforms)
        }
        rules.append(RuleRoute(priority: nil, conditions: [], action: route(listener.defaultAction)))
        return ListenerRoute(
            id: id, choices: [], isStickyByGroup: false,
            tcpIdleTimeoutSeconds: listener.attributes.tcpIdleTimeoutSeconds,
            tls: loadBalancer.tls(of: listener), accessLogPath: loadBalancer.attributes.accessLogPath,
            application: application(
                rules, of: listener, id: id, attributes: loadBalancer.attributes, groupIndices: groupIndices))
    }

    /// The same object as long as nothing in it changes, so that whoever compiles the rules need not do it again for
    /// each change of a target's health.
    private mutating func application(
        _ rules: [RuleRoute], of listener: Listener, id: ListenerID, attributes: LoadBalancerAttributes,
        groupIndices: [Int]
    ) -> ApplicationRoute {
        if let known = applications[id], known.groupIndices == groupIndices, known.listener == listener,
            known.attributes == attributes
        {
            return known.route
        }
        let route = ApplicationRoute(
            rules: rules, loadBalancerAttributes: attributes.application,
            listenerAttributes: listener.attributes.application)
        applications[id] = CachedApplication(
            listener: listener, attributes: attributes, groupIndices: groupIndices, route: route)
        return route
    }

    /// The groups of positive weight of an action; routes that are not there yet are added.
    private mutating func collectChoices(
        of action: ForwardAction, listener: Listener, of loadBalancer: LoadBalancer, in state: RegistryState,
        adding routes: inout Routes
    ) -> [ListenerRoute.Choice] {
        var choices: [ListenerRoute.Choice] = []
        var sum: UInt32 = 0
        for choice in action.targetGroups {
            guard let group = state.group(named: choice.targetGroup) else { continue }
            let key = RouteKey(
                group: choice.targetGroup, isZonal: isZonal(group.group, in: loadBalancer),
                policy: group.group.tls == nil ? nil : listener.tls.policyTowardsTargets)
            if routes.indices[key] == nil {
                routes.indices[key] = routes.list.count
                routes.list.append(route(to: group, key: key, outlooks: &routes.outlooks))
            }
            guard choice.weight > 0, let index = routes.indices[key] else { continue }
            sum += UInt32(clamping: choice.weight)
            choices.append(ListenerRoute.Choice(groupIndex: index, cumulativeWeight: sum))
        }
        return choices
    }

    // MARK: Groups

    private func isZonal(_ group: TargetGroup, in loadBalancer: LoadBalancer) -> Bool {
        guard zone != nil else { return false }
        return switch group.attributes.crossZone {
        case .enabled: false
        case .disabled: true
        case .inherited: !loadBalancer.attributes.isCrossZone
        }
    }

    private mutating func route(
        to group: GroupState, key: RouteKey, outlooks: inout [String: Outlook]
    ) -> GroupRoute {
        let members = group.registrations.filter { !$0.isDraining }.sorted { $0.target.id < $1.target.id }
        let eligibility = Eligibility(
            of: members.map { member in
                Candidate(
                    verdict: member.routedVerdict(with: group.group.healthCheck),
                    weight: member.target.weight,
                    availabilityZone: member.target.availabilityZone)
            },
            attributes: group.group.attributes, zone: key.isZonal ? zone : nil)
        let eligible = eligibility.positions.map { members[$0] }

        var outlook = outlooks[key.group] ?? Outlook()
        outlook.isFailOpen = outlook.isFailOpen || eligibility.isFailOpen
        outlook.isBelowFailoverMinimum = outlook.isBelowFailoverMinimum || eligibility.isBelowFailoverMinimum
        outlook.eligible.formUnion(eligible.map(\.number))
        outlooks[key.group] = outlook

        return GroupRoute(
            name: key.group, targets: eligible.map(\.number),
            flowHash: table(for: eligible, key: TableKey(group: key.group, isZonal: key.isZonal)),
            isSticky: group.group.attributes.isSticky && group.group.protocol.isNetwork,
            isFailOpen: eligibility.isFailOpen,
            connectTimeoutSeconds: group.group.connectTimeoutSeconds,
            connectAttemptCountMax: group.group.connectAttemptCountMax,
            tls: group.group.tls.flatMap { settings in
                key.policy.map {
                    TLSTargetRoute(
                        settings: settings, policy: $0, asksForHTTP2: group.group.speaksHTTP2ToTargets)
                }
            },
            preservesClientIP: group.group.attributes.preservesClientIP,
            sendsProxyProtocol: group.group.attributes.sendsProxyProtocol,
            application: Self.applicationRoute(to: group.group, eligible: eligible))
    }

    private static func applicationRoute(
        to group: TargetGroup, eligible: [Registration]
    ) -> ApplicationGroupRoute? {
        guard let version = group.protocolVersion else { return nil }
        let attributes = group.attributes.application
        let isStartingSlowly = attributes.slowStartSeconds > 0
        return ApplicationGroupRoute(
            protocolVersion: version, algorithm: attributes.algorithm,
            mitigatesAnomalies: attributes.mitigatesAnomalies,
            stickiness: group.attributes.applicationStickiness,
            slowStartSeconds: attributes.slowStartSeconds, weights: eligible.map(\.target.weight),
            startedAt: eligible.map { isStartingSlowly ? $0.slowStartBegan : nil })
    }

    private mutating func table(for eligible: [Registration], key: TableKey) -> FlowHash {
        let ids = eligible.map(\.target.id)
        let weights = eligible.map(\.target.weight)
        if let cached = tables[key], cached.ids == ids, cached.weights == weights { return cached.flowHash }
        let entries = eligible.map { member in
            FlowHash.Entry(identity: identity(of: member.target.id), weight: member.target.weight)
        }
        let flowHash = FlowHash(entries: entries, slotCount: tableSlotCount)
        tables[key] = CachedTable(ids: ids, weights: weights, flowHash: flowHash)
        builtTableCount += 1
        return flowHash
    }

    /// The same for the same endpoint and seed, in every process.
    private func identity(of id: TargetID) -> UInt64 {
        var bytes: [UInt8] = [id.address.family.rawValue, UInt8(id.port >> 8), UInt8(id.port & 0xFF)]
        for word in [id.address.high, id.address.low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return SipHash.hash(bytes, seed: seed)
    }

    // MARK: Tables by number

    private static func place<Element>(_ element: Element, at index: Int, in table: inout [Element?]) {
        while table.count <= index { table.append(nil) }
        table[index] = element
    }

    private static func endpoints(of state: RegistryState) -> [Endpoint?] {
        var endpoints: [Endpoint?] = []
        for group in state.groups {
            for registration in group.registrations {
                place(registration.target.id.endpoint, at: Int(registration.number.rawValue), in: &endpoints)
            }
        }
        for retired in state.retiredTargets {
            place(retired.id.endpoint, at: Int(retired.number.rawValue), in: &endpoints)
        }
        return endpoints
    }

    private static func bindings(of state: RegistryState) -> [ListenerBinding] {
        var bindings: [ListenerBinding] = []
        for loadBalancer in state.loadBalancers {
            for listener in loadBalancer.listeners {
                let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
                guard let number = state.listeners[id]?.number else { continue }
                for address in loadBalancer.addresses {
                    for transport in ListenerFit.transports(of: listener.protocol) {
                        bindings.append(
                            ListenerBinding(
                                number: number, endpoint: Endpoint(address: address, port: listener.port),
                                transport: transport, isFreebind: loadBalancer.isFreebind,
                                mode: loadBalancer.kind))
                    }
                }
            }
        }
        return bindings
    }

    /// Groups in no listener, without health checks, and draining targets are not probed.
    private static func probes(of state: RegistryState) -> [ProbeTarget] {
        let inUse = state.groupsInUse
        var probes: [ProbeTarget] = []
        for group in state.groups where inUse.contains(group.group.name) && group.group.healthCheck.isEnabled
        {
            for registration in group.registrations where !registration.isDraining {
                probes.append(
                    ProbeTarget(
                        number: registration.number,
                        endpoint: registration.probeEndpoint(with: group.group.healthCheck),
                        check: group.group.healthCheck,
                        sendsProxyHeader: group.group.probesSendProxyHeader))
            }
        }
        return probes
    }
}

extension TargetGroup {
    /// As ELBv2, which sends the header to the health check's port as well. The TCP or HTTP check of a UDP group asks
    /// a service that gets no clients' connections, and knows nothing of the header.
    fileprivate var probesSendProxyHeader: Bool {
        attributes.sendsProxyProtocol && (self.protocol.carriesTCP || healthCheck.protocol == .udp)
    }
}
