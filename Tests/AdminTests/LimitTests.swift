// Requests that are too large, too deep, too slow, too many, odd, or not from here.

import AdminModel
import AdminServer
import Foundation
import NIOCore
import NIOPosix
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
            #expect(answer.hasPrefix("HTTP/1.1 400 "))
            #expect(try await request("GET", "/healthz", at: address).status == 200)
        }
    }

    @Test func `a body that does not come is answered after its deadline`() async throws {
        var deadlines = AdminLimits.Deadlines()
        deadlines.body = .milliseconds(100)
        try await withServer(deadlines: deadlines) { address in
            for declared in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
                let answer = try await RawConnection.exchange(
                    "POST /v1/target-groups/web/targets HTTP/1.1\r\nHost: localhost\r\n"
                        + "Content-Type: application/json\r\n\(declared)\r\n\r\n1", at: address)
                #expect(answer.hasPrefix("HTTP/1.1 408 "))
                #expect(answer.contains("RequestTimeout"))
                #expect(answer.matches(of: /HTTP\/1\.1/).count == 1)
            }
        }
    }

    @Test func `a change that a worker holds up is answered in bounded time`() async throws {
        var deadlines = AdminLimits.Deadlines()
        deadlines.workSeconds = 1
        try await withServer(deadlines: deadlines) { address in
            for path in ["targets", "targets/deregister"] {
                let answer = try await request(
                    "POST", "/v1/target-groups/hanging/\(path)", at: address, headers: json,
                    body: #"{"targets":[{"id":"10.0.0.1"}]}"#)
                #expect(answer.status == 503)
                #expect(try report(answer.text).message.contains("may still happen"))
            }
        }
    }

    /// More connections than there are places, none of which says a word, and then somebody who does.
    @Test func `a crowd of silent connections locks nobody out`() async throws {
        try await withServer { address in
            guard case .tcp(let host, let port) = address else { return }
            var crowd: [any Channel] = []
            for _ in 0..<AdminLimits.connectionCountMax * 2 {
                crowd.append(
                    try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                        .connect(host: host, port: port).get())
            }
            #expect(try await request("GET", "/v1/status", at: address).status == 200)
            // The eldest gave way.
            try await crowd[0].closeFuture.get()
            for channel in crowd { try? await channel.close() }
        }
    }

    private static let host = "Host: localhost\r\n"
    private static let close = "Connection: close\r\n"

    @Test(arguments: [
        // Two lengths, or a length and chunks: what one reader takes for a body another takes for a request.
        (
            "POST /v1/apply HTTP/1.1\r\n\(host)Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400
        ),
        ("POST /v1/apply HTTP/1.1\r\n\(host)Content-Length: 4\r\nContent-Length: 5\r\n\r\n12345", 400),
        ("POST /v1/apply HTTP/1.1\r\n\(host)Content-Length: -1\r\n\r\n", 400),
        ("POST /v1/apply HTTP/1.1\r\n\(host)Content-Length: 99999999999999999999\r\n\r\n", 400),
        ("POST /v1/apply HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        ("POST /v1/apply HTTP/1.1\r\n\(host)Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        ("GET /v1/status HTTP/1.1\r\n\(host)\(host)\(close)\r\n", 400),
        ("GET /v1/status HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        ("GET /v1/status HTTP/1.1\r\n\(host)X: a\u{0}b\r\n\r\n", 400),
        ("GET /v1/status HTTP/1.1\r\n\(host): empty\r\n\r\n", 400),
        ("GET /v1/status HTTP/1.1\r\n\(host)no colon\r\n\r\n", 400),
        ("GET /v1/status HTTP/3.7\r\n\(host)\r\n", 400),
        ("GET /v1/sta tus HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET  HTTP/1.1\r\n\(host)\r\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}", 400), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        // Methods that nothing here has, known to HTTP or not.
        ("TRACE /v1/status HTTP/1.1\r\n\(host)\(close)\r\n", 405),
        ("PROPFIND /v1/status HTTP/1.1\r\n\(host)\(close)\r\n", 405),
        ("DELETE /v1/apply HTTP/1.1\r\n\(host)\(close)\r\n", 405),
        ("HEAD /v1/apply HTTP/1.1\r\n\(host)\(close)\r\n", 405),
        ("CONNECT localhost:80 HTTP/1.1\r\n\(host)\(close)\r\n", 405),
        ("OPTIONS * HTTP/1.1\r\n\(host)\(close)\r\n", 404),
        ("BREW /v1/status HTTP/1.1\r\n\(host)\r\n", 400),
        ("\(String(repeating: "X", count: 100)) / HTTP/1.1\r\n\(host)\r\n", 400),
        // Addresses that do not spell what they seem to.
        ("GET /v1/target-groups/%zz HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/target-groups/%C3 HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/target-groups/% HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/flows?limit=%f HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/flows?limit=%FF HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/flows?%zz HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/target-groups/../status HTTP/1.1\r\n\(host)\(close)\r\n", 404),
        ("GET /v1/flows?limit=\(String(repeating: "9", count: 9_000)) HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/explain?\(String(repeating: "&", count: 9_000)) HTTP/1.1\r\n\(host)\(close)\r\n", 400),
        ("GET /v1/status?\(String(repeating: "x", count: 20_000)) HTTP/1.1\r\n\(host)\r\n", 400),
        ("GET /v1/status HTTP/1.1\r\n\(host)\(String(repeating: "X: y\r\n", count: 70))\r\n", 400),
    ])
    func `a request that is odd gets one clear refusal, and the next client an answer`(
        bytes: String, status: Int
    ) async throws {
        try await withServer { address in
            let answer = try await RawConnection.exchange(bytes, at: address)
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer.prefix(300))")
            #expect(answer.matches(of: /HTTP\/1\.1 \d/).count == 1, "\(answer.prefix(300))")
            if !bytes.hasPrefix("HEAD") {
                let body = answer.split(separator: "\r\n\r\n", maxSplits: 1).last.map(String.init) ?? ""
                #expect(try report(body).message.hasSuffix("."))
            }
            #expect(try await request("GET", "/healthz", at: address).status == 200)
        }
    }

    @Test func `answers to earlier requests come before the refusal of a broken one`() async throws {
        try await withServer { address in
            let answer = try await RawConnection.exchange(
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz\r\n\r\n", at: address)
            #expect(answer.hasPrefix("HTTP/1.1 200 "))
            #expect(answer.matches(of: /HTTP\/1\.1 400\b/).count == 1)
        }
    }
}
