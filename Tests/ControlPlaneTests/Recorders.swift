// Stand-ins for the data plane: they record what the registry asks for and play the flows that tests script.

import AdminModel
import Balancing
import ControlPlane
import Synchronization

/// Workers that only remember. Publications can be held back, as if a worker were slow to take one.
final class WorkerRecorder: WorkerControl {
    enum Event: Equatable {
        case prepare(ports: [UInt16])
        case abandon
        case publish(version: UInt64, hasListeners: Bool)
        case evict(TargetNumber, FlowEviction)
        case drain
    }

    private struct State {
        var events: [Event] = []
        var snapshot = RoutingSnapshot.empty
        var bindings: [ListenerBinding] = []
        var prepared: [UInt64: [ListenerBinding]] = [:]
        var nextTicket: UInt64 = 0
        var refusedPorts: Set<UInt16> = []
        var targets: [TargetNumber: [UInt64]] = [:]
        var listeners: [ListenerNumber: [UInt64]] = [:]
        var flows: [FlowRecord] = []
        var isHolding = false
        var held: [CheckedContinuation<Void, Never>] = []
        var observers: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    let workerCount = 2
    var warnings: [String] { ["one warning"] }

    // MARK: WorkerControl

    func prepare(_ bindings: [ListenerBinding]) throws(BindingErrors) -> ListenerTicket {
        let result: Result<ListenerTicket, BindingErrors> = state.withLock { state in
            state.events.append(.prepare(ports: bindings.map(\.endpoint.port)))
            let refused = bindings.filter { state.refusedPorts.contains($0.endpoint.port) }
            guard refused.isEmpty else {
                return .failure(
                    BindingErrors(
                        errors: refused.map {
                            BindingError(
                                binding: $0,
                                message: "cannot bind \($0.endpoint): address in use "
                                    + "(EADDRINUSE).")
                        }))
            }
            state.nextTicket += 1
            state.prepared[state.nextTicket] = bindings
            return .success(ListenerTicket(rawValue: state.nextTicket))
        }
        return try result.get()
    }

    func abandon(_ ticket: ListenerTicket) {
        state.withLock { state in
            precondition(state.prepared.removeValue(forKey: ticket.rawValue) != nil, "a ticket is used once")
            state.events.append(.abandon)
        }
    }

    func publish(_ snapshot: RoutingSnapshot, listeners ticket: ListenerTicket?) async {
        if state.withLock({ $0.isHolding }) {
            await withCheckedContinuation { continuation in
                let observers = state.withLock { state in
                    state.held.append(continuation)
                    defer { state.observers = [] }
                    return state.observers
                }
                for observer in observers { observer.resume() }
            }
        }
        state.withLock { state in
            state.events.append(.publish(version: snapshot.version, hasListeners: ticket != nil))
            state.snapshot = snapshot
            if let ticket {
                guard let bindings = state.prepared.removeValue(forKey: ticket.rawValue) else {
                    preconditionFailure("a ticket is used once")
                }
                state.bindings = bindings
            }
        }
    }

    func evict(_ target: TargetNumber, _ eviction: FlowEviction) async {
        state.withLock { state in
            state.events.append(.evict(target, eviction))
            guard var counters = state.targets[target] else { return }
            counters[FlowCounter.activeUDPFlows.rawValue] = 0
            if case .all = eviction { counters[FlowCounter.activeTCPFlows.rawValue] = 0 }
            state.targets[target] = counters
        }
    }

    func counters(targets: [TargetNumber], listeners: [ListenerNumber]) -> CounterReport {
        state.withLock { state in
            let zero = [UInt64](repeating: 0, count: FlowCounter.allCases.count)
            var report = CounterReport()
            for number in targets { report.targets[number] = state.targets[number] ?? zero }
            for number in listeners { report.listeners[number] = state.listeners[number] ?? zero }
            report.workers[WorkerCounter.staleEvents.rawValue] = 7
            return report
        }
    }

    func flows(countMax: Int) async -> (flows: [FlowRecord], omittedCount: Int)? {
        state.withLock { (Array($0.flows.prefix(countMax)), max(0, $0.flows.count - countMax)) }
    }

    func drain() async {
        state.withLock { $0.events.append(.drain) }
    }

    // MARK: For tests

    var events: [Event] { state.withLock { $0.events } }
    var snapshot: RoutingSnapshot { state.withLock { $0.snapshot } }
    var bindings: [ListenerBinding] { state.withLock { $0.bindings } }
    var openTicketCount: Int { state.withLock { $0.prepared.count } }

