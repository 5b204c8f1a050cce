// Carries out the steps of a network plan with nft(8) and ip(8), one after the other.

import Foundation

enum NetworkRunner {
    private static let directories = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]

    private static let packages = ["nft": "nftables", "ip": "iproute2"]

    /// Runs every step; the first that fails ends it, and says which, why and what to do.
    static func run(_ steps: [NetworkPlan.Step]) throws(CommandFailure) {
        for step in steps { try run(step) }
    }

    private static func run(_ step: NetworkPlan.Step) throws(CommandFailure) {
        let name = step.arguments[0]
        guard
            let path = directories.map({ "\($0)/\(name)" })
                .first(where: { FileManager.default.isExecutableFile(atPath: $0) })
        else {
            let package = packages[name] ?? name
            throw CommandFailure(
                message:
                    "\"\(name)\" is not installed; the routing rules need it. Run: apt-get install \(package)"
            )
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = Array(step.arguments.dropFirst())
        let (input, errors) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors
        let text: String
        do {
            try process.run()
            // Far below what a pipe takes, so this waits for nobody.
            try input.fileHandleForWriting.write(contentsOf: Data((step.input ?? "").utf8))
            try input.fileHandleForWriting.close()
            text = String(decoding: try errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
            process.waitUntilExit()
        } catch {
            throw CommandFailure(message: "cannot run \(path): \(error.localizedDescription).")
        }
        guard process.terminationStatus != 0, !step.harmless.contains(where: text.contains) else { return }
        throw refusal(of: step, text)
    }

    private static func refusal(of step: NetworkPlan.Step, _ text: String) -> CommandFailure {
        let lines = text.split(whereSeparator: \.isNewline).map(String.init).filter { !$0.isEmpty }
        let command = step.arguments.joined(separator: " ")
        guard !text.contains("Operation not permitted") else {
            return CommandFailure(
                message: "\"\(command)\" is not permitted; it needs CAP_NET_ADMIN. Run this command as root.",
                details: lines)
        }
        return CommandFailure(
            message: "\"\(command)\" failed; \"weir network teardown\" removes what was made so far.",
            details: lines)
    }
}
