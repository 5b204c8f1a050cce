// HTTPS and TLS checks, and PROXY protocol headers, against real sockets on loopback.

import Balancing
import HealthChecking
import LinuxIO
import TLSTermination
import TestCertificates
import Testing

@Suite struct `Prober over TLS` {
    private static let root = TestAuthority.shared.path("root.crt")
    private static let trusting = TLSTargetSettings(caFile: root)

    private static func tls(_ settings: TLSTargetSettings = TLSTargetSettings()) -> HealthCheck {
        HealthCheck(protocol: .tls, intervalSeconds: 300, timeoutSeconds: 1, tls: settings)
    }

    private static func https(_ settings: TLSTargetSettings = TLSTargetSettings()) -> HealthCheck {
        HealthCheck(protocol: .https, intervalSeconds: 300, timeoutSeconds: 1, tls: settings)
    }

    private static func showing(_ name: String) -> TLSTargetSettings {
        TLSTargetSettings(certificate: TestAuthority.shared.files(name))
    }

    private static let answer = SecureServer.Step.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")

    // MARK: Outcomes

    @Test func `each way to answer HTTPS has its own outcome`() throws {
        var lameDuck = Self.https()
        lameDuck.lameDuck = LameDuck(bodyToken: "draining")
        let scripts: [(String, [SecureServer.Step], HealthCheck, ProbeOutcome)] = [
            ("200", [Self.answer], Self.https(), .success),
            ("byte by byte", [.sendBytewise("HTTP/1.1 200 OK\r\n\r\n")], Self.https(), .success),
            (
                "503", [.send("HTTP/1.1 503 Busy\r\n\r\n")], Self.https(),
                .failure(.statusMismatch(code: 503))
            ),
            ("silent", [.awaitEnd], Self.https(), .failure(.timedOut(.awaitingAnswer, byteCountReceived: 0))),
            (
                "ends without close_notify", [.send("HTTP/1.1 200")], Self.https(),
                .failure(.closedEarly(byteCountReceived: 12))
            ),
            (
                "a body that ends without close_notify", [.send("HTTP/1.0 200 OK\r\n\r\nnow draining")],
                lameDuck, .lameDuck
            ),
            (
                "more than one turn takes",
                [.send("HTTP/1.0 200 OK\r\n\r\n" + String(repeating: "x", count: 400_000) + "draining")],
                lameDuck, .success
            ),
        ]
        let servers = try scripts.map { try SecureServer([.readRequest] + $0.1) }
        try expect(
            zip(scripts, servers).map { script, server in (script.0, server.endpoint, script.2, script.3) })
    }

    @Test(arguments: [TLSVersion.v12, .v13])
    func `a handshake is health, and ends with close_notify`(version: TLSVersion) throws {
        let policy = SecurityPolicy(
            name: "one version", versions: version...version, ciphers: SecurityPolicy.default.ciphers)
        let server = try SecureServer([.awaitEnd], policy: policy)
        try expect([("TLS", server.endpoint, Self.tls(), .success)], seenBy: server)
        #expect(server.visits.current.first?.end == .endOfStream)
        #expect(server.visits.current.first?.request == [])
    }

    @Test func `after its answer an HTTPS check ends with close_notify`() throws {
        let server = try SecureServer([.readRequest, Self.answer, .awaitEnd])
        try expect([("HTTPS", server.endpoint, Self.https(), .success)], seenBy: server)
        #expect(server.visits.current.first?.end == .endOfStream)
    }

    @Test func `what is not TLS says so`() throws {
        let greeting = try ScriptedServer([.send("220 mail ready\r\n"), .hold])
        let silent = try ScriptedServer([.hold])
        let dead = try DeadPort(.tcp)
        try expect([
            ("greets", greeting.endpoint, Self.tls(), .failure(.tlsFailed("not TLS"))),
            (
                "is silent", silent.endpoint, Self.https(),
                .failure(.timedOut(.handshaking, byteCountReceived: 0))
            ),
            ("refuses", dead.endpoint, Self.tls(), .failure(.connectionRefused)),
        ])
        #expect(silent.endedCount.wait { $0 == 1 })
    }

    // MARK: Certificates

    @Test func `without a CA file any certificate will do`() throws {
        for name in ["expired", "fallback", "ed25519"] {
            let server = try SecureServer([.awaitEnd], certificate: name)
            try expect([(name, server.endpoint, Self.tls(), .success)])
        }
    }

