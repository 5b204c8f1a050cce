// `weir run` from start to end.
//
// In two halves. The first runs on the main thread before any other exists: read the configuration, make
// directories, raise the descriptor limit, give up privileges (which belong to threads and are inherited).
// The second is asynchronous: data plane, registry, admin API, signals.

import AdminModel
import AdminServer
import Balancing
import ControlPlane
import Foundation
import LinuxIO
import Logging
import NetworkMode
import ServiceLifecycle
import Serving
import TLSTermination
import UnixSignals

/// What the command line says over the configuration file.
struct RunOptions: Sendable {
    let configurationPath: String
    let state: String?
    let admin: AdminAddress?
    let workerCount: Int?
}

struct Appliance: Sendable {
    private let options: RunOptions
    private let configuration: Configuration
    private let settings: ApplianceSettings
    private let admin: AdminAddress
    private let token: String?
    private let descriptorLimit: Int
    /// What this process can do; less than Weir can where the right for it is missing.
    private let features: DataPlaneFeatures
    private let predecessor: UpgradePredecessor?
    private let activation: SocketActivation
    private let program: String
    private let logger: Logger

    // MARK: - On the only thread

    /// - Parameter predecessor: The process to take over from, if one asks.
    init(_ options: RunOptions, predecessor: UpgradePredecessor? = nil) throws(CommandFailure) {
        self.options = options
        self.predecessor = predecessor
        program = ProgramFile.current(name: CommandLine.arguments[0])
        configuration = try Self.readConfiguration(options.configurationPath)
        var settings = configuration.settings
        if let state = options.state { settings.state = ApplianceSettings.StateLocation(state) }
        if let count = options.workerCount { settings.workers = .count(count) }
        self.settings = settings
        ApplianceLog.bootstrap(settings)
        logger = Logger(label: "weir")
        admin = options.admin ?? AdminAddress(settings.adminAddress)
        activation = SocketActivation.fromEnvironment(admin: admin)
        token = try Self.readToken(settings, admin: admin)
        let wanted = UInt64(
            settings.tcpFlowCountMax * 2 + settings.udpFlowCountMax + Limits.reservedDescriptorCount)
        descriptorLimit = Int(clamping: Machine.raiseDescriptorLimit(to: wanted))
        let logs = configuration.loadBalancers.flatMap { loadBalancer in
            [loadBalancer.attributes.accessLogPath, loadBalancer.attributes.application.connectionLogPath]
                .compactMap(\.self)
        }
        let preservesClientIP =
            configuration.targetGroups.contains { $0.group.attributes.preservesClientIP }
            || Store.preservesClientIP(in: settings.state)
            || predecessor?.offer.registry.preservesClientIP ?? false
        let hasNetAdmin = try Self.reducePrivileges(
            settings, admin: admin, accessLogs: logs, keepsNetAdmin: preservesClientIP)
        features = hasNetAdmin ? .all : .all.subtracting(.clientIPPreservation)
    }

    static func readConfiguration(_ path: String) throws(CommandFailure) -> Configuration {
        let text = try FileText.read(path)
        do throws(ConfigurationErrors) {
            return try Configuration.parse(text, fileName: path)
        } catch {
            throw CommandFailure(
                message:
                    "\(path) has \(error.errors.count == 1 ? "an error" : "\(error.errors.count) errors"); nothing was started.",
                details: error.errors.map(\.description))
        }
    }

