// Attribute tables and the status matcher: every key round-trips, every bad value is refused with a way out.

import Balancing
import Testing

@Suite struct `Attributes` {
    struct Row: Sendable, CustomTestStringConvertible {
        let key: String
        let standard: String
        let accepted: [String]
        let refused: [String]
        /// What the message must tell besides the key and the value.
        let hint: String

        var testDescription: String { key }
    }

    private static let notBooleans = ["", "yes", "True", "1", " true"]
    private static let countKey = "minimum_healthy_targets.count"
    private static let percentageKey = "minimum_healthy_targets.percentage"

    private static let targetGroupRows = [
        Row(
            key: "deregistration_delay.timeout_seconds", standard: "300", accepted: ["0", "3600"],
            refused: ["-1", "3601", "", "5m", "1.5", "99999999999999999999"], hint: "0 to 3600"),
        Row(
            key: "deregistration_delay.connection_termination.enabled", standard: "false",
            accepted: ["true", "false"], refused: notBooleans, hint: "true or false"),
        Row(
            key: "stickiness.enabled", standard: "false", accepted: ["true", "false"], refused: notBooleans,
            hint: "true or false"),
        Row(
            key: "stickiness.type", standard: "source_ip", accepted: ["source_ip"],
            refused: ["lb_cookie", ""],
            hint: "application load balancers"),
        Row(
            key: "preserve_client_ip.enabled", standard: "false", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
        Row(
            key: "proxy_protocol_v2.enabled", standard: "false", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
        Row(
            key: "load_balancing.cross_zone.enabled", standard: "use_load_balancer_configuration",
            accepted: ["true", "false", "use_load_balancer_configuration"], refused: ["", "off"],
            hint: "true, false or use_load_balancer_configuration"),
        Row(
            key: "target_group_health.dns_failover.\(countKey)", standard: "1",
            accepted: ["off", "1", "20000"],
            refused: ["0", "20001", "on"], hint: "\"off\" or a whole number from 1 to 20000"),
        Row(
            key: "target_group_health.dns_failover.\(percentageKey)", standard: "off",
            accepted: ["off", "1", "100"], refused: ["0", "101", "50%"],
            hint: "\"off\" or a whole number from 1 to 100"),
        Row(
            key: "target_group_health.unhealthy_state_routing.\(countKey)", standard: "1",
            accepted: ["1", "20000"], refused: ["0", "20001", "off"], hint: "1 to 20000"),
        Row(
            key: "target_group_health.unhealthy_state_routing.\(percentageKey)", standard: "off",
            accepted: ["off", "1", "100"], refused: ["0", "101"], hint: "1 to 100"),
        Row(
            key: "target_health_state.unhealthy.connection_termination.enabled", standard: "true",
            accepted: ["true", "false"], refused: notBooleans, hint: "true or false"),
        Row(
            key: "target_health_state.unhealthy.draining_interval_seconds", standard: "0",
            accepted: ["0", "360000"], refused: ["-1", "360001"], hint: "0 to 360000"),
    ]

    private static let listenerRows = [
        Row(
            key: "tcp.idle_timeout.seconds", standard: "350", accepted: ["60", "6000"],
            refused: ["59", "6001", "off"],
            hint: "60 to 6000")
    ]

    private static let loadBalancerRows = [
        Row(
            key: "load_balancing.cross_zone.enabled", standard: "false", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
        Row(
            key: "access_logs.file.enabled", standard: "false", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
        Row(
            key: "access_logs.file.path", standard: "", accepted: ["", "stdout", "/var/log/weir/access.log"],
            refused: ["access.log", "stderr", "/var/log/", "/tmp/a\nb.log", "/etc/ld.so.preload"],
            hint: "whole path"),
    ]

    @Test func `target groups have ELBv2's keys, defaults and ranges`() throws {
        try check(Self.targetGroupRows, of: TargetGroupAttributes(for: .tcp))
    }

    @Test func `listeners have ELBv2's keys, defaults and ranges`() throws {
        try check(Self.listenerRows, of: ListenerAttributes())
    }

    @Test func `load balancers have ELBv2's keys, defaults and ranges`() throws {
        try check(Self.loadBalancerRows, of: LoadBalancerAttributes())
    }

    @Test(arguments: [(TrafficProtocol.tcp, "false"), (.tls, "false"), (.udp, "true"), (.tcpUDP, "true")])
    func `groups that carry UDP end their flows at deregistration`(
        protocol: TrafficProtocol, standard: String
    ) {
        let values = TargetGroupAttributes(for: `protocol`).values
        let value = values.first { $0.key == "deregistration_delay.connection_termination.enabled" }
        #expect(value?.value == standard)
    }

    @Test func `an unknown key is refused by name`() {
        var attributes = ListenerAttributes()
        #expect(throws: AttributeError("unknown attribute \"tcp.idle_timeout\"")) {
            try attributes.set("tcp.idle_timeout", to: "60")
        }
    }

    private func check<Attributes: AttributeSet & Equatable>(_ rows: [Row], of initial: Attributes) throws {
        #expect(Attributes.keys == rows.map(\.key))
        #expect(Set(Attributes.keys).count == Attributes.keys.count)
        #expect(initial.values.map(\.value) == rows.map(\.standard))
        for row in rows {
            for text in row.accepted {
                var attributes = initial
                try attributes.set(row.key, to: text)
                #expect(attributes.values.first { $0.key == row.key }?.value == text, "\(row.key)")
                // Setting one attribute leaves the others alone, and setting it back restores all.
                try attributes.set(row.key, to: row.standard)
                #expect(attributes == initial, "\(row.key)")
            }
            for text in row.refused { refuse(text, for: row, of: initial) }
        }
    }

    private func refuse<Attributes: AttributeSet & Equatable>(
        _ text: String, for row: Row, of initial: Attributes
    ) {
        var attributes = initial
        let error = #expect(throws: AttributeError.self, "\(row.key) took \(text)") {
            try attributes.set(row.key, to: text)
        }
        let message = error?.description ?? ""
        #expect(message.contains(row.key) && message.contains("\"\(text)\""), "\(message)")
        #expect(message.contains(row.hint), "\(message)")
        #expect(attributes == initial, "a refused value must change nothing")
    }
}

@Suite struct `Status matcher` {
    @Test(arguments: [
        ("200", "200", [200], [199, 201]), ("200-299", "200-299", [200, 250, 299], [199, 300]),
        ("200-299,301", "200-299,301", [200, 299, 301], [300, 302]), ("404-404", "404", [404], [403, 405]),
        ("599", "599", [599], [200]), ("200,200", "200,200", [200], [201]),
    ])
    func `matches the codes it lists`(text: String, printed: String, matching: [Int], others: [Int]) throws {
        let matcher = try #require(StatusMatcher(text))
        #expect(matcher.description == printed)
        #expect(matching.allSatisfy(matcher.matches))
        #expect(!others.contains(where: matcher.matches))
    }

    @Test(arguments: [
        "", ",", "200,", ",200", "199", "600", "200-", "-200", "200--299", "200-250-299", "299-200", "200 ",
        "2xx",
        "200;201", "+200", "99999999999999999999", "200-600", "100-200",
    ])
    func `refuses what is no list of codes`(text: String) {
        #expect(StatusMatcher(text) == nil)
    }

    @Test func `takes 200 to 399 unless told otherwise`() {
        #expect(StatusMatcher.default.description == "200-399")
        #expect(StatusMatcher("200-399") == .default)
    }
}
