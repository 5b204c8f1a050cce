// `weir upgrade`: a new binary takes over from the running one.

import AdminModel
import ArgumentParser
import Foundation

struct UpgradeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Hand over to a new process, without losing a connection.",
        discussion: """
            The running process starts the binary that now stands where it was started from itself, with the same \
            arguments, and hands it the listening sockets, the UDP flows and what it knows of the targets. \
            It ends when its TCP flows have ended, or after upgrade_drain_timeout. A binary that does not \
            come to serve changes nothing. The new process reads the configuration file: settings that take \
            effect at start do so now.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Another binary to start. Only root and the user that Weir runs as may be able to change it.",
            valueName: "path"),
        completion: .file())
    var binary: String?

    @Option(
        help: ArgumentHelp("How long the new process may take to get ready, 1 to 300.", valueName: "seconds"))
    var timeout: Int = 30

    @OptionGroup var options: ClientOptions

    func validate() throws {
        guard (1...300).contains(timeout) else {
            throw ValidationError("--timeout is \(timeout); it must be from 1 to 300 seconds.")
        }
    }

    func run() async throws {
        let request = UpgradeRequest(binary: binary.map(Self.absolute), timeoutSeconds: timeout)
        let response = try await options.makeClient().upgrade(request)
        try options.output.show(response) { Self.page(response, $0) }
    }

    static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }

    static func page(_ response: UpgradeResponse, _ style: Style) -> String {
        let remaining =
            response.remainingFlowCount == 0
            ? "and ends" : "and ends after its \(HumanText.counted(response.remainingFlowCount, "TCP flow"))"
        return """
            process \(response.processId) serves: \(style.paint("weir \(response.version)", .bold))
            process \(response.formerProcessId) has handed over \
            \(HumanText.counted(response.handedOverFlowCount, "UDP flow")) \(remaining)

            """
    }
}
