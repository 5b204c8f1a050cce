// The plan of `weir network`: what of a configuration asks for rules, and for which. That they work is shown in a
// network of namespaces; see EndToEnd/test_network_command.py.

import ControlPlane
import Testing

@testable import weir

@Suite struct `Network plan` {
    private func plan(
        addresses: String = "192.0.2.1", protocol: String = "TCP", isPreserving: Bool = true,
        targets: String = "10.0.0.1", forwardsTo group: String = "web"
    ) throws -> NetworkPlan {
        NetworkPlan(
            try Configuration.parse(
                """
                target_groups:
                  - name: web
                    protocol: \(`protocol`)
                    port: 80
                    attributes: { preserve_client_ip.enabled: \(isPreserving) }
                    targets: [\(targets)]
                  - { name: other, protocol: \(`protocol`), port: 80 }
                load_balancers:
                  - name: edge
                    type: network
                    addresses: [\(addresses)]
                    listeners:
                      - port: 80
                        protocol: \(`protocol`)
                        default_action: { type: forward, target_group: \(group) }
                """))
    }

    @Test func `only families and transports that are in use get rules`() throws {
        let plan = try plan()
        #expect(
            NetworkPages.plan(plan) == """
                # Target groups "web": client addresses are preserved for IPv4, TCP.
                # Targets must send what they answer to clients through this machine, such as by a default route.
                nft -f - <<'END'
                table inet weir_transparent {}
                delete table inet weir_transparent
                table inet weir_transparent {
                    chain divert {
                        type filter hook prerouting priority mangle; policy accept;
                        meta nfproto ipv4 meta l4proto { tcp, icmp } socket transparent 1 socket wildcard 0 \
                meta mark set 0x57450000 accept
                    }
                }
                END
                ip -4 route replace local 0.0.0.0/0 dev lo table 5745
                ip -4 rule add pref 5745 fwmark 0x57450000 lookup 5745 2>/dev/null || true
                ip -6 rule del pref 5745 fwmark 0x57450000 lookup 5745 2>/dev/null || true
                ip -6 route flush table 5745 2>/dev/null || true

                """)
        let both = try self.plan(addresses: "192.0.2.1, \"2001:db8::1\"", protocol: "TCP_UDP")
        let text = NetworkPages.plan(both)
        #expect(text.contains("preserved for IPv4 and IPv6, TCP and UDP."))
        #expect(text.contains("        meta l4proto { tcp, udp, icmp, ipv6-icmp } socket transparent 1"))
        #expect(text.contains("ip -6 route replace local ::/0 dev lo table 5745"))
        #expect(!text.contains(" del "))
    }

    @Test func `without a group in use that asks for it, setup only removes`() throws {
        for plan in [try plan(isPreserving: false), try plan(forwardsTo: "other")] {
            #expect(!plan.isNeeded)
            #expect(plan.setup == NetworkPlan.teardown)
            #expect(NetworkPages.plan(plan).hasPrefix("# No listener forwards"))
        }
    }

    @Test func `a target on this machine cannot be answered for`() throws {
        #expect(
            try plan(targets: "10.0.0.1, 127.0.0.1").notes.last?.hasPrefix("Target 127.0.0.1:80 is on")
                == true)
    }

    @Test func `the plan is data too`() throws {
        let json = try OutputFormat.json(NetworkPages.Description(try plan()))
        #expect(json.contains("\"target_groups\" : [\n    \"web\"\n  ]"))
        #expect(json.contains("\"ip -4 route replace local 0.0.0.0/0 dev lo table 5745\""))
    }
}
