// Registering and deregistering targets.

import AdminModel
import Balancing

extension Registry {
    /// Registers targets, or updates weight and zone of registered ones; brings draining ones back.
    ///
    /// Returns after the store has them and every worker routes by them.
    package func register(
        _ request: TargetsRequest, in group: String
    ) async throws(ControlError) -> TargetsResponse {
        await takeTurn()
        defer { changes.finish() }
        try refuseDuringUpgrade()
        var candidate = state
        let position = try position(of: group)
        let now = clock.now()
        let wall = clock.secondsSince1970()
        var ids: [TargetID] = []
        var isChanged = false
        for specification in try uniqueSpecifications(request, defaultPort: state.groups[position].group.port)
        {
            let target = try target(from: specification, in: state.groups[position])
            ids.append(target.id)
            let outcome = try candidate.register(target, group: position, at: now, secondsSince1970: wall)
            if outcome != .unchanged { isChanged = true }
        }
        guard candidate.registeredTargetCount <= Limits.targetCountMax else {
            throw ControlError(
                kind: .invalid, code: "TooManyTargets",
                message: "there would be \(candidate.registeredTargetCount) targets; at most "
                    + "\(Limits.targetCountMax) are allowed. Deregister some first.")
        }
        if isChanged { try await commit(candidate) }
        return describe(ids, in: group)
    }

    /// Starts draining. Returns when not one new flow can reach the targets any more.
    package func deregister(
        _ request: TargetsRequest, in group: String
    ) async throws(ControlError) -> TargetsResponse {
        await takeTurn()
        defer { changes.finish() }
        try refuseDuringUpgrade()
        var candidate = state
        let position = try position(of: group)
        var ids: [TargetID] = []
        for specification in try uniqueSpecifications(request, defaultPort: state.groups[position].group.port)
        {
            let id = try registeredID(specification, in: state.groups[position])
            ids.append(id)
            candidate.deregister(id, group: position, at: clock.now())
        }
        let before = state.groups[position]
        try await commit(candidate)
        return describe(ids, in: group, departedFrom: before)
    }

    // MARK: Reading a request

    /// A specification whose address and port are known.
    private struct ResolvedSpecification {
        /// The port is the one given, or the group's.
        let id: TargetID
        let isPortGiven: Bool
        let weight: Int?
        let availabilityZone: String?
    }

    private func position(of group: String) throws(ControlError) -> Int {
        guard let position = state.groupPosition(named: group) else {
            throw Self.groupNotFound(group, in: state)
        }
        return position
    }

    static func groupNotFound(_ name: String, in state: RegistryState) -> ControlError {
        let known = state.groups.map(\.group.name)
        let advice =
            known.isEmpty
            ? ". There is none yet; apply a configuration first." : NearestKey.advice(for: name, in: known)
        return ControlError(
            kind: .notFound, code: "TargetGroupNotFound",
            message: "target group \"\(ConfigurationReader.shortened(name))\" does not exist\(advice)")
    }

    private func uniqueSpecifications(
        _ request: TargetsRequest, defaultPort: UInt16
    ) throws(ControlError) -> [ResolvedSpecification] {
        guard !request.targets.isEmpty else {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: "no target is named. Give at least one, "
                    + "as ID[:PORT].")
        }
        guard request.targets.count <= Limits.targetCountMax else {
            throw ControlError(
                kind: .invalid, code: "TooManyTargets",
                message: "\(request.targets.count) targets are named; at most \(Limits.targetCountMax) are "
                    + "allowed.")
        }
        var unique: [ResolvedSpecification] = []
        var seen: [TargetID: ResolvedSpecification] = [:]
        for specification in request.targets {
            let resolved = try resolve(specification, defaultPort: defaultPort)
            if let other = seen[resolved.id] {
                guard other.weight == resolved.weight, other.availabilityZone == resolved.availabilityZone
                else {
                    throw ControlError(
                        kind: .invalid, code: "ValidationError",
                        message: "target \(resolved.id) is named twice with different settings. Keep one of "
                            + "them.")
                }
                continue
            }
            seen[resolved.id] = resolved
            unique.append(resolved)
        }
        return unique
    }

    private func resolve(
        _ specification: TargetSpecification, defaultPort: UInt16
    ) throws(ControlError) -> ResolvedSpecification {
        let shown = ConfigurationReader.shortened(specification.id)
        guard let parsed = AddressAndPort(specification.id) else {
            throw ControlError(
                kind: .invalid, code: "InvalidTarget",
                message: "target \"\(shown)\" is no address; it must be ADDRESS, ADDRESS:PORT or "
                    + "[IPV6]:PORT. Look up the name and give its address.")
        }
        if let objection = TargetRule.objection(to: parsed.address) {
            throw ControlError(
                kind: .invalid, code: "InvalidTarget",
                message: "target \(parsed.address) cannot be used: "
                    + "\(objection).")
        }
        if let own = parsed.port, let other = specification.port, Int(own) != other {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: "target \"\(shown)\" is given with port \(other) beside it. Keep one of the two "
                    + "ports.")
        }
        let given = specification.port ?? parsed.port.map(Int.init)
        guard let port = UInt16(exactly: given ?? Int(defaultPort)), port > 0 else {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: "target \"\(shown)\" has port \(given ?? 0); it must be from 1 to 65535.")
        }
        return ResolvedSpecification(
            id: TargetID(address: parsed.address, port: port), isPortGiven: given != nil,
            weight: specification.weight, availabilityZone: specification.availabilityZone)
    }

    private func target(
        from specification: ResolvedSpecification, in group: GroupState
    ) throws(ControlError) -> Target {
        let id = specification.id
        let known = group.position(of: id).map { group[$0].target }
        var target = known ?? Target(id: id)
        if let weight = specification.weight {
            guard TargetRule.weights.contains(weight) else {
                throw ControlError(
                    kind: .invalid, code: "ValidationError",
                    message: "target \(id): weight is \(weight); it must be a whole number from 0 to 999.")
            }
            target.weight = weight
        }
        if let zone = specification.availabilityZone {
            guard TargetRule.isValidZone(zone) else {
                throw ControlError(
                    kind: .invalid, code: "ValidationError",
                    message: "target \(id): availability_zone \(ConfigurationReader.zoneObjection(zone))")
            }
            target.availabilityZone = zone
        }
        return target
    }

    private func registeredID(
        _ entry: ResolvedSpecification, in group: GroupState
    ) throws(ControlError) -> TargetID {
        if group.position(of: entry.id) != nil { return entry.id }
        let siblings = group.registrations.map(\.target.id).filter { $0.address == entry.id.address }
        if !entry.isPortGiven, siblings.count == 1 { return siblings[0] }
        let advice =
            siblings.isEmpty
            ? "\"weir targets list \(group.group.name)\" shows what is."
            : "Registered there: \(siblings.sorted().map(\.description).joined(separator: ", "))."
        throw ControlError(
            kind: .notFound, code: "InvalidTarget",
            message: "target \(entry.id) is not registered in target group \"\(group.group.name)\". "
                + "\(advice)")
    }
}
