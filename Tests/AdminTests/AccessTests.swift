// Tokens: who is let in, and how fast they can be guessed.

import AdminModel
import Foundation
import Testing

@testable import AdminServer
@testable import weir

@Suite struct `Admin access` {
    @Test(
        arguments: [
            (nil, 401), ("Bearer wrong", 401), ("Bearer secre", 401), ("Bearer secrett", 401),
            ("Bearer ", 401),
            ("Basic secret", 401), ("Bearer secret", 200), ("bearer secret", 200),
        ] as [(String?, Int)])
    func `with a token configured only its holder reads`(header: String?, status: Int) async throws {
        try await withServer(token: "secret") { address in
            let headers = header.map { [("Authorization", $0)] } ?? []
            for target in ["/v1/status", "/metrics", "/v1/nothing"] {
                let answer = try await request("GET", target, at: address, headers: headers)
                #expect(answer.status == (status == 200 && target == "/v1/nothing" ? 404 : status))
            }
        }
    }

    @Test func `changes want the token as well, and a health check does not`() async throws {
        let registry = StubRegistry()
        try await withServer(token: "secret", registry: registry) { address in
            let body = #"{"targets":[{"id":"10.0.0.1"}]}"#
            let answer = try await request(
                "POST", "/v1/target-groups/web/targets", at: address, headers: json, body: body)
            #expect(answer.status == 401)
            let health = try await request("GET", "/healthz", at: address)
            #expect(health.status == 200)
            let client = AdminClient(address: address, token: "secret")
            _ = try await client.register([TargetSpecification(id: "10.0.0.1")], in: "web")
        }
        #expect(registry.calls == ["register web 10.0.0.1:0"])
    }

    @Test func `after many wrong tokens only failures are refused, so that nobody locks the operator out`()
        async throws
    {
        try await withServer(token: "secret") { address in
            func ask(_ token: String) async throws -> String {
                try await RawConnection.exchange(
                    "GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(token)\r\n"
                        + "Connection: close\r\n\r\n", at: address)
            }
            // More than ten on a machine so busy that the first are forgotten before the tenth.
            var answers: [String] = []
            while answers.last?.hasPrefix("HTTP/1.1 429 ") != true,
                answers.count < AdminLimits.authenticationFailureCountMax * 10
            {
                answers.append(try await ask("guess"))
            }
            #expect(answers.count > AdminLimits.authenticationFailureCountMax)
            #expect(answers.dropLast().allSatisfy { $0.hasPrefix("HTTP/1.1 401 ") })
            let last = try #require(answers.last?.lowercased())
            let wait = try #require(last.firstMatch(of: /retry-after: (\d+)\r\n/).flatMap { Int($0.1) })
            #expect((1...AdminLimits.authenticationRefillSeconds).contains(wait))
            #expect(last.contains("try again in"))
            #expect(try await ask("secret").hasPrefix("HTTP/1.1 200 "))
            // The right token clears nothing: fewer guesses are answered than a new peer's, however many of
            // the old ones were forgotten meanwhile.
            var further = try await ask("guess")
            var answered = 0
            while further.hasPrefix("HTTP/1.1 401 "), answered < AdminLimits.authenticationFailureCountMax {
                answered += 1
                further = try await ask("guess")
            }
            #expect(further.hasPrefix("HTTP/1.1 429 "))
        }
    }

    /// Whoever has no token keeps no connection: each guess costs a handshake, and an idle crowd holds nothing.
    @Test(arguments: ["", "Authorization: Bearer guess\r\n"])
    func `a connection without the right token ends with the answer`(field: String) async throws {
        try await withServer(token: "secret") { address in
            // Returns when the server closes; the second request is never answered.
            let answer = try await RawConnection.exchange(
                "GET /v1/status HTTP/1.1\r\nHost: x\r\n\(field)\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
                at: address)
            #expect(answer.hasPrefix("HTTP/1.1 401 "))
            #expect(answer.lowercased().contains("connection: close\r\n"))
            #expect(answer.matches(of: /HTTP\/1\.1/).count == 1)
        }
    }

    @Test(
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"), ("::1", "::1"),
        ])
    func `failures count for an address, or for the whole network that one client of IPv6 has`(
        address: String, name: String
    ) {
        #expect(PeerName.of(address: address) == name)
    }

    @Test func `an address that others can reach is refused without a token`() async throws {
        let open = AdminAddress.tcp(host: "0.0.0.0", port: 0)
        for token in [nil, ""] {
            await #expect(throws: AdminServerError.tokenRequired(open)) {
                try await withServer(at: open, token: token) { _ in Issue.record("it serves") }
            }
        }
        try await withServer(at: open, token: "secret") { address in
            guard case .tcp(_, let port) = address else { return }
            let client = AdminClient(address: .tcp(host: "127.0.0.1", port: port), token: "secret")
            _ = try await client.status()
        }
    }

    @Test func `failures are forgotten one by one`() {
        var limiter = FailureLimiter()
        for _ in 0..<AdminLimits.authenticationFailureCountMax {
            #expect(limiter.waitSeconds(for: "a", atSeconds: 100) == nil)
            limiter.recordFailure(of: "a", atSeconds: 100)
        }
        #expect(limiter.waitSeconds(for: "a", atSeconds: 100) == AdminLimits.authenticationRefillSeconds)
        #expect(limiter.waitSeconds(for: "b", atSeconds: 100) == nil)
        let later = 100 + Double(AdminLimits.authenticationRefillSeconds)
        #expect(limiter.waitSeconds(for: "a", atSeconds: later) == nil)
    }

    @Test func `more peers than are tracked share one allowance, and known ones keep theirs`() {
        var limiter = FailureLimiter()
        for peer in 0..<AdminLimits.trackedPeerCountMax { limiter.recordFailure(of: "\(peer)", atSeconds: 0) }
        for peer in 0..<AdminLimits.authenticationFailureCountMax {
            limiter.recordFailure(of: "new \(peer)", atSeconds: 0)
        }
        #expect(limiter.waitSeconds(for: "another", atSeconds: 0) != nil)
        #expect(limiter.waitSeconds(for: "0", atSeconds: 0) == nil)
        // When the first ones are forgotten there is room again.
        limiter.recordFailure(of: "late", atSeconds: 1_000)
        #expect(limiter.waitSeconds(for: "late", atSeconds: 1_000) == nil)
    }

    @Test(arguments: [
        "", "s", "secre", "secrett", "Secret", "secret\u{0}", String(repeating: "secret", count: 9),
    ])
    func `a token that differs anywhere is wrong`(guess: String) {
        let token = BearerToken("secret")
        #expect(token.judge("Bearer \(guess)") != .granted)
        #expect(token.judge("Bearer secret") == .granted)
    }

    @Test func `an empty token grants nothing`() {
        #expect(BearerToken("").judge("Bearer ") != .granted)
        #expect(BearerToken("").judge("Bearer x") != .granted)
    }
}
