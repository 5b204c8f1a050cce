// The machine of a single probe: event tables, without sockets.

import Balancing
import HealthChecking
import LinuxIO
import Testing

@Suite struct `Probe exchange` {
    private static let endpoint = Endpoint(address: IPAddress(v4: 0xC000_0201), port: 8080)

    // MARK: TCP

    @Test func `a connection is all that a TCP probe wants`() {
        expect([.connected], of: HealthCheck(), endsWith: .success)
    }

    @Test func `before the connection each failure keeps its name`() {
        for check in [HealthCheck(), HealthCheck(protocol: .http)] {
            expect([.failed(.connectionRefused)], of: check, endsWith: .failure(.connectionRefused))
            expect(
                [.failed(.unreachable("No route to host"))], of: check,
                endsWith: .failure(.unreachable("No route to host")))
            expect([.timedOut], of: check, endsWith: .failure(.timedOut(.connecting, byteCountReceived: 0)))
            expect([.closed], of: check, endsWith: .failure(.closedEarly(byteCountReceived: 0)))
        }
    }

    // MARK: TLS

    private static let tls = HealthCheck(protocol: .tls, tls: TLSTargetSettings())
    private static let https = HealthCheck(protocol: .https, tls: TLSTargetSettings())
    private static let secured = ProbeExchange.Event.secured(mayBeRefused: false)

    @Test func `a handshake is all that a TLS probe wants`() {
        expect([.connected, Self.secured], of: Self.tls, endsWith: .success)
        expect([.connectionRefused].map { .failed($0) }, of: Self.tls, endsWith: .failure(.connectionRefused))
    }

    @Test func `each way to miss the handshake keeps its name`() {
        let ends: [(ProbeExchange.Event, ProbeFailure)] = [
            (.failed(.tlsFailed("not TLS")), .tlsFailed("not TLS")),
            (.closed, .tlsFailed("the target closed the connection during the handshake")),
            (.failed(.connectionReset), .tlsFailed("the target reset the connection during the handshake")),
            (.timedOut, .timedOut(.handshaking, byteCountReceived: 0)),
        ]
        for check in [Self.tls, Self.https] {
            for (event, failure) in ends {
                expect([.connected, event], of: check, endsWith: .failure(failure))
            }
        }
    }

    @Test func `a target that asked for a certificate may refuse it after the handshake`() {
        var exchange = makeExchange(Self.tls)
        #expect(exchange.on(.connected) == .handshake)
        #expect(exchange.on(.secured(mayBeRefused: true)) == .endSending)
        let start: [ProbeExchange.Event] = [.connected, .secured(mayBeRefused: true), text("welcome")]
        expect(start + [.closed], of: Self.tls, endsWith: .success)
        expect(start + [.timedOut], of: Self.tls, endsWith: .success)
        let refusal = ProbeFailure.tlsFailed("alert 116")
        expect(start + [.failed(refusal)], of: Self.tls, endsWith: .failure(refusal))
        expect(
            [.connected, .secured(mayBeRefused: true), .failed(refusal)], of: Self.https,
            endsWith: .failure(refusal))
    }

    @Test func `HTTPS asks and judges as HTTP does, once TLS stands`() {
        var exchange = makeExchange(Self.https)
        #expect(exchange.on(.connected) == .handshake)
        guard case .send(let bytes) = exchange.on(.secured(mayBeRefused: true)) else {
            Issue.record("no request")
            return
        }
        #expect(String(decoding: bytes, as: UTF8.self).contains("\r\nHost: 192.0.2.1:8080\r\n"))
        for (events, outcome) in Self.answers {
            expect([.connected, Self.secured] + events, of: Self.https, endsWith: outcome)
        }
    }

    @Test func `HTTPS asks for the name that TLS asked for`() {
        for (name, host) in [("a.test", "a.test:8080"), ("192.0.2.7", "192.0.2.1:8080")] {
            var check = Self.https
            check.tls = TLSTargetSettings(serverName: name)
            var exchange = makeExchange(check)
            _ = exchange.on(.connected)
            guard case .send(let bytes) = exchange.on(Self.secured) else {
                Issue.record("no request")
                return
            }
            #expect(String(decoding: bytes, as: UTF8.self).contains("\r\nHost: \(host)\r\n"))
        }
    }

    // MARK: HTTP

    @Test func `the request names the target and asks to close`() {
        var exchange = makeExchange(HealthCheck(protocol: .http, path: "/healthz?full=1"))
        let request = """
            GET /healthz?full=1 HTTP/1.1\r
            Host: 192.0.2.1:8080\r
            User-Agent: Weir-HealthChecker/1.0\r
            Accept: */*\r
            Connection: close\r
            \r

            """
        #expect(exchange.on(.connected) == .send(Array(request.utf8)))
    }

