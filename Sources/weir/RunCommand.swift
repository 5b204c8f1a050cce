// `weir run`: the appliance.

import AdminModel
import ArgumentParser

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Serve the listeners of a configuration file until told to end.",
        discussion: """
            SIGTERM drains all listeners and ends, a second SIGTERM ends at once. SIGHUP reads the \
            configuration again; live flows go on.
            """
    )

    @Option(help: ArgumentHelp("The configuration file.", valueName: "file"), completion: .file())
    var config: String

    @Option(
        help: ArgumentHelp(
            "The file that keeps runtime changes, or \"memory\"; overrides \"state\" of the configuration.",
            valueName: "file"),
        completion: .file())
    var state: String?

    @Option(
        help: ArgumentHelp(
            "Where the admin API listens; overrides \"admin.listen\" of the configuration.",
            valueName: "address"),
        transform: ClientOptions.parseAddress)
    var admin: AdminAddress?

    @Option(
        help: ArgumentHelp("Worker threads; overrides \"workers\" of the configuration.", valueName: "count"))
    var workers: Int?

    func run() throws {
        throw CommandFailure(message: "this build has no data plane.")
    }
}
