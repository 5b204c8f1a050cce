// What the control plane asks of the data plane, and what comes back.
//
// `weir` supplies both from NetworkMode and HealthChecking; tests supply recorders. The control plane
// itself opens no socket.

import AdminModel
import Balancing

/// One socket address to serve: a listener has one for each address and transport.
package struct ListenerBinding: Hashable, Sendable {
    package let number: ListenerNumber
    package let endpoint: Endpoint
    package let transport: Transport
    package let isFreebind: Bool

    package init(number: ListenerNumber, endpoint: Endpoint, transport: Transport, isFreebind: Bool) {
        self.number = number
        self.endpoint = endpoint
        self.transport = transport
        self.isFreebind = isFreebind
    }
}

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
    /// Indexed by `FlowCounter.rawValue`, for each target number that was asked for.
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

package enum FlowState: String, Sendable {
    case connecting
    case established
    case halfClosed = "half-closed"
    case unanswered
    case answered
}

/// One live flow, as `weir flows` shows it.
package struct FlowRecord: Sendable {
    package var key: FlowKey
    package var listener: ListenerNumber
    package var target: TargetNumber
    package var state: FlowState
    package var ageNanoseconds: UInt64
    package var idleNanoseconds: UInt64
    package var clientBytes: UInt64
    package var targetBytes: UInt64
    package var worker: Int

    package init(
        key: FlowKey, listener: ListenerNumber, target: TargetNumber, state: FlowState, ageNanoseconds: UInt64,
        idleNanoseconds: UInt64, clientBytes: UInt64, targetBytes: UInt64, worker: Int
    ) {
        self.key = key
        self.listener = listener
        self.target = target
        self.state = state
        self.ageNanoseconds = ageNanoseconds
        self.idleNanoseconds = idleNanoseconds
        self.clientBytes = clientBytes
        self.targetBytes = targetBytes
        self.worker = worker
    }
}

/// Which live flows of a target are to end.
package enum FlowEviction: Sendable {
    /// TCP and UDP: the deregistration delay is over.
    case all
    /// UDP only: the target turned unhealthy and each next datagram is to find another.
    case datagramFlows
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

    /// At most `countMax` live flows, and how many more there are.
    func flows(countMax: Int) async -> (flows: [FlowRecord], omittedCount: Int)

    /// Takes what is in the accept queues, then closes all listeners. Live flows go on.
    func drain() async
}

/// One target for the prober.
package struct ProbeTarget: Sendable, Hashable {
    package let number: TargetNumber
    /// Where to probe: the target's address and the health check's port.
    package let endpoint: Endpoint
    package let check: HealthCheck

    package init(number: TargetNumber, endpoint: Endpoint, check: HealthCheck) {
        self.number = number
        self.endpoint = endpoint
        self.check = check
    }
}

/// What the prober says after each probe of a target.
package struct ProbeReport: Sendable {
    package let number: TargetNumber
    package let outcome: ProbeOutcome
    package let latencyNanoseconds: UInt64
    /// The verdict of the target's health machine after this probe.
    package let verdict: HealthVerdict
    /// True when `verdict` differs from the one before.
    package let isTransition: Bool

    package init(
        number: TargetNumber, outcome: ProbeOutcome, latencyNanoseconds: UInt64, verdict: HealthVerdict,
        isTransition: Bool
    ) {
        self.number = number
        self.outcome = outcome
        self.latencyNanoseconds = latencyNanoseconds
        self.verdict = verdict
        self.isTransition = isTransition
    }
}

package protocol ProbeControl: Sendable {
    /// Makes the prober check exactly these targets. One that stays keeps its state and schedule; a new one,
    /// or one whose check or endpoint changed, is probed at once.
    func update(_ targets: [ProbeTarget])

    /// Every probe's result, in order, until the prober ends.
    var reports: AsyncStream<ProbeReport> { get }
}
