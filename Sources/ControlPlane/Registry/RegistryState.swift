// All that the registry knows, as one value.
//
// A change works on a copy, which becomes the truth only after every worker routes by it; a change that
// fails on the way is dropped with its copy. No clock, no I/O: time and counters are arguments.

import Balancing

/// A target group and its registrations, draining ones included.
package struct GroupState: Sendable {
    /// Never reused, so that what is left of a deleted group is not taken for its namesake's.
    package let identity: UInt64
    package var group: TargetGroup
    package private(set) var registrations: [Registration] = []
    private var positions: [TargetID: Int] = [:]
    /// What targets counted that have left the list and whose numbers were released.
    package var removedTotals: [UInt64] = []

    package init(identity: UInt64, group: TargetGroup) {
        self.identity = identity
        self.group = group
    }

    package func position(of id: TargetID) -> Int? { positions[id] }

    package subscript(position: Int) -> Registration {
        get { registrations[position] }
        _modify { yield &registrations[position] }
    }

    package mutating func append(_ registration: Registration) {
        positions[registration.target.id] = registrations.count
        registrations.append(registration)
    }

    /// Takes out what `isLeaving` says, in order.
    package mutating func remove(where isLeaving: (Registration) -> Bool) -> [Registration] {
        let leaving = registrations.filter(isLeaving)
        guard !leaving.isEmpty else { return [] }
        registrations.removeAll(where: isLeaving)
        positions = Dictionary(
            registrations.enumerated().map { ($1.target.id, $0) }, uniquingKeysWith: { first, _ in first })
        return leaving
    }

    package var registeredTargets: [Target] {
        registrations.filter { !$0.isDraining }.map(\.target)
    }
}

/// A target number that left its list while flows of it live.
package struct RetiredTarget: Sendable {
    package let number: TargetNumber
    package let baseline: [UInt64]
    package let groupIdentity: UInt64
    package let groupName: String
    package let id: TargetID
    /// When its flows are ended, if they are.
    package var evictAt: Instant?
}

/// A listener number in use, or one whose listener is gone while flows of it live.
package struct ListenerEntry: Sendable {
    package let number: ListenerNumber
    package let baseline: [UInt64]
    package let id: ListenerID
}

