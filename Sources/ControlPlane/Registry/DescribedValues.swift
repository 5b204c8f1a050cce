// Every property of the configured things under the key that the configuration file has for it, as text:
// what a difference compares, and what the admin API shows.

import AdminModel
import Balancing

extension HealthCheck {
    var portText: String {
        switch port {
        case .trafficPort: "traffic-port"
        case .number(let number): String(number)
        }
    }

    var values: [(key: String, value: String)] {
        [
            ("health_check.enabled", isEnabled ? "true" : "false"),
            ("health_check.protocol", `protocol`.rawValue),
            ("health_check.port", portText),
            ("health_check.interval", String(intervalSeconds)),
            ("health_check.timeout", String(timeoutSeconds)),
            ("health_check.healthy_threshold", String(healthyThresholdCount)),
            ("health_check.unhealthy_threshold", String(unhealthyThresholdCount)),
            ("health_check.path", `protocol`.isHTTP ? path : "none"),
            ("health_check.matcher", `protocol`.isHTTP ? matcher.description : "none"),
            ("health_check.udp", datagram.map(\.text) ?? "none"),
            ("health_check.lame_duck", lameDuck.map(\.text) ?? "none"),
        ] + (tls ?? TLSTargetSettings()).values(under: "health_check.")
    }

    package var adminDescription: HealthCheckDescription {
        HealthCheckDescription(
            enabled: isEnabled, protocol: `protocol`.rawValue, port: portText,
            path: `protocol`.isHTTP ? path : nil, matcher: `protocol`.isHTTP ? matcher.description : nil,
            intervalSeconds: intervalSeconds, timeoutSeconds: timeoutSeconds,
            healthyThresholdCount: healthyThresholdCount, unhealthyThresholdCount: unhealthyThresholdCount)
    }
}

extension DatagramProbe {
    fileprivate var text: String {
        let payload = Self.hex(payload)
        return switch expectation {
        case .contains(let bytes): "payload \(payload), expect \(Self.hex(bytes))"
        case .prefix(let bytes): "payload \(payload), expect prefix \(Self.hex(bytes))"
        case .dnsResponse: "preset dns"
        case .ntpResponse: "preset ntp"
        }
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

extension LameDuck {
    fileprivate var text: String {
        var parts: [String] = []
        if let headerName { parts.append("header \(headerName)" + (headerValue.map { ": \($0)" } ?? "")) }
        if let bodyToken { parts.append("body \(bodyToken)") }
        return parts.joined(separator: ", ")
    }
}

extension TargetGroup {
    var values: [(key: String, value: String)] {
        [
            ("protocol", `protocol`.rawValue), ("protocol_version", protocolVersion?.rawValue ?? "none"),
            ("port", String(port)), ("connect_timeout", String(connectTimeoutSeconds)),
            ("connect_attempts", String(connectAttemptCountMax)),
        ] + (tls ?? TLSTargetSettings()).values(under: "") + healthCheck.values + attributes.values
    }
}

extension Listener {
    var values: [(key: String, value: String)] {
        let rules = ruleValues
        return [
            ("protocol", `protocol`.rawValue), ("default_action", defaultAction.adminDescription.text),
        ] + tlsValues
            + [
                ("proxy_protocol", proxyProtocol?.text ?? "none"),
                // A rule that is gone shows here, since it has no value of its own any more.
                (
                    "rules",
                    rules.isEmpty
                        ? "none" : rules.map { $0.key.dropFirst("rules.".count) }.joined(separator: ", ")
                ),
            ] + rules + attributes.values
    }

    /// An HTTPS listener has no ALPN policy of its own.
    private var tlsValues: [(key: String, value: String)] {
        (tls?.values ?? []).filter { `protocol` != .https || $0.key != "alpn_policy" }
    }
}

extension LoadBalancer {
    /// Without the listeners, which are compared one by one.
    var values: [(key: String, value: String)] {
        [
            ("type", kind.rawValue), ("addresses", addresses.map(\.description).joined(separator: ", ")),
            ("ip_freebind", isFreebind ? "true" : "false"),
        ] + attributes.values
    }
}
