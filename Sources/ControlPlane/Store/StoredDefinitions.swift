// The JSON in which load balancers and target groups stand in the store.
//
// These types are the store's own, so that a renamed property of `Balancing` cannot make an old store
// unreadable. Attributes stand under their ELBv2 keys; one that a version does not know is refused, not
// dropped: an attribute silently lost would change how traffic flows.

import Balancing

/// A row that this version cannot read; the text says which and why.
struct StoredDefinitionError: Error {
    let message: String
}

struct StoredHealthCheck: Codable {
    var enabled: Bool
    var probeProtocol: String
    /// Nil is the traffic port.
    var port: UInt16?
    var interval: Int
    var timeout: Int
    var healthyThreshold: Int
    var unhealthyThreshold: Int
    var path: String
    var matcher: String
    var payload: [UInt8]?
    /// `contains`, `prefix`, `dns` or `ntp`.
    var expectation: String?
    var expectedBytes: [UInt8]?
    var lameDuckHeader: String?
    var lameDuckHeaderValue: String?
    var lameDuckBody: String?
    var tls: StoredTargetTLS?

    init(_ check: HealthCheck) {
        enabled = check.isEnabled
        probeProtocol = check.protocol.rawValue
        if case .number(let number) = check.port { port = number }
        interval = check.intervalSeconds
        timeout = check.timeoutSeconds
        healthyThreshold = check.healthyThresholdCount
        unhealthyThreshold = check.unhealthyThresholdCount
        path = check.path
        matcher = check.matcher.description
        payload = check.datagram?.payload
        switch check.datagram?.expectation {
        case .contains(let bytes): (expectation, expectedBytes) = ("contains", bytes)
        case .prefix(let bytes): (expectation, expectedBytes) = ("prefix", bytes)
        case .dnsResponse: expectation = "dns"
        case .ntpResponse: expectation = "ntp"
        case nil: break
        }
        lameDuckHeader = check.lameDuck?.headerName
        lameDuckHeaderValue = check.lameDuck?.headerValue
        lameDuckBody = check.lameDuck?.bodyToken
        tls = check.tls.map(StoredTargetTLS.init)
    }

    /// - Parameters:
    ///   - codes: The status codes that the matcher may name.
    ///   - version: That of the group.
    func healthCheck(
        codes: ClosedRange<Int>, version: ProtocolVersion?
    ) throws(StoredDefinitionError) -> HealthCheck {
        guard let probe = HealthCheck.ProbeProtocol(rawValue: probeProtocol) else {
            throw StoredDefinitionError(message: "health check protocol \"\(probeProtocol)\" is unknown")
        }
        guard let matcher = StatusMatcher(matcher, in: codes) else {
            throw StoredDefinitionError(message: "health check matcher \"\(matcher)\" is none")
        }
        guard (1...300).contains(interval), (1..<interval).contains(timeout),
            (2...10).contains(healthyThreshold),
            (2...10).contains(unhealthyThreshold)
        else {
            throw StoredDefinitionError(
                message: "the health check's times or thresholds are out of "
                    + "bounds")
        }
        return HealthCheck(
            isEnabled: enabled, protocol: probe, port: port.map(HealthCheck.Port.number) ?? .trafficPort,
            intervalSeconds: interval, timeoutSeconds: timeout, healthyThresholdCount: healthyThreshold,
            unhealthyThresholdCount: unhealthyThreshold, path: path, matcher: matcher,
            protocolVersion: version ?? .http1, datagram: try datagram(), lameDuck: lameDuck,
            tls: probe.usesTLS ? tls?.settings ?? TLSTargetSettings() : nil)
    }

    private func datagram() throws(StoredDefinitionError) -> DatagramProbe? {
        guard let payload, let expectation else { return nil }
        switch expectation {
        case "contains": return DatagramProbe(payload: payload, expectation: .contains(expectedBytes ?? []))
        case "prefix": return DatagramProbe(payload: payload, expectation: .prefix(expectedBytes ?? []))
        case "dns": return DatagramProbe(payload: payload, expectation: .dnsResponse)
        case "ntp": return DatagramProbe(payload: payload, expectation: .ntpResponse)
        default: throw StoredDefinitionError(message: "expected answer of kind \"\(expectation)\" is unknown")
        }
    }

    private var lameDuck: LameDuck? {
        guard lameDuckHeader != nil || lameDuckBody != nil else { return nil }
        return LameDuck(headerName: lameDuckHeader, headerValue: lameDuckHeaderValue, bodyToken: lameDuckBody)
    }
}

struct StoredTargetGroup: Codable {
    var trafficProtocol: String
    /// Nil in stores written before HTTP groups, and for other groups.
    var protocolVersion: String?
    var port: UInt16
    var healthCheck: StoredHealthCheck
    var attributes: [String: String]
    var connectTimeout: Int
    var connectAttempts: Int
    var tls: StoredTargetTLS?

    init(_ group: TargetGroup) {
        trafficProtocol = group.protocol.rawValue
        protocolVersion = group.protocolVersion?.rawValue
        port = group.port
        healthCheck = StoredHealthCheck(group.healthCheck)
        attributes = group.attributes.dictionary
        connectTimeout = group.connectTimeoutSeconds
        connectAttempts = group.connectAttemptCountMax
        tls = group.tls.map(StoredTargetTLS.init)
    }

