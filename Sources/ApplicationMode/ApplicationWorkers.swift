// Application mode as a whole: its workers, and what they leave for its logs and counters.

import Balancing
import LinuxIO
import Reactor
import Serving

package final class ApplicationWorkers: Sendable {
    package let workers: Workers
    private let counters: [ExchangeCounters]
    private let shelf: RoutingShelf
    /// What the logs' writer empties, one for each worker.
    package let logRings: [ApplicationLogRings]

    /// Starts one worker thread per entry of `processors`; see `Workers.init`.
    ///
    /// - Parameter onThreadStart: Runs first on each worker's thread; tests enter it into their fault plans.
    package init(
        processors: [Int?], settings: WorkerSettings, isHolding: Bool = false,
        onThreadStart: @escaping @Sendable () -> Void = {},
        onTrafficRefused: @escaping @Sendable (TargetNumber) -> Void
    ) throws(SystemCallError) {
        let now = Instant.now
        let shelf = RoutingShelf()
        let counters = processors.map { _ in ExchangeCounters(settings: settings) }
        self.shelf = shelf
        self.counters = counters
        let logRings = processors.map { _ in ApplicationLogRings(settings: settings) }
        self.logRings = logRings
        workers = try Workers(
            threadName: "weir-http", processors: processors, settings: settings, isHolding: isHolding,
            onTrafficRefused: onTrafficRefused
        ) { (core, reactor, place) throws(SystemCallError) in
            let worker = Worker(
                core: core, shelf: shelf, exchangeCounters: counters[place.index],
                logRings: logRings[place.index], now: now)
            return try ReactorThread.start(
                name: place.threadName, processor: place.processor, reactor: reactor, handler: worker,
                onStart: onThreadStart)
        }
    }

    /// As `Workers.publish`. Rules are compiled here, on the caller's thread.
    package func publish(
        _ snapshot: RoutingSnapshot, tls: TLSRouting? = nil, ticket: UInt64?,
        onComplete: @escaping @Sendable () -> Void
    ) {
        _ = shelf.routing(for: snapshot)
        workers.publish(snapshot, tls: tls, ticket: ticket, onComplete: onComplete)
    }

    package func total(_ counter: ExchangeCounter, target: TargetNumber) -> UInt64 {
        counters.reduce(0) { $0 &+ $1.load(counter, target: target) }
    }

    package func total(_ counter: ExchangeCounter, listener: ListenerNumber) -> UInt64 {
        counters.reduce(0) { $0 &+ $1.load(counter, listener: listener) }
    }
}
