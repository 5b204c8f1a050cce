// One probe from connection to outcome, without I/O: events in, the next step out.
//
// Each cause of failure keeps its own name, since that is what whoever looks at a dead target needs.
// Pieces of an answer may be cut anywhere. The outcome falls at the first byte that decides it: for HTTP the
// end of the header, unless a lame-duck token is to be looked for in the body.

import Balancing
import HTTPCore

package struct ProbeExchange: Sendable {
    package enum Event: Sendable {
        /// The connection stands; for UDP, the socket has its target.
        case connected
        /// The TLS handshake is done on this side. With `mayBeRefused` the target still has to judge our certificate.
        case secured(mayBeRefused: Bool)
        /// A piece of the stream, or one datagram.
        case received(ArraySlice<UInt8>)
        /// Over HTTP/2: parts of the answer, as they are known.
        case answered(statusCode: Int?, callStatus: Int?, isWhole: Bool)
        /// The target has shut its side of the stream.
        case closed
        /// The system reported an error.
        case failed(ProbeFailure)
        case timedOut
    }

    package enum Action: Hashable, Sendable {
        case wait
        /// Agree on TLS; `secured` tells of it, and everything after goes through it.
        case handshake
        case send([UInt8])
        /// Ask over HTTP/2; `answered` tells of what came.
        case ask(ProbeQuestion)
        /// Say that nothing more comes from here, and go on listening.
        case endSending
        /// The probe has ended. Close the socket; later events change nothing.
        case finish(ProbeOutcome)
    }

    private enum Kind: Sendable {
        case connection
        case http
        /// HTTP/2, or gRPC on it.
        case streams
        case datagram(DatagramQuery)
    }

    private enum State: Sendable {
        case connecting
        case handshaking
        /// Nothing is asked; the target may yet say that it does not want us.
        case awaitingJudgement
        case awaitingAnswer
        case finished
    }

    private let kind: Kind
    private let check: HealthCheck
    private let endpoint: Endpoint
    private var state = State.connecting
    private var parser: ProbeResponseParser
    private var byteCountReceived = 0
    /// Of an answer over HTTP/2.
    private var statusCode: Int?
    private var callStatus: Int?
    private var unexpectedDatagramCount = 0

    package init(
        probing endpoint: Endpoint, with check: HealthCheck, using generator: inout some RandomNumberGenerator
    ) {
        self.endpoint = endpoint
        self.check = check
        parser = ProbeResponseParser(
            keeping: [check.lameDuck?.headerName].compactMap(\.self),
            isBodyWanted: check.lameDuck?.bodyToken?.isEmpty == false)
        switch check.protocol {
        case .tcp, .tls:
            kind = .connection
        case .http, .https:
            kind = check.protocolVersion == .http1 ? .http : .streams
        case .udp:
            // The control plane refuses a UDP check without a probe; nothing matches an empty prefix.
            let probe = check.datagram ?? DatagramProbe(payload: [], expectation: .prefix([]))
            kind = .datagram(DatagramQuery(probe, using: &generator))
        }
    }

    package mutating func on(_ event: Event) -> Action {
        let action = step(event)
        if case .finish = action { state = .finished }
        return action
    }

    private mutating func step(_ event: Event) -> Action {
        switch (state, event) {
        case (.finished, _):
            return .wait
        case (.connecting, .connected):
            state = check.protocol.usesTLS ? .handshaking : .awaitingAnswer
            return state == .handshaking ? .handshake : open()
        case (.handshaking, .secured(let mayBeRefused)):
            // A target that listens only for the end answers it at once, with its own or with an alert.
            let isJudged = mayBeRefused && !check.protocol.isHTTP
            state = isJudged ? .awaitingJudgement : .awaitingAnswer
            return isJudged ? .endSending : open()
        case (_, .connected), (_, .secured), (.connecting, .received), (.handshaking, .received),
            (.awaitingJudgement, .received):
            return .wait
        case (.awaitingAnswer, .received(let bytes)):
            byteCountReceived += bytes.count
            return receive(bytes)
        case (.awaitingAnswer, .answered(let statusCode, let callStatus, let isWhole)):
            self.statusCode = self.statusCode ?? statusCode
            self.callStatus = callStatus ?? self.callStatus
            return judgeStreams(isWhole: isWhole)
        case (_, .answered):
            return .wait
        case (.connecting, .closed), (.awaitingAnswer, .closed):
            return close()
        case (.handshaking, .closed):
            return .finish(.failure(.tlsFailed("the target closed the connection during the handshake")))
        case (.handshaking, .failed(.connectionReset)):
            return .finish(.failure(.tlsFailed("the target reset the connection during the handshake")))
        case (_, .failed(let failure)):
            return .finish(.failure(failure))
        case (.connecting, .timedOut):
            return .finish(.failure(.timedOut(.connecting, byteCountReceived: 0)))
        case (.handshaking, .timedOut):
            return .finish(.failure(.timedOut(.handshaking, byteCountReceived: 0)))
        case (.awaitingJudgement, .closed), (.awaitingJudgement, .timedOut):
            // Whoever refuses says so at once; a target may keep its side open for as long as it likes.
            return .finish(.success)
        case (.awaitingAnswer, .timedOut):
            return .finish(.failure(timeout))
        }
    }

    private func open() -> Action {
        switch kind {
        case .connection: .finish(.success)
        case .http: .send(request)
        case .streams:
            .ask(
                ProbeQuestion(
                    path: check.path, authority: host, isSecure: check.protocol.usesTLS,
                    isCall: check.protocolVersion == .grpc))
        case .datagram(let query): .send(query.bytes)
        }
    }

    private var request: [UInt8] {
        Array(
            """
            GET \(check.path) HTTP/1.1\r
            Host: \(host)\r
            User-Agent: Weir-HealthChecker/1.0\r
            Accept: */*\r
            Connection: close\r
            \r

            """.utf8)
    }

    /// The name that TLS asked for, if any: a server of many names refuses a request for another (RFC 9110
    /// section 15.5.20).
    private var host: String {
        guard let name = check.tls?.serverName, check.protocol == .https, IPAddress(name) == nil else {
            return "\(endpoint)"
        }
        return endpoint.port == 443 ? name : "\(name):\(endpoint.port)"
    }

    private mutating func receive(_ bytes: ArraySlice<UInt8>) -> Action {
        switch kind {
        case .connection, .streams:
            return .wait
        case .http:
            parser.feed(bytes)
            return judge()
        case .datagram(let query):
            if query.isAnswered(by: bytes) { return .finish(.success) }
            // It may answer an earlier probe; ours may still come.
            unexpectedDatagramCount += 1
            return .wait
        }
    }

    private mutating func close() -> Action {
        parser.finish()
        let action = judge()
        guard action == .wait else { return action }
        return .finish(.failure(.closedEarly(byteCountReceived: byteCountReceived)))
    }

    /// The same over HTTP/2: the head decides, and of a call the status that ends it.
    private func judgeStreams(isWhole: Bool) -> Action {
        guard let statusCode else { return .wait }
        guard check.protocolVersion == .grpc else {
            let isMatch = check.matcher.matches(statusCode)
            return .finish(isMatch ? .success : .failure(.statusMismatch(code: statusCode)))
        }
        guard let callStatus else {
            guard isWhole else { return .wait }
            return .finish(
                .failure(
                    statusCode == 200
                        ? .malformedAnswer("it has no grpc-status") : .statusMismatch(code: statusCode)))
        }
        let isMatch = check.matcher.matches(callStatus)
        return .finish(isMatch ? .success : .failure(.callStatusMismatch(code: callStatus)))
    }

    /// The outcome, if what was read decides it.
    ///
    /// The head outranks what follows it: a body that is wrong does not matter where the head already decides.
    private func judge() -> Action {
        guard let code = parser.statusCode else {
            if case .malformed(let what) = parser.state { return .finish(.failure(.malformedAnswer(what))) }
            return .wait
        }
        guard check.matcher.matches(code) else { return .finish(.failure(.statusMismatch(code: code))) }
        guard let lameDuck = check.lameDuck else { return .finish(.success) }
        if hasHeader(of: lameDuck) { return .finish(.lameDuck) }
        guard let token = lameDuck.bodyToken, !token.isEmpty else { return .finish(.success) }
        switch parser.state {
        case .head, .body:
            return .wait
        case .complete:
            let hasToken = ByteSearch.contains(Array(token.utf8), in: parser.body[...])
            return .finish(hasToken ? .lameDuck : .success)
        case .malformed(let what):
            return .finish(.failure(.malformedAnswer(what)))
        }
    }

    private func hasHeader(of lameDuck: LameDuck) -> Bool {
        guard let name = lameDuck.headerName else { return false }
        let values = parser.values(of: name)
        guard let wanted = lameDuck.headerValue else { return !values.isEmpty }
        return values.contains { $0.lowercased() == wanted.lowercased() }
    }

    private var timeout: ProbeFailure {
        if unexpectedDatagramCount > 0 { return .unexpectedAnswer }
        let phase: ProbeFailure.Phase = byteCountReceived == 0 ? .awaitingAnswer : .receivingAnswer
        return .timedOut(phase, byteCountReceived: byteCountReceived)
    }
}

/// What is asked of a target over HTTP/2.
package struct ProbeQuestion: Hashable, Sendable {
    package let path: String
    package let authority: String
    package let isSecure: Bool
    /// A gRPC call with an empty message, not a GET.
    package let isCall: Bool
}
