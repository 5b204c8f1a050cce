// The TLS contexts of the appliance: built from files when the registry asks, handed to workers with each snapshot and
// to the prober with its targets.
//
// Contexts are keyed by the settings that name them, so that a snapshot says which it needs. A context that is in use
// is only ever replaced as a whole; sessions keep the one they began with.

import Balancing
import ControlPlane
import HealthChecking
import LinuxIO
import Serving
import Synchronization
import TLSTermination

final class TLSContexts: CertificateControl {
    private struct Contexts {
        var servers: [TLSListenerSettings: ServerContext] = [:]
        var targets: [TLSTargetRoute: ClientContext] = [:]
        var probes: ProbeContexts = [:]
    }

    private struct State {
        var demand = TLSDemand()
        var contexts = Contexts()
        var prepared: [UInt64: (demand: TLSDemand, contexts: Contexts)] = [:]
        var nextTicket: UInt64 = 1
    }

    private let workers: ModeWorkers
    private let probes: ProbeControlAdapter
    private let logs: ApplianceLogs
    private let ticketKeyFile: String?
    private let ticketKeys = TicketKeyRing()
    private let usesKernelTLS = KernelTLS.isOffered()
    private let state = Mutex(State())

    /// - Parameters:
    ///   - ticketKeyFile: Nil draws keys and replaces them as time goes on; see `advanceTicketKeys`.
    ///   - formerTicketKeys: Those that a former process drew.
    init(
        workers: ModeWorkers, probes: ProbeControlAdapter, logs: ApplianceLogs, ticketKeyFile: String?,
        formerTicketKeys: [UInt8]? = nil
    ) throws(TLSConfigurationError) {
        self.workers = workers
        self.probes = probes
        self.logs = logs
        self.ticketKeyFile = ticketKeyFile
        if let ticketKeyFile { try ticketKeys.load(ticketKeyFile) }
        if let formerTicketKeys { ticketKeys.adopt(formerTicketKeys, at: .now) }
        try ticketKeys.advance(to: .now)
    }

    /// For a process that goes on in place of this one.
    var ticketKeyRecords: [UInt8]? { ticketKeys.records }

    /// Replaces ticket keys that are old enough. To be called every few minutes.
    func advanceTicketKeys() {
        // Without randomness the old keys stay, which are still good.
        _ = try? ticketKeys.advance(to: .now)
    }

    /// The contexts in use, in the places where workers that route by `snapshot` look for them.
    func routing(for snapshot: RoutingSnapshot) -> TLSRouting {
        let contexts = state.withLock { $0.contexts }
        let numbers = logs.numbers(for: snapshot)
        return TLSRouting(
            servers: snapshot.listeners.map { $0?.tls.flatMap { contexts.servers[$0] } },
            clients: snapshot.groups.map { $0.tls.flatMap { contexts.targets[$0] } },
            accessLogs: numbers.accessLogs, connectionLogs: numbers.connectionLogs)
    }

    // MARK: - CertificateControl

    func prepare(_ demand: TLSDemand) async throws(CertificateProblems) -> CertificateTicket {
        let known = state.withLock { $0.contexts }
        let (contexts, problems) = build(demand, keeping: known)
        guard problems.isEmpty else { throw CertificateProblems(problems: problems) }
        return state.withLock { state in
            let ticket = state.nextTicket
            state.nextTicket += 1
            state.prepared[ticket] = (demand, contexts)
            return CertificateTicket(rawValue: ticket)
        }
    }

    func abandon(_ ticket: CertificateTicket) {
        _ = state.withLock { $0.prepared.removeValue(forKey: ticket.rawValue) }
    }

    func install(_ ticket: CertificateTicket) {
        state.withLock { state in
            guard let prepared = state.prepared.removeValue(forKey: ticket.rawValue) else { return }
            state.demand = prepared.demand
            state.contexts = prepared.contexts
            probes.prepare(prepared.contexts.probes)
        }
    }