    func forgetEvents() { state.withLock { $0.events = [] } }
    func refuse(ports: Set<UInt16>) { state.withLock { $0.refusedPorts = ports } }
    func setFlows(_ flows: [FlowRecord]) { state.withLock { $0.flows = flows } }

    func holdPublications() { state.withLock { $0.isHolding = true } }

    /// Returns once a publication waits for its workers.
    func waitForHeldPublication() async {
        await withCheckedContinuation { continuation in
            let isHeld = state.withLock { state in
                if state.held.isEmpty { state.observers.append(continuation) }
                return !state.held.isEmpty
            }
            if isHeld { continuation.resume() }
        }
    }

    func releasePublications() {
        let held = state.withLock { state in
            state.isHolding = false
            defer { state.held = [] }
            return state.held
        }
        for continuation in held { continuation.resume() }
    }

    /// Lets flows of a target begin or end; bytes count with each new one.
    func addFlows(_ count: Int, to target: TargetNumber, transport: Transport = .tcp) {
        state.withLock { state in
            var counters = state.targets[target] ?? [UInt64](repeating: 0, count: FlowCounter.allCases.count)
            let (active, new) =
                transport == .tcp
                ? (FlowCounter.activeTCPFlows, FlowCounter.newTCPFlows)
                : (FlowCounter.activeUDPFlows, FlowCounter.newUDPFlows)
            counters[active.rawValue] &+= UInt64(bitPattern: Int64(count))
            if count > 0 {
                counters[new.rawValue] += UInt64(count)
                counters[FlowCounter.clientBytesTCP.rawValue] += UInt64(count) * 100
            }
            state.targets[target] = counters
        }
    }

    func addListenerFlows(_ count: Int, to listener: ListenerNumber) {
        state.withLock { state in
            var counters =
                state.listeners[listener] ?? [UInt64](repeating: 0, count: FlowCounter.allCases.count)
            counters[FlowCounter.activeTCPFlows.rawValue] &+= UInt64(bitPattern: Int64(count))
            if count > 0 { counters[FlowCounter.newTCPFlows.rawValue] += UInt64(count) }
            state.listeners[listener] = counters
        }
    }

    func hasLiveFlows(_ target: TargetNumber) -> Bool {
        state.withLock { state in
            guard let counters = state.targets[target] else { return false }
            return counters[FlowCounter.activeTCPFlows.rawValue]
                + counters[FlowCounter.activeUDPFlows.rawValue] > 0
        }
    }

    /// Every target that a new flow may be given now.
    var routedTargets: Set<TargetNumber> { Set(snapshot.groups.flatMap(\.targets)) }

    var routedEndpoints: [String] {
        let snapshot = snapshot
        return routedTargets.compactMap { snapshot.endpoints[Int($0.rawValue)]?.description }.sorted()
    }
}

/// A prober whose reports the test writes.
final class ProbeRecorder: ProbeControl {
    private let current = Mutex<[ProbeTarget]>([])
    let restored = Mutex<[TargetNumber: HealthVerdict]>([:])
    private let continuation: AsyncStream<ProbeReport>.Continuation
    let reports: AsyncStream<ProbeReport>

    init() {
        (reports, continuation) = AsyncStream.makeStream()
    }

    func restore(_ verdicts: [TargetNumber: HealthVerdict]) { restored.withLock { $0 = verdicts } }
    func update(_ targets: [ProbeTarget]) { current.withLock { $0 = targets } }

    var targets: [ProbeTarget] { current.withLock { $0 } }
    var endpoints: [String] { targets.map(\.endpoint.description).sorted() }

    func send(_ report: ProbeReport) { continuation.yield(report) }
    func finish() { continuation.finish() }
}

/// Time that moves only when told to.
final class VirtualClock: Sendable {
    private let nanoseconds = Mutex<UInt64>(1_000_000_000)

    var clock: RegistryClock {
        RegistryClock(
            now: { self.now }, secondsSince1970: { Double(self.now.nanoseconds) / 1e9 },
            sleep: { duration in
                try Task.checkCancellation()
                self.advance(milliseconds: UInt64(duration / .milliseconds(1)))
                await Task.yield()
            })
    }

    var now: Instant { Instant(nanoseconds: nanoseconds.withLock { $0 }) }

    func advance(seconds: UInt64) { advance(milliseconds: seconds * 1_000) }
    func advance(milliseconds: UInt64) { nanoseconds.withLock { $0 += milliseconds * 1_000_000 } }
}
