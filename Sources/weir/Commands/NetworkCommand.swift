// `weir network`: the routing and nftables rules that client IP preservation needs. Asks no appliance.

import ArgumentParser
import ControlPlane

struct NetworkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "network",
        abstract: "The routing and nftables rules that preserve_client_ip.enabled needs.",
        discussion: """
            Targets that see the client's address answer to it, so their answers must be caught on their way \
            through this machine. "plan" shows the rules, "setup" makes them (again, after a change or a \
            reboot), "teardown" removes them. All of them are Weir's own; nothing else is touched.
            """,
        subcommands: [Plan.self, Setup.self, Teardown.self]
    )

    struct Plan: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what setup would do, as shell commands.")

        @Argument(help: "The configuration file, or - for standard input.", completion: .file())
        var file: String

        @Option(name: .shortAndLong, help: "How to show the answer.")
        var output: OutputFormat = .table

        func run() throws {
            let plan = try NetworkCommand.plan(file)
            try output.show(NetworkPages.Description(plan)) { _ in NetworkPages.plan(plan) }
        }
    }

    struct Setup: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the rules that a configuration needs; may be repeated.")

        @Argument(help: "The configuration file, or - for standard input.", completion: .file())
        var file: String

        func run() throws {
            let plan = try NetworkCommand.plan(file)
            try NetworkRunner.run(plan.setup)
            StandardOutput.write(NetworkPages.outcome(of: plan))
        }
    }

    struct Teardown: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove the rules, whatever configuration made them.")

        func run() throws {
            try NetworkRunner.run(NetworkPlan.teardown)
            StandardOutput.write("The rules for client IP preservation are removed.\n")
        }
    }

    private static func plan(_ file: String) throws(CommandFailure) -> NetworkPlan {
        let name = file == "-" ? "standard input" : file
        let text = try FileText.read(file)
        do throws(ConfigurationErrors) {
            return NetworkPlan(try Configuration.parse(text, fileName: name))
        } catch {
            throw CommandFailure(
                message: "\(name) has \(HumanText.counted(error.errors.count, "error")):",
                details: error.errors.map(\.description))
        }
    }
}
