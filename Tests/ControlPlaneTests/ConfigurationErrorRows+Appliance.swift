// Rows of `ConfigurationErrorTests`: the document itself, the settings of the appliance.
//
// Each has a file and the lines that it is refused with; a line of the source that ends with "\" goes on.

extension ConfigurationErrorRow {
    static let document = [
        ConfigurationErrorRow(
            "empty file",
            """

            """,
            """
            weir.yaml:1: the file is empty; it needs at least one of target_groups and load_balancers.
            """),
        ConfigurationErrorRow(
            "only a comment",
            """
            # nothing
            """,
            """
            weir.yaml:1: the file is empty; it needs at least one of target_groups and load_balancers.
            """),
        ConfigurationErrorRow(
            "a list",
            """
            - a
            - b
            """,
            """
            weir.yaml:1: the file is a list; it must be a mapping with the keys admin, state, workers, \
            availability_zone, hash_seed, source_addresses, congestion_control, run_as, drain_timeout, \
            upgrade_drain_timeout, log, limits, tls, target_groups, load_balancers.
            """),
        ConfigurationErrorRow(
            "a word",
            """
            hello
            """,
            """
            weir.yaml:1: the file is the single value "hello"; it must be a mapping with the keys admin, \
            state, workers, availability_zone, hash_seed, source_addresses, congestion_control, run_as, \
            drain_timeout, upgrade_drain_timeout, log, limits, tls, target_groups, load_balancers.
            """),
        ConfigurationErrorRow(
            "two documents",
            """
            state: memory
            ---
            state: memory
            """,
            """
            weir.yaml:2: not valid YAML: expected a single document in the stream, but found another \
            document. Check the indentation, colons and quotes at column 1.
            """),
        ConfigurationErrorRow(
            "broken flow",
            """
            target_groups: [ { name: web
            load_balancers: 3
            """,
            """
            weir.yaml:2: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'. \
            Check the indentation, colons and quotes at column 15.
            """),
        ConfigurationErrorRow(
            "bad indentation",
            """
            admin:
              listen: 127.0.0.1:1
               token_file: x
            """,
            """
            weir.yaml:3: not valid YAML: mapping values are not allowed in this context. Check the \
            indentation, colons and quotes at column 14.
            """),
        ConfigurationErrorRow(
            "tab",
            """
            admin:
            \tlisten: 127.0.0.1:1
            """,
            """
            weir.yaml:2: not valid YAML: while scanning for the next token, found character that cannot \
            start any token. Check the indentation, colons and quotes at column 1.
            """),
        ConfigurationErrorRow(
            "control character",
            """
            state: "a\u{1}b"
            """,
            """
            weir.yaml:1: not valid YAML: control characters are not allowed. The file must be UTF-8 text \
            without control characters.
            """),
        ConfigurationErrorRow(
            "duplicate key",
            """
            state: memory
            workers: 1
            state: memory
            """,
            """
            weir.yaml:1: the key "state" stands twice in one mapping, first here. Keep one of them.
            """),
        ConfigurationErrorRow(
            "undefined alias",
            """
            state: *nowhere
            """,
            """
            weir.yaml:1: not valid YAML: found undefined alias. Check the indentation, colons and quotes at \
            column 8.
            """),
        ConfigurationErrorRow(
            "alias",
            """
            state: &s memory
            run_as: *s
            """,
            """
            weir.yaml:2: "*s" is a YAML alias, which Weir does not read: a few of them can unfold into \
            gigabytes. Write the value out.
            """),
        ConfigurationErrorRow(
            "unknown top key",
            """
            target_group: []
            """,
            """
            weir.yaml:1: unknown key "target_group"; did you mean "target_groups"?
            """),
        ConfigurationErrorRow(
            "key like none",
            """
            frobnicate: 1
            """,
            """
            weir.yaml:1: unknown key "frobnicate"; known are: admin, state, workers, availability_zone, \
            hash_seed, source_addresses, congestion_control, run_as, drain_timeout, \
            upgrade_drain_timeout, log, limits, tls, target_groups, load_balancers.
            """),
        ConfigurationErrorRow(
            "key that is a list",
            """
            ? [a]
            : 1
            """,
            """
            weir.yaml:1: a key is a list; keys are words: admin, state, workers, availability_zone, \
            hash_seed, source_addresses, congestion_control, run_as, drain_timeout, \
            upgrade_drain_timeout, log, limits, tls, target_groups, load_balancers.
            """),
    ]

