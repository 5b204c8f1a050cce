// What passes between the workers of two processes; see Upgrade in `weir`.

import Balancing
import LinuxIO
import Synchronization

/// A listening socket of one worker.
package struct ListenerShare: Sendable {
    package let binding: ListenerBinding
    package let worker: Int
    /// Which of the binding's sockets of this worker.
    package let share: Int
    package let socket: Descriptor
}

/// Gathers listening sockets, and flows that their workers have given away.
package final class HandOverCollector: Sendable {
    package struct Flow: Sendable {
        package let binding: ListenerBinding
        package let worker: Int
        package let share: Int
        /// Its socket index is not known to the worker and stands at zero.
        package let flow: HandedOverFlow
        package let socket: Descriptor

        package init(
            binding: ListenerBinding, worker: Int, share: Int, flow: HandedOverFlow, socket: Descriptor
        ) {
            self.binding = binding
            self.worker = worker
            self.share = share
            self.flow = flow
            self.socket = socket
        }
    }

    private struct State {
        var shares: [ListenerShare] = []
        var flows: [Flow] = []
    }

    private let state = Mutex(State())

    package init() {}

    func add(_ shares: [ListenerShare]) { state.withLock { $0.shares += shares } }
    package func add(_ flows: [Flow]) { state.withLock { $0.flows += flows } }

    /// In an order that does not depend on which worker answered first.
    package var shares: [ListenerShare] {
        state.withLock { $0.shares }.sorted { $0.order < $1.order }
    }

    package var flows: [Flow] { state.withLock { $0.flows } }
}

extension ListenerShare {
    fileprivate var order: (String, UInt8, Int, Int) {
        (binding.endpoint.description, binding.transport.rawValue, worker, share)
    }
}
