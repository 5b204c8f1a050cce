// What people see of a target: ELBv2's state, reason code and a sentence.

public enum TargetHealthState: String, Sendable, Hashable, CaseIterable {
    case initial
    case healthy
    case unhealthy
    /// Unhealthy, its established flows still within their draining interval.
    case unhealthyDraining = "unhealthy.draining"
    case unused
    case draining
    case unavailable
}

public enum TargetHealthReason: String, Sendable, Hashable, CaseIterable {
    case registrationInProgress = "Elb.RegistrationInProgress"
    case initialHealthChecking = "Elb.InitialHealthChecking"
    case internalError = "Elb.InternalError"
    case responseCodeMismatch = "Target.ResponseCodeMismatch"
    case timeout = "Target.Timeout"
    case failedHealthChecks = "Target.FailedHealthChecks"
    case notRegistered = "Target.NotRegistered"
    case notInUse = "Target.NotInUse"
    case deregistrationInProgress = "Target.DeregistrationInProgress"
    case invalidState = "Target.InvalidState"
    case healthCheckDisabled = "Target.HealthCheckDisabled"
}

public struct TargetHealth: Sendable, Hashable {
    public var state: TargetHealthState
    /// Nil exactly when the target is plainly healthy.
    public var reason: TargetHealthReason?
    /// A full sentence that names what was seen; empty exactly when `reason` is nil.
    public var sentence: String

    public init(state: TargetHealthState, reason: TargetHealthReason?, sentence: String) {
        self.state = state
        self.reason = reason
        self.sentence = sentence
    }

    public static let healthy = TargetHealth(state: .healthy, reason: nil, sentence: "")
}

/// What one probe found.
public enum ProbeOutcome: Hashable, Sendable {
    case success
    /// The answer was right and carried the lame-duck sign.
    case lameDuck
    case failure(ProbeFailure)
}

/// Why a probe failed, with enough to write ELBv2's reason and a sentence of its own for each cause.
public enum ProbeFailure: Hashable, Sendable, Codable {
    /// What the probe was waiting for when its time ran out.
    public enum Phase: String, Sendable, Hashable, Codable {
        case connecting
        /// The connection stands; TLS is still being agreed on.
        case handshaking
        case awaitingAnswer
        /// Some bytes came, too slowly to finish.
        case receivingAnswer
    }

    case connectionRefused
    /// Host, network or port unreachable; the text is the system's.
    case unreachable(String)
    case timedOut(Phase, byteCountReceived: Int)
    case connectionReset
    /// TLS did not come about, or broke; the text names the cause, such as a certificate that was refused.
    case tlsFailed(String)
    /// The target closed before a whole answer.
    case closedEarly(byteCountReceived: Int)
    case malformedAnswer(String)
    case statusMismatch(code: Int)
    /// The same for the status of a gRPC call.
    case callStatusMismatch(code: Int)
    /// A datagram came back that is not the expected answer.
    case unexpectedAnswer
    /// Real traffic was refused (ICMP port unreachable), whatever the last probe said.
    case trafficRefused
    /// The fault is ours: no descriptor, no source port.
    case balancerFault(String)

    public var reason: TargetHealthReason {
        switch self {
        case .timedOut: .timeout
        case .statusMismatch, .callStatusMismatch: .responseCodeMismatch
        case .balancerFault: .internalError
        case .connectionRefused, .unreachable, .connectionReset, .tlsFailed, .closedEarly,
            .malformedAnswer, .unexpectedAnswer, .trafficRefused:
            .failedHealthChecks
        }
    }

    public func sentence(probing endpoint: Endpoint, with check: HealthCheck) -> String {
        switch self {
        case .connectionRefused:
            "\(endpoint) refused the \(check.protocol == .udp ? "datagram" : "connection"): nothing listens there."
        case .unreachable(let text):
            "\(endpoint) cannot be reached: \(text)."
        case .timedOut(.connecting, _):
            "No answer to the connection attempt to \(endpoint) within \(check.timeoutSeconds) s."
        case .timedOut(.handshaking, _):
            "\(endpoint) did not finish the TLS handshake within \(check.timeoutSeconds) s."
        case .timedOut(.awaitingAnswer, _):
            "\(endpoint) did not answer within \(check.timeoutSeconds) s."
        case .timedOut(.receivingAnswer, let count):
            "\(endpoint) sent only \(count) bytes of an answer within \(check.timeoutSeconds) s."
        case .connectionReset:
            "\(endpoint) reset the connection."
        case .tlsFailed(let cause):
            "TLS with \(endpoint) failed: \(cause)."
        case .closedEarly(0):
            "\(endpoint) closed the connection without an answer."
        case .closedEarly(let count):
            "\(endpoint) closed the connection after \(count) bytes, before the answer was whole."
        case .malformedAnswer(let what):
            "\(endpoint) answered something that is not \(check.protocol.isHTTP ? "HTTP" : "an answer"): \(what)."
        case .statusMismatch(let code):
            "Health checks failed with these codes: [\(code)]; expected \(check.matcher)."
        case .callStatusMismatch(let code):
            "Health checks failed with these gRPC codes: [\(code)]; expected \(check.matcher)."
        case .unexpectedAnswer:
            "\(endpoint) answered, but not what was expected."
        case .trafficRefused:
            "\(endpoint) refused datagrams of clients: nothing listens there."
        case .balancerFault(let text):
            "The probe could not be sent: \(text)."
        }
    }
}
