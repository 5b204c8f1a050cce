// The upgrade as a request, as a page, and the files that may be started at a client's word.

import AdminModel
import AdminServer
import ControlPlane
import Foundation
import Testing

@testable import weir

@Suite struct `Upgrade request` {
    private static let response = UpgradeResponse(
        processId: 12, version: "1.2.3", formerProcessId: 11, remainingFlowCount: 2, handedOverFlowCount: 1)

    @Test func `is answered when the other process serves`() async throws {
        let upgrade: UpgradeHandler = { request throws(ControlError) in
            #expect(request == UpgradeRequest(binary: "/usr/bin/weir", timeoutSeconds: 7))
            return Self.response
        }
        try await withServer(upgrade: upgrade) { address in
            let client = AdminClient(address: address, token: nil)
            let request = UpgradeRequest(binary: "/usr/bin/weir", timeoutSeconds: 7)
            let response = try await client.upgrade(request)
            #expect(response == Self.response)
        }
    }

    @Test func `needs the token like every change`() async throws {
        try await withServer(
            token: "secret",
            upgrade: { _ throws(ControlError) in
                Issue.record("it was asked without the token")
                return Self.response
            }
        ) { address in
            let (status, _) = try await request("POST", "/v1/upgrade", at: address, headers: json, body: "{}")
            #expect(status == 401)
        }
    }

    @Test func `shows both processes`() {
        #expect(
            UpgradeCommand.page(Self.response, Style(isColored: false))
                == "process 12 serves: weir 1.2.3\nprocess 11 has handed over 1 UDP flow and ends after its 2 TCP flows\n"
        )
    }
}

@Suite struct `Program file` {
    @Test func `one in trusted hands alone may be started`() async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "weir"
            #expect(ProgramFile.objection(to: path)?.contains("cannot be found") == true)
            try Data("#!/bin/sh\n".utf8).write(to: URL(fileURLWithPath: path))
            func mode(_ mode: Int, of path: String) throws {
                try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            }
            try mode(0o700, of: directory)
            try mode(0o755, of: path)
            #expect(ProgramFile.objection(to: path) == nil)
            #expect(
                ProgramFile.objection(to: path, ownUser: 4_321)?.contains("can be changed by others")
                    != (getuid() == 0))
            try mode(0o775, of: path)
            #expect(ProgramFile.objection(to: path)?.contains("can be changed by others") == true)
            try mode(0o755, of: path)
            try mode(0o777, of: directory)
            #expect(ProgramFile.objection(to: path)?.contains("can be changed by others") == true)
            try mode(0o700, of: directory)
            #expect(ProgramFile.objection(to: directory)?.contains("is no file") == true)
            #expect(ProgramFile.objection(to: "weir")?.contains("no absolute path") == true)
            let link = directory + "link"
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
            #expect(ProgramFile.objection(to: link) == nil)
        }
    }

    @Test func `is found where it was named`() {
        #expect(ProgramFile.current(name: "/opt/weir/bin/weir") == "/opt/weir/bin/weir")
        #expect(
            ProgramFile.current(name: "bin/weir") == FileManager.default.currentDirectoryPath + "/bin/weir")
        #expect(ProgramFile.current(name: "sh", environment: ["PATH": "/nonexistent:/bin"]) == "/bin/sh")
    }
}
