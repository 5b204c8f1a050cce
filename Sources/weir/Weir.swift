// The `weir` executable: parses the command line, runs one command, turns its error into text and exit code.
//
// `run` is called on the main thread before anything asynchronous exists, because it drops privileges and
// starts pinned threads. All other commands are asynchronous clients of the admin API.

import AdminModel
import ArgumentParser
import Dispatch
import Foundation

struct Weir: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weir",
        abstract: "A load balancer for TCP, UDP and HTTP, and the commands to operate it.",
        discussion: """
            "weir run" is the appliance. All other commands talk to a running one through its admin API: \
            --admin ADDRESS (or WEIR_ADMIN) names it, by default \(AdminAddress.standard).

            Exit status: 0 done; 1 refused or failed; 64 wrong usage; 69 the appliance cannot be reached.
            """,
        version: WeirVersion.current,
        groupedSubcommands: [
            CommandGroup(name: "Appliance", subcommands: [RunCommand.self, UpgradeCommand.self]),
            CommandGroup(
                name: "Configuration",
                subcommands: [CheckCommand.self, ApplyCommand.self, NetworkCommand.self]),
            CommandGroup(
                name: "Target", subcommands: [TargetsCommand.self, HealthCommand.self]),
            CommandGroup(
                name: "Overview",
                subcommands: [
                    StatusCommand.self, LoadBalancersCommand.self, ListenersCommand.self,
                    RulesCommand.self, TargetGroupsCommand.self, CertificatesCommand.self,
                    SSLPoliciesCommand.self,
                ]),
            CommandGroup(name: "Flow", subcommands: [FlowsCommand.self, ExplainCommand.self]),
        ]
    )
}

@main
enum Entry {
    static func main() {
        // A peer that goes away is an error of one write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        do {
            let command = try Weir.parseAsRoot()
            if let command = command as? RunCommand {
                try command.run()
            } else if let command = command as? any AsyncParsableCommand {
                runToEnd(command)
            } else {
                var command = command
                try command.run()
            }
        } catch {
            end(with: error)
        }
    }

    /// Runs an asynchronous command while the main thread waits.
    private static func runToEnd(_ command: any AsyncParsableCommand) {
        let work = SendableCommand(command: command)
        runToEnd { try await work.run() }
    }

    /// Runs asynchronous work while the main thread waits; an error ends the process with its text and code.
    static func runToEnd(_ work: @escaping @Sendable () async throws -> Void) {
        let finished = DispatchSemaphore(value: 0)
        Task {
            do {
                try await work()
            } catch {
                end(with: error)
            }
            finished.signal()
        }
        finished.wait()
    }

    private static func end(with error: any Error) -> Never {
        guard let failure = CommandFailure(error) else { Weir.exit(withError: error) }
        StandardError.write(failure.text)
        exit(failure.exitCode)
    }
}

/// Takes a command to the task that runs it.
///
/// `@unchecked` holds because the main thread gives the command away: it only waits from then on.
private struct SendableCommand: @unchecked Sendable {
    let command: any AsyncParsableCommand

    func run() async throws {
        var command = command
        try await command.run()
    }
}
