// The prober against real sockets on loopback.

import Balancing
import HealthChecking
import LinuxIO
import Testing

@Suite struct `Prober on loopback` {
    private static let http = HealthCheck(protocol: .http, intervalSeconds: 300, timeoutSeconds: 1)
    private static let tcp = HealthCheck(intervalSeconds: 300, timeoutSeconds: 1)

    private static func udp(_ probe: DatagramProbe) -> HealthCheck {
        HealthCheck(protocol: .udp, intervalSeconds: 300, timeoutSeconds: 1, datagram: probe)
    }

    private static let ping = DatagramProbe(
        payload: Array("ping".utf8), expectation: .contains(Array("pong".utf8)))

    // MARK: Outcomes

    @Test func `each way to answer TCP has its own outcome`() throws {
        let dead = try DeadPort(.tcp)
        let gate = try ClosedGate()
        let open = try ScriptedServer([.hold])
        let closing = try ScriptedServer([])
        try expect([
            ("listens", open.endpoint, Self.tcp, .success),
            ("accepts and closes", closing.endpoint, Self.tcp, .success),
            ("refuses", dead.endpoint, Self.tcp, .failure(.connectionRefused)),
            ("drops", gate.endpoint, Self.tcp, .failure(.timedOut(.connecting, byteCountReceived: 0))),
        ])
        // The probe closes what it opened.
        #expect(open.endedCount.wait { $0 == 1 })
    }

