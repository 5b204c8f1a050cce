// Target groups and the targets that a file lists for them.

import Balancing
import Yams

extension ConfigurationReader {
    static let targetGroupKeys = [
        "name", "protocol", "protocol_version", "port", "health_check", "attributes", "targets",
        "connect_timeout",
        "connect_attempts", "tls",
    ]

    mutating func readTargetGroups(_ top: Scope) -> [Located<ConfiguredTargetGroup>] {
        let nodes =
            list(
                "target_groups", of: top, countMax: Limits.targetGroupCountMax, nextStep: "Merge some groups."
            ) ?? []
        var groups: [Located<ConfiguredTargetGroup>] = []
        var lines: [String: Int] = [:]
        var targetCount = 0
        for (index, node) in nodes.enumerated() {
            guard let group = readTargetGroup(node, index: index) else { continue }
            let name = group.value.group.name
            if let line = lines[name] {
                note(
                    "name", of: group.scope,
                    "is \"\(name)\", which line \(line) has already. Names are unique; choose another.")
            } else if !name.isEmpty {
                lines[name] = group.scope.fields["name"]?.position?.line ?? group.scope.mark.line
            }
            targetCount += group.value.targets?.count ?? 0
            groups.append(group)
        }
        if targetCount > Limits.targetCountMax {
            note(
                "target_groups", of: top,
                "list \(targetCount) targets in all; at most \(Limits.targetCountMax) are allowed. Remove "
                    + "some.")
        }
        return groups
    }

    /// A group whose name is unusable keeps an empty one, so that the rest of it is still checked.
    private mutating func readTargetGroup(_ node: Node, index: Int) -> Located<ConfiguredTargetGroup>? {
        let path = "target_groups[\(index)]"
        guard
            let scope = scope(
                of: node, subject: Self.subject(path, of: node), prefix: "", path: path,
                keys: Self.targetGroupKeys)
        else { return nil }
        let name = name(of: scope)

        let trafficProtocol = readGroupProtocol(scope)
        let version = readProtocolVersion(of: scope, protocol: trafficProtocol)
        if scope.fields["port"] == nil {
            note("port", of: scope, "is missing. Give the port of targets that name none.")
        }
        let port = port("port", of: scope)
        var group = TargetGroup(
            name: name ?? "", protocol: trafficProtocol ?? .tcp, port: port ?? 1,
            healthCheck: HealthCheck(),
            attributes: TargetGroupAttributes(for: trafficProtocol ?? .tcp), protocolVersion: version)
        group.tls = readTargetTLS(
            of: scope, belongsHere: group.protocol.usesTLS,
            place: "belongs to TLS and HTTPS target groups, but this one is \(group.protocol.rawValue). "
                + "Set protocol: TLS or HTTPS, or leave it out.")
        group.healthCheck = readHealthCheck(of: scope, group: group)
        readAttributes(of: scope, into: &group.attributes)
        for contradiction in group.attributes.contradictions {
            noteAttribute(contradiction.key, of: scope, contradiction.message)
        }
        if let seconds = integer("connect_timeout", of: scope, in: 1...60, unit: " s") {
            group.connectTimeoutSeconds = seconds
        }
        if let count = integer("connect_attempts", of: scope, in: 1...Limits.connectAttemptCountMax) {
            group.connectAttemptCountMax = count
        }
        let targets = readTargets(of: scope, groupPort: port)
        return Located(value: ConfiguredTargetGroup(group: group, targets: targets), scope: scope)
    }

    private mutating func readGroupProtocol(_ scope: Scope) -> TrafficProtocol? {
        guard
            let text = requiredText("protocol", of: scope, "Give TCP, UDP, TCP_UDP, TLS, HTTP or HTTPS.")
        else { return nil }
        if let known = TrafficProtocol(rawValue: text) { return known }
        note(
            "protocol", of: scope,
            "is \"\(Self.shortened(text))\"; it must be TCP, UDP, TCP_UDP, TLS, HTTP or HTTPS (in capitals).")
        return nil
    }

