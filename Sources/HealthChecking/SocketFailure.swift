// What an error of the system or of TLS says about a probe, and whom to blame.
//
// Ours are what the machine lacks (descriptors, memory, local ports, an address family). Everything else is
// said of the target or of the way to it, which a client's flow would have to take as well.

import Balancing
import LinuxIO
import TLSTermination

extension ProbeExchange.Event {
    /// - Parameters:
    ///   - errno: Of connect(2), send(2), recv(2) or SO_ERROR.
    ///   - isOpening: True when the call that opens the probe refused on the spot: then what is unknown is ours.
    package init(_ errno: Errno, isOpening: Bool = false) {
        switch errno {
        case .connectionRefused:
            self = .failed(.connectionRefused)
        case .connectionReset, .brokenPipe:
            self = .failed(.connectionReset)
        case .timedOut:
            // The kernel gave up before our own deadline.
            self = .timedOut
        case .hostUnreachable, .networkUnreachable, .notPermitted, .permissionDenied:
            // A firewall or a route of our own that forbids the way (EPERM, EACCES) forbids it to flows as well.
            self = .failed(.unreachable(errno.text))
        case .invalidArgument where isOpening:
            // connect(2) of a well-formed address says so where the route is a blackhole; see ip-route(8).
            self = .failed(.unreachable("no usable route (\(errno.name))"))
        case .addressNotAvailable, .addressInUse, .wouldBlock:
            self = .failed(.balancerFault("no local port is free (\(errno.name))"))
        default:
            let isOurs = errno.isExhaustion || isOpening
            self = .failed(isOurs ? .balancerFault(errno.description) : .unreachable(errno.text))
        }
    }
    package init(_ failure: TLSFailure) {
        switch failure {
        case .connection(let errno):
            self.init(errno)
        case .endedEarly:
            // Without close_notify, as many do that speak HTTP: whether the answer is whole is told by the answer.
            self = .closed
        case .outOfMemory:
            self = .failed(.balancerFault(failure.description))
        case .noSharedCipher, .unsupportedVersion, .noSharedGroup, .noSharedSignatureAlgorithm, .plainHTTP,
            .notTLS, .certificateRefused, .certificateMissing, .alert, .renegotiation, .badRecord,
            .certificateTooLarge, .malformedHandshake, .other:
            self = .failed(.tlsFailed(failure.description))
        }
    }
}