    @Test func `each way to answer HTTP has its own outcome`() throws {
        var lameDuckHeader = Self.http
        lameDuckHeader.lameDuck = LameDuck(headerName: "X-Drain")
        var lameDuckBody = Self.http
        lameDuckBody.lameDuck = LameDuck(bodyToken: "draining")
        let scripts: [(String, [ScriptedServer.Step], HealthCheck, ProbeOutcome)] = [
            ("200", [.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")], Self.http, .success),
            (
                "byte by byte", [.sendBytewise("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")], Self.http,
                .success
            ),
            ("503", [.send("HTTP/1.1 503 Busy\r\n\r\n")], Self.http, .failure(.statusMismatch(code: 503))),
            (
                "garbage", [.send("220 mail ready\r\n"), .hold], Self.http,
                .failure(.malformedAnswer("it does not begin with \"HTTP/1.\""))
            ),
            ("closes", [], Self.http, .failure(.closedEarly(byteCountReceived: 0))),
            (
                "closes within the header", [.send("HTTP/1.1 200 OK\r\n")], Self.http,
                .failure(.closedEarly(byteCountReceived: 17))
            ),
            ("resets", [.reset], Self.http, .failure(.connectionReset)),
            ("silent", [.hold], Self.http, .failure(.timedOut(.awaitingAnswer, byteCountReceived: 0))),
            (
                "stops within the header", [.sendBytewise("HTTP/1.1 2"), .hold], Self.http,
                .failure(.timedOut(.receivingAnswer, byteCountReceived: 10))
            ),
            (
                "lame duck by header", [.send("HTTP/1.1 200 OK\r\nx-drain: 1\r\n\r\n")], lameDuckHeader,
                .lameDuck
            ),
            (
                "lame duck by body", [.sendBytewise("HTTP/1.0 200 OK\r\n\r\nnow draining")], lameDuckBody,
                .lameDuck
            ),
            ("no lame duck", [.sendBytewise("HTTP/1.0 200 OK\r\n\r\nserving")], lameDuckBody, .success),
        ]
        let servers = try scripts.map { try ScriptedServer([.readRequest] + $0.1) }
        try expect(
            zip(scripts, servers).map { script, server in (script.0, server.endpoint, script.2, script.3) })
        #expect(
            servers[0].requests.current == [
                "GET / HTTP/1.1\r\nHost: \(servers[0].endpoint)\r\nUser-Agent: Weir-HealthChecker/1.0\r\n"
                    + "Accept: */*\r\nConnection: close\r\n\r\n"
            ])
    }

    @Test func `each way to answer UDP has its own outcome`() throws {
        let dead = try DeadPort(.udp)
        let good = try DatagramServer { request in request == Array("ping".utf8) ? [Array("a pong".utf8)] : []
        }
        let late = try DatagramServer { _ in [Array("old news".utf8), [], Array("pong".utf8)] }
        let wrong = try DatagramServer { request in [request] }
        let silent = try DatagramServer { _ in [] }
        let dns = try DatagramServer { query in [Array(query[..<2]) + [0x80, 5] + Array(query[4...])] }
        let ntp = try DatagramServer { query in
            [
                [0x24, 2] + [UInt8](repeating: 0, count: 22) + query[40..<48]
                    + [UInt8](repeating: 0, count: 16)
            ]
        }
        try expect([
            ("answers", good.endpoint, Self.udp(Self.ping), .success),
            ("answers after other datagrams", late.endpoint, Self.udp(Self.ping), .success),
            ("echoes", wrong.endpoint, Self.udp(Self.ping), .failure(.unexpectedAnswer)),
            (
                "silent", silent.endpoint, Self.udp(Self.ping),
                .failure(.timedOut(.awaitingAnswer, byteCountReceived: 0))
            ),
            ("refuses", dead.endpoint, Self.udp(Self.ping), .failure(.connectionRefused)),
            ("DNS", dns.endpoint, Self.udp(.dns), .success),
            ("NTP", ntp.endpoint, Self.udp(.ntp), .success),
            ("NTP client", wrong.endpoint, Self.udp(.ntp), .failure(.unexpectedAnswer)),
        ])
    }

    /// A link-local address without its link: connect(2) refuses with EINVAL, as behind a blackhole route, and a
    /// flow fares no better.
    @Test func `a target to which no way leads becomes unhealthy`() throws {
        let lost = Endpoint(address: IPAddress(v6High: 0xFE80_0000_0000_0000, v6Low: 1), port: 80)
        var check = Self.tcp
        check.intervalSeconds = 1
        check.unhealthyThresholdCount = 2
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, lost, check)])
        let reports = subject.waitForReports(2, of: 1)
        subject.prober.stop()
        #expect(
            reports.map(\.outcome)
                == Array(
                    repeating: .failure(.unreachable("no usable route (EINVAL)")), count: 2))
        #expect(reports.last?.verdict == .unhealthy(.unreachable("no usable route (EINVAL)")))
    }

    // MARK: Verdicts

    @Test func `a target becomes healthy, unhealthy and healthy again by its thresholds`() throws {
        let server = try ScriptedServer([.readRequest, .send("HTTP/1.1 200 OK\r\n\r\n")])
        let check = HealthCheck(
            protocol: .http, intervalSeconds: 1, timeoutSeconds: 1, healthyThresholdCount: 2,
            unhealthyThresholdCount: 2)
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, server.endpoint, check)])
        #expect(subject.waitForReports(1, of: 1).map(\.verdict) == [.healthy])
        server.script.change { $0 = [.readRequest, .send("HTTP/1.1 500 Bad\r\n\r\n")] }
        let bad = HealthVerdict.unhealthy(.statusMismatch(code: 500))
        #expect(subject.wait { $0.last?.verdict == bad })
        server.script.change { $0 = [.readRequest, .send("HTTP/1.1 200 OK\r\n\r\n")] }
        #expect(subject.wait { $0.last?.verdict == .healthy })
        subject.prober.stop()
        let transitions = subject.reports.filter(\.isTransition).map(\.verdict)
        #expect(transitions == [.healthy, bad, .healthy])
        // One failure below the threshold came before the change, and one success.
        let outcomes = subject.reports.map(\.outcome).drop { $0 == .success }
        #expect(outcomes.count { $0 == .failure(.statusMismatch(code: 500)) } >= 2)
        #expect(outcomes.suffix(2) == [.success, .success])
    }

    @Test func `settings that ask the same question keep verdict and schedule, others begin anew`() throws {
        let server = try ScriptedServer([.readRequest, .send("HTTP/1.1 200 OK\r\n\r\n")])
        let subject = try ProberUnderTest()
        let first = target(1, server.endpoint, Self.http)
        subject.prober.update([first])
        #expect(subject.waitForReports(1, of: 1).map(\.isTransition) == [true])

        var patient = Self.http
        patient.intervalSeconds = 200
        patient.timeoutSeconds = 2
        patient.unhealthyThresholdCount = 3
        subject.prober.update([first])
        subject.prober.update([target(1, server.endpoint, patient)])
        // Messages are taken in order: had the updates caused a probe, its report would have been no transition.
        var other = patient
        other.path = "/other"
        subject.prober.update([target(1, server.endpoint, other)])
        let changed = subject.waitForReports(2, of: 1)
        #expect(changed.map(\.isTransition) == [true, true])
        #expect(server.requests.wait { $0.count == 2 })
        #expect(server.requests.current.last?.hasPrefix("GET /other ") == true)

        subject.prober.update([])
        subject.prober.trafficRefused(TargetNumber(1))
        subject.prober.update([target(1, server.endpoint, other)])
        #expect(subject.waitForReports(3, of: 1).last?.isTransition == true, "it left and came back as new")

        var disabled = other
        disabled.isEnabled = false
        subject.prober.update([target(1, server.endpoint, disabled)])
        subject.prober.trafficRefused(TargetNumber(1))
        subject.prober.stop()
        #expect(subject.reports.count == 3)
    }

    // MARK: Refused traffic

    @Test func `refused traffic counts once a second and brings a probe forward`() throws {
        let server = try DatagramServer { _ in [Array("pong".utf8)] }
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, server.endpoint, Self.udp(Self.ping))])
        #expect(subject.waitForReports(1, of: 1).map(\.verdict) == [.healthy])
        let before = Instant.now
        for _ in 0..<50 { subject.prober.trafficRefused(TargetNumber(1)) }
        subject.prober.trafficRefused(TargetNumber(2))
        let reports = subject.waitForReports(3, of: 1)
        subject.prober.stop()
        let elapsedSeconds = Int(Instant.now.nanoseconds(since: before) / 1_000_000_000)
        #expect(reports.map(\.outcome) == [.success, .failure(.trafficRefused), .success])
        #expect(reports.map(\.verdict) == [.healthy, .healthy, .healthy])
        #expect(subject.reports.count { $0.outcome == .failure(.trafficRefused) } <= 1 + elapsedSeconds)
    }

    @Test func `refused traffic and a refused probe together make a target unhealthy`() throws {
        let dead = try DeadPort(.udp)
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, dead.endpoint, Self.udp(Self.ping))])
        _ = subject.waitForReports(1, of: 1)
        subject.prober.trafficRefused(TargetNumber(1))
        let reports = subject.waitForReports(3, of: 1)
        subject.prober.stop()
        #expect(reports.map(\.isTransition) == [false, true, false])
        #expect(reports.map(\.verdict).last == .unhealthy(.connectionRefused))
    }

    // MARK: Bounds

    @Test func `more targets than probes may run at once are all probed`() throws {
        let silent = try DatagramServer { _ in [] }
        let open = try ScriptedServer([])
        let subject = try ProberUnderTest()
        let slow = (0..<UInt32(Limits.concurrentProbeCountMax + 20)).map {
            target($0, silent.endpoint, Self.udp(Self.ping))
        }
        subject.prober.update(slow + [target(9_999, open.endpoint, Self.tcp)])
        #expect(subject.wait { Set($0.map(\.number)).count == slow.count + 1 })
        subject.prober.stop()
        let position = subject.reports.firstIndex { $0.number == TargetNumber(9_999) }
        #expect(position ?? 0 > 0, "it waited for a running probe to end")
        for report in subject.reports where report.number != TargetNumber(9_999) {
            #expect(report.latencyNanoseconds >= 1_000_000_000)
        }
    }

    @Test func `stopping ends running probes without a word`() throws {
        let server = try ScriptedServer([.readRequest, .hold])
        var patient = Self.http
        patient.timeoutSeconds = 100
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, server.endpoint, patient)])
        #expect(server.requests.wait { $0.count == 1 })
        subject.prober.stop()
        #expect(server.endedCount.wait { $0 == 1 })
        #expect(subject.reports.isEmpty)
    }

    @Test func `a target that leaves takes its running probe with it`() throws {
        let server = try ScriptedServer([.readRequest, .hold])
        var patient = Self.http
        patient.timeoutSeconds = 100
        let subject = try ProberUnderTest()
        subject.prober.update([target(1, server.endpoint, patient)])
        #expect(server.requests.wait { $0.count == 1 })
        subject.prober.update([])
        #expect(server.endedCount.wait { $0 == 1 })
        subject.prober.stop()
        #expect(subject.reports.isEmpty)
    }

    // MARK: Helpers

    /// Probes all at once, each as a new target, and compares the first reports.
    private func expect(
        _ cases: [(name: String, endpoint: Endpoint, check: HealthCheck, outcome: ProbeOutcome)]
    ) throws {
        let subject = try ProberUnderTest()
        subject.prober.update(
            cases.enumerated().map { target(UInt32($0.offset), $0.element.endpoint, $0.element.check) })
        for (index, example) in cases.enumerated() {
            let report = subject.waitForReports(1, of: UInt32(index)).first
            #expect(report?.outcome == example.outcome, "\(example.name)")
            if case .failure(.timedOut) = example.outcome {
                #expect(report?.latencyNanoseconds ?? 0 >= 1_000_000_000, "\(example.name)")
            } else {
                #expect(report?.latencyNanoseconds ?? 0 > 0, "\(example.name)")
            }
        }
        subject.prober.stop()
    }
}
