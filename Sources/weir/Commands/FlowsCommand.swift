// `weir flows`: what goes where at this moment.

import AdminModel
import AdminServer
import ArgumentParser

struct FlowsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flows",
        abstract: "Show live flows.",
        discussion: """
            --follow shows a live page on a terminal (q quits), and elsewhere prints a line for each flow \
            that was not there a second before.
            """
    )

    @Flag(help: "Keep showing what changes.")
    var follow = false

    @Option(help: ArgumentHelp("Show at most so many.", valueName: "count"))
    var limit = AdminLimits.flowCountDefault

    @OptionGroup var options: ClientOptions

    func validate() throws {
        guard (1...AdminLimits.flowCountMax).contains(limit) else {
            throw ValidationError("--limit \(limit) must be from 1 to \(AdminLimits.flowCountMax).")
        }
        if follow, options.output != .table {
            throw ValidationError("--follow is for people; use --output table.")
        }
    }

    func run() async throws {
        let client = try options.makeClient()
        let response = try await client.flows(countMax: limit)
        guard follow else {
            return try options.output.show(response) { Tables.flows(response, $0) }
        }
        guard StandardOutput.isTerminal else { return try await printNewFlows(client, first: response) }
        await LiveView.run { style in
            do throws(ClientError) {
                return Tables.flows(try await client.flows(countMax: limit), style)
            } catch {
                return style.paint(error.failure.text, .red)
            }
        }
    }

    private func printNewFlows(_ client: AdminClient, first: FlowsResponse) async throws {
        var known: Set<[String]> = []
        var response = first
        while StandardOutput.hasReader {
            let keys = response.flows.map { [$0.transport, $0.listener, $0.client, $0.target] }
            for (flow, key) in zip(response.flows, keys) where !known.contains(key) {
                StandardOutput.write(Self.line(for: flow))
            }
            known = Set(keys)
            try await Task.sleep(for: .seconds(1))
            response = try await client.flows(countMax: limit)
        }
    }

    /// `TCP  edge:80  192.0.2.1:40000 → 10.0.0.1:8080 of web  established`.
    static func line(for flow: FlowDescription) -> String {
        let route = "\(flow.client) → \(flow.target) of \(flow.targetGroup)"
        return "\(flow.transport)  \(flow.listener)  \(route)  \(flow.state)\n"
    }
}