    @Test func `with a CA file each thing wrong with a certificate is named`() throws {
        let good = try SecureServer([.awaitEnd])
        let expired = try SecureServer([.awaitEnd], certificate: "expired")
        var elsewhere = Self.trusting
        elsewhere.serverName = "elsewhere.test"
        var right = Self.trusting
        right.serverName = "a.example.test"
        let stranger = TLSTargetSettings(caFile: TestAuthority.shared.path("other-root.crt"))
        func refused(_ cause: String) -> ProbeOutcome {
            .failure(.tlsFailed("certificate refused: \(cause)"))
        }
        let cases: [(String, Endpoint, HealthCheck, ProbeOutcome)] = [
            ("good", good.endpoint, Self.tls(Self.trusting), .success),
            ("right name", good.endpoint, Self.tls(right), .success),
            ("expired", expired.endpoint, Self.tls(Self.trusting), refused("certificate has expired")),
            ("wrong name", good.endpoint, Self.https(elsewhere), refused("hostname mismatch")),
            (
                "unknown CA", good.endpoint, Self.tls(stranger),
                refused("unable to get local issuer certificate")
            ),
        ]
        try expect(cases, seenBy: expired)
        // The target learns why: the alert is not lost to a reset.
        #expect(expired.visits.current.first?.refusal == .alert(45))
    }

    @Test(arguments: [TLSVersion.v12, .v13])
    func `a target that wants a certificate is healthy only with the right one`(version: TLSVersion) throws {
        let policy = SecurityPolicy(
            name: "one version", versions: version...version, ciphers: SecurityPolicy.default.ciphers)
        let clients = ClientAuthentication.verify(TrustStore(authorities: Self.root))
        let plain = try SecureServer([.awaitEnd], clients: clients, policy: policy)
        let web = try SecureServer([.readRequest, Self.answer, .awaitEnd], clients: clients, policy: policy)
        try expect([
            ("TLS", plain.endpoint, Self.tls(Self.showing("client")), .success),
            ("HTTPS", web.endpoint, Self.https(Self.showing("client")), .success),
        ])
        for check in [Self.tls(), Self.tls(Self.showing("client-stranger")), Self.https()] {
            let server = check.protocol == .tls ? plain : web
            let outcome = try firstOutcome(of: check, at: server.endpoint)
            guard case .failure(.tlsFailed(let cause)) = outcome else {
                Issue.record("\(outcome.map(String.init(describing:)) ?? "no report")")
                return
            }
            #expect(cause.contains("the other side ended it with alert"), "\(cause)")
        }
    }

    @Test func `the server name goes to the target, an address does not`() throws {
        for (name, sent) in [("a.example.test", "a.example.test"), (nil, nil), ("127.0.0.1", nil)] {
            let server = try SecureServer([.awaitEnd])
            _ = try firstOutcome(of: Self.tls(TLSTargetSettings(serverName: name)), at: server.endpoint)
            #expect(server.visits.wait { $0.count == 1 })
            #expect(server.visits.current.first?.serverName == sent)
        }
    }

    @Test func `renewed contexts are used by the next probe and forget no verdict`() throws {
        let server = try SecureServer([.awaitEnd])
        var check = Self.tls(Self.trusting)
        check.intervalSeconds = 1
        check.healthyThresholdCount = 2
        check.unhealthyThresholdCount = 2
        let strange = try ClientContext(
            ClientSettings(trust: TrustStore(authorities: TestAuthority.shared.path("other-root.crt"))))
        let subject = try ProberUnderTest()
        let refused = HealthVerdict.unhealthy(
            .tlsFailed("certificate refused: unable to get local issuer certificate"))
        subject.prober.update([target(1, server.endpoint, check)], contexts: [Self.trusting: strange])
        #expect(subject.wait { $0.last?.verdict == refused })
        subject.prober.renewTLS(try makeContexts([check]))
        #expect(subject.wait { $0.last?.verdict == .healthy })
        subject.prober.stop()
        #expect(subject.reports.filter(\.isTransition).map(\.verdict) == [refused, .healthy])
    }

