// Rows of `ConfigurationErrorTests`: application load balancers, their groups, actions and rules.

extension ConfigurationErrorRow {
    /// A file with one HTTP listener, whose other keys are `keys`, at line 10.
    private static func listener(
        _ keys: String = "", protocol: String = "HTTP",
        action: String = "{ type: forward, target_group: web }",
        loadBalancer: String = "ip_freebind: false"
    ) -> String {
        """
        target_groups:
          - { name: web, protocol: HTTP, port: 80 }
          - { name: raw, protocol: TCP, port: 80 }
        load_balancers:
          - name: site
            type: application
            addresses: [10.0.0.1]
            \(loadBalancer)
            listeners:
              - { port: 80, protocol: \(`protocol`), default_action: \(action), \(keys) }
        """
    }

    private static let balancer = "weir.yaml:8: load_balancers[0] \"site\": "
    private static let place = "weir.yaml:10: load_balancers[0] \"site\": listeners[0]: "
    private static let owner = "weir.yaml:10: load_balancers[0] \"site\": "

    private static func group(_ keys: String, protocol: String = "HTTP") -> String {
        "target_groups:\n  - { name: web, protocol: \(`protocol`), port: 80, \(keys) }"
    }

    private static let ofGroup = "weir.yaml:2: target_groups[0] \"web\": "

