// Why a command failed, as a person reads it and as a script tests it.

/// One clear line, further lines of detail, and the exit code.
struct CommandFailure: Error, Equatable, Sendable {
    /// Refused or failed.
    static let failed: Int32 = 1
    /// The appliance cannot be reached: EX_UNAVAILABLE of sysexits.h.
    static let unreachable: Int32 = 69

    let message: String
    let details: [String]
    let exitCode: Int32

    init(message: String, details: [String] = [], exitCode: Int32 = failed) {
        self.message = message
        self.details = details
        self.exitCode = exitCode
    }

    /// Nil for errors of the argument parser, which has words and exit codes of its own.
    init?(_ error: any Error) {
        switch error {
        case let failure as CommandFailure: self = failure
        case let error as ClientError: self = error.failure
        case is CancellationError: self.init(message: "cancelled.")
        default: return nil
        }
    }

    /// What goes to standard error. Control characters, which a message may quote, do not reach the terminal.
    var text: String {
        let lines = ["weir: \(message)"] + details.map { "  \($0)" }
        return lines.map { String($0.map { $0.isControl ? " " : $0 }) + "\n" }.joined()
    }
}
