// The listeners that one worker serves: its SO_REUSEPORT share of each, or several after an upgrade that
// came with fewer workers.

import Balancing
import LinuxIO

/// A listening socket in its slot.
struct ServedListener {
    let binding: ListenerBinding
    /// Which of the binding's sockets of this worker.
    let share: Int
    let socket: Descriptor
    let generation: UInt32
    /// With a wildcard address, only the accepted socket knows where its client arrived.
    let isWildcard: Bool
    var isServed: Bool
    var expectation = AcceptExpectation()
}

/// How many connections the last accepts of a listener found.
struct AcceptExpectation: BitwiseCopyable {
    var count = 1
    /// All that were expected were there, and perhaps more.
    var wasMet = false
    var turn: UInt32 = 0
}

extension Worker {
    /// Begins to serve new sockets and ends old ones.
    ///
    /// A listener that ends first gives its queued connections to the current snapshot, which still has a
    /// route for it: closing with connections in the queue would reset them.
    mutating func apply(
        _ change: ListenerChange, routingNewFlowsBy next: RoutingSnapshot, at now: Instant
    ) {
        for binding in change.closed {
            for position in listeners.indices
            where listeners[position].isServed && listeners[position].binding == binding {
                if binding.transport == .tcp {
                    acceptPending(from: position, countMax: Limits.acceptsPerDrainMax, at: now)
                }
                closeListener(position)
            }
        }
        for (binding, share, socket) in change.opened {
            let position = listeners.firstIndex { !$0.isServed && !$0.socket.isOpen } ?? listeners.count
            let generation = position < listeners.count ? listeners[position].generation &+ 1 : 1
            let served = ServedListener(
                binding: binding, share: share, socket: socket,
                generation: generation & Token.generationMask,
                isWildcard: binding.endpoint.address.isUnspecified, isServed: true)
            if position < listeners.count {
                listeners[position] = served
            } else {
                listeners.append(served)
            }
            if !isHolding { watchListener(position) }
        }
    }

    /// Begins to take what arrives.
    mutating func watchListener(_ position: Int) {
        let served = listeners[position]
        let token = Token(kind: Kind.listener, generation: served.generation, index: position)
        // Level-triggered: what a budget leaves in the queue is reported again, without a last EAGAIN.
        if epoll.add(served.socket, for: .readable, token: token.rawValue) != nil {
            // Out of kernel memory. The other workers' shares serve the port.
            counters.add(1, .internalErrors)
            closeListener(position)
        }
    }

    /// Not even the spare descriptor could be had: the queue waits 100 ms, or its event would spin.
    mutating func pauseListener(_ position: Int, at now: Instant) {
        epoll.remove(listeners[position].socket)
        pausedListeners.append(position)
        resumeListenersAt = now.advanced(byMilliseconds: 100)
    }

    mutating func resumeListeners(at now: Instant) {
        guard resumeListenersAt <= now else { return }
        resumeListenersAt = .distantFuture
        openSpareDescriptor()
        let positions = pausedListeners
        pausedListeners.removeAll(keepingCapacity: true)
        for position in positions where listeners[position].isServed {
            let token = Token(
                kind: Kind.listener, generation: listeners[position].generation, index: position)
            if epoll.add(listeners[position].socket, for: .readable, token: token.rawValue) != nil {
                pauseListener(position, at: now)
            }
        }
    }

    mutating func closeListener(_ position: Int) {
        let served = listeners[position]
        // By name: another process may have the socket too, and then closing leaves the registration alive.
        epoll.remove(served.socket)
        served.socket.close()
        listeners[position] = ServedListener(
            binding: served.binding, share: served.share, socket: .none, generation: served.generation,
            isWildcard: served.isWildcard, isServed: false)
        guard served.binding.transport == .udp else { return }
        for slot in 0..<datagramSlots.scanBound
        where datagramFlows[slot].isLive && datagramFlows[slot].listenerPosition == position {
            endDatagramFlow(slot)
        }
    }

    /// Takes all queued connections, then closes the TCP listeners. UDP sockets stay for their live flows,
    /// whose datagrams arrive there, but admit no new flow.
    mutating func drainListeners(at now: Instant) {
        isDraining = true
        for position in listeners.indices
        where listeners[position].isServed && listeners[position].binding.transport == .tcp {
            acceptPending(from: position, countMax: Limits.acceptsPerDrainMax, at: now)
            closeListener(position)
        }
    }
}
