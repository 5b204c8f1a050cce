// Bodies that are too large, too deep, wrong, or not from here.

import AdminModel
import AdminServer
import Foundation
import Testing

@testable import weir

@Suite struct `Admin limits` {
    private func report(_ text: String) throws -> ErrorReport {
        try AdminCoding.decoder().decode(ErrorReport.self, from: Data(text.utf8))
    }

    @Test func `a body above 64 KiB is too large for a change of targets, and not for a configuration`()
        async throws
    {
        let padding = String(repeating: " ", count: AdminLimits.requestByteCountMax)
        try await withServer { address in
            let targets = try await request(
                "POST", "/v1/target-groups/web/targets", at: address, headers: json,
                body: #"{"targets":[{"id":"10.0.0.1"}]}"# + padding)
            #expect(targets.status == 413)
            #expect(try report(targets.text).code == "RequestEntityTooLarge")
            let configuration = try await request(
                "POST", "/v1/apply", at: address, headers: json,
                body: #"{"configuration":"x","dry_run":true,"prune":false}"# + padding)
            #expect(configuration.status == 200)
        }
    }

    @Test func `a body without a declared length is counted while it comes`() async throws {
        try await withServer { address in
            let chunk = String(repeating: " ", count: 0x8000)
            let body = String(repeating: "8000\r\n\(chunk)\r\n", count: 3) + "0\r\n\r\n"
            let answer = try await RawConnection.exchange(
                "POST /v1/target-groups/web/targets HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                    + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
                at: address)
            #expect(answer.hasPrefix("HTTP/1.1 413 "))
        }
    }

    @Test(arguments: [
        ("", "is empty"), ("{", "not valid JSON"), ("[]", "must be an object"),
        ("{}", #""targets" is missing"#), (#"{"targets":[{"port":1}]}"#, #""targets[0].id" is missing"#),
        (#"{"targets":[{"id":"a","port":"x"}]}"#, #""targets[0].port" must be a whole number"#),
        (#"{"targets":[]}"#, "from 1 to 1000"),
        (String(repeating: "[", count: 60_000), "nests deeper"),
    ])
    func `a body that is not understood names the field`(body: String, message: String) async throws {
        try await withServer { address in
            let answer = try await request(
                "POST", "/v1/target-groups/web/targets", at: address, headers: json, body: body)
            #expect(answer.status == 400)
            let found = try report(answer.text).message
            #expect(found.contains(message), "\(found)")
        }
    }

    @Test func `a change that does not come as JSON is refused, as a page's form would be`() async throws {
        try await withServer { address in
            let answer = try await request(
                "POST", "/v1/target-groups/web/targets", at: address,
                headers: [("Content-Type", "text/plain")],
                body: #"{"targets":[{"id":"10.0.0.1"}]}"#)
            #expect(answer.status == 415)
        }
    }

    @Test(arguments: [
        ("evil.example:9900", 403), ("localhost:9900", 200), ("127.0.0.1", 200), ("[::1]:9900", 200),
    ])
    func `without a token the server answers only to its addresses, so that no domain can be rebound to it`(
        host: String, status: Int
    ) async throws {
        try await withServer { address in
            let answer = try await RawConnection.exchange(
                "GET /v1/status HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n", at: address)
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
        }
    }

    @Test func `a request head above its bound closes the connection`() async throws {
        try await withServer { address in
            let field = "X: " + String(repeating: "x", count: AdminLimits.headerByteCountMax)
            let answer = try await RawConnection.exchange(
                "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\(field)\r\n\r\n", at: address)
            #expect(answer.hasPrefix("HTTP/1.1 400 ") || answer.isEmpty)
            #expect(try await request("GET", "/healthz", at: address).status == 200)
        }
    }
}
