// Rows of `ConfigurationErrorTests`: TLS of listeners, groups and checks, PROXY protocol, rules by ClientHello.

extension ConfigurationErrorRow {
    /// A file with one listener on port 443, whose other keys are `keys`, at line 9.
    private static func listener(_ keys: String, protocol: String = "TLS") -> String {
        """
        target_groups:
          - { name: web, protocol: TCP, port: 80 }
          - { name: safe, protocol: TLS, port: 443 }
        load_balancers:
          - name: edge
            type: network
            addresses: [10.0.0.1]
            listeners:
              - { port: 443, protocol: \(`protocol`), default_action: { type: forward, target_group: web }, \(keys) }
        """
    }

    private static let place = "weir.yaml:9: load_balancers[0] \"edge\": listeners[0]: "
    private static let good = "certificates: [ { certificate: /a.crt, private_key: /a.key } ]"

    private static func group(_ keys: String, protocol: String = "TLS") -> String {
        "target_groups:\n  - { name: web, protocol: \(`protocol`), port: 443, \(keys) }"
    }

    static let tls = [
        ConfigurationErrorRow(
            "no certificates", listener("ssl_policy: ELBSecurityPolicy-2016-08"),
            place
                + "certificates is missing. Give certificates: [ { certificate: FILE, private_key: FILE } ]; "
                + "the first is the default."),
        ConfigurationErrorRow(
            "certificate without key", listener("certificates: [ { certificate: /a.crt } ]"),
            place + "certificates[0].private_key is missing. Give the PEM file of its key."),
        ConfigurationErrorRow(
            "relative path", listener("certificates: [ { certificate: a.crt, private_key: /a.key } ]"),
            place
                + "certificates[0].certificate is \"a.crt\"; it must be the whole path of a file, beginning "
                + "with \"/\"."),
        ConfigurationErrorRow(
            "certificate twice",
            listener(
                "certificates: [ { certificate: /a.crt, private_key: /a.key }, "
                    + "{ certificate: /a.crt, private_key: /b.key } ]"),
            place + "certificates[1].certificate is /a.crt, which certificates[0] has already. Keep one."),
        ConfigurationErrorRow(
            "too many certificates",
            listener(
                "certificates: ["
                    + (0...25).map { "{ certificate: /\($0).crt, private_key: /\($0).key }" }
                    .joined(separator: ", ") + "]"),
            place
                + "certificates has 26 entries; at most 25 are allowed. Join names in fewer certificates, or "
                + "use a second listener."),
        ConfigurationErrorRow(
            "mistyped key of a certificate",
            listener("certificates: [ { certificate: /a.crt, private_key: /a.key, ocsp_respons: /a.der } ]"),
            place + "unknown key \"certificates[0].ocsp_respons\"; did you mean \"ocsp_response\"?"),
        ConfigurationErrorRow(
            "ARN", listener("\(good), certificate_arn: \"arn:aws:acm:1\""),
            place + "certificate_arn is not available here. Weir reads files: certificates: "
                + "[ { certificate: FILE, private_key: FILE } ]."),
        ConfigurationErrorRow(
            "mistyped policy", listener("\(good), ssl_policy: ELBSecurityPolicy-TLS13-1-2-2021-07"),
            place + "ssl_policy is \"ELBSecurityPolicy-TLS13-1-2-2021-07\", which is no security policy; did "
                + "you mean \"ELBSecurityPolicy-TLS13-1-2-2021-06\"?"),
        ConfigurationErrorRow(
            "ALPN policy", listener("\(good), alpn_policy: HTTP2"),
            place + "alpn_policy is \"HTTP2\"; it must be one of HTTP1Only, HTTP2Only, HTTP2Optional, "
                + "HTTP2Preferred, None."),
        ConfigurationErrorRow(
            "TLS keys on a TCP listener", listener("\(good), alpn_policy: None", protocol: "TCP"),
            place + "certificates belongs to TLS listeners, but this one is TCP. Set protocol: TLS, or leave "
                + "it out.\n" + place
                + "alpn_policy belongs to TLS listeners, but this one is TCP. Set protocol: TLS, or leave it out."
        ),
        ConfigurationErrorRow(
            "mutual authentication without CAs", listener("\(good), mutual_authentication: { mode: verify }"),
            place + "mutual_authentication.ca_certificates is missing. Give the PEM file of the CAs whose "
                + "clients may enter."),
        ConfigurationErrorRow(
            "mutual authentication without mode", listener("\(good), mutual_authentication: { crl: /x }"),
            place + "mutual_authentication.mode is missing. Give off, passthrough or verify."),
        ConfigurationErrorRow(
            "mode", listener("\(good), mutual_authentication: { mode: on }"),
            place + "mutual_authentication.mode is \"on\"; it must be one of off, passthrough, verify."),
        ConfigurationErrorRow(
            "CAs in passthrough",
            listener("\(good), mutual_authentication: { mode: passthrough, ca_certificates: /ca.pem }"),
            place
                + "mutual_authentication.ca_certificates belongs to mode verify, but the mode is passthrough. "
                + "Set mode: verify, or leave it out."),
        ConfigurationErrorRow(
            "advertising",
            listener(
                "\(good), mutual_authentication: { mode: verify, ca_certificates: /ca.pem, "
                    + "advertise_trust_store_ca_names: yes }"),
            place
                + "mutual_authentication.advertise_trust_store_ca_names is \"yes\"; it must be one of on, off."
        ),
        ConfigurationErrorRow(
            "TCP to TLS",
            listener("", protocol: "TCP").replacing("target_group: web", with: "target_group: safe"),
            "weir.yaml:9: load_balancers[0] \"edge\": listener port 443 is TCP, but target group \"safe\" is "
                + "TLS; a TCP listener forwards to TCP groups."),
        ConfigurationErrorRow(
            "TLS to UDP",
            listener(good).replacing("{ name: web, protocol: TCP", with: "{ name: web, protocol: UDP"),
            "weir.yaml:9: load_balancers[0] \"edge\": listener port 443 is TLS, but target group \"web\" is "
                + "UDP; a TLS listener forwards to TCP and TLS groups."),
        ConfigurationErrorRow(
            "tls of a TCP group", group("tls: { server_name: a }", protocol: "TCP"),
            "weir.yaml:2: target_groups[0] \"web\": tls belongs to TLS and HTTPS target groups, but this one is "
                + "TCP. Set protocol: TLS or HTTPS, or leave it out."),
        ConfigurationErrorRow(
            "verify without CAs", group("tls: { verify: true }"),
            "weir.yaml:2: target_groups[0] \"web\": tls.verify is true, but nothing says whom to trust. Give "
                + "ca_file, or leave verify out."),
        ConfigurationErrorRow(
            "server name", group("tls: { server_name: \"*.example.com\" }"),
            "weir.yaml:2: target_groups[0] \"web\": tls.server_name is \"*.example.com\"; it must be the host "
                + "name or address in the targets' certificates."),
        ConfigurationErrorRow(
            "client certificate without key", group("tls: { certificate: /a.crt }"),
            "weir.yaml:2: target_groups[0] \"web\": tls.certificate is given without private_key. Give both, or "
                + "none."),
        ConfigurationErrorRow(
            "tls of a TCP check", group("health_check: { tls: {} }", protocol: "TCP"),
            "weir.yaml:2: target_groups[0] \"web\": health_check.tls belongs to HTTPS and TLS health checks, but "
                + "this one is TCP. Set health_check.protocol: HTTPS or TLS, or leave it out."),
        ConfigurationErrorRow(
            "path of a TLS check", group("health_check: { protocol: TLS, path: / }"),
            "weir.yaml:2: target_groups[0] \"web\": health_check.path belongs to HTTP and HTTPS health checks, "
                + "but this one is TLS. Set health_check.protocol: HTTP, or leave it out."),
        ConfigurationErrorRow(
            "appliance", "tls: { handshake_timeout: 0, concurrent_handshakes: 70000, ticket_key_file: keys }",
            """
            weir.yaml:1: tls.ticket_key_file is "keys"; it must be the whole path of a file, beginning with "/".
            weir.yaml:1: tls.handshake_timeout is 0 s; it must be a whole number from 1 to 300 s.
            weir.yaml:1: tls.concurrent_handshakes is 70000; it must be a whole number from 1 to 65536.
            """),
        ConfigurationErrorRow(
            "mistyped key of the appliance", "tls: { ticket_keys_file: /k }",
            "weir.yaml:1: unknown key \"tls.ticket_keys_file\"; did you mean \"ticket_key_file\"?"),
    ]