    @Test func `checks without a context blame Weir, not the target`() throws {
        let server = try SecureServer([.awaitEnd])
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, server.endpoint, Self.tls())])
        let report = subject.waitForReports(1, of: 1).first
        subject.prober.stop()
        #expect(report?.outcome == .failure(.balancerFault("no TLS context belongs to the check's settings")))
        #expect(report?.verdict == .initial)
    }

    // MARK: Bounds

    @Test func `stopping and leaving end probes within a handshake and within a parting`() throws {
        // Neither shakes hands; neither closes its side.
        let silent = try ScriptedServer([.hold])
        let subject = try ProberUnderTest()
        var patient = Self.tls()
        patient.timeoutSeconds = 100
        subject.prober.update([target(1, silent.endpoint, patient)], contexts: try makeContexts([patient]))
        #expect(silent.acceptedCount.wait { $0 == 1 })
        subject.prober.update([])
        #expect(silent.endedCount.wait { $0 == 1 })
        subject.prober.update([target(2, silent.endpoint, patient)], contexts: try makeContexts([patient]))
        #expect(silent.acceptedCount.wait { $0 == 2 })
        subject.prober.stop()
        #expect(silent.endedCount.wait { $0 == 2 })
        #expect(subject.reports.isEmpty)
    }

    // MARK: PROXY protocol

    /// Version 2, LOCAL, unspecified, then the checksum alone.
    private static let local: [UInt8] =
        Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x20, 0x00, 0x00, 0x07, 0x03, 0x00, 0x04]
    private static let localByteCount = 23

    @Test func `targets of a group with PROXY protocol get a header before anything else`() throws {
        let secure = try SecureServer([.readRequest, Self.answer], preambleByteCount: Self.localByteCount)
        let plain = try ScriptedServer(
            [.readBytes(Self.localByteCount), .readRequest, .send("HTTP/1.1 200 OK\r\n\r\n")])
        let bare = try ScriptedServer([.readBytes(Self.localByteCount)])
        let http = HealthCheck(protocol: .http, intervalSeconds: 300, timeoutSeconds: 1)
        let tcp = HealthCheck(intervalSeconds: 300, timeoutSeconds: 1)
        let datagrams = Observed<[[UInt8]]>([])
        let udp = try DatagramServer { datagram in
            datagrams.change { $0.append(datagram) }
            return [Array("pong".utf8)]
        }
        let ping = HealthCheck(
            protocol: .udp, intervalSeconds: 300, timeoutSeconds: 1,
            datagram: DatagramProbe(payload: Array("ping".utf8), expectation: .contains(Array("pong".utf8))))
        let subject = try ProberUnderTest()
        subject.prober.update(
            [
                target(0, secure.endpoint, Self.https(), sendsProxyHeader: true),
                target(1, plain.endpoint, http, sendsProxyHeader: true),
                target(2, bare.endpoint, tcp, sendsProxyHeader: true),
                target(3, udp.endpoint, ping, sendsProxyHeader: true),
            ], contexts: try makeContexts([Self.https()]))
        for number in 0..<UInt32(4) {
            #expect(subject.waitForReports(1, of: number).first?.outcome == .success, "\(number)")
        }
        subject.prober.stop()
        #expect(secure.visits.wait { $0.count == 1 })
        #expect(secure.visits.current.first?.preamble.dropLast(4).elementsEqual(Self.local) == true)
        #expect(plain.received.current.first?.prefix(Self.local.count).elementsEqual(Self.local) == true)
        #expect(plain.requests.current.first?.hasPrefix("GET / HTTP/1.1\r\n") == true)
        #expect(bare.received.wait { $0.count == 1 })
        let datagram = datagrams.current.first ?? []
        #expect(
            datagram.starts(with: Self.local)
                && datagram.dropFirst(Self.localByteCount) == Array("ping".utf8)[...])
        #expect(bare.received.current.first?.prefix(Self.local.count).elementsEqual(Self.local) == true)
    }

    // MARK: Helpers

    private func makeContexts(_ checks: [HealthCheck]) throws -> ProbeContexts {
        var contexts = ProbeContexts()
        for settings in checks.compactMap(\.tls) {
            contexts[settings] = try ClientContext(ClientSettings(settings))
        }
        return contexts
    }

    private func firstOutcome(of check: HealthCheck, at endpoint: Endpoint) throws -> ProbeOutcome? {
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, endpoint, check)], contexts: try makeContexts([check]))
        let outcome = subject.waitForReports(1, of: 1).first?.outcome
        subject.prober.stop()
        return outcome
    }

    /// Probes all at once, each as a new target, and compares the first reports.
    private func expect(
        _ cases: [(name: String, endpoint: Endpoint, check: HealthCheck, outcome: ProbeOutcome)],
        seenBy server: SecureServer? = nil
    ) throws {
        let subject = try ProberUnderTest()
        subject.prober.update(
            cases.enumerated().map { target(UInt32($0.offset), $0.element.endpoint, $0.element.check) },
            contexts: try makeContexts(cases.map(\.check)))
        for (index, example) in cases.enumerated() {
            let report = subject.waitForReports(1, of: UInt32(index)).first
            #expect(report?.outcome == example.outcome, "\(example.name)")
        }
        // To stop cuts a parting short.
        if let server { #expect(server.visits.wait { !$0.isEmpty }) }
        subject.prober.stop()
    }
}
