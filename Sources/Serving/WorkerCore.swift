// What every worker has, whatever its mode: its listeners, snapshot and counters, and the way to targets.
//
// A mode's worker keeps it in a stored property, so that every use is a field of the worker's own. What is called
// for each connection is public, since only public bodies are inlined into the modes (see Decisions.md).
// Nothing here knows what becomes of a connection: that is the mode's; see ServingWorker.

import Balancing
import LinuxIO
import Reactor

public struct WorkerCore: ~Copyable {
    /// The kind of listeners' tokens; 0 is the mailbox's, and 2–15 are the mode's.
    public static var listenerKind: UInt8 { 1 }

    public let index: Int
    public let settings: WorkerSettings
    public let counters: WorkerCounters
    public let census: FlowCensus
    public let epoll: EpollHandle
    /// Tells the prober that a target refused real traffic. Called at most once a second per target.
    public let onTrafficRefused: @Sendable (TargetNumber) -> Void

    public internal(set) var snapshot = RoutingSnapshot.empty
    package internal(set) var tls = TLSRouting()
    public internal(set) var listeners: [ServedListener] = []
    /// No new flow is admitted any more.
    public internal(set) var isDraining = false
    /// Counts turns, to tell whether an event came back at once.
    public private(set) var turn: UInt32 = 0
    /// Listeners have their slots, but nothing is taken from them: before a take-over, and after a hand-over.
    public internal(set) var isHolding: Bool
    public internal(set) var isStopped = false
    public var pipes = PipePool(idleCountMax: Limits.pooledPipeCountMax)

    var pausedListeners: [Int] = []
    var resumeListenersAt = Instant.distantFuture
    /// Kept open to be closed when descriptors run out: with it one queued connection can be taken and refused.
    var spareDescriptor = Descriptor.none
    /// Index of the source address that the last connection began with.
    var nextSource = 0
    var portSteering: PortSteering
    var lingeringPorts = LingeringPorts()

    init(
        index: Int, settings: WorkerSettings, counters: WorkerCounters, census: FlowCensus,
        epoll: EpollHandle, isHolding: Bool, onTrafficRefused: @escaping @Sendable (TargetNumber) -> Void
    ) {
        self.index = index
        self.settings = settings
        self.counters = counters
        self.census = census
        self.epoll = epoll
        self.isHolding = isHolding
        self.onTrafficRefused = onTrafficRefused
        portSteering = PortSteering(
            ports: settings.ephemeralPorts, worker: index, workerCount: census.workerCount)
        openSpareDescriptor()
    }

    // MARK: - The turn

    /// First in the mode's `finishTurn`.
    public mutating func countTurn() {
        counters.add(1, .turns)
        turn &+= 1
    }

    /// Does what is due, after the mode's own timers; returns how many milliseconds until there is more, `Int.max`
    /// for never.
    public mutating func finishTurn(at now: Instant) -> Int {
        lingeringPorts.expire(at: now, counters.ports)
        resumeListeners(at: now)
        counters.worker.set(UInt64(pipes.openCount), row: 0, column: WorkerCounter.pipesOpen.rawValue)
        return resumeListenersAt == .distantFuture ? Int.max : 100
    }

    /// Puts a snapshot in force.
    mutating func route(by next: RoutingSnapshot) {
        snapshot = next
        counters.worker.set(next.version, row: 0, column: WorkerCounter.snapshotVersion.rawValue)
    }

    /// The end of the worker, after its flows and listeners.
    mutating func stop() {
        if spareDescriptor.isOpen { spareDescriptor.close() }
        isStopped = true
    }

    // MARK: - Ports

    /// Counts the port of a connection that was closed towards its target first; the kernel keeps it in TIME_WAIT.
    public mutating func portLingers(of target: TargetNumber, sourceColumn: UInt8, at now: Instant) {
        guard sourceColumn != TargetSocket.clientColumn else { return }
        lingeringPorts.add(target: target, column: sourceColumn, at: now, counters.ports)
    }
}