    @Test func `an IPv6 target stands in brackets in the Host field`() {
        let address = IPAddress(v6High: 0x2001_0db8_0000_0000, v6Low: 1)
        var generator = SplitMix64(seed: 1)
        var exchange = ProbeExchange(
            probing: Endpoint(address: address, port: 80), with: HealthCheck(protocol: .http),
            using: &generator)
        guard case .send(let bytes) = exchange.on(.connected) else {
            Issue.record("no request")
            return
        }
        #expect(String(decoding: bytes, as: UTF8.self).contains("\r\nHost: [2001:db8::1]:80\r\n"))
    }

    /// What comes back, in pieces, and how the probe ends.
    private static let answers: [(events: [ProbeExchange.Event], outcome: ProbeOutcome)] = [
        ([text("HTTP/1.1 200 OK\r\n\r\n")], .success),
        (
            [text("HTTP/1.1 100 Continue\r\n\r\n"), text("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n")],
            .success
        ),
        ([text("HTTP/1.1 503 Busy\r\n\r\n")], .failure(.statusMismatch(code: 503))),
        ([text("HTTP/1.1 404 "), text("No\r\n\r\n")], .failure(.statusMismatch(code: 404))),
        ([text("220 mail ready\r\n")], .failure(.malformedAnswer("it does not begin with \"HTTP/1.\""))),
        ([.closed], .failure(.closedEarly(byteCountReceived: 0))),
        ([text("HTTP/1.1 200"), .closed], .failure(.closedEarly(byteCountReceived: 12))),
        ([.timedOut], .failure(.timedOut(.awaitingAnswer, byteCountReceived: 0))),
        ([text("HTT"), text("P/"), .timedOut], .failure(.timedOut(.receivingAnswer, byteCountReceived: 5))),
        ([.failed(.connectionReset)], .failure(.connectionReset)),
    ]

    @Test func `an HTTP answer decides by its head`() {
        for (events, outcome) in Self.answers {
            expect([.connected] + events, of: HealthCheck(protocol: .http), endsWith: outcome)
        }
    }

    @Test func `the matcher decides which codes are good`() throws {
        let matcher = try #require(StatusMatcher("503"))
        let check = HealthCheck(protocol: .http, matcher: matcher)
        expect([.connected, text("HTTP/1.1 503 Busy\r\n\r\n")], of: check, endsWith: .success)
        expect(
            [.connected, text("HTTP/1.1 200 OK\r\n\r\n")], of: check,
            endsWith: .failure(.statusMismatch(code: 200)))
    }

    @Test func `a lame-duck header counts only in a good answer and with its value`() {
        let any = HealthCheck(protocol: .http, lameDuck: LameDuck(headerName: "X-Drain"))
        let exact = HealthCheck(
            protocol: .http, lameDuck: LameDuck(headerName: "x-drain", headerValue: "YES"))
        let good = text("HTTP/1.1 200 OK\r\nx-drain: yes\r\n\r\n")
        expect([.connected, good], of: any, endsWith: .lameDuck)
        expect([.connected, good], of: exact, endsWith: .lameDuck)
        expect([.connected, text("HTTP/1.1 200 OK\r\nX-Drain: no\r\n\r\n")], of: exact, endsWith: .success)
        expect(
            [.connected, text("HTTP/1.1 200 OK\r\nX-Drain-Not: yes\r\n\r\n")], of: any, endsWith: .success)
        expect(
            [.connected, text("HTTP/1.1 500 Bad\r\nX-Drain: yes\r\n\r\n")], of: exact,
            endsWith: .failure(.statusMismatch(code: 500)))
    }

    @Test func `a lame-duck token is looked for in the whole body`() {
        let check = HealthCheck(protocol: .http, lameDuck: LameDuck(bodyToken: "draining"))
        let head = text("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n")
        expect([.connected, head, text("I am dra"), text("ining")], of: check, endsWith: .lameDuck)
        expect([.connected, head, text("I am fine...."), .closed], of: check, endsWith: .success)
        expect(
            [.connected, head, text("I am"), .closed], of: check,
            endsWith: .failure(.closedEarly(byteCountReceived: 43)))
        expect(
            [.connected, text("HTTP/1.0 200 OK\r\n\r\ndraining"), .closed], of: check, endsWith: .lameDuck)
        let filler = text(String(repeating: "x", count: 70_000))
        expect([.connected, text("HTTP/1.0 200 OK\r\n\r\n"), filler], of: check, endsWith: .success)
        expect(
            [.connected, text("HTTP/1.1 503 Busy\r\n\r\n")], of: check,
            endsWith: .failure(.statusMismatch(code: 503)))
    }

