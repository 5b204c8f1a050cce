// What the control plane can tell a worker, between two turns.

import Balancing
import LinuxIO
import Reactor
import Synchronization

package enum WorkerMessage: Sendable {
    /// Route by this snapshot from now on; with listeners, serve exactly these.
    case publish(RoutingSnapshot, listeners: ListenerChange?, Receipt)
    case evict(TargetNumber, FlowEviction, Receipt)
    /// Add up to the collector's limit of live flows.
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

/// Gathers live flows from several workers.
package final class FlowCollector: Sendable {
    private struct State {
        var flows: [FlowRecord] = []
        var omittedCount = 0
    }

    private let state = Mutex(State())
    private let countMax: Int

    package init(countMax: Int) {
        self.countMax = countMax
    }

    func add(_ records: [FlowRecord], omittedCount: Int) {
        state.withLock { state in
            let room = max(0, countMax - state.flows.count)
            state.flows.append(contentsOf: records.prefix(room))
            state.omittedCount += omittedCount + max(0, records.count - room)
        }
    }

    /// How many more records are worth making.
    var room: Int { state.withLock { max(0, countMax - $0.flows.count) } }

    package var result: (flows: [FlowRecord], omittedCount: Int) {
        state.withLock { ($0.flows, $0.omittedCount) }
    }
}
