// What a machine needs so that `preserve_client_ip.enabled` works: a pure function of the configuration.
//
// A connection to a target that comes from the client's address is answered to that address. The answer reaches
// this machine because targets route through it, and would be forwarded on to the client. So packets that belong
// to a transparent socket (nft(8): socket transparent 1; wildcard 0 spares those of listeners) get a mark, a rule
// sends marked packets to a routing table of their own, and that table delivers everything here. All names and
// numbers are Weir's own, so that setup and teardown touch nothing else. See ip(7), IP_TRANSPARENT.

import Balancing
import ControlPlane

struct NetworkPlan: Equatable {
    /// The nftables table, of family inet.
    static let table = "weir_transparent"
    /// Packets of flows with a preserved address. Far from the bits that Kubernetes and VPNs use.
    static let mark = "0x57450000"
    /// The number of the routing table and the priority of its rule, before the main table's 32766.
    static let number = "5745"

    /// One command, and the words by which it says that there was nothing left to do.
    struct Step: Equatable {
        let arguments: [String]
        var input: String?
        var harmless: [String] = []

        /// As a line for a shell.
        var text: String {
            let line = arguments.joined(separator: " ")
            guard let input else { return line }
            return "\(line) <<'END'\n\(input)END"
        }
    }

    /// The groups that ask for it, in the order of the file.
    let groups: [String]
    /// Of the load balancers that forward to them: a client keeps its address only towards its own family.
    let families: [IPAddress.Family]
    let transports: [Transport]
    /// What targets and people must know.
    private(set) var notes: [String] = []

    init(_ configuration: Configuration) {
        let asking = configuration.targetGroups.filter(\.group.attributes.preservesClientIP)
        groups = asking.map(\.group.name)
        let names = Set(groups)
        let users = configuration.loadBalancers.filter { loadBalancer in
            loadBalancer.listeners.flatMap(\.actions).flatMap(\.targetGroups)
                .contains { names.contains($0.targetGroup) }
        }
        let listened = Set(users.flatMap(\.addresses).map(\.family))
        families = [.v4, .v6].filter(listened.contains)
        let protocols = asking.map(\.group.protocol)
        transports =
            (protocols.contains(where: \.carriesTCP) ? [.tcp] : [])
            + (protocols.contains(where: \.carriesUDP) ? [.udp] : [])
        guard isNeeded else { return }
        notes = [
            "Targets must send what they answer to clients through this machine, such as by a default route."
        ]
        for target in asking.flatMap({ $0.targets ?? [] }) where target.id.address.isLoopback {
            notes.append(
                "Target \(target.id) is on this machine, where answers do not pass these rules; clients cannot "
                    + "keep their address towards it.")
        }
    }

    /// False when no listener forwards to a group with `preserve_client_ip.enabled`.
    var isNeeded: Bool { !groups.isEmpty && !families.isEmpty }

    /// Brings the machine to this plan, whatever an earlier one left; may be run any number of times.
    var setup: [Step] {
        guard isNeeded else { return Self.teardown }
        return [nftables(rules)] + families.flatMap(Self.addRoutes)
            + [.v4, .v6].filter { !families.contains($0) }.flatMap(Self.removeRoutes)
    }

    /// Removes everything that any plan can have made.
    static var teardown: [Step] {
        [nftables("")] + [.v4, .v6].flatMap(removeRoutes)
    }

    // MARK: nftables

    private var rules: String {
        // The kernel finds the socket that an ICMP error is about. Without these, refusals and news of narrow paths
        // (RFC 1191) would pass Weir by.
        let errors = families.map { $0 == .v4 ? "icmp" : "ipv6-icmp" }
        let names = (transports.map { $0 == .tcp ? "tcp" : "udp" } + errors).joined(separator: ", ")
        let family =
            switch families {
            case [.v4]: "meta nfproto ipv4 "
            case [.v6]: "meta nfproto ipv6 "
            default: ""
            }
        return """
            table inet \(Self.table) {
                chain divert {
                    type filter hook prerouting priority mangle; policy accept;
                    \(family)meta l4proto { \(names) } socket transparent 1 socket wildcard 0 \
            meta mark set \(Self.mark) accept
                }
            }

            """
    }

    /// Replaces the table in one transaction: an empty one is made first, as a missing one cannot be deleted.
    private static func nftables(_ rules: String) -> Step {
        Step(
            arguments: ["nft", "-f", "-"],
            input: "table inet \(table) {}\ndelete table inet \(table)\n\(rules)")
    }

    private func nftables(_ rules: String) -> Step { Self.nftables(rules) }

    // MARK: Routes

    private static func ip(_ family: IPAddress.Family, _ arguments: String...) -> [String] {
        ["ip", family == .v4 ? "-4" : "-6"] + arguments
    }

    private static func addRoutes(_ family: IPAddress.Family) -> [Step] {
        let everything = family == .v4 ? "0.0.0.0/0" : "::/0"
        return [
            // The route first: a marked packet without one would be unreachable instead of forwarded.
            Step(
                arguments: ip(family, "route", "replace", "local", everything, "dev", "lo", "table", number)),
            Step(
                arguments: ip(family, "rule", "add", "pref", number, "fwmark", mark, "lookup", number),
                harmless: ["File exists"]),
        ]
    }

    private static func removeRoutes(_ family: IPAddress.Family) -> [Step] {
        [
            Step(
                arguments: ip(family, "rule", "del", "pref", number, "fwmark", mark, "lookup", number),
                harmless: ["No such file or directory", "not supported"]),
            Step(
                arguments: ip(family, "route", "flush", "table", number),
                harmless: ["FIB table does not exist", "No such file or directory", "not supported"]),
        ]
    }
}