package struct RegistryState: Sendable {
    /// In the order of creation.
    package private(set) var groups: [GroupState] = []
    package var loadBalancers: [LoadBalancer] = []
    package private(set) var listeners: [ListenerID: ListenerEntry] = [:]
    package private(set) var retiredTargets: [RetiredTarget] = []
    package private(set) var retiredListeners: [ListenerEntry] = []
    /// What listeners counted whose numbers were released, by load balancer.
    package private(set) var removedListenerTotals: [String: [UInt64]] = [:]
    private var groupPositions: [String: Int] = [:]
    /// Whose report is it?
    private var owners: [TargetNumber: Owner] = [:]
    private var targetNumbers = NumberPool(countMax: Limits.targetNumberCountMax)
    private var listenerNumbers = NumberPool(countMax: Limits.listenerNumberCountMax)
    private var nextGroupIdentity: UInt64 = 0

    private struct Owner: Sendable {
        let group: String
        let id: TargetID
    }

    package init() {}

    // MARK: Reading

    package func groupPosition(named name: String) -> Int? { groupPositions[name] }

    package func group(named name: String) -> GroupState? {
        groupPositions[name].map { groups[$0] }
    }

    package subscript(group position: Int) -> GroupState {
        get { groups[position] }
        _modify { yield &groups[position] }
    }

    /// The group and registration of a number that is in a list.
    package func registration(_ number: TargetNumber) -> (group: GroupState, registration: Registration)? {
        guard let place = place(of: number) else { return nil }
        return (groups[place.group], groups[place.group][place.registration])
    }

    package func place(of number: TargetNumber) -> (group: Int, registration: Int)? {
        guard let owner = owners[number], let group = groupPositions[owner.group],
            let registration = groups[group].position(of: owner.id)
        else { return nil }
        return (group, registration)
    }

    /// Every group that a listener forwards to, whatever the weight.
    package var groupsInUse: Set<String> {
        var names: Set<String> = []
        for loadBalancer in loadBalancers {
            for listener in loadBalancer.listeners {
                for choice in listener.actions.flatMap(\.targetGroups) { names.insert(choice.targetGroup) }
            }
        }
        return names
    }

    /// Targets that take or may take flows, over all groups.
    package var registeredTargetCount: Int {
        groups.reduce(0) { $0 + $1.registrations.count { !$0.isDraining } }
    }

    /// What survives a restart.
    package var stored: StoredState {
        StoredState(
            groups: groups.map { StoredGroup(group: $0.group, targets: $0.registeredTargets) },
            loadBalancers: loadBalancers)
    }

    /// True while something has a deadline that only time can bring.
    package var isWaitingForDeadline: Bool {
        retiredTargets.contains { $0.evictAt != nil }
            || groups.contains { group in
                group.registrations.contains { $0.isDraining || $0.unhealthyDrainingUntil != nil }
            }
    }

    // MARK: Groups

    package mutating func insertGroup(_ group: TargetGroup) {
        groupPositions[group.name] = groups.count
        groups.append(GroupState(identity: nextGroupIdentity, group: group))
        nextGroupIdentity += 1
    }

    /// Removes a group; the flows of its targets go on as their deregistration would have it.
    package mutating func removeGroup(named name: String, at now: Instant) {
        guard let position = groupPositions[name] else { return }
        let leaving = groups.remove(at: position)
        let attributes = leaving.group.attributes
        for registration in leaving.registrations {
            let deadline =
                switch registration.membership {
                case .registered: now.advanced(bySeconds: attributes.deregistrationDelaySeconds)
                case .draining(let until): until
                }
            retire(
                registration, of: leaving,
                evictAt: attributes.terminatesConnectionsOnDeregistration ? deadline : nil)
        }
        groupPositions = Dictionary(
            groups.enumerated().map { ($1.group.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    // MARK: Targets

    /// Adds a target; nil when no number is left.
    package mutating func insertTarget(
        _ target: Target, group position: Int, at now: Instant, secondsSince1970: Double
    ) -> TargetNumber? {
        guard let lease = targetNumbers.take(at: now) else { return nil }
        let registration = Registration(target: target, lease: lease, secondsSince1970: secondsSince1970)
        owners[registration.number] = Owner(group: groups[position].group.name, id: target.id)
        groups[position].append(registration)
        return registration.number
    }

    /// Takes targets out of the lists; their numbers retire until their flows have ended.
    package mutating func removeTargets(_ numbers: Set<TargetNumber>) {
        guard !numbers.isEmpty else { return }
        for position in groups.indices {
            let leaving = groups[position].remove { numbers.contains($0.number) }
            for registration in leaving { retire(registration, of: groups[position], evictAt: nil) }
        }
    }

    private mutating func retire(_ registration: Registration, of group: GroupState, evictAt: Instant?) {
        owners[registration.number] = nil
        retiredTargets.append(
            RetiredTarget(
                number: registration.number, baseline: registration.baseline, groupIdentity: group.identity,
                groupName: group.group.name, id: registration.target.id, evictAt: evictAt))
    }

    package mutating func clearEviction(of number: TargetNumber) {
        for index in retiredTargets.indices where retiredTargets[index].number == number {
            retiredTargets[index].evictAt = nil
        }
    }

    // MARK: Listeners

    /// Gives every listener of the load balancers a number, and retires those of listeners that are gone.
    ///
    /// Returns the listener that found no number left.
    package mutating func assignListenerNumbers(at now: Instant) -> ListenerID? {
        var kept: Set<ListenerID> = []
        for loadBalancer in loadBalancers {
            for listener in loadBalancer.listeners {
                let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
                kept.insert(id)
                guard listeners[id] == nil else { continue }
                guard let lease = listenerNumbers.take(at: now) else { return id }
                listeners[id] = ListenerEntry(
                    number: ListenerNumber(lease.number), baseline: lease.baseline, id: id)
            }
        }
        for (id, entry) in listeners where !kept.contains(id) {
            listeners[id] = nil
            retiredListeners.append(entry)
        }
        let names = Set(loadBalancers.map(\.name))
        removedListenerTotals = removedListenerTotals.filter { names.contains($0.key) }
        return nil
    }

    // MARK: Numbers

    /// Releases every retired number without a live flow.
    ///
    /// - Parameter report: Read after the publication that no longer routes to the retired numbers.
    package mutating func releaseRetiredNumbers(_ report: CounterReport, at now: Instant) {
        retiredTargets.removeAll { retired in
            guard let counters = report.targets[retired.number], !FlowCounters.hasLiveFlows(counters)
            else { return false }
            if let position = groups.firstIndex(where: { $0.identity == retired.groupIdentity }) {
                FlowCounters.add(
                    FlowCounters.difference(counters, since: retired.baseline),
                    to: &groups[position].removedTotals)
            }
            targetNumbers.release(retired.number.rawValue, counters: counters, at: now)
            return true
        }
        retiredListeners.removeAll { retired in
            guard let counters = report.listeners[retired.number], !FlowCounters.hasLiveFlows(counters)
            else { return false }
            if loadBalancers.contains(where: { $0.name == retired.id.loadBalancer }) {
                FlowCounters.add(
                    FlowCounters.difference(counters, since: retired.baseline),
                    to: &removedListenerTotals[retired.id.loadBalancer, default: []])
            }
            listenerNumbers.release(retired.number.rawValue, counters: counters, at: now)
            return true
        }
    }
}
