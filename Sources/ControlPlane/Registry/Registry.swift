// The single writer of truth.
//
// A change works on a copy of the state and becomes true in this order: validate, open sockets, store,
// publish to every worker, replace the state. Whatever fails before the store has it leaves everything as
// it was; nothing can fail after. So an acknowledged change is on disk and every worker routes by it, and
// a refused one has left no trace. Changes wait for each other in `ChangeQueue`.

import AdminModel
import Balancing
import Logging

package actor Registry {
    let workers: any WorkerControl
    let probes: any ProbeControl
    let certificateControl: (any CertificateControl)?
    let features: DataPlaneFeatures
    let store: Store
    let clock: RegistryClock
    let logger: Logger
    let version: String
    let startedAt: Instant

    var state: RegistryState
    var compiler: SnapshotCompiler
    /// What was published last; the workers route by its snapshot.
    var published: SnapshotCompiler.Result
    var stored: StoredState
    /// What `certificateControl` installed last.
    var installedDemand = TLSDemand()
    /// The settings of the file that was read at start, to tell what a later one changes in vain.
    var settings: ApplianceSettings
    var changes = ChangeQueue()
    /// Reports that wait for their turn; a burst of them makes one publication.
    var pendingReports: [ProbeReport] = []
    var isDraining = false
    var upgrade = UpgradePhase.none
    /// When live flows of a process that is about to end are no longer waited for; see `RegistryService`.
    var drainDeadline: Instant?
    /// Our numbers of targets by those of the process that we take over from, until we have.
    package internal(set) var inheritedNumbers: [UInt32: TargetNumber] = [:]
    /// Wakes the loops of `run()`; one wake-up stands for any number of causes.
    let reportSignal: AsyncStream<Void>
    let reportContinuation: AsyncStream<Void>.Continuation
    let deadlineSignal: AsyncStream<Void>
    let deadlineContinuation: AsyncStream<Void>.Continuation

    /// What the registry was built from and what it works with.
    package struct Parts: Sendable {
        package var workers: any WorkerControl
        package var probes: any ProbeControl
        /// Nil refuses everything that needs a certificate or speaks TLS.
        package var certificates: (any CertificateControl)?
        package var features: DataPlaneFeatures
        package var store: Store
        package var settings: ApplianceSettings
        /// Used unless the settings have one; secret and drawn by the system at start.
        package var randomSeed: HashSeed
        package var clock: RegistryClock
        package var logger: Logger
        package var version: String
        /// Smaller tables make tests fast; see `FlowHash`.
        package var tableSlotCount: Int

        package init(
            workers: any WorkerControl, probes: any ProbeControl,
            certificates: (any CertificateControl)? = nil, features: DataPlaneFeatures = .all, store: Store,
            settings: ApplianceSettings = ApplianceSettings(), randomSeed: HashSeed? = nil,
            clock: RegistryClock = .system, logger: Logger = Logger(label: "weir.registry"),
            version: String = "0", tableSlotCount: Int = FlowHash.slotCountDefault
        ) {
            self.workers = workers
            self.probes = probes
            self.certificates = certificates
            self.features = certificates == nil ? features.subtracting([.tls, .tlsProbes]) : features
            self.store = store
            self.settings = settings
            self.randomSeed =
                randomSeed
                ?? HashSeed(first: .random(in: .min ... .max), second: .random(in: .min ... .max))
            self.clock = clock
            self.logger = logger
            self.version = version
            self.tableSlotCount = tableSlotCount
        }
    }

    private init(_ parts: Parts, stored: StoredState) {
        workers = parts.workers
        probes = parts.probes
        certificateControl = parts.certificates
        features = parts.features
        store = parts.store
        clock = parts.clock
        logger = parts.logger
        version = parts.version
        settings = parts.settings
        startedAt = parts.clock.now()
        self.stored = stored
        state = RegistryState()
        compiler = SnapshotCompiler(
            seed: parts.settings.hashSeed ?? parts.randomSeed, zone: parts.settings.availabilityZone,
            sourceAddresses: parts.settings.sourceAddresses, tableSlotCount: parts.tableSlotCount)
        published = compiler.compile(state, version: 0)
        (reportSignal, reportContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        (deadlineSignal, deadlineContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Loads the store, applies the file to it, and publishes the first snapshot.
    ///
    /// - Parameters:
    ///   - configuration: Nil runs what the store has.
    ///   - past: What the process knew that this one takes over from. Then changes are refused until `takeOver`.
    package static func start(
        _ parts: Parts, configuration: Configuration? = nil, past: HandedOverRegistry? = nil
    ) async throws(ControlError) -> Registry {
        var parts = parts
        if let seed = past?.seed { parts.randomSeed = seed }
        var stored: StoredState
        do throws(StoreError) {
            stored = try await parts.store.load()
            if let definitions = try past?.storedState() {
                try await parts.store.save(definitions, replacing: stored)
                stored = definitions
            }
        } catch {
            throw ControlError(kind: .failed, code: "InternalFailure", message: error.description)
        }
        let registry = Registry(parts, stored: stored)
        try await registry.begin(with: configuration, past: past)
        return registry
    }

    private func begin(
        with configuration: Configuration?, past: HandedOverRegistry?
    ) async throws(ControlError) {
        await takeTurn()
        defer { changes.finish() }
        let now = clock.now()
        let wall = clock.secondsSince1970()
        var candidate = RegistryState()
        // The store's own content goes in as a configuration, so that both take the same way.
        _ = try candidate.merge(
            Configuration(
                targetGroups: stored.groups.map {
                    ConfiguredTargetGroup(group: $0.group, targets: $0.targets)
                },
                loadBalancers: stored.loadBalancers),
            prune: false, at: now, secondsSince1970: wall)
        let places = past.map { candidate.restore($0, at: now, secondsSince1970: wall) } ?? [:]
        if let configuration {
            settings = configuration.settings
            _ = try candidate.merge(configuration, prune: false, at: now, secondsSince1970: wall)
            // A target that the file no longer lists has no flow in a process that just began.
            if past == nil { candidate.removeTargets(Set(candidate.numbersWithDeadlines)) }
        }
        try candidate.validate(with: features)
        if past != nil { prepareTakeOver(of: candidate, numbers: places) }
        try await commit(candidate, from: configuration)
        logger.info(
            past == nil ? "serving" : "prepared to take over",
            metadata: [
                "load_balancers": "\(state.loadBalancers.count)", "target_groups": "\(state.groups.count)",
                "targets": "\(state.registeredTargetCount)",
            ])
    }

    // MARK: Turns

    /// Waits for the turn to change things. Every caller gives it back: `defer { changes.finish() }`.
    func takeTurn() async {
        if changes.takeIfFree() { return }
        await withCheckedContinuation { changes.enqueue($0) }
    }

    // MARK: Committing

    /// Makes a validated candidate the truth, as the header says; returns when every worker routes by it.
    ///
    /// - Parameter configuration: The file that brought the change, if one did.
    func commit(
        _ candidate: RegistryState, from configuration: Configuration? = nil
    ) async throws(ControlError) {
        let result = compiler.compile(candidate, version: published.snapshot.version + 1)
        let contexts = try await prepareCertificates(for: candidate, from: configuration)
        let ticket: ListenerTicket?
        do throws(ControlError) {
            ticket = try prepare(result.bindings)
        } catch {
            if let contexts { certificateControl?.abandon(contexts) }
            throw error
        }
        let new = candidate.stored
        if new != stored {
            do throws(StoreError) {
                try await store.save(new, replacing: stored)
            } catch {
                if let ticket { workers.abandon(ticket) }
                if let contexts { certificateControl?.abandon(contexts) }
                logger.error("change refused", metadata: ["cause": "\(error)"])
                throw ControlError(
                    kind: .failed, code: "InternalFailure",
                    message: "\(error.description) Nothing was changed.")
            }
            stored = new
        }
        if let contexts {
            // Before the snapshot that names them: a worker must find the context of every listener it has.
            certificateControl?.install(contexts)
            installedDemand = candidate.tlsDemand
        }
        await publish(candidate, as: result, ticket: ticket)
    }

    private func prepare(_ bindings: [ListenerBinding]) throws(ControlError) -> ListenerTicket? {
        guard bindings != published.bindings else { return nil }
        do throws(BindingErrors) {
            return try workers.prepare(bindings)
        } catch {
            let messages = error.errors.map(\.message)
            throw ControlError(
                kind: .failed, code: "InvalidConfigurationRequest",
                message: messages.count == 1
                    ? messages[0]
                    : "\(messages.count) listen addresses cannot be opened; nothing was "
                        + "changed",
                details: messages)
        }
    }

    /// The part of a commit that cannot fail.
    func publish(
        _ candidate: RegistryState, as result: SnapshotCompiler.Result, ticket: ListenerTicket?
    ) async {
        await workers.publish(result.snapshot, listeners: ticket)

        // From here to the evictions nothing waits: state, snapshot and probes change together.
        let before = state
        var candidate = candidate
        let orders = candidate.settle(
            result.outlooks, at: clock.now(), secondsSince1970: clock.secondsSince1970())
        let areProbesChanged = result.probes != published.probes
        state = candidate
        published = result
        if areProbesChanged { probes.update(result.probes) }
        logTransitions(from: before)

        await evict(orders)
        await settleDeadlines()
        if state.isWaitingForDeadline { deadlineContinuation.yield() }
    }

    func evict(_ orders: [EvictionOrder]) async {
        for order in orders { await workers.evict(order.number, order.eviction) }
    }

    /// Ends flows whose time is over, takes targets out of their lists, and releases what retired.
    ///
    /// Only after a publication: then no worker can begin another flow to a draining target.
    func settleDeadlines() async {
        // The flows that draining targets stay for have yet to arrive.
        guard upgrade != .takingOver else { return }
        let due = state.takeDue(
            workers.counters(targets: state.numbersWithDeadlines, listeners: []), at: clock.now())
        await evict(due.evictions)
        state.removeTargets(due.leaving)
        let retired = workers.counters(
            targets: state.retiredTargets.map(\.number), listeners: state.retiredListeners.map(\.number))
        state.releaseRetiredNumbers(retired, at: clock.now())
    }

    private func logTransitions(from before: RegistryState) {
        for group in state.groups {
            for registration in group.registrations {
                guard let old = before.registration(registration.number)?.registration,
                    old.shownState != registration.shownState
                else { continue }
                var metadata: Logger.Metadata = [
                    "target_group": "\(group.group.name)", "target": "\(registration.target.id)",
                    "from": "\(old.shownState.rawValue)", "to": "\(registration.shownState.rawValue)",
                ]
                let sentence = describeHealth(of: registration, in: group.group)
                if !sentence.isEmpty { metadata["description"] = "\(sentence)" }
                logger.info("target changed", metadata: metadata)
            }
        }
    }

    private func describeHealth(of registration: Registration, in group: TargetGroup) -> String {
        registration.health(
            in: group, isInUse: published.outlooks[group.name] != nil, hasLiveFlows: false
        ).sentence
    }
}
