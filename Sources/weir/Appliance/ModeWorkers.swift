// The workers of both modes, asked as one: each listener belongs to one of them, a snapshot to both.

import ApplicationMode
import Balancing
import LinuxIO
import NetworkMode
import Reactor
import Serving
import Synchronization

final class ModeWorkers: Sendable {
    let network: NetworkWorkers
    let application: ApplicationWorkers
    private let tickets = Mutex(Tickets())

    private struct Tickets {
        var open: [UInt64: (network: UInt64, application: UInt64)] = [:]
        var next: UInt64 = 1
    }

    /// Starts a worker of each mode per entry of `processors`.
    init(
        processors: [Int?], settings: WorkerSettings, isHolding: Bool,
        onTrafficRefused: @escaping @Sendable (TargetNumber) -> Void
    ) throws(SystemCallError) {
        network = try NetworkWorkers(
            processors: processors, settings: settings, isHolding: isHolding,
            onTrafficRefused: onTrafficRefused)
        application = try ApplicationWorkers(
            processors: processors, settings: settings, isHolding: isHolding,
            onTrafficRefused: onTrafficRefused)
    }

    /// How many workers each mode has.
    var count: Int { network.workers.count }

    /// Network mode's first.
    var all: [Workers] { [network.workers, application.workers] }

    /// Completes when both modes have.
    private func both(
        _ onComplete: @escaping @Sendable () -> Void, _ ask: (Workers, @escaping @Sendable () -> Void) -> Void
    ) {
        let receipt = Receipt(count: all.count, onComplete: onComplete)
        for workers in all { ask(workers) { receipt.acknowledge() } }
    }

    // MARK: - Listeners

    /// Opens what `bindings` has and nobody serves yet. Opens all or none; `publish` or `abandon` the ticket.
    func prepare(_ bindings: [ListenerBinding]) throws(ListenerOpenErrors) -> UInt64 {
        let ofNetwork = try network.workers.prepare(
            bindings.filter { $0.mode == .network }, besides: [application.workers])
        let ofApplication: UInt64
        do throws(ListenerOpenErrors) {
            ofApplication = try application.workers.prepare(
                bindings.filter { $0.mode == .application }, besides: [network.workers])
        } catch {
            network.workers.abandon(ticket: ofNetwork)
            throw error
        }
        return tickets.withLock { tickets in
            defer { tickets.next += 1 }
            tickets.open[tickets.next] = (ofNetwork, ofApplication)
            return tickets.next
        }
    }

    func abandon(ticket: UInt64) {
        guard let own = tickets.withLock({ $0.open.removeValue(forKey: ticket) }) else { return }
        network.workers.abandon(ticket: own.network)
        application.workers.abandon(ticket: own.application)
    }

    func publish(
        _ snapshot: RoutingSnapshot, tls: TLSRouting, ticket: UInt64?,
        onComplete: @escaping @Sendable () -> Void
    ) {
        let own = ticket.flatMap { ticket in tickets.withLock { $0.open.removeValue(forKey: ticket) } }
        let receipt = Receipt(count: 2, onComplete: onComplete)
        network.workers.publish(snapshot, tls: tls, ticket: own?.network) { receipt.acknowledge() }
        application.publish(snapshot, tls: tls, ticket: own?.application) { receipt.acknowledge() }
    }

    func renewTLS(
        _ routing: (RoutingSnapshot) -> TLSRouting, onComplete: @escaping @Sendable () -> Void
    ) {
        both(onComplete) { workers, done in workers.renewTLS(routing, onComplete: done) }
    }

    // MARK: - Flows

    func evict(
        _ target: TargetNumber, _ eviction: FlowEviction, onComplete: @escaping @Sendable () -> Void
    ) {
        both(onComplete) { workers, done in workers.evict(target, eviction, onComplete: done) }
    }

    func drain(onComplete: @escaping @Sendable () -> Void) {
        both(onComplete) { workers, done in workers.drain(onComplete: done) }
    }

    /// Ends all flows with a reset and waits for the threads. Call once, last.
    func stop() {
        for workers in all { workers.stop() }
    }

    // MARK: - Hand-over

    func inherit(_ sockets: InheritedSockets) {
        for workers in all { workers.inherit(sockets) }
    }

    func openLackingShares() -> [ListenerOpenError] {
        all.flatMap { $0.openLackingShares() }
    }

    func resume(onComplete: @escaping @Sendable () -> Void) {
        both(onComplete) { workers, done in workers.resume(onComplete: done) }
    }

    func listShares(into collector: HandOverCollector, onComplete: @escaping @Sendable () -> Void) {
        both(onComplete) { workers, done in workers.listShares(into: collector, onComplete: done) }
    }

    func handOver(to collector: HandOverCollector, onComplete: @escaping @Sendable () -> Void) {
        both(onComplete) { workers, done in workers.handOver(to: collector, onComplete: done) }
    }

    /// Only network mode has flows that can be handed over.
    func takeBack(_ collector: HandOverCollector, onComplete: @escaping @Sendable () -> Void) {
        network.workers.takeBack(collector, onComplete: onComplete)
    }

    func adopt(_ flows: [AdoptedFlow], onComplete: @escaping @Sendable () -> Void) {
        network.workers.adopt(flows, onComplete: onComplete)
    }

    func release(onComplete: @escaping @Sendable () -> Void) {
        both(onComplete) { workers, done in workers.release(onComplete: done) }
    }

    // MARK: - Counters

    func total(_ counter: FlowCounter, target: TargetNumber) -> UInt64 {
        all.reduce(0) { $0 &+ $1.total(counter, target: target) }
    }

    func total(_ counter: FlowCounter, listener: ListenerNumber) -> UInt64 {
        all.reduce(0) { $0 &+ $1.total(counter, listener: listener) }
    }

    /// The sum over both modes, but the smaller version of `snapshotVersion`.
    func total(_ counter: WorkerCounter) -> UInt64 {
        let totals = all.map { $0.total(counter) }
        return counter == .snapshotVersion ? totals.min() ?? 0 : totals.reduce(0, &+)
    }

    var portWarnings: [String] { all.flatMap(\.portWarnings) }
    var warnings: [String] { portWarnings + network.workers.clientAddressWarnings }
}
