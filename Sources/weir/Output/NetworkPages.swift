// What `weir network` shows: a plan as a script for the shell, or as data.

import Balancing

enum NetworkPages {
    struct Description: Encodable {
        let targetGroups: [String]
        let families: [String]
        let transports: [String]
        /// Shell commands, in order.
        let setup: [String]
        let teardown: [String]
        let notes: [String]

        init(_ plan: NetworkPlan) {
            targetGroups = plan.groups
            families = plan.families.map(NetworkPages.name)
            transports = plan.transports.map(NetworkPages.name)
            setup = plan.setup.map(\.text)
            teardown = NetworkPlan.teardown.map(\.text)
            notes = plan.notes
        }
    }

    static func plan(_ plan: NetworkPlan) -> String {
        guard plan.isNeeded else {
            return """
                # No listener forwards to a target group with preserve_client_ip.enabled: nothing is needed.
                # "weir network teardown" removes what an earlier configuration needed.

                """
        }
        let subject =
            "# Target groups \(quoted(plan.groups)): client addresses are preserved for \(scope(of: plan)).\n"
        let notes = plan.notes.map { "# \($0)\n" }.joined()
        // What is not needed any more may be there or not; a script says so by going on.
        let lines = plan.setup.map { $0.harmless.isEmpty ? $0.text : "\($0.text) 2>/dev/null || true" }
        return subject + notes + lines.map { "\($0)\n" }.joined()
    }

    static func outcome(of plan: NetworkPlan) -> String {
        guard plan.isNeeded else {
            return
                "No listener forwards to a target group with preserve_client_ip.enabled: no rules are needed, "
                + "and none of Weir's are left.\n"
        }
        return "The rules are made: \(quoted(plan.groups)) can see client addresses, \(scope(of: plan)).\n"
            + plan.notes.map { "\($0)\n" }.joined()
    }

    private static func scope(of plan: NetworkPlan) -> String {
        "\(plan.families.map(name).joined(separator: " and ")), "
            + plan.transports.map(name).joined(separator: " and ")
    }

    private static func quoted(_ names: [String]) -> String {
        names.map { "\"\($0)\"" }.joined(separator: ", ")
    }

    private static func name(_ family: IPAddress.Family) -> String { family == .v4 ? "IPv4" : "IPv6" }
    private static func name(_ transport: Transport) -> String { transport == .tcp ? "TCP" : "UDP" }
}
