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

    @Test func `after many wrong tokens a peer has to wait, the right one included`() async throws {
        try await withServer(token: "secret") { address in
            // More than ten on a machine so busy that the first are forgotten before the tenth.
            var statuses: [Int] = []
            while statuses.last != 429, statuses.count < AdminLimits.authenticationFailureCountMax * 10 {
                let answer = try await request(
                    "GET", "/v1/status", at: address, headers: [("Authorization", "Bearer guess")])
                statuses.append(answer.status)
            }
            #expect(statuses.count > AdminLimits.authenticationFailureCountMax)
            #expect(statuses.dropLast().allSatisfy { $0 == 401 })
            let answer = try await request(
                "GET", "/v1/status", at: address, headers: [("Authorization", "Bearer secret")])
            #expect(answer.status == 429)
            #expect(answer.text.contains("Try again in"))
        }
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

    @Test func `an empty token grants nothing`() {
        #expect(BearerToken("").judge("Bearer ") != .granted)
        #expect(BearerToken("").judge("Bearer x") != .granted)
    }
}
