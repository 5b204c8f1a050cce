// `weir run`: the appliance.

import AdminModel
import ArgumentParser
import Balancing

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Serve the listeners of a configuration file until told to end.",
        discussion: """
            SIGTERM drains all listeners and ends, a second SIGTERM ends at once. SIGHUP reads the \
            configuration again; live flows go on. SIGUSR2 hands over to the binary that now stands where this \
            one was started from, as "weir upgrade" does.

            Listening sockets that systemd passes (LISTEN_FDS) are used in place of binding their addresses; \
            one named "admin" is the admin API's.
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

    func validate() throws {
        if let workers, !(1...Limits.workerCountMax).contains(workers) {
            throw ValidationError("--workers is \(workers); it must be from 1 to \(Limits.workerCountMax).")
        }
    }

    func run() throws {
        let predecessor = try UpgradePredecessor.fromEnvironment()
        let options = RunOptions(configurationPath: config, state: state, admin: admin, workerCount: workers)
        do {
            let appliance = try Appliance(options, predecessor: predecessor)
            Entry.runToEnd {
                do {
                    try await appliance.serve()
                } catch {
                    predecessor?.refuse(CommandFailure(error) ?? CommandFailure(message: "\(error)."))
                    throw error
                }
            }
        } catch {
            predecessor?.refuse(CommandFailure(error) ?? CommandFailure(message: "\(error)."))
            throw error
        }
    }
}
