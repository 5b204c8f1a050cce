// Rows of `ConfigurationErrorTests`: target groups and targets, health checks.
//
// Each has a file and the lines that it is refused with; a line of the source that ends with "\" goes on.

extension ConfigurationErrorRow {
    static let targetGroups = [
        ConfigurationErrorRow(
            "nothing given",
            """
            target_groups:
              - {}
            """,
            """
            weir.yaml:2: target_groups[0]: name is missing. Give each entry a name of its own.
            weir.yaml:2: target_groups[0]: protocol is missing. Give TCP, UDP, TCP_UDP, TLS, HTTP or HTTPS.
            weir.yaml:2: target_groups[0]: port is missing. Give the port of targets that name none.
            """),
        ConfigurationErrorRow(
            "a word as group",
            """
            target_groups:
              - web
            """,
            """
            weir.yaml:2: target_groups[0]: this entry is the single value "web"; it must be a mapping with \
            the keys name, protocol, protocol_version, port, health_check, attributes, targets, connect_timeout, \
            connect_attempts, tls.
            """),
        ConfigurationErrorRow(
            "name",
            """
            target_groups:
              - { name: web_1, protocol: TCP, port: 80 }
            """,
            """
            weir.yaml:2: target_groups[0]: name is "web_1"; it must be 1 to 32 letters, digits or "-", and \
            neither begin nor end with "-".
            """),
        ConfigurationErrorRow(
            "long name",
            """
            target_groups:
              - { name: abcdefghijklmnopqrstuvwxyz-0123456, protocol: TCP, port: 80 }
            """,
            """
            weir.yaml:2: target_groups[0]: name is "abcdefghijklmnopqrstuvwxyz-0123456"; it must be 1 to 32 \
            letters, digits or "-", and neither begin nor end with "-".
            """),
        ConfigurationErrorRow(
            "protocol in small letters",
            """
            target_groups:
              - { name: web, protocol: tcp, port: 80 }
            """,
            """
            weir.yaml:2: target_groups[0] "web": protocol is "tcp"; it must be TCP, UDP, TCP_UDP, TLS, HTTP \
            or HTTPS (in capitals).
            """),
        ConfigurationErrorRow(
            "port",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 65536 }
            """,
            """
            weir.yaml:2: target_groups[0] "web": port is 65536; it must be a whole number from 1 to 65535.
            """),
        ConfigurationErrorRow(
            "octal port",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 010 }
            """,
            """
            weir.yaml:2: target_groups[0] "web": port is "010"; it must be a whole number from 1 to 65535.
            """),
        ConfigurationErrorRow(
            "connect settings",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, connect_timeout: 61, connect_attempts: 9 }
            """,
            """
            weir.yaml:2: target_groups[0] "web": connect_timeout is 61 s; it must be a whole number from 1 \
            to 60 s.
            weir.yaml:2: target_groups[0] "web": connect_attempts is 9; it must be a whole number from 1 to \
            8.
            """),
        ConfigurationErrorRow(
            "unknown key",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, helth_check: {} }
            """,
            """
            weir.yaml:2: target_groups[0] "web": unknown key "helth_check"; did you mean "health_check"?
            """),
        ConfigurationErrorRow(
            "unknown attribute",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                attributes: { deregistration_delay.timeout: 3 }
            """,
            """
            weir.yaml:5: target_groups[0] "web": unknown attribute "deregistration_delay.timeout"; did you \
            mean "deregistration_delay.timeout_seconds"?
            """),
        ConfigurationErrorRow(
            "attribute bound",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, attributes: { deregistration_delay.timeout_seconds: \
            3601 } }
            """,
            """
            weir.yaml:2: target_groups[0] "web": deregistration_delay.timeout_seconds is "3601"; it must be \
            a whole number from 0 to 3600.
            """),
        ConfigurationErrorRow(
            "attribute type",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, attributes: { stickiness.enabled: yes, \
            stickiness.type: lb_cookie } }
            """,
            """
            weir.yaml:2: target_groups[0] "web": stickiness.enabled is "yes"; it must be true or false.
            weir.yaml:2: target_groups[0] "web": stickiness.type is "lb_cookie"; only "source_ip" is \
            supported: cookies belong to application load balancers.
            """),
        ConfigurationErrorRow(
            "attribute mapping",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, attributes: { stickiness.enabled: [true] } }
            """,
            """
            weir.yaml:2: target_groups[0] "web": stickiness.enabled is a list; it must be a single value.
            """),
        ConfigurationErrorRow(
            "attributes list",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, attributes: [a] }
            """,
            """
            weir.yaml:2: target_groups[0] "web": attributes is a list; it must be a mapping of attribute \
            keys.
            """),
        ConfigurationErrorRow(
            "target names",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, targets: [server1, 10.0.0.256, "10.0.0.1:0", \
            "10.0.0.1:99999"] }
            """,
            """
            weir.yaml:2: target_groups[0] "web": targets[0] is "server1"; it must be ADDRESS, ADDRESS:PORT \
            or [IPV6]:PORT. Targets are named by address: look up the name and give its address.
            weir.yaml:2: target_groups[0] "web": targets[1] is "10.0.0.256"; it must be ADDRESS, \
            ADDRESS:PORT or [IPV6]:PORT. Targets are named by address: look up the name and give its \
            address.
            weir.yaml:2: target_groups[0] "web": targets[2] is "10.0.0.1:0"; it must be ADDRESS, \
            ADDRESS:PORT or [IPV6]:PORT. Targets are named by address: look up the name and give its \
            address.
            weir.yaml:2: target_groups[0] "web": targets[3] is "10.0.0.1:99999"; it must be ADDRESS, \
            ADDRESS:PORT or [IPV6]:PORT. Targets are named by address: look up the name and give its \
            address.
            """),
        ConfigurationErrorRow(
            "target addresses",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, targets: [0.0.0.0, 224.0.0.1, "::", "ff02::1"] }
            """,
            """
            weir.yaml:2: target_groups[0] "web": targets[0] is 0.0.0.0; it names no machine. Give the \
            address of one.
            weir.yaml:2: target_groups[0] "web": targets[1] is 224.0.0.1; it is a multicast address, which \
            is not one machine. Give a unicast address.
            weir.yaml:2: target_groups[0] "web": targets[2] is ::; it names no machine. Give the address of \
            one.
            weir.yaml:2: target_groups[0] "web": targets[3] is ff02::1; it is a multicast address, which is \
            not one machine. Give a unicast address.
            """),
        ConfigurationErrorRow(
            "target mapping",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                targets:
                  - { id: 10.0.0.1, weight: 1000 }
                  - { port: 80 }
                  - { id: "10.0.0.2:81", port: 82 }
                  - { id: 10.0.0.3, wieght: 2 }
                  - [10.0.0.4]
                  - { id: 10.0.0.5, availability_zone: "a b" }
                  - { id: 10.0.0.6, port: 0 }
            """,
            """
            weir.yaml:6: target_groups[0] "web": targets[0].weight is 1000; it must be a whole number from \
            0 to 999.
            weir.yaml:7: target_groups[0] "web": targets[1].id is missing. Give the address of the target.
            weir.yaml:8: target_groups[0] "web": targets[2].port is given beside a port in the id \
            "10.0.0.2:81". Keep one of them.
            weir.yaml:9: target_groups[0] "web": unknown key "targets[3].wieght"; did you mean "weight"?
            weir.yaml:10: target_groups[0] "web": targets[4] is a list; it must be a mapping with the keys \
            id, port, weight, availability_zone.
            weir.yaml:11: target_groups[0] "web": targets[5].availability_zone is "a b"; it must be 1 to 64 \
            printable characters without spaces.
            weir.yaml:12: target_groups[0] "web": targets[6].port is 0; it must be a whole number from 1 to \
            65535.
            """),
        ConfigurationErrorRow(
            "target twice",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, targets: [10.0.0.1, "10.0.0.1:81", "10.0.0.1:80"] }
            """,
            """
            weir.yaml:2: target_groups[0] "web": targets[2] is 10.0.0.1:80, which the group lists already. \
            Keep one.
            """),
        ConfigurationErrorRow(
            "targets no list",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80, targets: 10.0.0.1 }
            """,
            """
            weir.yaml:2: target_groups[0] "web": targets is the single value "10.0.0.1"; it must be a list.
            """),
        ConfigurationErrorRow(
            "group twice",
            """
            target_groups:
              - { name: web, protocol: TCP, port: 80 }
              - { name: web, protocol: TCP, port: 81 }
            """,
            """
            weir.yaml:3: target_groups[1] "web": name is "web", which line 2 has already. Names are unique; \
            choose another.
            """),
    ]

    static let healthChecks = [
        ConfigurationErrorRow(
            "timeout not below interval",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { interval: 10, timeout: 10 }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.timeout is 10 s; it must be below the \
            interval (10 s), or probes overlap. Lower timeout or raise interval.
            """),
        ConfigurationErrorRow(
            "default timeout not below interval",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { interval: 5 }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.timeout is 10 s by default; it must be below \
            the interval (5 s), or probes overlap. Lower timeout or raise interval.
            """),
        ConfigurationErrorRow(
            "bounds",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { interval: 301, timeout: 0, healthy_threshold: 1, unhealthy_threshold: 11 }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.interval is 301 s; it must be a whole number \
            from 1 to 300 s.
            weir.yaml:5: target_groups[0] "web": health_check.timeout is 0 s; it must be a whole number \
            from 1 to 120 s.
            weir.yaml:5: target_groups[0] "web": health_check.healthy_threshold is 1; it must be a whole \
            number from 2 to 10.
            weir.yaml:5: target_groups[0] "web": health_check.unhealthy_threshold is 11; it must be a whole \
            number from 2 to 10.
            """),
        ConfigurationErrorRow(
            "protocol",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: ICMP }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.protocol is "ICMP"; it must be TCP, HTTP, \
            HTTPS, TLS or UDP (in capitals).
            """),
        ConfigurationErrorRow(
            "port",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { port: traffic }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.port is "traffic"; it must be traffic-port or \
            a whole number from 1 to 65535.
            """),
        ConfigurationErrorRow(
            "path without slash",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: HTTP, path: healthz }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.path is "healthz"; it must begin with "/" and \
            have at most 1024 visible ASCII characters.
            """),
        ConfigurationErrorRow(
            "path with space",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: HTTP, path: "/a b" }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.path is "/a b"; it must begin with "/" and \
            have at most 1024 visible ASCII characters.
            """),
        ConfigurationErrorRow(
            "matcher",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: HTTP, matcher: "2xx" }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.matcher is "2xx"; it must list codes and \
            ranges from 200 to 599, such as "200-299,301".
            """),
        ConfigurationErrorRow(
            "HTTP settings for TCP",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { path: /x, matcher: "200" }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.path belongs to HTTP and HTTPS \
            health checks, but this one is TCP. Set health_check.protocol: HTTP, or leave it out.
            weir.yaml:5: target_groups[0] "web": health_check.matcher belongs to HTTP and HTTPS \
            health checks, but this one is TCP. Set health_check.protocol: HTTP, or leave it out.
            """),
        ConfigurationErrorRow(
            "enabled",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { enabled: no }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.enabled is "no"; it must be true or false.
            """),
        ConfigurationErrorRow(
            "UDP without anything",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp is missing. A UDP probe without an \
            expected answer proves nothing: a dead service is as silent as a living one. Give udp: { \
            preset: dns } or udp: { payload: …, expect: … }.
            """),
        ConfigurationErrorRow(
            "UDP without expectation",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { payload: ping } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp.expect is missing. A UDP probe without an \
            expected answer proves nothing: a dead service is as silent as a living one. Give expect, \
            expect_prefix or their _hex forms.
            """),
        ConfigurationErrorRow(
            "UDP without payload",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { expect: pong } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp.payload is missing. Give payload, \
            payload_hex or preset.
            """),
        ConfigurationErrorRow(
            "UDP two expectations",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { payload: ping, expect: pong, expect_prefix: po } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp has expect and expect_prefix. Keep one of \
            them.
            """),
        ConfigurationErrorRow(
            "UDP bad hex",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { payload_hex: 0a0, expect_hex: zz } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp.payload_hex is "0a0"; it must be pairs of \
            hexadecimal digits, such as "0a0b".
            weir.yaml:5: target_groups[0] "web": health_check.udp.expect_hex is "zz"; it must be pairs of \
            hexadecimal digits, such as "0a0b".
            """),
        ConfigurationErrorRow(
            "UDP empty payload",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { payload: "", expect: "a" } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp.payload has 0 bytes; it must have 1 to \
            1024.
            """),
        ConfigurationErrorRow(
            "UDP two payloads",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { payload: a, payload_hex: "0a", expect: b } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp.payload_hex is given beside payload. Keep \
            one of them.
            """),
        ConfigurationErrorRow(
            "UDP preset",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { preset: snmp } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp.preset is "snmp"; it must be dns or ntp.
            """),
        ConfigurationErrorRow(
            "UDP preset and payload",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: UDP, udp: { preset: dns, payload: x } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp.preset is given beside payload. A preset \
            has its own payload and answer; keep one.
            """),
        ConfigurationErrorRow(
            "udp for TCP",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { udp: { preset: dns } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.udp belongs to UDP health checks, but this \
            one is TCP. Set health_check.protocol: UDP, or leave it out.
            """),
        ConfigurationErrorRow(
            "lame duck empty",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: HTTP, lame_duck: {} }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.lame_duck names no sign. Give header or body.
            """),
        ConfigurationErrorRow(
            "lame duck header",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: HTTP, lame_duck: { header: "X Lame" } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.lame_duck.header is "X Lame"; it must be NAME \
            or "NAME: VALUE", at most 256 characters.
            """),
        ConfigurationErrorRow(
            "lame duck for TCP",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { lame_duck: { body: bye } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": health_check.lame_duck belongs to HTTP and HTTPS \
            health checks, but this one is TCP. Set health_check.protocol: HTTP, or leave it out.
            """),
        ConfigurationErrorRow(
            "lame duck key",
            """
            target_groups:
              - name: web
                protocol: TCP
                port: 80
                health_check: { protocol: HTTP, lame_duck: { headr: X } }
            """,
            """
            weir.yaml:5: target_groups[0] "web": unknown key "health_check.lame_duck.headr"; did you mean \
            "header"?
            weir.yaml:5: target_groups[0] "web": health_check.lame_duck names no sign. Give header or body.
            """),
    ]
}
