// Which file an upgrade starts: the one that this process was started from, or another that may be trusted.
//
// Whoever may change the appliance may name a binary, and on loopback without a token that is any user of this
// machine. So a named file, and every directory on the way to it, must be in nobody's hands but root's and our own.

import AdminModel
import Foundation

enum ProgramFile {
    /// Where this process's file stands, as it was named: a new file put there is found again.
    ///
    /// - Parameter name: The zeroth argument, from the command line or `PATH`.
    static func current(
        name: String, environment: [String: String] = ProcessInfo.processInfo.environment
    ) -> String {
        let manager = FileManager.default
        if name.contains("/") {
            return name.hasPrefix("/") ? name : manager.currentDirectoryPath + "/" + name
        }
        for directory in (environment["PATH"] ?? "").split(separator: ":") {
            let candidate = "\(directory)/\(name)"
            if directory.hasPrefix("/"), manager.isExecutableFile(atPath: candidate) { return candidate }
        }
        return (try? manager.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? name
    }

    /// Why a file may not be started at a client's word; nil when it may.
    static func objection(to path: String, ownUser: uid_t = geteuid()) -> String? {
        guard path.hasPrefix("/") else {
            return "\"\(path)\" is no absolute path. Name the binary from the root."
        }
        guard let resolved = realpath(path, nil) else {
            return "\(path) cannot be found: \(String(cString: strerror(errno)).lowercased())."
        }
        defer { free(resolved) }
        let real = String(cString: resolved)
        var status = stat()
        guard stat(real, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            return "\(path) is no file."
        }
        guard access(real, X_OK) == 0 else {
            return "\(path) is not executable for the user that Weir runs as. Set its mode (chmod 755)."
        }
        var part = real
        while true {
            guard stat(part, &status) == 0 else { return "\(part) cannot be examined." }
            let isForeign = status.st_uid != 0 && status.st_uid != ownUser
            // In a sticky directory only an entry's owner can replace it; see chmod(2).
            let isSticky = status.st_mode & S_IFMT == S_IFDIR && status.st_mode & S_ISVTX != 0
            if isForeign || (status.st_mode & (S_IWGRP | S_IWOTH) != 0 && !isSticky) {
                return
                    "\(part) can be changed by others than root and the user that Weir runs as, so \(path) is "
                    + "not started. Install the binary elsewhere, or replace the file that Weir was started from."
            }
            if part == "/" { return nil }
            part = (part as NSString).deletingLastPathComponent
        }
    }
}
