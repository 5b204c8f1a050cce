// The command line: parsing, exit codes, encodings, and what is said when nothing answers.

import AdminModel
import ArgumentParser
import Foundation
import Testing

@testable import weir

@Suite struct `Command line` {
    @Test(
        arguments: [
            ("10.0.0.1", "10.0.0.1", nil), ("10.0.0.1:80", "10.0.0.1", 80),
            ("2001:db8::1", "2001:db8::1", nil),
            ("[2001:db8::1]", "2001:db8::1", nil), ("[2001:db8::1]:80", "2001:db8::1", 80),
        ] as [(String, String, Int?)])
    func `a target is an id and perhaps a port`(text: String, id: String, port: Int?) throws {
        #expect(try TargetArgument.parse(text) == TargetSpecification(id: id, port: port))
    }

    @Test(arguments: ["", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:http", "[::1", "[::1]80"])
    func `a target that cannot be is wrong usage`(text: String) {
        #expect(throws: ValidationError.self) { try TargetArgument.parse(text) }
    }

    @Test(arguments: [
        ("127.0.0.1:9900", "127.0.0.1:9900", true), ("localhost", "localhost:9900", true),
        ("[::1]:1", "[::1]:1", true), ("::1", "[::1]:9900", true),
        ("unix:/run/w.sock", "unix:/run/w.sock", true),
        ("192.0.2.1:80", "192.0.2.1:80", false), ("0.0.0.0:80", "0.0.0.0:80", false),
        ("127.evil.example:80", "127.evil.example:80", false),
    ])
    func `an admin address is read and written`(text: String, written: String, isLocal: Bool) throws {
        let address = try AdminAddress(parsing: text)
        #expect(address.description == written)
        #expect(address.isLocal == isLocal)
    }

    @Test(
        arguments: [
            ("", .shape), (":80", .shape), ("http://127.0.0.1:1", .shape), ("host:port", .port),
            ("host:70000", .port),
            ("[::1]80", .shape), ("unix:run/w.sock", .relativePath),
        ] as [(String, AdminAddressError.Cause)])
    func `an admin address that cannot be says what is wrong`(text: String, cause: AdminAddressError.Cause) {
        #expect(throws: AdminAddressError(text: text, cause: cause)) { try AdminAddress(parsing: text) }
    }

    @Test(arguments: [
        ["nonsense"], ["status", "--admin", "unix:relative"], ["status", "--output", "xml"],
        ["targets", "register", "web"], ["targets", "deregister", "web", "10.0.0.1", "--timeout", "5"],
        ["health", "--watch", "--wait"], ["health", "--watch", "--output", "json"],
        ["flows", "--limit", "0"],
        ["flows", "--follow", "--output", "yaml"], ["run"],
    ])
    func `wrong usage exits with 64`(arguments: [String]) {
        let error = #expect(throws: (any Error).self) { try Weir.parseAsRoot(arguments) }
        #expect(error.map { Weir.exitCode(for: $0).rawValue } == 64)
    }

    @Test func `the environment names the appliance, an option overrides it`() throws {
        let environment = ["WEIR_ADMIN": "unix:/run/w.sock"]
        let byEnvironment = try ClientOptions.parse([]).makeClient(environment: environment)
        #expect(byEnvironment.address == .unix(path: "/run/w.sock"))
        let byOption = try ClientOptions.parse(["--admin", "[::1]:1"]).makeClient(environment: environment)
        #expect(byOption.address == .tcp(host: "::1", port: 1))
        #expect(try ClientOptions.parse([]).makeClient(environment: [:]).address == .standard)
        #expect(throws: ValidationError.self) {
            try ClientOptions.parse([]).makeClient(environment: ["WEIR_ADMIN": "unix:x"])
        }
    }

    @Test func `a token comes from a file, without its line end`() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory + "token"
            try Data("secret\n".utf8).write(to: URL(filePath: file))
            #expect(
                try ClientOptions.parse(["--token-file", file]).makeClient(environment: [:]).token == "secret"
            )
            try Data("two\nlines\n".utf8).write(to: URL(filePath: file))
            #expect(throws: CommandFailure.self) {
                try ClientOptions.parse([]).makeClient(environment: ["WEIR_TOKEN_FILE": file])
            }
            let missing = #expect(throws: CommandFailure.self) {
                try ClientOptions.parse(["--token-file", directory + "none"]).makeClient(environment: [:])
            }
            #expect(missing?.message.contains("no such file") == true)
        }
    }

    @Test func `the shells get their completions`() {
        for shell in ["bash", "zsh", "fish"] {
            let error = #expect(throws: (any Error).self) {
                try Weir.parseAsRoot(["--generate-completion-script", shell])
            }
            #expect(error.map { Weir.fullMessage(for: $0).contains("target-groups") } == true)
        }
    }

    @Test func `check says what is valid, or every error at once`() throws {
        let summary = try CheckCommand.summary(of: "state: memory\n", fileName: "weir.yaml")
        #expect(summary.hasPrefix("weir.yaml is valid: 0 load balancers"))
        let failure = #expect(throws: CommandFailure.self) {
            try CheckCommand.summary(of: "stat: memory\nworker: 1\n", fileName: "weir.yaml")
        }
        #expect(failure?.exitCode == 1)
        #expect(failure?.details.count == 2)
        #expect(failure?.details.first?.hasPrefix("weir.yaml:1: ") == true)
    }

    @Test func `a refused configuration is told by the name of its file`() {
        let report = ErrorReport(
            code: "ValidationError", message: "configuration:1: wrong.", details: ["configuration:1: wrong."])
        let named = ApplyCommand.naming("weir.yaml", in: report)
        #expect(ClientError.refused(status: 400, named).failure.text == "weir: weir.yaml:1: wrong.\n")
        #expect(ApplyCommand.naming("-", in: report) == report)
    }

    @Test func `what still drains is told apart by port`() {
        var moved = Sample.webTargets[1]
        moved.port = 8082
        let leaving = [Sample.webTargets[0], moved]
        #expect(TargetsCommand.Deregister.remaining(of: leaving, in: Sample.webGroup) == ["10.0.1.11:8080"])
    }

    @Test func `waiting for health passes over what is leaving`() {
        #expect(
            HealthCommand.ailing(in: [Sample.webGroup])
                == ["web  10.0.1.12:8081  unhealthy  10.0.1.12:8081 did not answer within 5 s."])
    }
}