    func targetGroup(named name: String) throws(StoredDefinitionError) -> TargetGroup {
        let known = try knownProtocol(trafficProtocol)
        guard port > 0, (1...60).contains(connectTimeout),
            (1...Limits.connectAttemptCountMax).contains(connectAttempts)
        else { throw StoredDefinitionError(message: "the port or the connect settings are out of bounds") }
        var group = TargetGroup(
            name: name, protocol: known, port: port, healthCheck: HealthCheck(),
            attributes: TargetGroupAttributes(for: known), protocolVersion: try knownVersion(),
            tls: known.usesTLS ? tls?.settings ?? TLSTargetSettings() : nil,
            connectTimeoutSeconds: connectTimeout,
            connectAttemptCountMax: connectAttempts)
        group.healthCheck = try healthCheck.healthCheck(
            codes: group.statusCodes, version: group.protocolVersion)
        try group.attributes.restore(attributes)
        return group
    }

    private func knownVersion() throws(StoredDefinitionError) -> ProtocolVersion? {
        guard let protocolVersion else { return nil }
        guard let known = ProtocolVersion(rawValue: protocolVersion) else {
            throw StoredDefinitionError(message: "protocol version \"\(protocolVersion)\" is unknown")
        }
        return known
    }
}

struct StoredListener: Codable {
    struct Choice: Codable {
        var targetGroup: String
        var weight: Int
    }

    var port: UInt16
    var trafficProtocol: String
    /// The groups of the default action; empty when that does not forward.
    var forward: [Choice]
    var stickyByGroup: Bool
    /// Of HTTP and HTTPS listeners, with their rules.
    var defaultAction: StoredAction?
    var applicationRules: [StoredApplicationRule]?
    var attributes: [String: String]
    var tls: StoredListenerTLS?
    var proxyProtocol: StoredProxyProtocol?
    var rules: [StoredRule]?
}

struct StoredLoadBalancer: Codable {
    var kind: String
    var addresses: [String]
    var freebind: Bool
    var attributes: [String: String]
    var listeners: [StoredListener]

    init(_ loadBalancer: LoadBalancer) {
        kind = loadBalancer.kind.rawValue
        addresses = loadBalancer.addresses.map(\.description)
        freebind = loadBalancer.isFreebind
        attributes = loadBalancer.attributes.dictionary
        listeners = loadBalancer.listeners.map { listener in
            StoredListener(
                port: listener.port, trafficProtocol: listener.protocol.rawValue,
                forward: listener.defaultAction.forward?.storedChoices ?? [],
                stickyByGroup: listener.defaultAction.forward?.isStickyByGroup ?? false,
                defaultAction: listener.protocol.isNetwork ? nil : StoredAction(listener.defaultAction),
                applicationRules: listener.applicationRules.isEmpty
                    ? nil : listener.applicationRules.map(StoredApplicationRule.init),
                attributes: listener.attributes.dictionary,
                tls: listener.tls.map(StoredListenerTLS.init),
                proxyProtocol: listener.proxyProtocol.map(StoredProxyProtocol.init),
                rules: listener.rules.isEmpty ? nil : listener.rules.map(StoredRule.init))
        }
    }

    func loadBalancer(named name: String) throws(StoredDefinitionError) -> LoadBalancer {
        guard let kind = LoadBalancer.Kind(rawValue: kind) else {
            throw StoredDefinitionError(message: "type \"\(kind)\" is unknown")
        }
        var loadBalancer = LoadBalancer(name: name, kind: kind, addresses: [], isFreebind: freebind)
        for text in addresses {
            guard let address = IPAddress(text) else {
                throw StoredDefinitionError(message: "\"\(text)\" is no address")
            }
            loadBalancer.addresses.append(address)
        }
        try loadBalancer.attributes.restore(attributes)
        for stored in listeners {
            var listener = Listener(
                port: stored.port, protocol: try knownProtocol(stored.trafficProtocol),
                defaultAction: .forward(
                    ForwardAction(
                        targetGroups: stored.forward.map(\.group), isStickyByGroup: stored.stickyByGroup)))
            if listener.protocol.kind != kind {
                throw StoredDefinitionError(
                    message:
                        "listener \(stored.port) is \(stored.trafficProtocol), but the type is \(kind.rawValue)"
                )
            }
            if let action = stored.defaultAction { listener.defaultAction = try action.action() }
            try listener.attributes.restore(stored.attributes)
            if listener.protocol.usesTLS {
                guard let tls = stored.tls else {
                    throw StoredDefinitionError(
                        message: "\(stored.trafficProtocol) listener \(stored.port) has no certificates")
                }
                listener.tls = try tls.settings()
            }
            if let headers = stored.proxyProtocol { listener.proxyProtocol = try headers.settings() }
            for rule in stored.rules ?? [] { listener.rules.append(try rule.rule()) }
            for rule in stored.applicationRules ?? [] {
                listener.applicationRules.append(try rule.rule())
            }
            loadBalancer.listeners.append(listener)
        }
        return loadBalancer
    }
}

private func knownProtocol(_ text: String) throws(StoredDefinitionError) -> TrafficProtocol {
    guard let known = TrafficProtocol(rawValue: text) else {
        throw StoredDefinitionError(message: "protocol \"\(text)\" is unknown")
    }
    return known
}

extension AttributeSet {
    /// Every attribute under its ELBv2 key.
    package var dictionary: [String: String] {
        Dictionary(values.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
    }

    /// Sets every attribute of a stored dictionary.
    fileprivate mutating func restore(_ dictionary: [String: String]) throws(StoredDefinitionError) {
        for (key, value) in dictionary {
            do throws(AttributeError) {
                try set(key, to: value)
            } catch {
                throw StoredDefinitionError(message: error.description)
            }
        }
    }
}
