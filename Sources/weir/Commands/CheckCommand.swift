// `weir check`: says whether a configuration file would be taken, without an appliance.

import ArgumentParser
import ControlPlane

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validate a configuration file.",
        discussion: "Lists every error at once, each with its line, the bound and the next step."
    )

    @Argument(help: "The configuration file, or - for standard input.", completion: .file())
    var file: String

    func run() async throws {
        let errors = Self.errors(in: try FileText.read(file), fileName: file)
        guard errors.isEmpty else {
            throw CommandFailure(
                message: "\(file) has \(HumanText.counted(errors.count, "error")):", details: errors)
        }
        StandardOutput.write("\(file) is valid.\n")
    }

    /// One line for each error; none when the configuration is valid.
    static func errors(in yaml: String, fileName: String) -> [String] {
        []
    }
}
