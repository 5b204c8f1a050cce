// What the control plane asks of the data plane, and what comes back.
//
// `weir` supplies both from NetworkMode and HealthChecking; tests supply recorders. The control plane
// itself opens no socket.

import AdminModel
import Balancing

/// Why a binding could not be opened; the text names the address, the cause and the next step.
package struct BindingError: Error, Sendable {
    package let binding: ListenerBinding
    package let message: String

    package init(binding: ListenerBinding, message: String) {
        self.binding = binding
        self.message = message
    }
}

/// All bindings that failed, so that they are reported together.
package struct BindingErrors: Error, Sendable {
    package let errors: [BindingError]

    package init(errors: [BindingError]) {
        self.errors = errors
    }
}

/// Sockets that are open but not served yet. Publish it or abandon it, exactly once.
package struct ListenerTicket: Hashable, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}

/// Totals over all workers at one moment.
package struct CounterReport: Sendable {
    /// For each target number that was asked for: indexed by `FlowCounter.rawValue`, and behind those by
    /// `ExchangeCounter.rawValue`.
    package var targets: [TargetNumber: [UInt64]]
    package var listeners: [ListenerNumber: [UInt64]]
    /// Indexed by `WorkerCounter.rawValue`.
    package var workers: [UInt64]

    package init(
        targets: [TargetNumber: [UInt64]] = [:], listeners: [ListenerNumber: [UInt64]] = [:],
        workers: [UInt64] = [UInt64](repeating: 0, count: WorkerCounter.allCases.count)
    ) {
        self.targets = targets
        self.listeners = listeners
        self.workers = workers
    }
}

package protocol WorkerControl: Sendable {
    var workerCount: Int { get }

    /// Things an operator should know, in one line each: lowered flow limits, source ports above half, …
    var warnings: [String] { get }

    /// Opens the sockets that `bindings` has and the workers do not serve yet. Opens all or none.
    func prepare(_ bindings: [ListenerBinding]) throws(BindingErrors) -> ListenerTicket

    /// Closes what `prepare` opened.
    func abandon(_ ticket: ListenerTicket)

    /// Hands `snapshot` to every worker and returns when every worker routes by it: from then on no new
    /// flow follows an older one. With a ticket, the workers also begin to serve its bindings and cease to
    /// serve those it lacks; live flows go on either way.
    func publish(_ snapshot: RoutingSnapshot, listeners ticket: ListenerTicket?) async

    /// Ends live flows of a target with a reset to both sides; returns when every worker has done so.
    func evict(_ target: TargetNumber, _ eviction: FlowEviction) async

    func counters(targets: [TargetNumber], listeners: [ListenerNumber]) -> CounterReport

    /// At most `countMax` live flows, and how many more there are; nil when the workers do not say in time.
    func flows(countMax: Int) async -> (flows: [FlowRecord], omittedCount: Int)?

    /// Takes what is in the accept queues, then closes all listeners. Live flows go on.
    func drain() async
}

package protocol ProbeControl: Sendable {
    /// Verdicts to begin with, for targets of the next update; each is used once.
    func restore(_ verdicts: [TargetNumber: HealthVerdict])

    /// Makes the prober check exactly these targets. One that stays keeps its state and schedule; a new one,
    /// or one whose check or endpoint changed, is probed at once.
    func update(_ targets: [ProbeTarget])

    /// Every probe's result, in order, until the prober ends.
    var reports: AsyncStream<ProbeReport> { get }
}
