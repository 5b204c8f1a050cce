// `weir health`: state, reason and sentence of every target, once, live, or until all are healthy.

import AdminModel
import ArgumentParser
import Balancing
import Foundation

struct HealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "Show the health of targets, and why it is so.",
        discussion: """
            --watch shows a live page on a terminal (q quits), and elsewhere prints a line for each change. \
            --wait returns when every target of the group, or of all groups, is healthy.
            """
    )

    @Argument(help: "The target group's name; without one, all groups.")
    var group: String?

    @Flag(help: "Keep showing what changes.")
    var watch = false

    @Flag(help: "Wait until all targets are healthy.")
    var wait = false

    @Option(help: ArgumentHelp("Give up waiting after so long.", valueName: "seconds"))
    var timeout: Int?

    @OptionGroup var options: ClientOptions

    func validate() throws {
        try Waiting.validate(timeout: timeout, isWaiting: wait)
        guard watch else { return }
        if wait { throw ValidationError("--watch and --wait exclude each other.") }
        if options.output != .table { throw ValidationError("--watch is for people; use --output table.") }
    }

    func run() async throws {
        let client = try options.makeClient()
        if watch {
            try await watchHealth(client)
        } else {
            try await showHealth(wait ? try await waitForHealth(client) : try await groups(client))
        }
    }

    private func groups(_ client: AdminClient) async throws(ClientError) -> [TargetGroupDescription] {
        if let group { return [try await client.targetGroup(named: group)] }
        return try await client.targetGroups()
    }

    private func showHealth(_ groups: [TargetGroupDescription]) async throws {
        try options.output.show(groups.map(HealthReport.init)) {
            HealthPage.render(groups, nowSeconds: Date.nowSeconds, $0)
        }
    }

    // MARK: --wait

    private func waitForHealth(_ client: AdminClient) async throws -> [TargetGroupDescription] {
        var groups: [TargetGroupDescription] = []
        let isHealthy = try await Waiting.until(timeoutSeconds: timeout) {
            groups = try await self.groups(client)
            // Without a name, groups that cannot become healthy are none of the question.
            if group == nil { groups.removeAll { $0.targets.isEmpty || $0.loadBalancers.isEmpty } }
            if let group = groups.first(where: \.targets.isEmpty) {
                throw CommandFailure(
                    message: "target group \(group.name) has no targets to wait for. "
                        + "Register one with \"weir targets register \(group.name) TARGET\".")
            }
            if let group = groups.first(where: { $0.loadBalancers.isEmpty }) {
                throw CommandFailure(
                    message:
                        "target group \(group.name) is in no listener, so its targets are not checked and "
                        + "never become healthy. Let a listener forward to it.")
            }
            return Self.ailing(in: groups).isEmpty
        }
        guard isHealthy else {
            let ailing = Self.ailing(in: groups)
            throw CommandFailure(
                message: "\(HumanText.counted(ailing.count, "target")) not healthy after \(timeout ?? 0) s:",
                details: ailing)
        }
        return groups
    }

    /// The targets that are to become healthy and are not: all but those on their way out.
    static func ailing(in groups: [TargetGroupDescription]) -> [String] {
        groups.flatMap { group in
            group.targets.filter { isExpected($0.health) && !countsAsHealthy($0.health) }.map { target in
                [
                    group.name, HumanText.endpoint(target.id, target.port), target.health.state,
                    target.health.description,
                ].filter { !$0.isEmpty }.joined(separator: "  ")
            }
        }
    }

    private static func isExpected(_ health: HealthDescription) -> Bool {
        health.state != TargetHealthState.draining.rawValue
    }

    /// Without a health check a target is never `healthy` by name, and counts as it.
    private static func countsAsHealthy(_ health: HealthDescription) -> Bool {
        health.state == TargetHealthState.healthy.rawValue
            || health.reason == TargetHealthReason.healthCheckDisabled.rawValue
    }

    // MARK: --watch

    private func watchHealth(_ client: AdminClient) async throws {
        // A wrong name or address is an error now, not a page that never fills.
        let first = try await groups(client)
        guard StandardOutput.isTerminal else { return try await printChanges(client, first: first) }
        await LiveView.run { style in
            do throws(ClientError) {
                return HealthPage.render(try await groups(client), nowSeconds: Date.nowSeconds, style)
            } catch {
                return style.paint(error.failure.text, .red)
            }
        }
    }

    private func printChanges(_ client: AdminClient, first: [TargetGroupDescription]) async throws {
        var changes = HealthChanges()
        var groups = first
        while StandardOutput.hasReader {
            let time = Date().formatted(.iso8601)
            for line in changes.lines(for: groups) { StandardOutput.write("\(time)  \(line)\n") }
            try await Task.sleep(for: .seconds(1))
            groups = try await self.groups(client)
        }
    }
}