    func reload() async -> CertificateReload {
        let (demand, old) = state.withLock { ($0.demand, $0.contexts) }
        var (fresh, problems) = build(demand, keeping: Contexts())
        let reloadedCount = fresh.servers.count + fresh.targets.count + fresh.probes.count
        fresh.servers.merge(old.servers) { new, _ in new }
        fresh.targets.merge(old.targets) { new, _ in new }
        fresh.probes.merge(old.probes) { new, _ in new }
        if let ticketKeyFile {
            do throws(TLSConfigurationError) {
                try ticketKeys.load(ticketKeyFile)
            } catch {
                problems.append(
                    CertificateProblem(owner: .appliance, file: ticketKeyFile, message: error.description))
            }
        }
        let contexts = fresh
        state.withLock { $0.contexts = contexts }
        probes.renewTLS(contexts.probes)
        await withCheckedContinuation { continuation in
            workers.renewTLS({ self.routing(for: $0) }, onComplete: { continuation.resume() })
        }
        return CertificateReload(reloadedCount: reloadedCount, problems: problems)
    }

    var certificates: [CertificateFacts] {
        let (demand, contexts) = state.withLock { ($0.demand, $0.contexts) }
        let ofListeners = demand.listeners.flatMap { use in
            (contexts.servers[use.settings]?.certificates ?? []).enumerated().map { index, certificate in
                CertificateFacts(certificate, owner: .listener(use.listener), isDefault: index == 0)
            }
        }
        let ofGroups = demand.targets.compactMap { use in
            contexts.targets[use.route]?.certificate.map {
                CertificateFacts($0, owner: .targetGroup(use.targetGroup), isDefault: false)
            }
        }
        let ofProbes = demand.probes.compactMap { use in
            contexts.probes[use.settings]?.certificate.map {
                CertificateFacts($0, owner: .healthCheck(use.targetGroup), isDefault: false)
            }
        }
        return ofListeners + ofGroups + ofProbes
    }

    // MARK: - Building

    /// Builds what `demand` has and `known` has not, and leaves out what has a problem.
    private func build(
        _ demand: TLSDemand, keeping known: Contexts
    ) -> (contexts: Contexts, problems: [CertificateProblem]) {
        var contexts = Contexts()
        var problems: [CertificateProblem] = []
        contexts.servers = build(
            demand.listeners.map { ($0.settings, .listener($0.listener), $0.settings.files) },
            keeping: known.servers, noting: &problems
        ) { (settings) throws(TLSConfigurationError) in
            try ServerContext(ServerSettings(settings, usesKernelTLS: usesKernelTLS), ticketKeys: ticketKeys)
        }
        contexts.targets = build(
            demand.targets.map { ($0.route, .targetGroup($0.targetGroup), $0.route.settings.files) },
            keeping: known.targets, noting: &problems
        ) { (route) throws(TLSConfigurationError) in
            try ClientContext(
                ClientSettings(
                    route.settings, policy: route.policy, protocols: route.asksForHTTP2 ? ["h2"] : [],
                    usesKernelTLS: usesKernelTLS))
        }
        contexts.probes = build(
            demand.probes.map { ($0.settings, .healthCheck($0.targetGroup), $0.settings.files) },
            keeping: known.probes, noting: &problems
        ) { (settings) throws(TLSConfigurationError) in
            // A check moves a few bytes: the kernel's help would cost more than it saves.
            try ClientContext(ClientSettings(settings, usesKernelTLS: false))
        }
        return (contexts, problems)
    }

    /// The contexts of one kind, each built once.
    private func build<Settings: Hashable, Context>(
        _ uses: [(settings: Settings, owner: CertificateOwner, files: [String])],
        keeping known: [Settings: Context], noting problems: inout [CertificateProblem],
        _ make: (Settings) throws(TLSConfigurationError) -> Context
    ) -> [Settings: Context] {
        var contexts: [Settings: Context] = [:]
        for use in uses where contexts[use.settings] == nil {
            if let context = known[use.settings] {
                contexts[use.settings] = context
                continue
            }
            do throws(TLSConfigurationError) {
                contexts[use.settings] = try make(use.settings)
            } catch {
                let message = error.description
                problems.append(
                    CertificateProblem(
                        owner: use.owner, file: use.files.first { message.contains($0) }, message: message))
            }
        }
        return contexts
    }
}

extension CertificateFacts {
    init(_ certificate: TLSTermination.CertificateDescription, owner: CertificateOwner, isDefault: Bool) {
        self.init(
            owner: owner, file: certificate.file, subject: certificate.subject, serial: certificate.serial,
            names: certificate.names, keyType: certificate.keyType.rawValue,
            notBefore: certificate.validity.lowerBound, notAfter: certificate.validity.upperBound,
            isDefault: isDefault)
    }
}