    static let settings = [
        ConfigurationErrorRow(
            "admin without port",
            """
            admin: { listen: localhost }
            """,
            """
            weir.yaml:1: admin.listen is "localhost"; it must be ADDRESS:PORT, [IPV6]:PORT or unix:/path (a \
            path of at most 107 bytes).
            """),
        ConfigurationErrorRow(
            "admin relative socket",
            """
            admin: { listen: "unix:run/x" }
            """,
            """
            weir.yaml:1: admin.listen is "unix:run/x"; it must be ADDRESS:PORT, [IPV6]:PORT or unix:/path \
            (a path of at most 107 bytes).
            """),
        ConfigurationErrorRow(
            "admin open to all",
            """
            admin: { listen: 0.0.0.0:9900 }
            """,
            """
            weir.yaml:1: admin.listen is 0.0.0.0:9900, which other machines can reach; that needs \
            admin.token_file, or anybody could change the load balancer. Name a token file, or listen on \
            127.0.0.1 or a Unix socket.
            """),
        ConfigurationErrorRow(
            "admin list",
            """
            admin: [1]
            """,
            """
            weir.yaml:1: admin is a list; it must be a mapping with the keys listen, token_file.
            """),
        ConfigurationErrorRow(
            "admin null",
            """
            admin:
            """,
            """
            weir.yaml:1: admin has no value. Give one, or leave the key out.
            """),
        ConfigurationErrorRow(
            "workers",
            """
            workers: 65
            """,
            """
            weir.yaml:1: workers is "65"; it must be auto or a whole number from 1 to 64.
            """),
        ConfigurationErrorRow(
            "workers word",
            """
            workers: many
            """,
            """
            weir.yaml:1: workers is "many"; it must be auto or a whole number from 1 to 64.
            """),
        ConfigurationErrorRow(
            "zone",
            """
            availability_zone: "a b"
            """,
            """
            weir.yaml:1: availability_zone is "a b"; it must be 1 to 64 printable characters without spaces.
            """),
        ConfigurationErrorRow(
            "seed",
            """
            hash_seed: abc
            """,
            """
            weir.yaml:1: hash_seed has 3 characters; it must be 32 hexadecimal digits in quotes. "openssl \
            rand -hex 16" makes one.
            """),
        ConfigurationErrorRow(
            "source address",
            """
            source_addresses: [10.0.0.1, host, 0.0.0.0, 10.0.0.1]
            """,
            """
            weir.yaml:1: source_addresses[1] is the single value "host"; it must be an IPv4 or IPv6 address.
            weir.yaml:1: source_addresses[2] is 0.0.0.0; it must be a unicast address of this machine.
            weir.yaml:1: source_addresses lists 10.0.0.1 twice. Keep one.
            """),
        ConfigurationErrorRow(
            "source addresses type",
            """
            source_addresses: 10.0.0.1
            """,
            """
            weir.yaml:1: source_addresses is the single value "10.0.0.1"; it must be a list.
            """),
        ConfigurationErrorRow(
            "congestion control",
            """
            congestion_control: { client: "Cubic!" }
            """,
            """
            weir.yaml:1: congestion_control.client is "Cubic!"; it must be the name of an algorithm, such \
            as cubic or bbr. "sysctl net.ipv4.tcp_available_congestion_control" lists them.
            """),
        ConfigurationErrorRow(
            "run_as",
            """
            run_as: "a:b:c"
            """,
            """
            weir.yaml:1: run_as is "a:b:c"; it must be USER or USER:GROUP.
            """),
        ConfigurationErrorRow(
            "drain timeout",
            """
            drain_timeout: 3601
            """,
            """
            weir.yaml:1: drain_timeout is 3601 s; it must be a whole number from 0 to 3600 s.
            """),
        ConfigurationErrorRow(
            "upgrade drain timeout",
            """
            upgrade_drain_timeout: 86401
            """,
            """
            weir.yaml:1: upgrade_drain_timeout is 86401 s; it must be a whole number from 0 to 86400 s.
            """),
        ConfigurationErrorRow(
            "log",
            """
            log: { level: loud, format: xml }
            """,
            """
            weir.yaml:1: log.level is "loud"; it must be one of trace, debug, info, notice, warning, error, \
            critical.
            weir.yaml:1: log.format is "xml"; it must be one of text, json.
            """),
        ConfigurationErrorRow(
            "limits",
            """
            limits: { tcp_flows: 0, udp_flows: 1e6 }
            """,
            """
            weir.yaml:1: limits.tcp_flows is 0; it must be a whole number from 1 to 4000000.
            weir.yaml:1: limits.udp_flows is "1e6"; it must be a whole number from 1 to 4000000.
            """),
    ]
}
