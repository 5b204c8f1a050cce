// Rows of `ConfigurationErrorTests`: load balancers and listeners, the whole file.
//
// Each has a file and the lines that it is refused with; a line of the source that ends with "\" goes on.

extension ConfigurationErrorRow {
    static let loadBalancers = [
        ConfigurationErrorRow(
            "access logs without a file",
            """
            load_balancers:
              - name: a
                type: network
                addresses: [10.0.0.1]
                access_logs: { enabled: true }
                listeners: []
              - name: b
                type: network
                addresses: [10.0.0.2]
                access_logs: { enabled: true, path: logs/access.log }
                listeners: []
              - name: c
                type: network
                addresses: [10.0.0.3]
                access_logs: { bucket: logs }
                listeners: []
            """,
            """
            weir.yaml:5: load_balancers[0] "a": access_logs is enabled, but names no file. Give access_logs: \
            { enabled: true, path: FILE }.
            weir.yaml:10: load_balancers[1] "b": access_logs.path is "logs/access.log"; it must be "stdout" or \
            the whole path of a file, beginning with "/" and ending with ".log".
            weir.yaml:15: load_balancers[2] "c": access_logs.bucket is not available here. \
            Weir writes a file: path: FILE, or path: stdout.
            """),
        ConfigurationErrorRow(
            "unknown group",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, target_group: wbe } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listener port 80 forwards to target group "wbe", which \
            the file does not have; did you mean "web"?
            """),
        ConfigurationErrorRow(
            "incompatible",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, target_group: dns } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listener port 80 is TCP, but target group "dns" is UDP; \
            a TCP listener forwards to TCP groups.
            """),
        ConfigurationErrorRow(
            "TCP to TCP_UDP",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, target_group: both } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listener port 80 is TCP, but target group "both" is \
            TCP_UDP; a TCP listener forwards to TCP groups.
            """),
        ConfigurationErrorRow(
            "UDP to TCP",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: UDP, default_action: { type: forward, target_group: web } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listener port 80 is UDP, but target group "web" is TCP; \
            a UDP listener forwards to UDP and TCP_UDP groups.
            """),
        ConfigurationErrorRow(
            "TCP_UDP to UDP",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP_UDP, default_action: { type: forward, target_group: dns } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listener port 80 is TCP_UDP, but target group "dns" is \
            UDP; a TCP_UDP listener forwards to TCP_UDP groups.
            """),
        ConfigurationErrorRow(
            "TLS",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 443, protocol: TLS, ssl_policy: x, certificates: [], default_action: { type: \
            forward, target_group: web } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: certificates is empty. Give certificates: \
            [ { certificate: FILE, private_key: FILE } ]; the first is the default.
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: ssl_policy is "x", which is no security \
            policy; "weir ssl-policies" lists them.
            """),
        ConfigurationErrorRow(
            "HTTP with rules",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: HTTP, rules: [], default_action: { type: forward, target_group: \
            web } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: protocol is HTTP, which belongs to \
            application load balancers; this one is network. Use TCP, UDP, TCP_UDP or TLS, or set type: \
            application.
            """),
        ConfigurationErrorRow(
            "redirect",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: redirect, redirect: {} } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.redirect is not available here. It belongs to application load balancers; use type: forward.
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.type is "redirect"; a \
            network load balancer only has forward.
            """),
        ConfigurationErrorRow(
            "nothing",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - {  }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: port is missing. Give the port where \
            clients arrive.
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: protocol is missing. Give TCP, UDP, TCP_UDP \
            or TLS.
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action is missing. Give \
            default_action: { type: forward, target_group: NAME }.
            """),
        ConfigurationErrorRow(
            "action without type",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { target_group: web } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.type is missing. Give \
            type: forward.
            """),
        ConfigurationErrorRow(
            "action without group",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.target_group is missing. \
            Give target_group or forward.
            """),
        ConfigurationErrorRow(
            "action with both",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, target_group: web, forward: \
            [] } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.target_group is given \
            beside forward. Keep one of them.
            """),
        ConfigurationErrorRow(
            "no weight",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, forward: [ { target_group: \
            web, weight: 0 } ] } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.forward has no group of \
            positive weight, so no flow could go anywhere. Raise a weight.
            """),
        ConfigurationErrorRow(
            "group twice",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, forward: [ { target_group: \
            web }, { target_group: web } ] } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.forward[1].target_group is \
            "web", which the action names already. Keep one.
            """),
        ConfigurationErrorRow(
            "weight",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, forward: [ { target_group: \
            web, weight: -1 } ] } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.forward[0].weight is -1; \
            it must be a whole number from 0 to 999.
            """),
        ConfigurationErrorRow(
            "six groups",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, forward: [ {}, {}, {}, {}, \
            {}, {} ] } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.forward has 6 entries; at \
            most 5 are allowed. Remove some.
            """),
        ConfigurationErrorRow(
            "sticky duration",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, target_group: web, \
            stickiness: { enabled: true, duration: 3 } } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: default_action.stickiness.duration is not available here. A client keeps its group by the hash of its address, for good; \
            leave it out.
            """),
        ConfigurationErrorRow(
            "idle timeout",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, attributes: { tcp.idle_timeout.seconds: 59 }, \
            default_action: { type: forward, target_group: web } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: tcp.idle_timeout.seconds is "59"; it must \
            be a whole number from 60 to 6000.
            """),
        ConfigurationErrorRow(
            "port",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: http, protocol: TCP, default_action: { type: forward, target_group: web } }
            """,
            """
            weir.yaml:10: load_balancers[0] "edge": listeners[0]: port is "http"; it must be a whole number \
            from 1 to 65535.
            """),
        ConfigurationErrorRow(
            "load balancer without anything",
            """
            load_balancers:
              - {}
            """,
            """
            weir.yaml:2: load_balancers[0]: name is missing. Give each entry a name of its own.
            weir.yaml:2: load_balancers[0]: type is missing. Give type: network or type: application.
            weir.yaml:2: load_balancers[0]: addresses is missing. Give the static addresses to listen on, \
            or 0.0.0.0 and "::" for every address of this machine.
            """),
        ConfigurationErrorRow(
            "type",
            """
            load_balancers:
              - { name: a, type: gateway, addresses: [10.0.0.1] }
            """,
            """
            weir.yaml:2: load_balancers[0] "a": type is "gateway"; it must be network or application.
            """),
        ConfigurationErrorRow(
            "addresses",
            """
            load_balancers:
              - { name: a, type: network, addresses: [example.com, 224.0.0.1, 10.0.0.1, 10.0.0.1] }
            """,
            """
            weir.yaml:2: load_balancers[0] "a": addresses[0] is the single value "example.com"; it must be \
            an IPv4 or IPv6 address.
            weir.yaml:2: load_balancers[0] "a": addresses[1] is 224.0.0.1; it must be a unicast address of \
            this machine.
            weir.yaml:2: load_balancers[0] "a": addresses lists 10.0.0.1 twice. Keep one.
            """),
        ConfigurationErrorRow(
            "wildcard beside address",
            """
            load_balancers:
              - { name: a, type: network, addresses: [0.0.0.0, 10.0.0.1] }
            """,
            """
            weir.yaml:2: load_balancers[0] "a": addresses has 10.0.0.1 beside 0.0.0.0, which means every \
            address already. Keep one of them.
            """),
        ConfigurationErrorRow(
            "freebind",
            """
            load_balancers:
              - { name: a, type: network, addresses: [10.0.0.1], ip_freebind: 1 }
            """,
            """
            weir.yaml:2: load_balancers[0] "a": ip_freebind is "1"; it must be true or false.
            """),
    ]

    static let wholeFile = [
        ConfigurationErrorRow(
            "port twice",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - name: edge
                type: network
                addresses: [10.0.0.1]
                listeners:
                  - { port: 80, protocol: TCP, default_action: { type: forward, target_group: web } }
                  - { port: 80, protocol: TCP, default_action: { type: forward, target_group: web } }
            """,
            """
            weir.yaml:11: load_balancers[0] "edge": listeners[1]: port is 80, which line 10 has already. A \
            load balancer has one listener per port; for TCP and UDP on one port use protocol TCP_UDP.
            """),
        ConfigurationErrorRow(
            "load balancer twice",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - { name: edge, type: network, addresses: [10.0.0.1] }
              - { name: edge, type: network, addresses: [10.0.0.2] }
            """,
            """
            weir.yaml:7: load_balancers[1] "edge": name is "edge", which line 6 has already. Names are \
            unique; choose another.
            """),
        ConfigurationErrorRow(
            "overlap",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - { name: a, type: network, addresses: [10.0.0.1], listeners: [ { port: 80, protocol: TCP, \
            default_action: { type: forward, target_group: web } } ] }
              - { name: b, type: network, addresses: [10.0.0.1], listeners: [ { port: 80, protocol: TCP, \
            default_action: { type: forward, target_group: web } } ] }
            """,
            """
            weir.yaml:7: load_balancers[1] "b": listener b:80 listens on 10.0.0.1 for TCP, and so does a:80 \
            on 10.0.0.1. Give one of them another port or address.
            """),
        ConfigurationErrorRow(
            "overlap by wildcard",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - { name: a, type: network, addresses: [0.0.0.0], listeners: [ { port: 80, protocol: TCP, \
            default_action: { type: forward, target_group: web } } ] }
              - { name: b, type: network, addresses: ["::1", 10.0.0.1], listeners: [ { port: 80, protocol: \
            TCP, default_action: { type: forward, target_group: web } } ] }
            """,
            """
            weir.yaml:7: load_balancers[1] "b": listener b:80 listens on 10.0.0.1 for TCP, and so does a:80 \
            on 0.0.0.0. Give one of them another port or address.
            """),
        ConfigurationErrorRow(
            "no overlap across families and transports",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: dns, protocol: UDP, port: 53 }
              - { name: both, protocol: TCP_UDP, port: 53 }
            load_balancers:
              - { name: a, type: network, addresses: [0.0.0.0], listeners: [ { port: 80, protocol: TCP, \
            default_action: { type: forward, target_group: web } } ] }
              - { name: b, type: network, addresses: ["::"], listeners: [ { port: 80, protocol: TCP, \
            default_action: { type: forward, target_group: web } } ] }
              - { name: c, type: network, addresses: [10.0.0.1], listeners: [ { port: 80, protocol: UDP, \
            default_action: { type: forward, target_group: dns } } ] }
            """,
            ""),
    ]
}