    private mutating func readProtocolVersion(
        of scope: Scope, protocol: TrafficProtocol?
    ) -> ProtocolVersion? {
        guard scope.fields["protocol_version"] != nil else { return nil }
        if let `protocol`, `protocol`.isNetwork {
            note(
                "protocol_version", of: scope,
                "belongs to HTTP and HTTPS target groups, but this one is \(`protocol`.rawValue). "
                    + "Set protocol: HTTP or HTTPS, or leave it out.")
            return nil
        }
        return choice("protocol_version", of: scope, as: ProtocolVersion.self)
    }

    // MARK: Targets

    private mutating func readTargets(of scope: Scope, groupPort: UInt16?) -> [Target]? {
        // An empty list is a list: it says that the group has no target.
        guard
            let nodes = list(
                "targets", of: scope, countMax: Limits.targetCountMax, nextStep: "Remove some.")
        else { return nil }
        var targets: [Target] = []
        var seen: Set<TargetID> = []
        for (index, node) in nodes.enumerated() {
            guard let target = readTarget(node, index: index, of: scope, groupPort: groupPort) else {
                continue
            }
            if seen.insert(target.id).inserted {
                targets.append(target)
            } else {
                note(
                    at: node.position, path: "\(scope.path(to: "targets"))[\(index)]", subject: scope.subject,
                    "targets[\(index)] is \(target.id), which the group lists already. Keep one.")
            }
        }
        return targets
    }

    private mutating func readTarget(
        _ node: Node, index: Int, of scope: Scope, groupPort: UInt16?
    ) -> Target? {
        let key = "targets[\(index)]"
        let path = scope.path(to: key)
        if case .scalar(let scalar) = node {
            guard let parsed = AddressAndPort(scalar.string) else {
                note(
                    at: node.position, path: path, subject: scope.subject,
                    Self.targetObjection(key, scalar.string))
                return nil
            }
            return checkedTarget(
                parsed, port: nil, weight: 1, zone: nil, named: key, at: node.position, path: path, of: scope,
                groupPort: groupPort)
        }
        guard
            let fields = self.scope(
                of: node, subject: scope.subject, prefix: "\(key).", path: path,
                keys: ["id", "port", "weight", "availability_zone"])
        else { return nil }
        let weight = integer("weight", of: fields, in: TargetRule.weights)
        let port = port("port", of: fields)
        var zone = text("availability_zone", of: fields)
        if let text = zone, !TargetRule.isValidZone(text) {
            note("availability_zone", of: fields, Self.zoneObjection(text))
            zone = nil
        }
        guard let id = requiredText("id", of: fields, "Give the address of the target.") else { return nil }
        guard let parsed = AddressAndPort(id) else {
            note(
                at: fields.fields["id"]?.position, path: fields.path(to: "id"), subject: scope.subject,
                Self.targetObjection("\(key).id", id))
            return nil
        }
        if parsed.port != nil, fields.fields["port"] != nil {
            note(
                "port", of: fields,
                "is given beside a port in the id \"\(Self.shortened(id))\". Keep one "
                    + "of them.")
            return nil
        }
        return checkedTarget(
            parsed, port: port, weight: weight ?? 1, zone: zone, named: "\(key).id",
            at: fields.fields["id"]?.position, path: path, of: scope, groupPort: groupPort)
    }

    private mutating func checkedTarget(
        _ parsed: AddressAndPort, port: UInt16?, weight: Int, zone: String?, named key: String,
        at mark: Position?,
        path: String, of scope: Scope, groupPort: UInt16?
    ) -> Target? {
        if let objection = TargetRule.objection(to: parsed.address) {
            note(
                at: mark, path: path, subject: scope.subject,
                "\(key) is \(parsed.address); \(objection).")
            return nil
        }
        // Without any port the target cannot be named; the error of the group's port stands already.
        guard let port = parsed.port ?? port ?? groupPort else { return nil }
        return Target(
            id: TargetID(address: parsed.address, port: port), weight: weight, availabilityZone: zone)
    }

    private static func targetObjection(_ key: String, _ text: String) -> String {
        "\(key) is \"\(shortened(text))\"; it must be ADDRESS, ADDRESS:PORT or [IPV6]:PORT. Targets are "
            + "named by address: look up the name and give its address."
    }
}
