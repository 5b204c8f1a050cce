// Live flows as people see them, and which of them are to end.

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
        key: FlowKey, listener: ListenerNumber, target: TargetNumber, state: FlowState,
        ageNanoseconds: UInt64,
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
