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
        let text = try FileText.read(file)
        StandardOutput.write(try Self.summary(of: text, fileName: file == "-" ? "standard input" : file))
    }

    /// One line about a valid configuration; throws all errors of another.
    static func summary(of yaml: String, fileName: String) throws(CommandFailure) -> String {
        let configuration: Configuration
        do {
            configuration = try Configuration.parse(yaml, fileName: fileName)
        } catch {
            let lines = error.errors.map(\.description)
            throw CommandFailure(
                message: "\(fileName) has \(HumanText.counted(lines.count, "error")):", details: lines)
        }
        let listenerCount = configuration.loadBalancers.map(\.listeners.count).reduce(0, +)
        let targetCount = configuration.targetGroups.compactMap { $0.targets?.count }.reduce(0, +)
        let parts = [
            HumanText.counted(configuration.loadBalancers.count, "load balancer"),
            HumanText.counted(listenerCount, "listener"),
            HumanText.counted(configuration.targetGroups.count, "target group"),
            HumanText.counted(targetCount, "target"),
        ]
        return "\(fileName) is valid: \(parts.joined(separator: ", ")).\n"
    }
}
