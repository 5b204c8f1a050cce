// What a worker is given at its start and keeps for life.

import Balancing
import LinuxIO

public struct WorkerSettings: Sendable {
    /// Flows over all workers; each worker's slab could hold them all, but takes memory only as used.
    public var tcpFlowCountMax: Int
    public var udpFlowCountMax: Int
    public var targetNumberCountMax: Int
    public var listenerNumberCountMax: Int
    /// See tcp(7), TCP_CONGESTION; nil keeps the system's default. Clients inherit theirs from the listener.
    public var clientCongestionControl: String?
    public var targetCongestionControl: String?
    public var udpIdleTimeoutSeconds: Int
    public var ephemeralPorts = Machine.ephemeralPorts()
    /// TLS handshakes with clients: how long one may take, and how many each worker has under way.
    public var handshakeTimeoutSeconds = Limits.handshakeTimeoutSeconds
    public var handshakeCountMax = Limits.handshakeCountMax
    /// Connections of TLS listeners whose log lines may wait to be written, in each worker.
    public var accessLogRecordCountMax = Limits.accessLogRecordsPerWorker
    /// The same for exchanges of application listeners.
    public var exchangeLogRecordCountMax = Limits.exchangeLogRecordsPerWorker

    package init(
        tcpFlowCountMax: Int = Limits.tcpFlowCountDefault, udpFlowCountMax: Int = Limits.udpFlowCountDefault,
        targetNumberCountMax: Int = Limits.targetNumberCountMax,
        listenerNumberCountMax: Int = Limits.listenerNumberCountMax,
        clientCongestionControl: String? = nil, targetCongestionControl: String? = nil,
        udpIdleTimeoutSeconds: Int = Limits.udpIdleTimeoutSeconds
    ) {
        self.tcpFlowCountMax = tcpFlowCountMax
        self.udpFlowCountMax = udpFlowCountMax
        self.targetNumberCountMax = targetNumberCountMax
        self.listenerNumberCountMax = listenerNumberCountMax
        self.clientCongestionControl = clientCongestionControl
        self.targetCongestionControl = targetCongestionControl
        self.udpIdleTimeoutSeconds = udpIdleTimeoutSeconds
    }

    /// Lowers the flow limits to what `descriptorLimit` open files can carry.
    ///
    /// A TCP flow takes two descriptors and a UDP flow one. When not all fits, TCP gets three quarters, so
    /// that a flood of datagrams never takes the descriptors of connections. Returns a line for the operator
    /// when something was lowered.
    package mutating func fit(descriptorLimit: Int) -> String? {
        let reserved = min(Limits.reservedDescriptorCount, descriptorLimit / 4)
        let available = descriptorLimit - reserved
        guard tcpFlowCountMax * 2 + udpFlowCountMax > available else { return nil }
        let wanted = (tcp: tcpFlowCountMax, udp: udpFlowCountMax)
        udpFlowCountMax = min(udpFlowCountMax, max(available / 4, available - tcpFlowCountMax * 2))
        tcpFlowCountMax = min(tcpFlowCountMax, (available - udpFlowCountMax) / 2)
        return
            "\(descriptorLimit) open files allow \(tcpFlowCountMax) TCP flows (configured \(wanted.tcp)) and "
            + "\(udpFlowCountMax) UDP flows (configured \(wanted.udp)); for all of them raise the limit "
            + "(LimitNOFILE= or ulimit -n) to \(wanted.tcp * 2 + wanted.udp + Limits.reservedDescriptorCount)"
    }
}

/// How many flows live over all workers: each writes its own row and reads the others'.
public struct FlowCensus: Sendable {
    private let table: CounterTable

    package init(workerCount: Int) {
        table = CounterTable(rowCount: workerCount, columnCount: 2)
    }

    var workerCount: Int { table.rowCount }

    public func change(_ transport: Transport, by amount: Int, worker: Int) {
        table.add(amount, row: worker, column: column(transport))
    }

    public func count(_ transport: Transport) -> Int {
        var sum: UInt64 = 0
        for row in 0..<table.rowCount { sum &+= table.load(row: row, column: column(transport)) }
        return Int(truncatingIfNeeded: sum)
    }

    private func column(_ transport: Transport) -> Int { transport == .tcp ? 0 : 1 }
}

/// The counters of one worker; others read them.
///
/// Its methods are inlinable: without that word the optimizer leaves them as calls, several for each step of a flow.
public struct WorkerCounters: Sendable {
    public let targets: CounterTable
    public let listeners: CounterTable
    public let worker: CounterTable
    /// Local ports in use per target (row) and source address (column; 0 is the kernel's choice).
    public let ports: CounterTable

    init(settings: WorkerSettings) {
        targets = CounterTable(
            rowCount: settings.targetNumberCountMax, columnCount: FlowCounter.allCases.count)
        listeners = CounterTable(
            rowCount: settings.listenerNumberCountMax, columnCount: FlowCounter.allCases.count)
        worker = CounterTable(rowCount: 1, columnCount: WorkerCounter.allCases.count)
        ports = CounterTable(
            rowCount: settings.targetNumberCountMax, columnCount: Limits.sourceAddressCountMax + 1)
    }

    @inlinable @inline(__always)
    public func add(_ amount: Int, _ counter: FlowCounter, target: TargetNumber) {
        targets.add(amount, row: Int(target.rawValue), column: counter.rawValue)
    }

    @inlinable @inline(__always)
    public func add(_ amount: Int, _ counter: FlowCounter, listener: ListenerNumber) {
        listeners.add(amount, row: Int(listener.rawValue), column: counter.rawValue)
    }

    @inlinable @inline(__always)
    public func add(_ amount: Int, _ counter: FlowCounter, target: TargetNumber, listener: ListenerNumber) {
        add(amount, counter, target: target)
        add(amount, counter, listener: listener)
    }

    @inlinable @inline(__always)
    public func add(_ amount: Int, _ counter: WorkerCounter) {
        worker.add(amount, row: 0, column: counter.rawValue)
    }
}
