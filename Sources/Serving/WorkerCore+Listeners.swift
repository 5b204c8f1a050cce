// The listeners that one worker serves: its SO_REUSEPORT share of each, or several after an upgrade that
// came with fewer workers.

import Balancing
import LinuxIO

/// A listening socket in its slot.
public struct ServedListener {
    public let binding: ListenerBinding
    /// Which of the binding's sockets of this worker.
    public let share: Int
    public let socket: Descriptor
    let generation: UInt32
    /// With a wildcard address, only the accepted socket knows where its client arrived.
    public let isWildcard: Bool
    public let isServed: Bool
    var expectation = AcceptExpectation()

    init(binding: ListenerBinding, share: Int, socket: Descriptor, generation: UInt32, isServed: Bool) {
        self.binding = binding
        self.share = share
        self.socket = socket
        self.generation = generation
        self.isServed = isServed
        isWildcard = binding.endpoint.address.isUnspecified
    }
}

/// How many connections the last accepts of a listener found.
struct AcceptExpectation: BitwiseCopyable {
    var count = 1
    /// All that were expected were there, and perhaps more.
    var wasMet = false
    var turn: UInt32 = 0
}

extension WorkerCore {
    /// Whether a token of `listenerKind` is of a listener that is served now.
    public func isCurrent(_ token: Token) -> Bool {
        let position = token.index
        return position < listeners.count && listeners[position].isServed
            && listeners[position].generation == token.generation
    }

    /// Gives a new socket its slot, which `watchListener` makes ready for use.
    mutating func open(_ binding: ListenerBinding, share: Int, _ socket: Descriptor) -> Int {
        let position = listeners.firstIndex { !$0.isServed && !$0.socket.isOpen } ?? listeners.count
        let generation = position < listeners.count ? listeners[position].generation &+ 1 : 1
        let served = ServedListener(
            binding: binding, share: share, socket: socket, generation: generation & Token.generationMask,
            isServed: true)
        if position < listeners.count {
            listeners[position] = served
        } else {
            listeners.append(served)
        }
        return position
    }

    /// Begins to take what arrives; false when the kernel has no memory for that.
    func watchListener(_ position: Int) -> Bool {
        // Level-triggered: what a budget leaves in the queue is reported again, without a last EAGAIN.
        epoll.add(listeners[position].socket, for: .readable, token: token(of: position).rawValue) == nil
    }

    private func token(of position: Int) -> Token {
        Token(kind: Self.listenerKind, generation: listeners[position].generation, index: position)
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
            if !watchListener(position) { pauseListener(position, at: now) }
        }
    }

    mutating func closeListener(_ position: Int) {
        let served = listeners[position]
        // By name: another process may have the socket too, and then closing leaves the registration alive.
        epoll.remove(served.socket)
        served.socket.close()
        listeners[position] = ServedListener(
            binding: served.binding, share: served.share, socket: .none, generation: served.generation,
            isServed: false)
    }

    /// Stops reading from listeners, which stay open; see ServingWorker.resume.
    mutating func hold() {
        isHolding = true
        for listener in listeners where listener.isServed { epoll.remove(listener.socket) }
        pausedListeners.removeAll(keepingCapacity: true)
        resumeListenersAt = .distantFuture
    }

    /// Names the listening sockets that are served.
    func listShares(into collector: HandOverCollector) {
        collector.add(
            listeners.filter(\.isServed).map {
                ListenerShare(binding: $0.binding, worker: index, share: $0.share, socket: $0.socket)
            })
    }
}