    static let application = [
        ConfigurationErrorRow(
            "TCP listener of an application load balancer", listener(protocol: "TCP"),
            place
                + "protocol is TCP, which belongs to network load balancers; this one is application. Use HTTP "
                + "or HTTPS, or set type: network."),
        ConfigurationErrorRow(
            "HTTPS without certificates", listener(protocol: "HTTPS"),
            place
                + "certificates is missing. Give certificates: [ { certificate: FILE, private_key: FILE } ]; "
                + "the first is the default."),
        ConfigurationErrorRow(
            "ALPN policy of an HTTPS listener",
            listener(
                "alpn_policy: None, certificates: [ { certificate: /a.crt, private_key: /a.key } ]",
                protocol: "HTTPS"),
            place + "alpn_policy belongs to TLS listeners. An HTTPS listener offers HTTP/2 and HTTP/1.1, or "
                + "HTTP/1.1 alone when the load balancer's attribute routing.http2.enabled is false. Leave it "
                + "out."),
        ConfigurationErrorRow(
            "certificates of an HTTP listener",
            listener("certificates: [ { certificate: /a.crt, private_key: /a.key } ]"),
            place
                + "certificates belongs to HTTPS listeners, but this one is HTTP. Set protocol: HTTPS, or leave "
                + "it out."),
        ConfigurationErrorRow(
            "PROXY protocol", listener("proxy_protocol: { trusted: [10.0.0.1] }"),
            place + "proxy_protocol belongs to TCP and TLS listeners, but this one is HTTP. Leave it out."),
        ConfigurationErrorRow(
            "TCP group", listener(action: "{ type: forward, target_group: raw }"),
            owner
                + "listener port 80 is HTTP, but target group \"raw\" is TCP; an HTTP listener forwards to HTTP "
                + "and HTTPS groups."),
        ConfigurationErrorRow(
            "network attribute of the load balancer",
            listener(loadBalancer: "attributes: { load_balancing.cross_zone.enabled: false }"),
            balancer
                + "load_balancing.cross_zone.enabled is \"false\"; only \"true\" is supported: an application "
                + "load balancer always spreads over all zones; a target group may say otherwise."),
        ConfigurationErrorRow(
            "application attribute of a network load balancer",
            listener(loadBalancer: "attributes: { routing.http2.enabled: true }")
                .replacing("type: application", with: "type: network")
                .replacing("protocol: HTTP, default", with: "protocol: TCP, default")
                .replacing("target_group: web", with: "target_group: raw"),
            balancer
                + "routing.http2.enabled is an attribute of application load balancers, and this is one of "
                + "network load balancers: leave it out."),
        ConfigurationErrorRow(
            "mistyped attribute is looked for among its own kind",
            listener(loadBalancer: "attributes: { routing.http2.enable: true }"),
            balancer + "unknown attribute \"routing.http2.enable\"; did you mean \"routing.http2.enabled\"?"),
        ConfigurationErrorRow(
            "network attribute of a listener", listener("attributes: { tcp.idle_timeout.seconds: 60 }"),
            place
                + "tcp.idle_timeout.seconds is an attribute of TCP, UDP, TCP_UDP and TLS listeners, and this is "
                + "one of HTTP and HTTPS listeners: leave it out."),
        ConfigurationErrorRow(
            "connection log without a file", listener(loadBalancer: "connection_logs: { enabled: true }"),
            balancer
                + "connection_logs is enabled, but names no file. Give connection_logs: { enabled: true, "
                + "path: FILE }."),
        ConfigurationErrorRow(
            "connection log of a network load balancer",
            "load_balancers:\n  - { name: a, type: network, addresses: [10.0.0.1], connection_logs: { enabled: true } }",
            "weir.yaml:2: load_balancers[0] \"a\": connection_logs belongs to application load balancers. Use "
                + "access_logs, where the connections of TLS listeners stand, or leave it out."),
        ConfigurationErrorRow(
            "protocol version of a TCP group", group("protocol_version: HTTP2", protocol: "TCP"),
            ofGroup + "protocol_version belongs to HTTP and HTTPS target groups, but this one is TCP. Set "
                + "protocol: HTTP or HTTPS, or leave it out."),
        ConfigurationErrorRow(
            "protocol version", group("protocol_version: HTTP3"),
            ofGroup + "protocol_version is \"HTTP3\"; it must be one of HTTP1, HTTP2, GRPC."),
        ConfigurationErrorRow(
            "health check by TCP", group("health_check: { protocol: TCP }"),
            ofGroup
                + "health_check.protocol is \"TCP\"; an HTTP target group is checked by HTTP or HTTPS (in "
                + "capitals)."),
        ConfigurationErrorRow(
            "matcher", group("health_check: { matcher: \"500\" }"),
            ofGroup
                + "health_check.matcher is \"500\"; it must list codes and ranges from 200 to 499, such as "
                + "\"200-299,301\"."),
        ConfigurationErrorRow(
            "gRPC matcher", group("protocol_version: GRPC, health_check: { matcher: \"200\" }"),
            ofGroup
                + "health_check.matcher is \"200\"; it must list gRPC codes and ranges from 0 to 99, such as "
                + "\"0,12\"."),
        ConfigurationErrorRow(
            "contradicting attributes",
            group(
                "attributes: { slow_start.duration_seconds: 30, stickiness.enabled: true, stickiness.type: "
                    + "app_cookie, load_balancing.algorithm.type: least_outstanding_requests }"),
            """
            \(ofGroup)slow_start.duration_seconds is 30, but the algorithm is least_outstanding_requests, which has \
            no slow start. Set load_balancing.algorithm.type: round_robin, or leave slow start out.
            \(ofGroup)stickiness.type is app_cookie, but nothing names the cookie. Give \
            stickiness.app_cookie.cookie_name.
            """),
        ConfigurationErrorRow(
            "reserved cookie", group("attributes: { stickiness.app_cookie.cookie_name: AWSALBTG }"),
            ofGroup
                + "stickiness.app_cookie.cookie_name is \"AWSALBTG\"; names that begin with AWSALB are the "
                + "load balancer's own. Choose the target's own cookie."),
    ]

    /// The listener with one rule that has `keys`.
    private static func rule(_ keys: String) -> String { listener("rules: [ { \(keys) } ]") }

    private static let ofRule = place.dropLast(2) + ": rules[0]: "
    private static let forward = "actions: [ { type: forward, target_group: web } ]"
    private static let path = "conditions: [ { path_pattern: { values: [\"/a\"] } } ]"

