// A stand-in for whoever reads certificates: it remembers what is in use and refuses the files it is told to.

import Balancing
import ControlPlane
import Synchronization

final class CertificateRecorder: CertificateControl {
    private struct State {
        var prepared: [UInt64: TLSDemand] = [:]
        var installed = TLSDemand()
        var nextTicket: UInt64 = 0
        var refused: [String: String] = [:]
        var notAfter: Int64 = 4_000_000_000
        var reloadCount = 0
    }

    private let state = Mutex(State())

    func prepare(_ demand: TLSDemand) async throws(CertificateProblems) -> CertificateTicket {
        let problems = state.withLock { state in
            demand.uses.compactMap { Self.problem(of: $0.owner, $0.files, state.refused) }
        }
        guard problems.isEmpty else { throw CertificateProblems(problems: problems) }
        return state.withLock { state in
            state.nextTicket += 1
            state.prepared[state.nextTicket] = demand
            return CertificateTicket(rawValue: state.nextTicket)
        }
    }

    func abandon(_ ticket: CertificateTicket) {
        state.withLock { state in
            precondition(state.prepared.removeValue(forKey: ticket.rawValue) != nil, "a ticket is used once")
        }
    }

    func install(_ ticket: CertificateTicket) {
        state.withLock { state in
            guard let demand = state.prepared.removeValue(forKey: ticket.rawValue) else {
                preconditionFailure("a ticket is used once")
            }
            state.installed = demand
        }
    }

    func reload() async -> CertificateReload {
        state.withLock { state in
            state.reloadCount += 1
            let uses = state.installed.uses
            let problems = uses.compactMap { Self.problem(of: $0.owner, $0.files, state.refused) }
            return CertificateReload(reloadedCount: uses.count - problems.count, problems: problems)
        }
    }

    var certificates: [CertificateFacts] {
        state.withLock { state in
            state.installed.listeners.flatMap { use in
                use.settings.certificates.enumerated().map { index, files in
                    CertificateFacts(
                        owner: .listener(use.listener), file: files.certificate,
                        subject: "CN=www.example.com",
                        serial: "0A", names: ["www.example.com"], keyType: "ECDSA", notBefore: 0,
                        notAfter: state.notAfter, isDefault: index == 0)
                }
            }
        }
    }

    private static func problem(
        of owner: CertificateOwner, _ files: [String], _ refused: [String: String]
    ) -> CertificateProblem? {
        guard let file = files.first(where: { refused[$0] != nil }), let cause = refused[file] else {
            return nil
        }
        return CertificateProblem(owner: owner, file: file, message: "cannot read \(file): \(cause)")
    }

    // MARK: For tests

    var installed: TLSDemand { state.withLock { $0.installed } }
    var openTicketCount: Int { state.withLock { $0.prepared.count } }
    var reloadCount: Int { state.withLock { $0.reloadCount } }
    func refuse(_ file: String, because cause: String?) { state.withLock { $0.refused[file] = cause } }
    func expire(at secondsSince1970: Int64) { state.withLock { $0.notAfter = secondsSince1970 } }
}

extension TLSDemand {
    fileprivate var uses: [(owner: CertificateOwner, files: [String])] {
        listeners.map { (.listener($0.listener), $0.settings.files) }
            + targets.map { (.targetGroup($0.targetGroup), $0.route.settings.files) }
            + probes.map { (.healthCheck($0.targetGroup), $0.settings.files) }
    }
}