@Suite struct `Admin client` {
    @Test func `nothing listening is unreachable, with exit 69, the address and the next step`() async throws
    {
        // A server that has just ended leaves a port on which nothing listens.
        nonisolated(unsafe) var free = AdminAddress.standard
        try await withServer { free = $0 }
        let client = AdminClient(address: free, token: nil)
        let error = await #expect(throws: ClientError.self) { try await client.status() }
        #expect(error == .unreachable(free, cause: "connection refused"))
        #expect(error?.failure.exitCode == 69)
        #expect(error?.failure.message.contains("\(free)") == true)
        #expect(error?.failure.message.contains("weir run") == true)
    }

    @Test func `a missing Unix socket is unreachable`() async throws {
        let client = AdminClient(address: .unix(path: "/nowhere/admin.sock"), token: nil)
        let error = await #expect(throws: ClientError.self) { try await client.status() }
        #expect(error?.failure.exitCode == 69)
        #expect(error?.failure.message.contains("no such file or directory") == true)
    }

    @Test func `a refusal is exit 1 with the server's words`() async throws {
        try await withServer { address in
            let client = AdminClient(address: address, token: nil)
            let error = await #expect(throws: ClientError.self) {
                try await client.register([TargetSpecification(id: "x")], in: "invalid")
            }
            #expect(error?.failure.exitCode == 1)
            #expect(error?.failure.text == "weir: two targets are wrong.\n  one\n  two\n")
        }
    }

    @Test func `no path can be forged from a name`() {
        #expect(
            AdminClient.target(["target-groups", "../a b?"], query: []) == "/v1/target-groups/..%2Fa%20b%3F")
        #expect(AdminClient.target(["flows"], query: [("limit", "1&x=2")]) == "/v1/flows?limit=1%26x%3D2")
    }
}

@Suite struct `Output encodings` {
    @Test func `JSON has the wire's keys and raw numbers`() throws {
        let text = try OutputFormat.json(Sample.webGroup)
        #expect(text.contains(#""healthy_target_count" : 1"#))
        #expect(text.contains(#""deregistration_delay.timeout_seconds" : "30""#))
        #expect(text.contains(#""processed_bytes_tcp" : 6291456"#))
    }

    @Test func `YAML has the same keys and keeps text apart from numbers`() throws {
        let text = try OutputFormat.yaml(Sample.webGroup)
        #expect(text.contains("healthy_target_count: 1\n"))
        #expect(text.contains("deregistration_delay.timeout_seconds: '30'\n"))
        #expect(text.contains("stickiness.enabled: 'true'\n"))
        #expect(text.contains("is_fail_open: false\n"))
    }

    @Test func `an empty list is an empty list`() throws {
        #expect(try OutputFormat.yaml([String]()) == "[]\n")
        #expect(try OutputFormat.json([String]()).filter { !$0.isWhitespace } == "[]")
    }
}
