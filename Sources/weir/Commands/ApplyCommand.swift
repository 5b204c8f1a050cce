// `weir apply`: makes the appliance be what a configuration file says, and shows the difference.

import AdminModel
import ArgumentParser

struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Show the difference to a configuration file and make it so.",
        discussion: """
            All or nothing: when any part of the file is refused, the running configuration stays. \
            Live flows go on whatever changes. Targets registered at runtime stay, unless the file lists \
            the targets of their group.
            """
    )

    @Argument(help: "The configuration file, or - for standard input.", completion: .file())
    var file: String

    @Flag(help: "Also remove what the file does not name.")
    var prune = false

    @Flag(help: "Only show the difference.")
    var dryRun = false

    @OptionGroup var options: ClientOptions

    func run() async throws {
        let client = try options.makeClient()
        let request = ApplyRequest(configuration: try FileText.read(file), dryRun: dryRun, prune: prune)
        let response: ApplyResponse
        do {
            response = try await client.apply(request)
        } catch .refused(let status, let report) {
            throw ClientError.refused(status: status, Self.naming(file, in: report))
        }
        try options.output.show(response) { DetailPages.changes(response, $0) }
    }

    /// The appliance knows the text of the file, not its name, and calls it `configuration`.
    static func naming(_ file: String, in report: ErrorReport) -> ErrorReport {
        let nameless = "configuration:"
        func name(_ line: String) -> String {
            line.hasPrefix(nameless) && file != "-" ? "\(file):\(line.dropFirst(nameless.count))" : line
        }
        return ErrorReport(
            code: report.code, message: name(report.message), details: report.details?.map(name))
    }
}
