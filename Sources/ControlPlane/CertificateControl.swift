// What the control plane asks of whoever reads certificates and keys, and what comes back.
//
// `weir` supplies it from TLSTermination; tests supply a recorder. The control plane itself opens no key file and
// knows nothing of OpenSSL: it hands over names and paths, and shows what it is told.

import Balancing

/// Every context that a configuration needs, by the settings that name it, and who needs it.
package struct TLSDemand: Sendable, Equatable {
    package struct ListenerUse: Sendable, Hashable {
        package let listener: ListenerID
        package let settings: TLSListenerSettings
    }

    /// A group towards whose targets the flows of some listener speak TLS, under that listener's policy.
    package struct TargetUse: Sendable, Hashable {
        package let targetGroup: String
        package let route: TLSTargetRoute
    }

    /// A group whose health checks speak TLS.
    package struct ProbeUse: Sendable, Hashable {
        package let targetGroup: String
        package let settings: TLSTargetSettings
    }

    package var listeners: [ListenerUse] = []
    package var targets: [TargetUse] = []
    package var probes: [ProbeUse] = []

    package init() {}

    package var isEmpty: Bool { listeners.isEmpty && targets.isEmpty && probes.isEmpty }
}

/// Who shows a certificate, or would.
package enum CertificateOwner: Sendable, Hashable, CustomStringConvertible {
    case listener(ListenerID)
    case targetGroup(String)
    case healthCheck(String)
    /// The appliance itself: the ticket keys.
    case appliance

    package var description: String {
        switch self {
        case .listener(let id): "listener \(id)"
        case .targetGroup(let name): "target group \"\(name)\""
        case .healthCheck(let name): "health check of target group \"\(name)\""
        case .appliance: "tls"
        }
    }
}

/// Why a context cannot be built. The one in use, if any, stays in use.
package struct CertificateProblem: Error, Sendable, Equatable {
    package let owner: CertificateOwner
    /// The file that is wrong, as the configuration names it; nil when it is none.
    package let file: String?
    /// The file, what is wrong and the next step, in one line.
    package let message: String

    package init(owner: CertificateOwner, file: String?, message: String) {
        self.owner = owner
        self.file = file
        self.message = message
    }
}

/// All problems, so that they are reported together; never empty.
package struct CertificateProblems: Error, Sendable {
    package let problems: [CertificateProblem]

    package init(problems: [CertificateProblem]) {
        self.problems = problems
    }
}

/// Contexts that are built but not in use yet. Install it or abandon it, exactly once.
package struct CertificateTicket: Hashable, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}

/// A certificate in use, and by whom.
package struct CertificateFacts: Sendable, Equatable {
    package var owner: CertificateOwner
    /// The PEM file, as the configuration names it.
    package var file: String
    /// RFC 2253.
    package var subject: String
    /// Hexadecimal.
    package var serial: String
    /// Host names that it answers for.
    package var names: [String]
    /// `RSA`, `ECDSA` or `Ed25519`.
    package var keyType: String
    /// Seconds since 1970.
    package var notBefore: Int64
    /// Seconds since 1970; the last at which it is valid.
    package var notAfter: Int64
    /// True for the certificate of a listener that answers when no other does.
    package var isDefault: Bool

    package init(
        owner: CertificateOwner, file: String, subject: String, serial: String, names: [String],
        keyType: String, notBefore: Int64, notAfter: Int64, isDefault: Bool
    ) {
        self.owner = owner
        self.file = file
        self.subject = subject
        self.serial = serial
        self.names = names
        self.keyType = keyType
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.isDefault = isDefault
    }
}

/// What reading all files again came to.
package struct CertificateReload: Sendable {
    /// Contexts that were built anew.
    package var reloadedCount: Int
    /// Of those that were not: each goes on with what it had.
    package var problems: [CertificateProblem]

    package init(reloadedCount: Int, problems: [CertificateProblem]) {
        self.reloadedCount = reloadedCount
        self.problems = problems
    }
}

package protocol CertificateControl: Sendable {
    /// Builds every context that `demand` has and that is not in use yet; all or none. What is in use stays as
    /// it is, and its files are not read again. Collects all problems before it throws.
    func prepare(_ demand: TLSDemand) async throws(CertificateProblems) -> CertificateTicket

    /// Forgets what `prepare` built.
    func abandon(_ ticket: CertificateTicket)

    /// Makes the contexts of the ticket's demand the ones in use, and drops the others; sessions that began
    /// with one keep it. Called before the snapshot is published that names the new ones, and after the
    /// change can no longer fail.
    func install(_ ticket: CertificateTicket)

    /// Reads the files of every context in use again, and the ticket keys. One with a problem goes on with what
    /// it had. Returns when every worker begins new handshakes with the new ones.
    func reload() async -> CertificateReload

    /// The certificates in use: those of listeners in the order of the configuration, then the others.
    var certificates: [CertificateFacts] { get }
}
