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

    // MARK: Application load balancers

    /// Those that both kinds of groups have.
    private static let sharedGroupRows = targetGroupRows.filter { row in
        row.key == "deregistration_delay.timeout_seconds" || row.key == "stickiness.enabled"
            || row.key == "load_balancing.cross_zone.enabled" || row.key.hasPrefix("target_group_health.")
    }

    private static let applicationGroupRows =
        sharedGroupRows + [
            Row(
                key: "load_balancing.algorithm.type", standard: "round_robin",
                accepted: ["round_robin", "least_outstanding_requests", "weighted_random"],
                refused: ["", "random"], hint: "least_outstanding_requests"),
            Row(
                key: "load_balancing.algorithm.anomaly_mitigation", standard: "off", accepted: ["on", "off"],
                refused: ["true", ""], hint: "on or off"),
            Row(
                key: "slow_start.duration_seconds", standard: "0", accepted: ["0", "30", "900"],
                refused: ["1", "29", "901", "-30", "off"], hint: "30 to 900"),
            Row(
                key: "stickiness.type", standard: "lb_cookie", accepted: ["lb_cookie", "app_cookie"],
                refused: ["source_ip", ""], hint: "lb_cookie or app_cookie"),
            Row(
                key: "stickiness.lb_cookie.duration_seconds", standard: "86400", accepted: ["1", "604800"],
                refused: ["0", "604801"], hint: "1 to 604800"),
            Row(
                key: "stickiness.app_cookie.cookie_name", standard: "", accepted: ["JSESSIONID", "a.b_c"],
                refused: ["a b", "a;b", "a=b", "AWSALB", "AWSALBAPP-0"], hint: "cookie"),
            Row(
                key: "stickiness.app_cookie.duration_seconds", standard: "86400", accepted: ["1", "604800"],
                refused: ["0", "604801"], hint: "1 to 604800"),
            Row(
                key: "routing.http2.rst_stream_error_forwarding.enabled", standard: "false",
                accepted: ["true", "false"], refused: notBooleans, hint: "true or false"),
        ]

    private static let applicationLoadBalancerRows = [
        Row(
            key: "load_balancing.cross_zone.enabled", standard: "true", accepted: ["true"],
            refused: ["false"], hint: "a target group may say otherwise"),
        loadBalancerRows[1], loadBalancerRows[2],
        Row(
            key: "idle_timeout.timeout_seconds", standard: "60", accepted: ["1", "4000"],
            refused: ["0", "4001"], hint: "1 to 4000"),
        Row(
            key: "client_keep_alive.seconds", standard: "3600", accepted: ["60", "604800"],
            refused: ["59", "604801"], hint: "60 to 604800"),
        Row(
            key: "connection_logs.file.enabled", standard: "false", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
        Row(
            key: "connection_logs.file.path", standard: "", accepted: loadBalancerRows[2].accepted,
            refused: loadBalancerRows[2].refused, hint: "whole path"),
        Row(
            key: "routing.http.desync_mitigation_mode", standard: "defensive",
            accepted: ["monitor", "defensive", "strictest"], refused: ["off", ""], hint: "strictest"),
        Row(
            key: "routing.http.drop_invalid_header_fields.enabled", standard: "false",
            accepted: ["true", "false"], refused: notBooleans, hint: "true or false"),
        Row(
            key: "routing.http.preserve_host_header.enabled", standard: "false",
            accepted: ["true", "false"], refused: notBooleans, hint: "true or false"),
        Row(
            key: "routing.http.x_amzn_tls_version_and_cipher_suite.enabled", standard: "false",
            accepted: ["true", "false"], refused: notBooleans, hint: "true or false"),
        Row(
            key: "routing.http.x_amzn_tls_kx.enabled", standard: "false", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
        Row(
            key: "routing.http.xff_client_port.enabled", standard: "false", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
        Row(
            key: "routing.http.xff_header_processing.mode", standard: "append",
            accepted: ["append", "preserve", "remove"], refused: ["drop", ""], hint: "preserve"),
        Row(
            key: "routing.http2.enabled", standard: "true", accepted: ["true", "false"],
            refused: notBooleans, hint: "true or false"),
    ]

    private static let renamedFields = [
        "x_amzn_mtls_clientcert_serial_number", "x_amzn_mtls_clientcert_issuer",
        "x_amzn_mtls_clientcert_subject", "x_amzn_mtls_clientcert_validity", "x_amzn_mtls_clientcert_leaf",
        "x_amzn_mtls_clientcert", "x_amzn_tls_version", "x_amzn_tls_cipher_suite",
    ]

    private static func inserted(_ field: String, accepted: [String], refused: [String], hint: String) -> Row
    {
        Row(
            key: "routing.http.response.\(field).header_value", standard: "", accepted: accepted,
            refused: refused, hint: hint)
    }

    private static let applicationListenerRows =
        renamedFields.map {
            Row(
                key: "routing.http.request.\($0).header_name", standard: "", accepted: ["", "X-My_Name-1"],
                refused: ["a b", "a:b", "Transfer-Encoding", "HOST"], hint: "name")
        } + [
            Row(
                key: "routing.http.response.server.enabled", standard: "true", accepted: ["true", "false"],
                refused: notBooleans, hint: "true or false"),
            inserted(
                "strict_transport_security", accepted: ["max-age=1; includeSubDomains"],
                refused: [" a", "a\r\nb"], hint: "printable"),
            inserted("access_control_allow_origin", accepted: ["*"], refused: ["é"], hint: "printable"),
            inserted(
                "access_control_allow_methods", accepted: ["GET,PUT"], refused: ["a\0"], hint: "printable"),
            inserted("access_control_allow_headers", accepted: ["X-A"], refused: ["a\n"], hint: "printable"),
            inserted(
                "access_control_allow_credentials", accepted: ["true"], refused: ["false"], hint: "true"),
            inserted("access_control_expose_headers", accepted: ["X-A"], refused: ["a\t"], hint: "printable"),
            inserted(
                "access_control_max_age", accepted: ["0", "86400"], refused: ["86401", "-1", "+1", "1s"],
                hint: "0 to 86400"),
            inserted(
                "content_security_policy", accepted: ["default-src 'self'"], refused: ["x "],
                hint: "printable"),
            inserted("x_content_type_options", accepted: ["nosniff"], refused: ["sniff"], hint: "nosniff"),
            inserted(
                "x_frame_options", accepted: ["DENY", "SAMEORIGIN", "ALLOW-FROM https://a.example.com"],
                refused: ["ALLOW"], hint: "SAMEORIGIN"),
        ]

    @Test func `application load balancers, their listeners and groups have ELBv2's too`() throws {
        try check(Self.applicationGroupRows, of: TargetGroupAttributes(for: .https))
        try check(Self.applicationListenerRows, of: ListenerAttributes(for: .http))
        try check(Self.applicationLoadBalancerRows, of: LoadBalancerAttributes(for: .application))
    }

    @Test func `an attribute of the other kind is refused with the kind that has it`() {
        var network = LoadBalancerAttributes()
        #expect(
            throws: AttributeError(
                "idle_timeout.timeout_seconds is an attribute of application load balancers, and this is one of "
                    + "network load balancers: leave it out")
        ) { try network.set("idle_timeout.timeout_seconds", to: "60") }
        var group = TargetGroupAttributes(for: .http)
        #expect(
            throws: AttributeError(
                "preserve_client_ip.enabled is an attribute of TCP, UDP, TCP_UDP and TLS target groups, and this is "
                    + "one of HTTP and HTTPS target groups: leave it out")
        ) { try group.set("preserve_client_ip.enabled", to: "true") }
        var listener = ListenerAttributes(for: .https)
        #expect(throws: AttributeError.self) { try listener.set("tcp.idle_timeout.seconds", to: "60") }
        #expect(group.isForeign("proxy_protocol_v2.enabled") && !group.isForeign("stickiness.type"))
    }

    @Test(arguments: [
        ([("slow_start.duration_seconds", "30")], nil),
        (
            [("slow_start.duration_seconds", "30"), ("load_balancing.algorithm.type", "weighted_random")],
            "slow_start.duration_seconds"
        ),
        (
            [
                ("slow_start.duration_seconds", "30"),
                ("load_balancing.algorithm.type", "least_outstanding_requests"),
            ], "slow_start.duration_seconds"
        ),
        (
            [("load_balancing.algorithm.anomaly_mitigation", "on")],
            "load_balancing.algorithm.anomaly_mitigation"
        ),
        (
            [
                ("load_balancing.algorithm.anomaly_mitigation", "on"),
                ("load_balancing.algorithm.type", "weighted_random"),
            ], nil
        ),
        ([("stickiness.type", "app_cookie")], nil),
        ([("stickiness.type", "app_cookie"), ("stickiness.enabled", "true")], "stickiness.type"),
        (
            [
                ("stickiness.type", "app_cookie"), ("stickiness.enabled", "true"),
                ("stickiness.app_cookie.cookie_name", "SID"),
            ], nil
        ),
    ])
    func `attributes that contradict each other are named`(settings: [(String, String)], key: String?) throws
    {
        var attributes = TargetGroupAttributes(for: .http)
        for (name, value) in settings { try attributes.set(name, to: value) }
        let found = attributes.contradictions
        #expect(found.map(\.key) == [key].compactMap(\.self))
        #expect(found.allSatisfy { $0.message.hasPrefix($0.key) })
    }

    @Test func `stickiness says how a client is kept`() throws {
        var attributes = TargetGroupAttributes(for: .http)
        #expect(attributes.applicationStickiness == nil)
        try attributes.set("stickiness.enabled", to: "true")
        #expect(attributes.applicationStickiness == .loadBalancerCookie(durationSeconds: 86_400))
        try attributes.set("stickiness.type", to: "app_cookie")
        try attributes.set("stickiness.app_cookie.cookie_name", to: "SID")
        try attributes.set("stickiness.app_cookie.duration_seconds", to: "5")
        #expect(attributes.applicationStickiness == .applicationCookie(name: "SID", durationSeconds: 5))
        var network = TargetGroupAttributes(for: .tcp)
        network.isSticky = true
        #expect(network.applicationStickiness == nil)
    }

    private func check<Attributes: AttributeSet & Equatable>(_ rows: [Row], of initial: Attributes) throws {
        #expect(initial.keys == rows.map(\.key))
        #expect(Set(initial.keys).count == initial.keys.count)
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
