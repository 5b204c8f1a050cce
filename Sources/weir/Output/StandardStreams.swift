// Writes to standard output and standard error, whole or not at all.

import Foundation

enum StandardOutput {
    /// Ends the process quietly when the reader has gone, as in `weir flows | head`: its wish is fulfilled.
    static func write(_ text: String) {
        guard writeAll(text, to: STDOUT_FILENO) else { exit(errno == EPIPE ? 0 : CommandFailure.failed) }
    }

    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
}

enum StandardError {
    static func write(_ text: String) {
        // Where would one complain?
        _ = writeAll(text, to: STDERR_FILENO)
    }
}

/// Returns false with errno set when the descriptor does not take all of it.
private func writeAll(_ text: String, to descriptor: Int32) -> Bool {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
            // Interrupted by a signal, nothing was written: not a failure.
            if errno == EINTR { continue }
            return false
        }
        rest = rest.dropFirst(count)
    }
    return true
}
