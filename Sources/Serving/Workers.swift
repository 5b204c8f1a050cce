// All workers of one mode: one thread per allowed processor, and the door to them.
//
// What is called here runs on the caller's thread; what it asks for happens in the workers' turns, and
// completion closures run on the last worker that took part.

import Balancing
import LinuxIO
import Reactor
import Synchronization

/// Why bindings could not be opened: all failures, not the first.
package struct ListenerOpenErrors: Error, Sendable {
    package let errors: [ListenerOpenError]
}

/// Where one worker of a mode runs.
package struct WorkerPlace: Sendable {
    package let index: Int
    package let threadName: String
    /// Pins the thread; nil leaves it to the scheduler.
    package let processor: Int?
}

package final class Workers: Sendable {
    private struct State {
        var served: Set<ListenerBinding> = []
        var prepared: [UInt64: Prepared] = [:]
        var nextTicket: UInt64 = 1
        var snapshot = RoutingSnapshot.empty
        var inheritance = Inheritance()
        /// Up to here connections from clients' own addresses have been answered, and what timed out before is past.
        var seenPreservedConnectionCount: UInt64 = 0
        var forgivenTimeoutCount: UInt64 = 0
    }

    /// Sockets that are open but belong to no worker yet.
    private struct Prepared {
        var opened: [(binding: ListenerBinding, shares: [PlacedSocket])]
        var wanted: Set<ListenerBinding>
    }

    package let count: Int
    package let census: FlowCensus
    let settings: WorkerSettings
    let mailboxes: [Mailbox<WorkerMessage>]
    private let counters: [WorkerCounters]
    private let threads: [DataPlaneThread]
    private let state = Mutex(State())

    /// Starts the thread of one worker, by `ReactorThread.start` with a worker of the mode's own type.
    ///
    /// The mode does it itself, because there the compiler knows that type and makes a loop for it alone.
    package typealias Starter = (
        _ core: consuming sending WorkerCore, _ reactor: consuming sending Reactor<WorkerMessage>,
        _ place: WorkerPlace
    ) throws(SystemCallError) -> DataPlaneThread

    /// Starts one worker thread per entry of `processors`, pinned to it.
    ///
    /// - Parameters:
    ///   - threadName: At most 12 bytes; the worker's index follows.
    ///   - isHolding: The workers take nothing from their listeners until `resume`.
    ///   - onTrafficRefused: Runs on a worker when a target refused real traffic, at most once a second per target
    ///     and worker. It must not block.
    package init(
        threadName: String, processors: [Int?], settings: WorkerSettings, isHolding: Bool = false,
        onTrafficRefused: @escaping @Sendable (TargetNumber) -> Void, start: Starter
    ) throws(SystemCallError) {
        // Unlike send(2), splice(2) to a socket that was reset has no flag against SIGPIPE.
        Machine.ignoreBrokenPipes()
        count = processors.count
        self.settings = settings
        census = FlowCensus(workerCount: processors.count)
        var mailboxes: [Mailbox<WorkerMessage>] = []
        var counters: [WorkerCounters] = []
        var threads: [DataPlaneThread] = []
        for (index, processor) in processors.enumerated() {
            let mailbox = try Mailbox<WorkerMessage>()
            let own = WorkerCounters(settings: settings)
            let reactor = try Reactor(mailbox: mailbox)
            let core = WorkerCore(
                index: index, settings: settings, counters: own, census: census,
                epoll: reactor.registrations, isHolding: isHolding, onTrafficRefused: onTrafficRefused)
            let place = WorkerPlace(
                index: index, threadName: "\(threadName)-\(index)", processor: processor)
            threads.append(try start(core, reactor, place))
            mailboxes.append(mailbox)
            counters.append(own)
        }
        self.mailboxes = mailboxes
        self.counters = counters
        self.threads = threads
    }

    // MARK: - Listeners

    /// Opens what `bindings` has and no worker serves yet. Opens all or none; `publish` or `abandon` the ticket.
    ///
    /// - Parameter others: Those of other modes in this process, from whom these take an address over when a
    ///   listener has changed its mode.
    package func prepare(
        _ bindings: [ListenerBinding], besides others: [Workers] = []
    ) throws(ListenerOpenErrors) -> UInt64 {
        let served = state.withLock { $0.served }
        let ownAddresses = others.reduce(into: Self.addresses(of: served)) { addresses, other in
            addresses.formUnion(Self.addresses(of: other.state.withLock { $0.served }))
        }
        var opened: [(binding: ListenerBinding, shares: [PlacedSocket])] = []
        var errors: [ListenerOpenError] = []
        for binding in bindings where !served.contains(binding) {
            if let inherited = withInheritance({ $0.claim(binding, workerCount: count) }) {
                for placed in inherited {
                    ListenerSockets.adapt(
                        placed.socket, to: binding, congestionControl: settings.clientCongestionControl)
                }
                opened.append((binding, inherited))
                continue
            }
            do {
                let isOwn = ownAddresses.contains(
                    OwnAddress(endpoint: binding.endpoint, transport: binding.transport))
                let shares = try ListenerSockets.open(
                    binding, workerCount: count, congestionControl: settings.clientCongestionControl,
                    isSharedWithOwn: isOwn)
                opened.append(
                    (
                        binding,
                        shares.enumerated().map { PlacedSocket(worker: $0, share: 0, socket: $1) }
                    ))
            } catch {
                errors.append(error)
            }
        }
        guard errors.isEmpty else {
            for (_, shares) in opened { for share in shares { share.socket.close() } }
            throw ListenerOpenErrors(errors: errors)
        }
        let prepared = Prepared(opened: opened, wanted: Set(bindings))
        return state.withLock { state in
            let ticket = state.nextTicket
            state.nextTicket += 1
            state.prepared[ticket] = prepared
            return ticket
        }
    }

    private struct OwnAddress: Hashable {
        let endpoint: Endpoint
        let transport: Transport
    }

    private static func addresses(of bindings: Set<ListenerBinding>) -> Set<OwnAddress> {
        Set(bindings.map { OwnAddress(endpoint: $0.endpoint, transport: $0.transport) })
    }

    package func abandon(ticket: UInt64) {
        guard let prepared = state.withLock({ $0.prepared.removeValue(forKey: ticket) }) else { return }
        for (_, shares) in prepared.opened { for share in shares { share.socket.close() } }
    }

    // MARK: - Asking workers

    /// Hands the snapshot, and the listeners of a ticket, to every worker; completes when all route by it.
    ///
    /// - Parameter tls: The contexts for the snapshot's listeners and groups; nil keeps those of before.
    package func publish(
        _ snapshot: RoutingSnapshot, tls: TLSRouting? = nil, ticket: UInt64?,
        onComplete: @escaping @Sendable () -> Void
    ) {
        let changes = state.withLock { state -> [ListenerChange?] in
            state.snapshot = snapshot
            guard let ticket, let prepared = state.prepared.removeValue(forKey: ticket) else {
                return [ListenerChange?](repeating: nil, count: count)
            }
            let closed = Array(state.served.subtracting(prepared.wanted))
            state.served = prepared.wanted
            return (0..<count).map { index in
                ListenerChange(
                    opened: prepared.opened.flatMap { binding, shares in
                        shares.filter { $0.worker == index }.map { (binding, $0.share, $0.socket) }
                    }, closed: closed)
            }
        }
        let receipt = Receipt(count: count, onComplete: onComplete)
        for (mailbox, change) in zip(mailboxes, changes) {
            mailbox.post(.publish(snapshot, tls: tls, listeners: change, receipt))
        }
    }

    /// New contexts for the snapshot that is routed by; completes when all workers begin handshakes with them.
    package func renewTLS(
        _ routing: (RoutingSnapshot) -> TLSRouting, onComplete: @escaping @Sendable () -> Void
    ) {
        let snapshot = state.withLock { $0.snapshot }
        publish(snapshot, tls: routing(snapshot), ticket: nil, onComplete: onComplete)
    }

    package func evict(
        _ target: TargetNumber, _ eviction: FlowEviction, onComplete: @escaping @Sendable () -> Void
    ) {
        postToAll(onComplete) { .evict(target, eviction, $0) }
    }

    /// Adds a part of each worker's live flows; call again until the collector is complete.
    package func list(into collector: FlowCollector, onComplete: @escaping @Sendable () -> Void) {
        postToAll(onComplete) { .list(collector, $0) }
    }

    /// Serves what is queued and closes the TCP listeners; UDP flows go on, new ones are not admitted.
    package func drain(onComplete: @escaping @Sendable () -> Void) {
        postToAll(onComplete) { .drain($0) }
    }

    func withInheritance<Result>(_ body: (inout Inheritance) -> Result) -> Result {
        state.withLock { body(&$0.inheritance) }
    }

    func postToAll(
        _ onComplete: @escaping @Sendable () -> Void, _ message: (Receipt) -> WorkerMessage
    ) {
        let receipt = Receipt(count: count, onComplete: onComplete)
        for mailbox in mailboxes { mailbox.post(message(receipt)) }
    }

    /// Ends all flows with a reset and waits for the threads. Call once, last.
    package func stop() {
        for mailbox in mailboxes { mailbox.post(.stop) }
        for thread in threads { thread.join() }
    }

    // MARK: - Counters

    package func total(_ counter: FlowCounter, target: TargetNumber) -> UInt64 {
        counters.reduce(0) { sum, own in
            sum &+ own.targets.load(row: Int(target.rawValue), column: counter.rawValue)
        }
    }

    package func total(_ counter: FlowCounter, listener: ListenerNumber) -> UInt64 {
        counters.reduce(0) { sum, own in
            sum &+ own.listeners.load(row: Int(listener.rawValue), column: counter.rawValue)
        }
    }

    /// The sum over all workers, but the smallest version of `snapshotVersion`.
    package func total(_ counter: WorkerCounter) -> UInt64 {
        let values = counters.map { $0.worker.load(row: 0, column: counter.rawValue) }
        return counter == .snapshotVersion ? values.min() ?? 0 : values.reduce(0, &+)
    }

    /// One line per (source, target) that has taken more than half of its local ports, TIME_WAIT included.
    package var portWarnings: [String] {
        let snapshot = state.withLock { $0.snapshot }
        let threshold = settings.ephemeralPorts.count * Limits.ephemeralPortUseWarningPercent / 100
        var warnings: [String] = []
        for (number, endpoint) in snapshot.endpoints.enumerated() {
            guard let endpoint else { continue }
            for column in 0...snapshot.sourceAddresses.count {
                let used = counters.reduce(0) { sum, own in
                    sum &+ own.ports.load(row: number, column: column)
                }
                guard used > threshold else { continue }
                let source =
                    column == 0 ? "the default source address" : "\(snapshot.sourceAddresses[column - 1])"
                warnings.append(
                    "\(used) of \(settings.ephemeralPorts.count) local ports from \(source) to target \(endpoint) are in use "
                        + "(TIME_WAIT included); connecting gets slow past half. Add addresses to source_addresses "
                        + "or widen net.ipv4.ip_local_port_range.")
            }
        }
        return warnings
    }

    /// Says when connections from clients' own addresses go unanswered, until one that is answered has been seen.
    package var clientAddressWarnings: [String] {
        let connectionCount = total(WorkerCounter.preservedConnections)
        let timeoutCount = total(WorkerCounter.preservedTimeouts)
        let count = state.withLock { state in
            if connectionCount > state.seenPreservedConnectionCount {
                state.seenPreservedConnectionCount = connectionCount
                state.forgivenTimeoutCount = timeoutCount
            }
            // Another caller may have read later, and forgiven more.
            return timeoutCount - min(timeoutCount, state.forgivenTimeoutCount)
        }
        guard count >= Limits.preservedTimeoutsBeforeWarning else { return [] }
        return [
            "The last \(count) connections to targets from their clients' own addresses had no answer in time "
                + "(preserve_client_ip.enabled). Run \"weir network setup FILE\" on this machine, and let targets "
                + "route through it what they answer to clients."
        ]
    }
}