    static let proxyProtocol = [
        ConfigurationErrorRow(
            "trusting nobody", listener("proxy_protocol: { accept: [v2] }", protocol: "TCP"),
            place
                + "proxy_protocol.trusted is missing: anybody could claim any address. Give the addresses or "
                + "ranges that send headers, such as [10.0.0.0/24]."),
        ConfigurationErrorRow(
            "empty trust", listener("proxy_protocol: { trusted: [] }", protocol: "TCP"),
            place + "proxy_protocol.trusted is empty. Give the addresses or ranges that send headers."),
        ConfigurationErrorRow(
            "range", listener("proxy_protocol: { trusted: [10.0.0.1/8, 10.0.0.0/33] }", protocol: "TCP"),
            place
                + "proxy_protocol.trusted[0] is the single value \"10.0.0.1/8\"; it must be an address, or a "
                + "range such as 10.0.0.0/24 with no bit set behind its length.\n" + place
                + "proxy_protocol.trusted[1] is the single value \"10.0.0.0/33\"; it must be an address, or a "
                + "range such as 10.0.0.0/24 with no bit set behind its length."),
        ConfigurationErrorRow(
            "version", listener("proxy_protocol: { accept: [v3], trusted: [10.0.0.1] }", protocol: "TCP"),
            place + "proxy_protocol.accept[0] is the single value \"v3\"; it must be v1 or v2."),
        ConfigurationErrorRow(
            "no version", listener("proxy_protocol: { accept: [], trusted: [10.0.0.1] }", protocol: "TCP"),
            place + "proxy_protocol.accept is empty. Give v1, v2 or both."),
        ConfigurationErrorRow(
            "on UDP",
            listener("proxy_protocol: { trusted: [10.0.0.1] }", protocol: "UDP")
                .replacing("name: web, protocol: TCP", with: "name: web, protocol: UDP"),
            place
                + "proxy_protocol belongs to TCP and TLS listeners, but this one is UDP. Leave it out; towards "
                + "targets the group's attribute proxy_protocol_v2.enabled sends headers."),
    ]

