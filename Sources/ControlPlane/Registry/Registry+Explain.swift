// "Where would this flow go, and why?", answered by the very function that the workers route with.

import AdminModel
import Balancing

extension Registry {
    /// Without a port of the client, port 0 is hashed and the answer says so.
    package func explain(_ request: ExplainRequest) async throws(ControlError) -> ExplainResponse {
        let (loadBalancer, listener) = try findListener(request.listener)
        let client = request.client
        guard let parsed = AddressAndPort(client), TargetRule.objection(to: parsed.address) == nil else {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: "client \"\(ConfigurationReader.shortened(client))\" is no address of a client; "
                    + "give ADDRESS, ADDRESS:PORT or [IPV6]:PORT.")
        }
        let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
        try Self.refuseForeign(request, to: listener, id: id)
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
        guard listener.protocol.isNetwork else {
            let explained = try ExplainedRequest(request, local: key.local)
            explainApplication(
                explained, listener: listener, number: number, client: key.client, into: &answer)
            return answer
        }
        let hello = try Self.hello(of: request)
        explainRoute(
            key, number: number, listener: listener, hello: hello, isPortGiven: parsed.port != nil,
            into: &answer)
        return answer
    }

    /// What belongs to listeners of another kind would be passed over in silence, and mislead.
    private static func refuseForeign(
        _ request: ExplainRequest, to listener: Listener, id: ListenerID
    ) throws(ControlError) {
        let ofRequests =
            [
                ("host", request.host), ("path", request.path), ("method", request.method),
                ("query", request.query), ("header", request.headers.first),
            ].first { $0.1 != nil }
        let ofHellos = [("server_name", request.serverName), ("alpn", request.alpn.first)].first {
            $0.1 != nil
        }
        if let given = ofRequests, listener.protocol.isNetwork {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message:
                    "listener \(id) is \(listener.protocol.rawValue) and sees no requests: \(given.0) belongs to "
                    + "HTTP and HTTPS listeners. Leave it out.")
        }
        if let given = ofHellos, listener.protocol != .tcp {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message:
                    "listener \(id) is \(listener.protocol.rawValue): \(given.0) belongs to TCP listeners, whose "
                    + "rules go by the TLS greeting. Leave it out.")
        }
    }

    /// Nil when the request says nothing of a greeting.
    private static func hello(of request: ExplainRequest) throws(ControlError) -> ClientHello? {
        guard request.serverName != nil || !request.alpn.isEmpty else { return nil }
        var name: ServerName?
        if let text = request.serverName {
            name = ServerName(text)
            if name == nil {
                throw ControlError(
                    kind: .invalid, code: "ValidationError",
                    message: "server_name \"\(ConfigurationReader.shortened(text))\" is no host name.")
            }
        }
        return ClientHello(serverName: name, applicationProtocols: request.alpn)
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
        _ key: FlowKey, number: ListenerNumber, listener: Listener, hello: ClientHello?, isPortGiven: Bool,
        into answer: inout ExplainResponse
    ) {
        let snapshot = published.snapshot
        guard let route = snapshot.route(of: number) else { return }
        let rule = explainRules(of: route, listener: listener, hello: hello, into: &answer)
        let action = rule.map { listener.rules[$0].action } ?? listener.defaultAction.forward
        guard let action, let groupIndex = snapshot.chooseGroup(of: route, rule: rule, key: key) else {
            answer.steps.append(
                "The listener forwards to no group of positive weight, so the flow is "
                    + "refused.")
            return
        }
        let group = snapshot.groups[groupIndex]
        answer.targetGroup = group.name
        let isSticky = action.isStickyByGroup
        explainGroup(group, by: rule == nil ? "listener" : "rule", action: action, into: &answer)
        explainEligibility(group, into: &answer)

        let isPortHashed = !group.isSticky || (action.targetGroups.count { $0.weight > 0 } > 1 && !isSticky)
        if !isPortGiven, isPortHashed {
            answer.steps.append(
                "The client's port is part of the hash and was not given; this answer is for port 0, each "
                    + "real port may lead elsewhere.")
        }
        guard let selection = snapshot.select(listener: number, rule: rule, key: key) else {
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

    /// The rule of a TCP listener that takes the greeting; nil takes the default action.
    private func explainRules(
        of route: ListenerRoute, listener: Listener, hello: ClientHello?, into answer: inout ExplainResponse
    ) -> Int? {
        guard !route.rules.isEmpty, route.rules.count == listener.rules.count else { return nil }
        answer.rule = "default"
        guard let hello else {
            answer.steps.append(
                "The listener's rules choose by the server name and protocols of the client's TLS greeting "
                    + "first; this answer is for a client to whom none applies.")
            return nil
        }
        let asked = hello.serverName.map { "asks for \($0.description)" } ?? "names no server"
        let names = hello.applicationProtocols.names
        answer.steps.append(
            "The client's TLS greeting \(asked) and offers "
                + "\(names.isEmpty ? "no protocols" : names.joined(separator: ", ")).")
        let taken = route.rule(for: hello)
        let id = ListenerID(answer.listener) ?? ListenerID(loadBalancer: "", port: listener.port)
        for (index, rule) in listener.rules.enumerated() where index <= taken ?? index {
            let text = rule.adminDescription(of: id).conditionText
            answer.steps.append(
                "Rule \(rule.priority) \(index == taken ? "applies" : "does not apply"): \(text).")
        }
        if let taken {
            answer.rule = String(listener.rules[taken].priority)
        } else {
            answer.steps.append("No rule applies, so the default action is taken.")
        }
        return taken
    }

    private func explainGroup(
        _ group: GroupRoute, by subject: String, action: ForwardAction, into answer: inout ExplainResponse
    ) {
        guard action.targetGroups.count > 1 else {
            answer.steps.append("The \(subject) forwards every flow to target group \"\(group.name)\".")
            return
        }
        let total = action.targetGroups.reduce(0) { $0 + $1.weight }
        let shares = action.targetGroups.map { "\"\($0.targetGroup)\" \($0.weight) of \(total)" }
        answer.steps.append(
            "The \(subject) spreads flows by weight (\(shares.joined(separator: ", "))); "
                + (action.isStickyByGroup
                    ? "with group stickiness the client's address alone chooses \"\(group.name)\"."
                    : "the flow's hash chooses \"\(group.name)\"."))
    }

    func explainEligibility(
        _ route: GroupRoute, of unit: String = "flows", into answer: inout ExplainResponse
    ) {
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
                    + "so the group is fail-open: all of them get \(unit), healthy or not.")
        }
        answer.steps.append(
            "\(eligible.count) of \(group.registrations.count) targets of \"\(route.name)\" may get new "
                + "\(unit).")
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