    // MARK: UDP

    @Test func `an expected datagram is success`() {
        let check = udp(DatagramProbe(payload: [1, 2], expectation: .contains(Array("pong".utf8))))
        var exchange = makeExchange(check)
        #expect(exchange.on(.connected) == .send([1, 2]))
        #expect(exchange.on(Self.text("a pong!")) == .finish(.success))
    }

    @Test func `an unexpected datagram does not end the probe but names its failure`() {
        let check = udp(DatagramProbe(payload: [1], expectation: .prefix([7, 8])))
        expect(
            [.connected, .received([9]), .received([]), .received([7, 8, 9])], of: check, endsWith: .success)
        expect(
            [.connected, .received([0, 7, 8]), .timedOut], of: check, endsWith: .failure(.unexpectedAnswer))
        expect([.connected, .received([]), .timedOut], of: check, endsWith: .failure(.unexpectedAnswer))
        expect(
            [.connected, .timedOut], of: check,
            endsWith: .failure(.timedOut(.awaitingAnswer, byteCountReceived: 0)))
        expect([.connected, .failed(.connectionRefused)], of: check, endsWith: .failure(.connectionRefused))
    }

    @Test func `after its end a probe is deaf`() {
        var exchange = makeExchange(HealthCheck(protocol: .http))
        _ = exchange.on(.connected)
        #expect(exchange.on(.timedOut) == .finish(.failure(.timedOut(.awaitingAnswer, byteCountReceived: 0))))
        #expect(exchange.on(Self.text("HTTP/1.1 200 OK\r\n\r\n")) == .wait)
        #expect(exchange.on(.closed) == .wait)
        #expect(exchange.on(.connected) == .wait)
    }

    // MARK: Error numbers

    @Test(
        arguments: [
            (Errno.connectionRefused, ProbeFailure.connectionRefused), (.connectionReset, .connectionReset),
            (.brokenPipe, .connectionReset), (.hostUnreachable, .unreachable("No route to host")),
            (.networkUnreachable, .unreachable("Network is unreachable")),
            (.notPermitted, .unreachable("Operation not permitted")),
            (.tooManyOpenFiles, .balancerFault("Too many open files (EMFILE)")),
            (.addressNotAvailable, .balancerFault("no local port is free (EADDRNOTAVAIL)")),
            (Errno(71), .unreachable("Protocol error")),
        ])
    func `an error number becomes a cause with someone to blame`(errno: Errno, failure: ProbeFailure) {
        expect([ProbeExchange.Event(errno)], of: HealthCheck(), endsWith: .failure(failure))
    }

    @Test func `the kernel's own timeout is a timeout`() {
        expect(
            [ProbeExchange.Event(.timedOut)], of: HealthCheck(),
            endsWith: .failure(.timedOut(.connecting, byteCountReceived: 0)))
    }

    @Test func `what refuses a probe on the spot for an unknown reason is ours`() {
        expect(
            [ProbeExchange.Event(Errno(97), isOpening: true)], of: HealthCheck(),
            endsWith: .failure(
                .balancerFault("Address family not supported by protocol (EAFNOSUPPORT)")))
    }

    @Test func `a blackhole route, which connect calls an invalid argument, is the way to the target`() {
        expect(
            [ProbeExchange.Event(.invalidArgument, isOpening: true)], of: HealthCheck(),
            endsWith: .failure(.unreachable("no usable route (EINVAL)")))
    }

    // MARK: Helpers

    private static func text(_ text: String) -> ProbeExchange.Event { .received(Array(text.utf8)[...]) }
    private func text(_ text: String) -> ProbeExchange.Event { Self.text(text) }

    private func udp(_ probe: DatagramProbe) -> HealthCheck { HealthCheck(protocol: .udp, datagram: probe) }

    private func makeExchange(_ check: HealthCheck) -> ProbeExchange {
        var generator = SplitMix64(seed: 1)
        return ProbeExchange(probing: Self.endpoint, with: check, using: &generator)
    }

    /// The last event, and none before it, must end the probe.
    private func expect(
        _ events: [ProbeExchange.Event], of check: HealthCheck, endsWith outcome: ProbeOutcome,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var exchange = makeExchange(check)
        var finishes: [ProbeOutcome?] = []
        for event in events {
            if case .finish(let outcome) = exchange.on(event) {
                finishes.append(outcome)
            } else {
                finishes.append(nil)
            }
            if finishes.last != .some(nil) { break }
        }
        #expect(finishes.last == .some(outcome), sourceLocation: sourceLocation)
        if outcome != .success { #expect(finishes.count == events.count, sourceLocation: sourceLocation) }
    }
}
