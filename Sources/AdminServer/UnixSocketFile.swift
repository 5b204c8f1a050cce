// The file of the admin server's Unix socket: mode 0600 from its first visible moment, and never the file of
// another process.
//
// A socket gets its mode only after bind(2), and the umask is shared with every thread. So it is bound inside a
// private directory (mode 0700) beside its place, gets its mode there, and is renamed into place, which also
// replaces the stale file of a dead process without a gap. See unix(7).

import Foundation
import NIOCore
import NIOPosix

struct UnixSocketFile: Sendable {
    let path: String
    /// Where to bind; `publish` moves it to `path`.
    let bindPath: String
    private let directory: String

    /// Checks the place and makes the private directory. End with `publish` or `discard`.
    static func prepare(path: String) async throws(AdminServerError) -> UnixSocketFile {
        // sun_path has room for 107 bytes and a terminating zero.
        let parent = (path as NSString).deletingLastPathComponent
        guard max(path.utf8.count, parent.utf8.count + "/.weir-XXXXXX/s".utf8.count) <= 107 else {
            throw .cannotListen(
                on: .unix(path: path), cause: "the path is too long for a Unix socket (107 bytes)")
        }
        try await refuseUnlessFree(path)
        guard let directory = makePrivateDirectory(in: parent) else {
            throw .cannotListen(
                on: .unix(path: path), cause: "cannot write in \(parent): \(errorText(errno))")
        }
        return UnixSocketFile(path: path, bindPath: "\(directory)/s", directory: directory)
    }

    /// The file of a socket that another process has bound there; nil when nothing is there any more.
    static func inherited(path: String) -> (socket: UnixSocketFile, identity: Identity)? {
        Identity(path: path).map { (UnixSocketFile(path: path, bindPath: path, directory: ""), $0) }
    }

    /// Makes the bound socket visible and returns its identity for `remove`.
    func publish() throws(AdminServerError) -> Identity {
        defer { rmdir(directory) }
        guard chmod(bindPath, 0o600) == 0, rename(bindPath, path) == 0, let identity = Identity(path: path)
        else {
            let text = Self.errorText(errno)
            unlink(bindPath)
            throw .cannotListen(on: .unix(path: path), cause: text)
        }
        return identity
    }

    /// Cleans up after a bind that failed.
    func discard() {
        unlink(bindPath)
        rmdir(directory)
    }

    /// Removes the socket at the end, unless another process has put its own there.
    func remove(_ identity: Identity) {
        if Identity(path: path) == identity { unlink(path) }
    }

    struct Identity: Equatable, Sendable {
        private let device: UInt64
        private let inode: UInt64
        fileprivate let isSocket: Bool

        fileprivate init?(path: String) {
            var status = stat()
            guard lstat(path, &status) == 0 else { return nil }
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            isSocket = status.st_mode & S_IFMT == S_IFSOCK
        }
    }

    /// See mkdtemp(3); nil with errno set when it fails.
    private static func makePrivateDirectory(in parent: String) -> String? {
        var template = Array("\(parent)/.weir-XXXXXX".utf8CString)
        return template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
    }

    /// Lets a stale socket pass, since `publish` replaces it; refuses one that answers, and any other file.
    private static func refuseUnlessFree(_ path: String) async throws(AdminServerError) {
        guard let existing = Identity(path: path) else { return }
        guard existing.isSocket else {
            throw .cannotListen(on: .unix(path: path), cause: "a file that is not a socket exists there")
        }
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(1))
                .connect(unixDomainSocketPath: path).get()
            try? await channel.close()
        } catch let error as IOError where error.errnoCode == ECONNREFUSED || error.errnoCode == ENOENT {
            return
        } catch {
            throw .cannotListen(on: .unix(path: path), cause: "the socket there cannot be checked: \(error)")
        }
        throw .cannotListen(on: .unix(path: path), cause: "another process already answers there")
    }

    private static func errorText(_ code: Int32) -> String {
        String(cString: strerror(code))
    }
}
