// The admin API on a Unix socket: mode, stale files, live ones, and what stays behind.

import AdminModel
import AdminServer
import Foundation
import NIOCore
import Testing

@testable import weir

@Suite struct `Admin Unix socket` {
    @Test func `serves its owner only and leaves nothing behind`() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "admin.sock"
            try await withServer(at: .unix(path: path)) { address in
                #expect(address == .unix(path: path))
                let attributes = try FileManager.default.attributesOfItem(atPath: path)
                #expect(attributes[.posixPermissions] as? Int == 0o600)
                #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["admin.sock"])
                let report = try await AdminClient(address: address, token: nil).status()
                #expect(report == Sample.status)
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
        }
    }

    @Test func `replaces the socket file of a dead process`() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "admin.sock"
            try leaveStaleSocket(at: path)
            #expect(FileManager.default.fileExists(atPath: path))
            try await withServer(at: .unix(path: path)) { address in
                let report = try await AdminClient(address: address, token: nil).status()
                #expect(report == Sample.status)
            }
        }
    }

    /// Binds and closes without removing the file, as a killed process does.
    private func leaveStaleSocket(at path: String) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        try #require(descriptor >= 0)
        try SocketAddress(unixDomainSocketPath: path).withSockAddr { address, size in
            try #require(bind(descriptor, address, socklen_t(size)) == 0)
        }
    }

    @Test func `refuses the place of a live server, which goes on`() async throws {
        try await withTemporaryDirectory { directory in
            let address = AdminAddress.unix(path: directory + "admin.sock")
            try await withServer(at: address) { _ in
                await #expect(
                    throws: AdminServerError.cannotListen(
                        on: address, cause: "another process already answers there")
                ) {
                    try await withServer(at: address) { _ in Issue.record("two servers") }
                }
                let report = try await AdminClient(address: address, token: nil).status()
                #expect(report == Sample.status)
            }
        }
    }

    @Test func `refuses to replace a file that is no socket`() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "precious"
            try Data("text".utf8).write(to: URL(filePath: path))
            await #expect(throws: AdminServerError.self) {
                try await withServer(at: .unix(path: path)) { _ in Issue.record("it serves") }
            }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "text")
        }
    }

    @Test(arguments: ["/nowhere/admin.sock", "/tmp/" + String(repeating: "x", count: 120)])
    func `a place that cannot be is refused with its name`(path: String) async throws {
        let error = await #expect(throws: AdminServerError.self) {
            try await withServer(at: .unix(path: path)) { _ in Issue.record("it serves") }
        }
        #expect(error?.description.contains(path) == true)
    }

    @Test func `a TCP port in use is named with what to do`() async throws {
        try await withServer { address in
            let error = await #expect(throws: AdminServerError.self) {
                try await withServer(at: address) { _ in Issue.record("two servers") }
            }
            #expect(error?.description.contains("in use (EADDRINUSE)") == true)
        }
    }
}