    private static func condition(_ condition: String) -> String {
        rule("priority: 1, conditions: [ \(condition) ], \(forward)")
    }

    private static func action(_ action: String) -> String {
        rule("priority: 1, \(path), actions: [ \(action) ]")
    }

    private static func transforms(_ transforms: String) -> String {
        rule("priority: 1, \(path), \(forward), transforms: [ \(transforms) ]")
    }

    static let applicationRules = [
        ConfigurationErrorRow(
            "empty rule", rule(""),
            """
            \(ofRule)priority is missing. Give a number of its own; the lowest comes first.
            \(ofRule)conditions is missing. Give conditions: [ { path_pattern: { values: ["/img/*"] } } ]; what no \
            rule takes goes to default_action.
            \(ofRule)actions is missing. Give actions: [ { type: forward, target_group: NAME } ].
            """),
        ConfigurationErrorRow(
            "priority twice",
            listener("rules: [ { priority: 1, \(path), \(forward) }, { priority: 1, \(path), \(forward) } ]"),
            place.dropLast(2)
                + ": rules[1]: priority is 1, which line 10 has already. Priorities are unique; "
                + "choose another."),
        ConfigurationErrorRow(
            "mistyped condition", condition("{ path_patern: { values: [\"/a\"] } }"),
            ofRule + "unknown key \"conditions[0].path_patern\"; did you mean \"path_pattern\"?"),
        ConfigurationErrorRow(
            "condition of a TCP listener", condition("{ tls_server_name: { values: [a] } }"),
            ofRule + "conditions[0].tls_server_name is not available here. It belongs to TCP listeners; use "
                + "host_header."),
        ConfigurationErrorRow(
            "two kinds in one condition",
            condition("{ path_pattern: { values: [\"/a\"] }, source_ip: { values: [10.0.0.1] } }"),
            ofRule + "conditions[0] has path_pattern and source_ip; a condition has one of host_header, "
                + "path_pattern, http_header, http_request_method, query_string, source_ip."),
        ConfigurationErrorRow(
            "one kind twice",
            condition("{ host_header: { values: [a.b] } }, { host_header: { values: [b.c] } }"),
            ofRule + "conditions[1].host_header stands twice in one rule. Put all values in one condition."),
        ConfigurationErrorRow(
            "values and expressions", condition("{ host_header: { values: [a.b], regex_values: [a] } }"),
            ofRule
                + "conditions[0].host_header.regex_values is given beside values. Keep one of them; use two "
                + "rules for both."),
        ConfigurationErrorRow(
            "no values", condition("{ http_request_method: { values: [] } }"),
            ofRule
                + "conditions[0].http_request_method.values is empty. Give the values, any of which applies."),
        ConfigurationErrorRow(
            "header without a name", condition("{ http_header: { values: [a] } }"),
            ofRule + "conditions[0].http_header.http_header_name is missing. Give the name of the header."),
        ConfigurationErrorRow(
            "query without a value", condition("{ query_string: { values: [ { key: a } ] } }"),
            ofRule
                + "conditions[0].query_string.values[0].value is missing. Give the value; the key may be left "
                + "out."),
        ConfigurationErrorRow(
            "range with host bits", condition("{ source_ip: { values: [10.0.0.1/8] } }"),
            ofRule
                + "conditions[0].source_ip.values[0] is the single value \"10.0.0.1/8\"; it must be an address, "
                + "or a range such as 10.0.0.0/24 with no bit set behind its length."),
        ConfigurationErrorRow(
            "what the rules' own checks find", condition("{ path_pattern: { regex_values: [\"(a\"] } }"),
            ofRule
                + "conditions[0]: path_pattern regular expression \"(a\" has a ( without its ) at position 1; correct it."
        ),
        ConfigurationErrorRow(
            "unknown group of a rule", action("{ type: forward, target_group: wbe }"),
            owner
                + "listener port 80, rule 1 forwards to target group \"wbe\", which the file does not have; did "
                + "you mean \"web\"?"),
        ConfigurationErrorRow(
            "action type", action("{ type: answer }"),
            ofRule + "actions[0].type is \"answer\"; it must be forward, redirect or fixed_response."),
        ConfigurationErrorRow(
            "keys of another action",
            action("{ type: redirect, target_group: web, redirect: { path: /x, status_code: HTTP_301 } }"),
            ofRule
                + "actions[0].target_group does not belong to an action of type redirect. Leave it out, or "
                + "change the type."),
        ConfigurationErrorRow(
            "stickiness without duration",
            action("{ type: forward, target_group: web, stickiness: { enabled: true } }"),
            ofRule
                + "actions[0].stickiness.duration is missing. Give the seconds for which a client keeps its "
                + "group, 1 to 604800."),
        ConfigurationErrorRow(
            "stickiness duration",
            action("{ type: forward, target_group: web, stickiness: { enabled: true, duration: 604801 } }"),
            ofRule
                + "actions[0].stickiness.duration is 604801 s; it must be a whole number from 1 to 604800 s."),
        ConfigurationErrorRow(
            "redirect without status", action("{ type: redirect, redirect: { path: /x } }"),
            ofRule + "actions[0].redirect.status_code is missing. Give HTTP_301 or HTTP_302."),
        ConfigurationErrorRow(
            "redirect loop", action("{ type: redirect, redirect: { port: \"80\", status_code: HTTP_301 } }"),
            ofRule
                + "actions[0]: the redirect leads back to where the request came from; change protocol, host, "
                + "port or path."),
        ConfigurationErrorRow(
            "redirect loop by default",
            listener(action: "{ type: redirect, redirect: { protocol: HTTP, status_code: HTTP_302 } }"),
            place
                + "default_action: the redirect leads back to where the request came from; change protocol, "
                + "host, port or path."),
        ConfigurationErrorRow(
            "fixed response without a code",
            action("{ type: fixed-response, fixed_response: { message_body: x } }"),
            ofRule + "actions[0].fixed_response.status_code is missing. Give a status code of 200 to 599."),
        ConfigurationErrorRow(
            "fixed response of class 3",
            action("{ type: fixed_response, fixed_response: { status_code: \"301\" } }"),
            ofRule + "actions[0]: fixed_response status_code 301 is none of 200–299 and 400–599; choose one."),
        ConfigurationErrorRow(
            "authentication", action("{ type: authenticate-oidc, authenticate_oidc: {} }"),
            """
            \(ofRule)actions[0].authenticate_oidc is not available here. Let the targets authenticate.
            \(ofRule)actions[0].type is "authenticate-oidc"; it must be forward, redirect or fixed_response.
            """),
        ConfigurationErrorRow(
            "transform without rewrites", transforms("{ url_rewrite: {} }"),
            ofRule
                + "transforms[0].url_rewrite.rewrites is missing. Give rewrites: [ { regex: PATTERN, replace: "
                + "TEXT } ]."),
        ConfigurationErrorRow(
            "one transform twice",
            transforms(
                "{ url_rewrite: { rewrites: [ { regex: a, replace: b } ] } }, "
                    + "{ url_rewrite: { rewrites: [ { regex: a, replace: b } ] } }"),
            ofRule + "transforms[1].url_rewrite stands twice in one rule. Keep one."),
        ConfigurationErrorRow(
            "group that the expression has not",
            transforms("{ url_rewrite: { rewrites: [ { regex: a, replace: \"$1\" } ] } }"),
            ofRule
                + "transforms[0]: url_rewrite replace \"$1\" has $1 at position 1, and the regex has 0 groups; add "
                + "a group or write $$ for a dollar sign."),
    ]
}
