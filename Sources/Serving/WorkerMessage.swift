// What the control plane can tell a worker, between two turns.

import Balancing
import LinuxIO
import Reactor
import Synchronization

package enum WorkerMessage: Sendable {
    /// Route by this snapshot from now on; with contexts, begin TLS by these; with listeners, serve exactly these.
    case publish(RoutingSnapshot, tls: TLSRouting?, listeners: ListenerChange?, Receipt)
    case evict(TargetNumber, FlowEviction, Receipt)
    /// Add live flows to the collector, from as many slots as one turn may look at.
    case list(FlowCollector, Receipt)
    /// Take what is queued, then close the listeners; live flows go on.
    case drain(Receipt)
    /// Name the listening sockets that are served.
    case listShares(HandOverCollector, Receipt)
    /// Stop reading listeners and give the UDP flows away.
    case handOver(HandOverCollector, Receipt)
    /// Go on with UDP flows of another process, which came through these sockets.
    case adopt([(flow: AdoptedFlow, share: ListenerShare)], Receipt)
    /// Serve further sockets.
    case listen(ListenerChange, Receipt)
    /// Begin to serve what was held back, or serve again.
    case resume(Receipt)
    /// Close the listening sockets, which another process serves.
    case release(Receipt)
    /// End now, live flows included.
    case stop
}

/// What one worker is to serve after a publication.
package struct ListenerChange: Sendable {
    /// New sockets, open and bound, which the worker owns from now on; `share` counts those of one binding.
    package let opened: [(binding: ListenerBinding, share: Int, socket: Descriptor)]
    /// Bindings that end.
    package let closed: [ListenerBinding]

    package init(
        opened: [(binding: ListenerBinding, share: Int, socket: Descriptor)], closed: [ListenerBinding] = []
    ) {
        self.opened = opened
        self.closed = closed
    }
}

/// Gathers live flows from several workers, a part of each worker's slots per message.
///
/// A worker that went through all its slots in one turn would hold up its traffic for as long.
package final class FlowCollector: Sendable {
    /// How far one worker has come.
    package struct Progress: Sendable {
        package var nextFlowSlot = 0
        package var nextDatagramSlot = 0
        package var liveCount = 0
        package var isDone = false
    }

    private struct State {
        var flows: [FlowRecord] = []
        var progress: [Progress]
    }

    private let state: Mutex<State>
    private let countMax: Int
    package let slotsPerMessage: Int

    package init(
        countMax: Int, workerCount: Int, slotsPerMessage: Int = Limits.slotsListedPerTurnMax
    ) {
        self.countMax = countMax
        self.slotsPerMessage = slotsPerMessage
        state = Mutex(State(progress: [Progress](repeating: Progress(), count: workerCount)))
    }

    package func progress(of worker: Int) -> Progress { state.withLock { $0.progress[worker] } }

    package func add(_ records: [FlowRecord], of worker: Int, _ progress: Progress) {
        state.withLock { state in
            state.flows.append(contentsOf: records.prefix(max(0, countMax - state.flows.count)))
            state.progress[worker] = progress
        }
    }

    /// How many more records are worth making.
    package var room: Int { state.withLock { max(0, countMax - $0.flows.count) } }

    /// True when another message would bring nothing: all slots are seen, or no record is wanted any more.
    package var isComplete: Bool {
        state.withLock { state in state.flows.count >= countMax || state.progress.allSatisfy(\.isDone) }
    }

    package var result: (flows: [FlowRecord], omittedCount: Int) {
        state.withLock { state in
            let liveCount = state.progress.reduce(0) { $0 + $1.liveCount }
            return (state.flows, max(0, liveCount - state.flows.count))
        }
    }
}
