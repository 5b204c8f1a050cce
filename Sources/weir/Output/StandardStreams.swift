// Writes to standard output and standard error, whole or not at all.

import Foundation

enum StandardOutput {
    /// Ends the process quietly when the reader has gone, as in `weir flows | head`: its wish is fulfilled.
    static func write(_ text: String) {
        guard writeAll(text, to: STDOUT_FILENO) else { exit(errno == EPIPE ? 0 : CommandFailure.failed) }
    }

    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// The terminal's size, or what is usual where it does not tell.
    static var screenSize: (width: Int, height: Int) {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return (80, 24)
        }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// False when a pipe's reader has gone.
    ///
    /// Who prints only changes would otherwise wait for the next one to notice.
    static var hasReader: Bool {
        var descriptor = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
        return poll(&descriptor, 1, 0) < 1 || descriptor.revents & Int16(POLLERR) == 0
    }
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
