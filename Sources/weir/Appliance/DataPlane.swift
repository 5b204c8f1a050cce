// The data plane as the control plane sees it: workers and prober behind the two control protocols.

import Balancing
import ControlPlane
import HealthChecking
import LinuxIO
import Serving
import Synchronization

/// Network mode's workers, asked with async calls.
final class WorkerControlAdapter: WorkerControl {
    private let workers: ModeWorkers
    private let contexts: TLSContexts
    private let logs: ApplianceLogs
    private let startWarnings: [String]
    private let listings = ListingTurn()

    private static let listingTimeout = Duration.seconds(5)

    /// - Parameter startWarnings: What was found at start and stays true, such as lowered flow limits.
    init(workers: ModeWorkers, contexts: TLSContexts, logs: ApplianceLogs, startWarnings: [String]) {
        self.workers = workers
        self.contexts = contexts
        self.logs = logs
        self.startWarnings = startWarnings
    }

    var workerCount: Int { workers.count }

    var warnings: [String] {
        var warnings = startWarnings + workers.warnings + logs.warnings
        let droppedCount = droppedLogLineCount
        if droppedCount > 0 {
            warnings.append(
                "\(droppedCount) lines of access logs were dropped since the start: a log's file or its disk "
                    + "does not keep up, or did not.")
        }
        return warnings
    }

    /// Dropped by workers, whose ring was full, and by the writer, whose file took nothing.
    private var droppedLogLineCount: UInt64 {
        workers.total(.droppedAccessLogLines) + logs.lostLineCount
    }

    func prepare(_ bindings: [ListenerBinding]) throws(BindingErrors) -> ListenerTicket {
        do throws(ListenerOpenErrors) {
            return ListenerTicket(rawValue: try workers.prepare(bindings))
        } catch {
            throw BindingErrors(
                errors: error.errors.map { BindingError(binding: $0.binding, message: $0.message) })
        }
    }

    func abandon(_ ticket: ListenerTicket) {
        workers.abandon(ticket: ticket.rawValue)
    }

    func publish(_ snapshot: RoutingSnapshot, listeners ticket: ListenerTicket?) async {
        await withCheckedContinuation { continuation in
            workers.publish(snapshot, tls: contexts.routing(for: snapshot), ticket: ticket?.rawValue) {
                continuation.resume()
            }
        }
    }

    func evict(_ target: TargetNumber, _ eviction: FlowEviction) async {
        await withCheckedContinuation { continuation in
            workers.evict(target, eviction) { continuation.resume() }
        }
    }

    func counters(targets: [TargetNumber], listeners: [ListenerNumber]) -> CounterReport {
        var report = CounterReport()
        for target in targets {
            report.targets[target] =
                FlowCounter.allCases.map { workers.total($0, target: target) }
                + ExchangeCounter.allCases.map { workers.application.total($0, target: target) }
        }
        for listener in listeners {
            report.listeners[listener] =
                FlowCounter.allCases.map { workers.total($0, listener: listener) }
                + ExchangeCounter.allCases.map { workers.application.total($0, listener: listener) }
        }
        report.workers = WorkerCounter.allCases.map { counter in
            counter == .droppedAccessLogLines ? droppedLogLineCount : workers.total(counter)
        }
        return report
    }

    func flows(countMax: Int) async -> (flows: [FlowRecord], omittedCount: Int)? {
        // One list at a time: each costs every worker a little of each turn.
        guard await listings.take() else { return nil }
        defer { listings.giveBack() }
        let deadline = ContinuousClock.now + Self.listingTimeout
        var flows: [FlowRecord] = []
        var omittedCount = 0
        for mode in workers.all {
            let collector = FlowCollector(
                countMax: max(0, countMax - flows.count), workerCount: mode.count)
            repeat {
                let isAnswered = await Deadline.wait(until: deadline) { onComplete in
                    mode.list(into: collector, onComplete: onComplete)
                }
                guard isAnswered else { return nil }
            } while !collector.isComplete
            flows += collector.result.flows
            omittedCount += collector.result.omittedCount
        }
        return (flows, omittedCount)
    }

    func drain() async {
        await withCheckedContinuation { continuation in
            workers.drain { continuation.resume() }
        }
    }
}

/// The prober and the stream of what it finds.
final class ProbeControlAdapter: ProbeControl {
    let reports: AsyncStream<ProbeReport>
    private let prober: Prober
    /// What the checks of the next update use.
    private let contexts = Mutex(ProbeContexts())
    private let continuation: AsyncStream<ProbeReport>.Continuation

    init() throws(SystemCallError) {
        // Unbounded: dropping a report could lose a transition. The registry takes them in batches.
        let (reports, continuation) = AsyncStream.makeStream(of: ProbeReport.self)
        prober = try Prober { continuation.yield($0) }
        self.reports = reports
        self.continuation = continuation
    }

    func restore(_ verdicts: [TargetNumber: HealthVerdict]) {
        prober.restore(verdicts)
    }

    func update(_ targets: [ProbeTarget]) {
        prober.update(targets, contexts: contexts.withLock { $0 })
    }

    /// Keeps the contexts for the update that brings the checks which need them.
    ///
    /// Until then the prober goes on with those that its targets have.
    func prepare(_ contexts: ProbeContexts) {
        self.contexts.withLock { $0 = contexts }
    }

    /// Makes new probes of the present targets use other contexts of the same settings.
    func renewTLS(_ contexts: ProbeContexts) {
        prepare(contexts)
        prober.renewTLS(contexts)
    }

    func trafficRefused(_ target: TargetNumber) {
        prober.trafficRefused(target)
    }

    func stop() {
        prober.stop()
        continuation.finish()
    }
}

/// The turn to list flows.
private final class ListingTurn: Sendable {
    private struct State {
        var isTaken = false
        var waiting: [CheckedContinuation<Bool, Never>] = []
    }

    private static let waitingCountMax = 32
    private let state = Mutex(State())

    /// Waits for the turn; false when too many wait already.
    func take() async -> Bool {
        await withCheckedContinuation { continuation in
            let isTaken: Bool? = state.withLock { state in
                guard state.isTaken else {
                    state.isTaken = true
                    return true
                }
                guard state.waiting.count < Self.waitingCountMax else { return false }
                state.waiting.append(continuation)
                return nil
            }
            if let isTaken { continuation.resume(returning: isTaken) }
        }
    }

    /// Hands the turn to whoever waits longest.
    func giveBack() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard !state.waiting.isEmpty else {
                state.isTaken = false
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.resume(returning: true)
    }
}

private enum Deadline {
    /// Waits until `begin`'s completion is called; false when that does not happen in time.
    static func wait(
        until deadline: ContinuousClock.Instant, _ begin: (@escaping @Sendable () -> Void) -> Void
    ) async -> Bool {
        let (completions, continuation) = AsyncStream.makeStream(of: Void.self)
        begin {
            continuation.yield()
            continuation.finish()
        }
        return await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await _ in completions { return true }
                return false
            }
            group.addTask {
                try? await Task.sleep(until: deadline)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
    }
}
