// `weir targets`: who is in a target group.

import AdminModel
import ArgumentParser
import Foundation

struct TargetsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "targets",
        abstract: "List, register and deregister the targets of a group.",
        subcommands: [List.self, Register.self, Deregister.self]
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the targets of a group.")

        @Argument(help: "The target group's name.")
        var group: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let response = TargetsResponse(
                targets: try await options.makeClient().targetGroup(named: group).targets)
            try options.output.show(response) {
                Tables.targets(response.targets, nowSeconds: Date.nowSeconds, $0)
            }
        }
    }

    struct Register: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register targets, or change weight and zone of registered ones.",
            discussion: """
                Returns when the registration is kept and every worker routes by it. A target that is being \
                deregistered comes back.
                """
        )

        @Argument(help: "The target group's name.")
        var group: String

        @Argument(
            help: "ID[:PORT], an IPv6 address with a port as [IPV6]:PORT. Without a port, the group's.",
            transform: TargetArgument.parse)
        var targets: [TargetSpecification]

        @Option(help: "The targets' share relative to others, 0 for none; 1 when new.")
        var weight: Int?

        @Option(help: "The targets' availability zone.")
        var zone: String?

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let specifications = targets.map {
                TargetSpecification(id: $0.id, port: $0.port, weight: weight, availabilityZone: zone)
            }
            let response = try await options.makeClient().register(specifications, in: group)
            try options.output.show(response) {
                Tables.targets(response.targets, nowSeconds: Date.nowSeconds, $0)
            }
        }
    }

    struct Deregister: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take targets out: no new flow reaches them once this returns.",
            discussion: """
                Live flows go on for the group's deregistration delay. With --wait the command returns \
                when the targets have left.
                """
        )

        @Argument(help: "The target group's name.")
        var group: String

        @Argument(
            help: "ID[:PORT], an IPv6 address with a port as [IPV6]:PORT. Without a port, the group's.",
            transform: TargetArgument.parse)
        var targets: [TargetSpecification]

        @Flag(help: "Wait until the targets have left.")
        var wait = false

        @Option(help: ArgumentHelp("Give up waiting after so long.", valueName: "seconds"))
        var timeout: Int?

        @OptionGroup var options: ClientOptions

        func validate() throws {
            try Waiting.validate(timeout: timeout, isWaiting: wait)
        }

        func run() async throws {
            let client = try options.makeClient()
            let response = try await client.deregister(targets, in: group)
            if wait { try await waitUntilGone(response.targets, client) }
            let isWaiting = wait
            try options.output.show(response) { style in
                let names = response.targets.map { HumanText.endpoint($0.id, $0.port) }
                if isWaiting || names.isEmpty { return "The targets have left \(group).\n" }
                return Tables.targets(response.targets, nowSeconds: Date.nowSeconds, style)
            }
        }

        private func waitUntilGone(_ leaving: [TargetDescription], _ client: AdminClient) async throws {
            var remaining: [String] = []
            let hasLeft = try await Waiting.until(timeoutSeconds: timeout) {
                remaining = Self.remaining(of: leaving, in: try await client.targetGroup(named: group))
                return remaining.isEmpty
            }
            guard !hasLeft else { return }
            throw CommandFailure(
                message: HumanText.counted(remaining.count, "target")
                    + " still in \(group) after \(timeout ?? 0) s; "
                    + "draining goes on, and no new flow reaches them.",
                details: remaining)
        }

        /// Those of `leaving` that `group` still has. The server's answer, not the arguments, says which ports
        /// were meant.
        static func remaining(of leaving: [TargetDescription], in group: TargetGroupDescription) -> [String] {
            let names = Set(leaving.map { HumanText.endpoint($0.id, $0.port) })
            return group.targets.map { HumanText.endpoint($0.id, $0.port) }.filter(names.contains)
        }
    }
}
