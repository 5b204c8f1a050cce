// The data plane as the control plane sees it: workers and prober behind the two control protocols.

import Balancing
import ControlPlane
import HealthChecking
import LinuxIO
import NetworkMode
import Synchronization

/// Network mode's workers, asked with async calls.
final class WorkerControlAdapter: WorkerControl {
    private let workers: Workers
    private let startWarnings: [String]

    /// - Parameter startWarnings: What was found at start and stays true, such as lowered flow limits.
    init(workers: Workers, startWarnings: [String]) {
        self.workers = workers
        self.startWarnings = startWarnings
    }

    var workerCount: Int { workers.count }

    var warnings: [String] { startWarnings + workers.portWarnings }

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
            workers.publish(snapshot, ticket: ticket?.rawValue) { continuation.resume() }
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
            report.targets[target] = FlowCounter.allCases.map { workers.total($0, target: target) }
        }
        for listener in listeners {
            report.listeners[listener] = FlowCounter.allCases.map { workers.total($0, listener: listener) }
        }
        report.workers = WorkerCounter.allCases.map { workers.total($0) }
        return report
    }

    func flows(countMax: Int) async -> (flows: [FlowRecord], omittedCount: Int) {
        let collector = FlowCollector(countMax: countMax)
        await withCheckedContinuation { continuation in
            workers.list(into: collector) { continuation.resume() }
        }
        return collector.result
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
        prober.update(targets)
    }

    func trafficRefused(_ target: TargetNumber) {
        prober.trafficRefused(target)
    }

    func stop() {
        prober.stop()
        continuation.finish()
    }
}