    private static func readToken(
        _ settings: ApplianceSettings, admin: AdminAddress
    ) throws(CommandFailure) -> String? {
        guard let path = settings.tokenFile else {
            guard admin.isLocal else {
                throw CommandFailure(
                    message: "the admin address \(admin) is not local, so admin.token_file must be set: "
                        + "without a token anybody could change this appliance.")
            }
            return nil
        }
        guard let text = try? String(contentsOfFile: path, encoding: .utf8),
            let token = text.split(whereSeparator: \.isNewline).first.map(String.init), !token.isEmpty
        else {
            throw CommandFailure(
                message:
                    "admin.token_file \(path) cannot be read or is empty. Put the token in its first line.")
        }
        guard token.utf8.count >= AdminLimits.tokenByteCountMin,
            token.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw CommandFailure(
                message:
                    "admin.token_file \(path): the token must be at least \(AdminLimits.tokenByteCountMin) "
                    + "visible ASCII characters without spaces, or it could be guessed. "
                    + "Make one with: openssl rand -hex 32")
        }
        return token
    }

    /// Makes the directories that need rights we are about to lose, then loses them; returns whether CAP_NET_ADMIN
    /// is left.
    private static func reducePrivileges(
        _ settings: ApplianceSettings, admin: AdminAddress, accessLogs: [String], keepsNetAdmin: Bool
    ) throws(CommandFailure) -> Bool {
        var identity: UserIdentity?
        if let name = settings.runAs {
            guard let found = UserIdentity(name) else {
                throw CommandFailure(
                    message: "run_as is \"\(name)\", which this system does not know. "
                        + "Create it (useradd --system --no-create-home USER) or name another.")
            }
            identity = found
        }
        if case .file(let path) = settings.state { try prepareDirectory(of: path, for: identity) }
        if case .unix(let path) = admin { try prepareDirectory(of: path, for: identity) }
        for path in accessLogs where path != "stdout" { try prepareDirectory(of: path, for: identity) }
        do {
            return try Privileges.reduce(becoming: identity, keepsNetAdmin: keepsNetAdmin)
        } catch {
            throw CommandFailure(
                message: "cannot give up privileges (\(error)). "
                    + "run_as needs a start as root, or with CAP_SETUID and CAP_SETGID.")
        }
    }

    /// Makes the directory of a file we will write, and gives it and the file to whom we become.
    private static func prepareDirectory(
        of path: String, for identity: UserIdentity?
    ) throws(CommandFailure) {
        let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let manager = FileManager.default
        do {
            if !manager.fileExists(atPath: directory) {
                try manager.createDirectory(
                    atPath: directory, withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o750])
                if let identity { try give(directory, to: identity) }
            }
            guard let identity else { return }
            for file in [path, path + "-wal", path + "-shm"] where manager.fileExists(atPath: file) {
                try give(file, to: identity)
            }
        } catch {
            throw CommandFailure(
                message: "cannot prepare the directory \(directory): \(error.localizedDescription). "
                    + "Create it, writable for whom Weir runs as, or choose another place.")
        }
    }

    private static func give(_ path: String, to identity: UserIdentity) throws {
        try FileManager.default.setAttributes(
            [
                .ownerAccountID: NSNumber(value: identity.uid),
                .groupOwnerAccountID: NSNumber(value: identity.gid),
            ],
            ofItemAtPath: path)
    }

    // MARK: - Serving

    /// Serves until SIGTERM or SIGINT has drained it, or throws why it could not begin.
    func serve() async throws {
        var workerSettings = WorkerSettings(
            tcpFlowCountMax: settings.tcpFlowCountMax, udpFlowCountMax: settings.udpFlowCountMax,
            clientCongestionControl: settings.clientCongestionControl,
            targetCongestionControl: settings.targetCongestionControl)
        workerSettings.handshakeTimeoutSeconds = settings.handshakeTimeoutSeconds
        workerSettings.handshakeCountMax = settings.handshakeCountMax
        let warnings = [workerSettings.fit(descriptorLimit: descriptorLimit)].compactMap(\.self)
        for warning in warnings { logger.warning("\(warning)") }
        adviseOnKernelSettings()

        let probes = try ProbeControlAdapter()
        let workers = try ModeWorkers(
            processors: processors(), settings: workerSettings, isHolding: predecessor != nil
        ) { target in
            probes.trafficRefused(target)
        }
        let accessLogs = try ApplianceLogs(of: workers)
        let inherited = InheritedSockets(predecessor?.sockets ?? activation.sockets)
        workers.inherit(inherited)
        defer {
            probes.stop()
            workers.stop()
            // Last: the flows that the workers ended are in it.
            accessLogs.stop()
        }
        let contexts: TLSContexts
        do throws(TLSConfigurationError) {
            contexts = try TLSContexts(
                workers: workers, probes: probes, logs: accessLogs,
                ticketKeyFile: settings.ticketKeyFile,
                formerTicketKeys: predecessor?.offer.ticketKeys.map { Array($0) })
        } catch {
            throw CommandFailure(message: "tls.ticket_key_file: \(error)")
        }
        let store: Store
        do throws(StoreError) { store = try Store(settings.state) } catch {
            throw CommandFailure(message: error.description)
        }
        let registry: Registry
        do throws(ControlError) {
            registry = try await Registry.start(
                Registry.Parts(
                    workers: WorkerControlAdapter(
                        workers: workers, contexts: contexts, logs: accessLogs, startWarnings: warnings),
                    probes: probes, certificates: contexts,
                    features: features,
                    store: store, settings: settings, randomSeed: try? Machine.randomSeed(),
                    logger: Logger(label: "weir.registry"), version: WeirVersion.current),
                configuration: configuration, past: predecessor?.offer.registry)
        } catch {
            throw CommandFailure(message: error.message, details: error.details)
        }
        let socket = try await openAdminSocket()
        // Before anybody can know that this process serves: a signal that is not trapped yet would end it.
        let signals = await UnixSignalsSequence(trapping: .sighup, .sigterm, .sigint, .sigusr2)
        try await predecessor?.takeOver(workers, registry, version: WeirVersion.current)
        closeFormerAdminSocket()
        settle(inherited, workers)
        try await run(
            registry, workers: workers, contexts: contexts, logs: accessLogs, admin: socket,
            signals: signals)
        logger.info("ended")
    }

    /// One worker per processor of the affinity mask; more workers than processors share them.
    private func processors() -> [Int?] {
        let allowed = Machine.allowedProcessors()
        switch settings.workers {
        case .auto: return allowed.prefix(Limits.workerCountMax).map { $0 }
        case .count(let count): return (0..<count).map { allowed[$0 % allowed.count] }
        }
    }

    // MARK: - What is inherited

    /// Inherits the admin API's socket, or opens it. Clients wait in its queue until the server runs.
    private func openAdminSocket() async throws(CommandFailure) -> AdminListeningSocket {
        if let predecessor {
            if predecessor.offer.admin == admin.description {
                return AdminListeningSocket(
                    inherited: predecessor.admin.rawValue, address: admin,
                    ownsFile: predecessor.offer.ownsAdminFile)
            }
        } else if let inherited = activation.admin {
            return AdminListeningSocket(inherited: inherited.rawValue, address: admin, ownsFile: false)
        }
        do throws(AdminServerError) {
            return try await AdminListeningSocket.open(admin)
        } catch {
            throw CommandFailure(message: "\(error)")
        }
    }

    /// The other process leaves the file of its admin socket to us, also when we listen elsewhere.
    private func closeFormerAdminSocket() {
        guard let predecessor, predecessor.offer.admin != admin.description else { return }
        guard let address = try? AdminAddress(parsing: predecessor.offer.admin) else {
            predecessor.admin.close()
            return
        }
        AdminListeningSocket(
            inherited: predecessor.admin.rawValue, address: address, ownsFile: predecessor.offer.ownsAdminFile
        ).close(keepingFile: false)
    }

    /// True unless the admin API's Unix socket is systemd's.
    private var ownsAdminFile: Bool {
        guard let predecessor, predecessor.offer.admin == admin.description else {
            return activation.admin == nil
        }
        return predecessor.offer.ownsAdminFile
    }

    /// Once this process serves: closes sockets that no listener wanted, and gives every worker its share.
    private func settle(_ inherited: InheritedSockets, _ workers: ModeWorkers) {
        for warning in activation.warnings { logger.warning("\(warning)") }
        let unclaimed = inherited.closeUnclaimed()
        if !unclaimed.isEmpty {
            let list = unclaimed.joined(separator: ", ")
            if predecessor == nil {
                logger.warning(
                    """
                    the service manager passed sockets that no listener wants: \(list); they are closed. \
                    Take them out of the socket unit, or add listeners for them.
                    """)
            } else {
                logger.info("listeners that are no longer configured: \(list)")
            }
        }
        let errors = workers.openLackingShares()
        if let first = errors.first {
            logger.warning(
                "\(errors.count) workers share the inherited sockets of others, because \(first.message)")
        }
    }

    // MARK: - Running

    private func run(
        _ registry: Registry, workers: ModeWorkers, contexts: TLSContexts, logs: ApplianceLogs,
        admin socket: AdminListeningSocket, signals: UnixSignalsSequence
    ) async throws {
        let upgrader = Upgrader(
            workers: workers, contexts: contexts, registry: registry, admin: socket, adminAddress: admin,
            ownsAdminFile: ownsAdminFile, program: program, logger: Logger(label: "weir.upgrade"))
        let server = AdminServer(
            address: admin, token: token, registry: registry, listening: socket,
            upgrade: { request throws(ControlError) in try await upgrader.upgrade(request) },
            logger: Logger(label: "weir.admin"))
        // Services end in reverse order: the admin API answers while the registry drains.
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: server),
                    .init(
                        service: RegistryService(
                            registry: registry, drainTimeoutSeconds: settings.drainTimeoutSeconds,
                            upgradeDrainTimeoutSeconds: settings.upgradeDrainTimeoutSeconds)),
                ],
                logger: quietLogger))
        upgrader.attach(server) { await group.triggerGracefulShutdown() }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await handle(signals, registry, logs, group, upgrader) }
            tasks.addTask { await watchPorts(workers) }
            tasks.addTask {
                while (try? await Task.sleep(for: .seconds(300))) != nil { contexts.advanceTicketKeys() }
            }
            tasks.addTask {
                // After an upgrade the manager knows already, from the process that handed over.
                if (try? await server.boundAddress) != nil, predecessor == nil {
                    ServiceManager.notify(.ready)
                }
            }
            defer { tasks.cancelAll() }
            do {
                try await group.run()
            } catch {
                throw CommandFailure(message: "\(error)")
            }
        }
    }

    private func handle(
        _ signals: UnixSignalsSequence, _ registry: Registry, _ logs: ApplianceLogs, _ group: ServiceGroup,
        _ upgrader: Upgrader
    ) async {
        await withDiscardingTaskGroup { tasks in
            var isEnding = false
            for await signal in signals {
                switch signal {
                case .sighup:
                    ServiceManager.notify(.reloading)
                    await reload(registry)
                    logs.reopen()
                    ServiceManager.notify(.ready)
                case .sigusr2:
                    // Beside the loop: a SIGTERM must be heard while the new process prepares. Failures are logged.
                    tasks.addTask {
                        do throws(ControlError) {
                            _ = try await upgrader.upgrade(UpgradeRequest())
                        } catch  where error.code != "UpgradeFailed" {
                            logger.error("no upgrade: \(error.message)")
                        } catch {}
                    }
                default:
                    if isEnding {
                        logger.warning("ended at once by a second signal; live flows are reset")
                        exit(EXIT_SUCCESS)
                    }
                    isEnding = true
                    await beginEnd(registry, group)
                }
            }
        }
    }

    private func beginEnd(_ registry: Registry, _ group: ServiceGroup) async {
        // After a hand-over the manager follows the other process, which is not stopping.
        let isHandedOver = await registry.isHandedOver
        if !isHandedOver { ServiceManager.notify(.stopping) }
        logger.info("draining for at most \(settings.drainTimeoutSeconds) s; a second signal ends at once")
        if isHandedOver { await registry.waitForFlows(atMostSeconds: settings.drainTimeoutSeconds) }
        await group.triggerGracefulShutdown()
    }

    /// Applies the file again. Whatever is wrong with it, the running configuration stays.
    private func reload(_ registry: Registry) async {
        let path = options.configurationPath
        do throws(CommandFailure) {
            let text = try FileText.read(path)
            do throws(ControlError) {
                let response = try await registry.reload(text, fileName: path)
                for warning in response.warnings { logger.warning("\(warning)") }
                logger.info("configuration applied", metadata: ["changes": "\(response.changes.count)"])
            } catch {
                logger.error("configuration refused, the running one stays: \(error.message)")
                for detail in error.details { logger.error("\(detail)") }
            }
        } catch {
            logger.error("configuration refused, the running one stays: \(error.message)")
        }
    }

    // MARK: - Advice

    private func adviseOnKernelSettings() {
        let reuse = Machine.readSmallFile("/proc/sys/net/ipv4/tcp_tw_reuse")?
            .trimmingCharacters(in: .whitespacesAndNewlines)
        if let reuse, reuse != "1" {
            logger.info(
                "net.ipv4.tcp_tw_reuse is \(reuse): each target takes at most about \(Machine.ephemeralPorts().count / 60) short connections a second from one source address; 1 lifts that"
            )
        }
    }

    /// Says once when a source address has used more than half of its ports towards a target.
    private func watchPorts(_ workers: ModeWorkers) async {
        var isWarned = false
        while (try? await Task.sleep(for: .seconds(10))) != nil {
            let warnings = workers.portWarnings
            if !warnings.isEmpty, !isWarned {
                for warning in warnings { logger.warning("\(warning)") }
            }
            isWarned = !warnings.isEmpty
        }
    }

    /// The service group tells of every step at info, which is ours to tell.
    private var quietLogger: Logger {
        var logger = logger
        if logger.logLevel < .warning { logger.logLevel = .warning }
        return logger
    }
}
