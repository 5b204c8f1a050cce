// What a worker does with messages and listeners, written once for all modes.
//
// Nothing here is called for a connection or a byte: the modes' own `handle` and `finishTurn` are, which use
// WorkerCore directly, and so pay for no witness table.

import Balancing
import LinuxIO
import Reactor

/// A mode's worker. The mode says what becomes of connections and flows; the rest is here.
package protocol ServingWorker: TurnHandler & ~Copyable where Message == WorkerMessage {
    var core: WorkerCore { get set }

    /// Takes connections from a TCP listener's queue, at most `countMax`; returns how many there were.
    mutating func acceptPending(from position: Int, countMax: Int, at now: Instant) -> Int

    /// A target leaves: its flows end, or go elsewhere.
    mutating func evict(_ target: TargetNumber, _ eviction: FlowEviction, at now: Instant)

    /// Adds live flows to the collector, from as many slots as it asks for.
    mutating func list(into collector: FlowCollector, at now: Instant)

    /// Between two turns: new flows are routed by `next` from now on. `core.snapshot` is still the former one, new
    /// listeners are open, and connections of closed ones have been taken.
    mutating func snapshotWillChange(to next: RoutingSnapshot, at now: Instant)

    /// `core.snapshot` has changed.
    mutating func snapshotDidChange(at now: Instant)

    /// The listener in this slot is closed, so that flows which answer through its socket must end.
    mutating func listenerClosed(_ position: Int)

    /// Gives flows that another process can go on with to the collector; nothing is taken from listeners any more.
    mutating func giveFlows(to collector: HandOverCollector)

    /// Goes on with flows of another process. One that finds no room ends, as if its client had fallen silent.
    mutating func adopt(_ adopted: [(flow: AdoptedFlow, share: ListenerShare)], at now: Instant)

    /// No connection is taken any more, `core.isDraining` is true: who lives on ends as soon as is polite.
    mutating func drainDidBegin(at now: Instant)

    /// Ends every live flow with a reset.
    mutating func endAllFlows(at now: Instant)
}

/// Most modes have nothing to do here.
extension ServingWorker where Self: ~Copyable {
    package mutating func snapshotWillChange(to next: RoutingSnapshot, at now: Instant) {}
    package mutating func snapshotDidChange(at now: Instant) {}
    package mutating func listenerClosed(_ position: Int) {}
    package mutating func giveFlows(to collector: HandOverCollector) {}
    package mutating func drainDidBegin(at now: Instant) {}

    /// Flows can be handed over one way and not the other: what this process cannot go on with ends.
    package mutating func adopt(_ adopted: [(flow: AdoptedFlow, share: ListenerShare)], at now: Instant) {
        for (adoptee, _) in adopted { adoptee.socket.close() }
    }
}

extension ServingWorker where Self: ~Copyable {
    package mutating func take(_ message: WorkerMessage, at now: Instant) {
        switch message {
        case .publish(let next, let nextTLS, let change, let receipt):
            if let nextTLS { core.tls = nextTLS }
            if let change { apply(change, at: now) }
            snapshotWillChange(to: next, at: now)
            core.route(by: next)
            snapshotDidChange(at: now)
            receipt.acknowledge()
        case .evict(let target, let eviction, let receipt):
            evict(target, eviction, at: now)
            receipt.acknowledge()
        case .list(let collector, let receipt):
            list(into: collector, at: now)
            receipt.acknowledge()
        case .drain(let receipt):
            drainListeners(at: now)
            receipt.acknowledge()
        case .listShares(let collector, let receipt):
            core.listShares(into: collector)
            receipt.acknowledge()
        case .handOver(let collector, let receipt):
            handOver(to: collector)
            receipt.acknowledge()
        case .adopt(let adopted, let receipt):
            adopt(adopted, at: now)
            receipt.acknowledge()
        case .listen(let change, let receipt):
            apply(change, at: now)
            receipt.acknowledge()
        case .resume(let receipt):
            resume()
            receipt.acknowledge()
        case .release(let receipt):
            release(at: now)
            receipt.acknowledge()
        case .stop:
            stop(at: now)
        }
    }

    // MARK: - Listeners

    /// Begins to serve new sockets and ends old ones.
    ///
    /// A listener that ends first gives its queued connections to the current snapshot, which still has a
    /// route for it: closing with connections in the queue would reset them.
    private mutating func apply(_ change: ListenerChange, at now: Instant) {
        for binding in change.closed {
            for position in core.listeners.indices
            where core.listeners[position].isServed && core.listeners[position].binding == binding {
                if binding.transport == .tcp {
                    _ = acceptPending(from: position, countMax: Limits.acceptsPerDrainMax, at: now)
                }
                close(position)
            }
        }
        for (binding, share, socket) in change.opened {
            let position = core.open(binding, share: share, socket)
            if !core.isHolding { watch(position) }
        }
    }

    private mutating func watch(_ position: Int) {
        guard !core.watchListener(position) else { return }
        // The other workers' shares serve the port.
        core.counters.add(1, .internalErrors)
        close(position)
    }

    private mutating func close(_ position: Int) {
        core.closeListener(position)
        listenerClosed(position)
    }

    private mutating func closeAll() {
        for position in core.listeners.indices where core.listeners[position].isServed { close(position) }
    }

    /// Takes all queued connections, then closes the TCP listeners. UDP sockets stay for their live flows,
    /// whose datagrams arrive there, but admit no new flow.
    private mutating func drainListeners(at now: Instant) {
        core.isDraining = true
        for position in core.listeners.indices
        where core.listeners[position].isServed && core.listeners[position].binding.transport == .tcp {
            _ = acceptPending(from: position, countMax: Limits.acceptsPerDrainMax, at: now)
            close(position)
        }
        drainDidBegin(at: now)
    }

    // MARK: - Hand-over
    //
    // The giving side: `handOver` stops reading and gives flows away, `release` closes what the successor serves.
    // Until `release` nothing is lost: `adopt` and `resume` take it all back if the successor dies.
    // The taking side begins holding: listeners have their slots but no event, until `resume`.
    //
    // Every descriptor leaves epoll by name. Closing would not do: the file stays open in the other process, and so
    // would its registration here, whose events nobody could ever take.

    private mutating func handOver(to collector: HandOverCollector) {
        guard !core.isHolding else { return }
        core.hold()
        giveFlows(to: collector)
    }

    /// Closes what the successor serves. No connection that waits in a queue is lost: the queue is the file's.
    private mutating func release(at now: Instant) {
        closeAll()
        core.isDraining = true
        drainDidBegin(at: now)
    }

    /// Begins to serve, for the first time or again.
    private mutating func resume() {
        guard core.isHolding else { return }
        core.isHolding = false
        for position in core.listeners.indices where core.listeners[position].isServed { watch(position) }
    }

    // MARK: - End

    private mutating func stop(at now: Instant) {
        endAllFlows(at: now)
        closeAll()
        core.stop()
    }
}