    /// A TCP listener with one rule that has `keys`.
    private static func rule(_ keys: String) -> String {
        listener("rules: [ { \(keys) } ]", protocol: "TCP")
    }

    private static let rulePlace = place.dropLast(2) + ": rules[0]: "
    private static let action = "actions: [ { type: forward, target_group: web } ]"
    private static let condition = "conditions: [ { tls_server_name: { values: [a.example.com] } } ]"

    static let rules = [
        ConfigurationErrorRow(
            "empty rule", rule(""),
            """
            \(rulePlace)priority is missing. Give a number of its own; the lowest comes first.
            \(rulePlace)conditions is missing. Give conditions: [ { tls_server_name: { values: [NAME] } } ]; \
            what no rule takes goes to default_action.
            \(rulePlace)actions is missing. Give actions: [ { type: forward, target_group: NAME } ].
            """),
        ConfigurationErrorRow(
            "priority", rule("priority: 50001, \(condition), \(action)"),
            rulePlace + "priority is 50001; it must be a whole number from 1 to 50000."),
        ConfigurationErrorRow(
            "priority twice",
            listener(
                "rules: [ { priority: 1, \(condition), \(action) }, { priority: 1, \(condition), \(action) } ]",
                protocol: "TCP"),
            place.dropLast(2) + ": rules[1]: priority is 1, which line 9 has already. Priorities are unique; "
                + "choose another."),
        ConfigurationErrorRow(
            "condition of an application load balancer",
            rule("priority: 1, conditions: [ { host_header: { values: [a] } } ], \(action)"),
            rulePlace + "conditions[0].host_header is not available here. It belongs to "
                + "application load balancers; use tls_server_name or tls_alpn."),
        ConfigurationErrorRow(
            "two kinds in one condition",
            rule(
                "priority: 1, conditions: [ { tls_server_name: { values: [a] }, tls_alpn: { values: [h2] } } ], "
                    + action),
            rulePlace + "conditions[0] has tls_server_name and tls_alpn; a condition has one of "
                + "tls_server_name, tls_alpn."),
        ConfigurationErrorRow(
            "one kind twice",
            rule(
                "priority: 1, conditions: [ { tls_alpn: { values: [h2] } }, { tls_alpn: { values: [h3] } } ], "
                    + action),
            rulePlace + "conditions[1].tls_alpn stands twice in one rule. Put all values in one condition."),
        ConfigurationErrorRow(
            "names",
            rule(
                "priority: 1, conditions: [ { tls_server_name: { values: [\"a.*.com\", \"a b\"] } } ], \(action)"
            ),
            """
            \(rulePlace)conditions[0].tls_server_name.values[0] is the single value "a.*.com"; it must be a \
            host name, or "*." and a host name for every name one label below it.
            \(rulePlace)conditions[0].tls_server_name.values[1] is the single value "a b"; it must be a host \
            name, or "*." and a host name for every name one label below it.
            """),
        ConfigurationErrorRow(
            "no values", rule("priority: 1, conditions: [ { tls_alpn: { values: [] } } ], \(action)"),
            rulePlace + "conditions[0].tls_alpn.values is empty. Give the names, any of which applies."),
        ConfigurationErrorRow(
            "two actions",
            rule(
                "priority: 1, \(condition), actions: [ { type: forward, target_group: web }, "
                    + "{ type: forward, target_group: web } ]"),
            rulePlace + "actions has 2 entries; at most 1 are allowed. Keep one."),
        ConfigurationErrorRow(
            "unknown group of a rule",
            rule("priority: 1, \(condition), actions: [ { type: forward, target_group: wbe } ]"),
            "weir.yaml:9: load_balancers[0] \"edge\": listener port 443, rule 1 forwards to target group \"wbe\", which "
                + "the file does not have; did you mean \"web\"?"),
        ConfigurationErrorRow(
            "rules of a TLS listener", listener("\(good), rules: []"),
            place + "rules belongs to TCP listeners, which pass TLS on by the name that the client asks for; "
                + "this one is TLS. Leave it out."),
    ]
}
