// Network mode as a whole: its workers, and what they leave for its access log.

import Balancing
import LinuxIO
import Reactor
import Serving
import TLSTermination

package struct NetworkWorkers: Sendable {
    package let workers: Workers
    /// What the access log's writer empties, one for each worker.
    package let accessRings: [RecordRing<AccessRecord>]

    /// Starts one worker thread per entry of `processors`; see `Workers.init`.
    ///
    /// - Parameters:
    ///   - onThreadStart: Runs first on each worker's thread; tests enter it into their fault plans.
    ///   - onTrafficRefused: Runs on a worker when a target answered datagrams with ICMP port
    ///     unreachable, at most once a second per target and worker. It must not block.
    package init(
        processors: [Int?], settings: WorkerSettings, isHolding: Bool = false,
        onThreadStart: @escaping @Sendable () -> Void = {},
        onTrafficRefused: @escaping @Sendable (TargetNumber) -> Void
    ) throws(SystemCallError) {
        let now = Instant.now
        let rings = processors.map { _ in
            RecordRing<AccessRecord>(capacity: settings.accessLogRecordCountMax)
        }
        accessRings = rings
        workers = try Workers(
            threadName: "weir-worker", processors: processors, settings: settings, isHolding: isHolding,
            onTrafficRefused: onTrafficRefused
        ) { (core, reactor, place) throws(SystemCallError) in
            let worker = try Worker(core: core, accessRing: rings[place.index], now: now)
            return try ReactorThread.start(
                name: place.threadName, processor: place.processor, reactor: reactor, handler: worker,
                onStart: onThreadStart)
        }
    }
}
