// What a listener reads before it chooses a target: PROXY protocol headers, and the ClientHello for its rules.

import Balancing
import Yams

extension ConfigurationReader {
    // MARK: PROXY protocol

    private enum HeaderVersion: String, CaseIterable {
        case v1, v2
    }

    mutating func readProxyProtocol(of listener: Scope, protocol: TrafficProtocol?) -> ProxyProtocolSettings?
    {
        guard listener.fields["proxy_protocol"] != nil else { return nil }
        if let `protocol`, `protocol`.carriesUDP || !`protocol`.isNetwork {
            note(
                "proxy_protocol", of: listener,
                "belongs to TCP and TLS listeners, but this one is \(`protocol`.rawValue). Leave it out"
                    + (`protocol`.isNetwork
                        ? "; towards targets the group's attribute proxy_protocol_v2.enabled sends headers."
                        : "."))
            return nil
        }
        guard let fields = child("proxy_protocol", of: listener, keys: ["accept", "trusted"]) else {
            return nil
        }
        let versions = readVersions(fields)
        guard fields.fields["trusted"] != nil else {
            note(
                "trusted", of: fields,
                "is missing: anybody could claim any address. Give the addresses or ranges that send headers, "
                    + "such as [10.0.0.0/24].")
            return nil
        }
        let ranges = readRanges(fields)
        guard !ranges.isEmpty, !versions.isEmpty else { return nil }
        return ProxyProtocolSettings(accepts: versions, trusted: ranges)
    }

    private mutating func readVersions(_ fields: Scope) -> ProxyProtocolSettings.Versions {
        guard fields.fields["accept"] != nil else { return [.v1, .v2] }
        guard let nodes = list("accept", of: fields, countMax: 2, nextStep: "Give v1, v2 or both.") else {
            return []
        }
        if nodes.isEmpty { note("accept", of: fields, "is empty. Give v1, v2 or both.") }
        var versions: ProxyProtocolSettings.Versions = []
        for (index, node) in nodes.enumerated() {
            switch node.scalar.flatMap({ HeaderVersion(rawValue: $0.string) }) {
            case .v1: versions.insert(.v1)
            case .v2: versions.insert(.v2)
            case nil:
                note(
                    at: node.position, path: "\(fields.path(to: "accept"))[\(index)]",
                    subject: fields.subject,
                    "\(fields.prefix)accept[\(index)] is \(Self.describe(node)); it must be v1 or v2.")
            }
        }
        return versions
    }

    private mutating func readRanges(_ fields: Scope) -> [IPPrefix] {
        guard
            let nodes = list(
                "trusted", of: fields, countMax: Limits.trustedRangeCountMax, nextStep: "Join some.")
        else { return [] }
        if nodes.isEmpty {
            note("trusted", of: fields, "is empty. Give the addresses or ranges that send headers.")
        }
        var ranges: [IPPrefix] = []
        for range in readRanges(nodes, of: "trusted", in: fields) where !ranges.contains(range) {
            ranges.append(range)
        }
        return ranges
    }

    // MARK: Rules

    mutating func readRules(of listener: Scope, protocol: TrafficProtocol?) -> [PassthroughRule] {
        guard listener.fields["rules"] != nil else { return [] }
        if let `protocol`, `protocol` != .tcp {
            note(
                "rules", of: listener,
                "belongs to TCP listeners, which pass TLS on by the name that the client asks for; this one is "
                    + "\(`protocol`.rawValue). Leave it out.")
            return []
        }
        let nodes =
            list("rules", of: listener, countMax: Limits.rulesPerListenerMax, nextStep: "Remove some.") ?? []
        return readRules(nodes, of: listener, keys: Self.passthroughRuleKeys) { reader, fields, priority in
            reader.readPassthroughRule(fields, priority: priority)
        }
    }

    static let passthroughRuleKeys = ["priority", "conditions", "actions"]

    /// All of a rule but its priority, which is checked against its siblings'.
    mutating func readPassthroughRule(_ rule: Scope, priority: Int) -> PassthroughRule? {
        let conditions = readConditions(of: rule, Self.conditionVocabulary) { reader, key, fields in
            reader.readCondition(key, of: fields)
        }
        let action = readRuleAction(of: rule)
        guard let conditions, let action else { return nil }
        return PassthroughRule(priority: priority, conditions: conditions, action: action)
    }

    private mutating func readRuleAction(of rule: Scope) -> ForwardAction? {
        onlyNode(
            "actions", of: rule, example: "Give actions: [ { type: forward, target_group: NAME } ]."
        ).flatMap { node in
            actionScope(
                of: node, subject: rule.subject, prefix: "actions[0].",
                path: "\(rule.path(to: "actions"))[0]")
        }.flatMap { readForward($0) }
    }

    private static let conditionVocabulary = ConditionVocabulary(
        keys: ["tls_server_name", "tls_alpn"],
        unavailable: Dictionary(
            uniqueKeysWithValues: [
                "host_header", "path_pattern", "http_header", "http_request_method", "query_string",
                "source_ip",
            ].map { key in
                (key, "It belongs to application load balancers; use tls_server_name or tls_alpn.")
            }),
        countMax: 2, nextStep: "Keep one of each kind.",
        example: "[ { tls_server_name: { values: [NAME] } } ]",
        choice: "tls_server_name, tls_alpn or both")

    private mutating func readCondition(_ key: String, of condition: Scope) -> PassthroughCondition? {
        guard let fields = child(key, of: condition, keys: ["values"]) else { return nil }
        guard let nodes = readValues("values", of: fields, "Give the names, any of which applies.") else {
            return nil
        }
        let isName = key == "tls_server_name"
        var patterns: [ServerNamePattern] = []
        var protocols: [String] = []
        for (index, node) in nodes.enumerated() {
            let text = node.scalar?.string ?? ""
            let isProtocol = (1...255).contains(text.utf8.count)
            if isName, let pattern = ServerNamePattern(text) {
                patterns.append(pattern)
            } else if !isName, isProtocol {
                protocols.append(text)
            } else {
                note(
                    at: node.position, path: "\(fields.path(to: "values"))[\(index)]",
                    subject: fields.subject,
                    "\(fields.prefix)values[\(index)] is \(Self.describe(node)); it must be "
                        + (isName
                            ? "a host name, or \"*.\" and a host name for every name one label below it."
                            : "a protocol id of 1 to 255 bytes, such as h2 or http/1.1."))
            }
        }
        if isName { return patterns.count == nodes.count && !patterns.isEmpty ? .serverName(patterns) : nil }
        return protocols.count == nodes.count && !protocols.isEmpty ? .alpn(protocols) : nil
    }
}
