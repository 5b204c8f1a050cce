// "Where would this flow go, and why?", answered by the very function that the workers route with.

import AdminModel
import Balancing

extension Registry {
    /// `client` is `ADDRESS` or `ADDRESS:PORT`; without a port, port 0 is hashed and the answer says so.
    package func explain(listener text: String, client: String) async throws(ControlError) -> ExplainResponse
    {
        let (loadBalancer, listener) = try findListener(text)
        guard let parsed = AddressAndPort(client), TargetRule.objection(to: parsed.address) == nil else {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: "client \"\(ConfigurationReader.shortened(client))\" is no address of a client; "
                    + "give ADDRESS, ADDRESS:PORT or [IPV6]:PORT.")
        }
        let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
        var answer = ExplainResponse(
            listener: id.description, client: client, targetGroup: nil, target: nil, steps: [])
        let candidates = loadBalancer.addresses.filter { $0.family == parsed.address.family }
        guard let local = candidates.first, let number = state.listeners[id]?.number else {
            answer.steps.append(
                "Load balancer \"\(loadBalancer.name)\" has no listen address of the client's family, so "
                    + "the client cannot arrive.")
            return answer
        }
        let transport = listener.protocol.carriesTCP ? Transport.tcp : .udp
        let key = FlowKey(
            client: Endpoint(address: parsed.address, port: parsed.port ?? 0),
            local: Endpoint(address: local, port: listener.port), transport: transport)
        explainArrival(key, listener: listener, of: loadBalancer, candidates: candidates, into: &answer)
        guard let action = listener.defaultAction.forward, listener.protocol.isNetwork else { return answer }
        explainRoute(key, number: number, action: action, isPortGiven: parsed.port != nil, into: &answer)
        return answer
    }

    private func explainArrival(
        _ key: FlowKey, listener: Listener, of loadBalancer: LoadBalancer, candidates: [IPAddress],
        into answer: inout ExplainResponse
    ) {
        let name = key.transport == .tcp ? "TCP" : "UDP"
        answer.steps.append(
            "The client arrives at listener \(answer.listener) (\(listener.protocol.rawValue)) on "
                + "\(key.local) by \(name).")
        if listener.protocol == .tcpUDP {
            answer.steps.append("The transport is part of the hash; a UDP flow may go elsewhere.")
        }
        if key.local.address.isUnspecified {
            answer.steps.append(
                "The listener serves every address of this machine; the one that the client really uses is "
                    + "part of the hash, so another one may lead elsewhere.")
        } else if candidates.count > 1 {
            answer.steps.append(
                "The load balancer has \(candidates.count) addresses of this family; this answer is for "
                    + "\(key.local.address), another one may lead elsewhere.")
        }
        if isDraining { answer.steps.append("The appliance is draining: it takes no new flows.") }
    }

    private func explainRoute(
        _ key: FlowKey, number: ListenerNumber, action: ForwardAction, isPortGiven: Bool,
        into answer: inout ExplainResponse
    ) {
        let snapshot = published.snapshot
        guard let route = snapshot.route(of: number),
            let groupIndex = snapshot.chooseGroup(of: route, key: key)
        else {
            answer.steps.append(
                "The listener forwards to no group of positive weight, so the flow is "
                    + "refused.")
            return
        }
        let group = snapshot.groups[groupIndex]
        answer.targetGroup = group.name
        if !route.rules.isEmpty {
            answer.steps.append(
                "The listener's rules choose by the server name and protocols of the client's TLS greeting "
                    + "first; this answer is for a client to whom none applies.")
        }
        explainGroup(group, route: route, action: action, into: &answer)
        explainEligibility(group, into: &answer)

        let isPortHashed = !group.isSticky || (route.choices.count > 1 && !route.isStickyByGroup)
        if !isPortGiven, isPortHashed {
            answer.steps.append(
                "The client's port is part of the hash and was not given; this answer is for port 0, each "
                    + "real port may lead elsewhere.")
        }
        guard let selection = snapshot.select(listener: number, key: key) else {
            answer.steps.append("No target may get flows, so the flow is refused.")
            return
        }
        answer.target = selection.endpoint.description
        answer.steps.append(
            group.isSticky
                ? "Stickiness is on: the client's address alone, hashed with this appliance's seed, falls "
                    + "on slot \(selection.tableSlot) of \(group.flowHash.slotCount)."
                : "The flow's addresses, ports and transport, hashed with this appliance's seed, fall on "
                    + "slot \(selection.tableSlot) of \(group.flowHash.slotCount).")
        answer.steps.append("That slot belongs to target \(selection.endpoint).")
    }

    private func explainGroup(
        _ group: GroupRoute, route: ListenerRoute, action: ForwardAction, into answer: inout ExplainResponse
    ) {
        guard action.targetGroups.count > 1 else {
            answer.steps.append("The listener forwards every flow to target group \"\(group.name)\".")
            return
        }
        let total = action.targetGroups.reduce(0) { $0 + $1.weight }
        let shares = action.targetGroups.map { "\"\($0.targetGroup)\" \($0.weight) of \(total)" }
        answer.steps.append(
            "The listener spreads flows by weight (\(shares.joined(separator: ", "))); "
                + (route.isStickyByGroup
                    ? "with group stickiness the client's address alone chooses \"\(group.name)\"."
                    : "the flow's hash chooses \"\(group.name)\"."))
    }

    private func explainEligibility(_ route: GroupRoute, into answer: inout ExplainResponse) {
        guard let group = state.group(named: route.name) else { return }
        let eligible = Set(route.targets)
        let isFailOpen = published.outlooks[route.name]?.isFailOpen ?? false
        if group.registrations.isEmpty {
            answer.steps.append("Target group \"\(route.name)\" has no targets.")
            return
        }
        if isFailOpen {
            let minimum = group.group.attributes.minimumHealthyCountForRouting
            answer.steps.append(
                "Too few targets of \"\(route.name)\" are healthy (the group asks for at least \(minimum)), "
                    + "so the group is fail-open: all of them get flows, healthy or not.")
        }
        answer.steps.append(
            "\(eligible.count) of \(group.registrations.count) targets of \"\(route.name)\" may get new "
                + "flows.")
        for registration in group.registrations where !eligible.contains(registration.number) {
            answer.steps.append(
                "Target \(registration.target.id) gets none: "
                    + "\(reason(registration, in: group.group))")
        }
    }

    private func reason(_ registration: Registration, in group: TargetGroup) -> String {
        if registration.target.weight == 0, !registration.isDraining { return "its weight is 0." }
        let health = registration.health(in: group, isInUse: true, hasLiveFlows: false)
        if health.state == .healthy || health.state == .unavailable {
            return
                "it is in zone \(registration.target.availabilityZone ?? "none"), and cross-zone balancing "
                + "is off."
        }
        return "it is \(health.state.rawValue). \(health.sentence)"
    }
}
