// Live flows as people see them, and which of them are to end.

public enum FlowState: String, Sendable {
    case connecting
    case established
    case halfClosed = "half-closed"
    case unanswered
    case answered
}

/// One live flow, as `weir flows` shows it.
public struct FlowRecord: Sendable {
    public var key: FlowKey
    public var listener: ListenerNumber
    public var target: TargetNumber
    public var state: FlowState
    public var ageNanoseconds: UInt64
    public var idleNanoseconds: UInt64
    public var clientBytes: UInt64
    public var targetBytes: UInt64
    public var worker: Int

    public init(
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
public enum FlowEviction: Sendable {
    /// TCP and UDP: the deregistration delay is over.
    case all
    /// UDP only: the target turned unhealthy and each next datagram is to find another.
    case datagramFlows
}
