// Taking connections from a listener's queue, and refusing them when nothing is left to serve them with.

import Balancing
import LinuxIO

/// What a listener's queue had.
public enum Arrival {
    case connection(Descriptor, from: Endpoint)
    /// A connection was there, and is gone or was refused: ask again.
    case again
    /// The queue is empty, or the listener rests.
    case none
}

extension WorkerCore {
    // MARK: - How many

    /// How many connections to take from a listener whose event has come.
    ///
    /// Finding the queue empty costs a call. The level-triggered event reports what is left, so no more are taken
    /// than lately were there, and twice as many when the event comes back at once.
    public func expectedAcceptCount(from position: Int) -> Int {
        let expectation = listeners[position].expectation
        let isBack = expectation.wasMet && expectation.turn &+ 1 == turn
        return min(Limits.acceptsPerTurnMax, isBack ? expectation.count * 2 : expectation.count)
    }

    /// Remembers how many of the expected connections were there.
    public mutating func noteAccepted(_ count: Int, of expectedCount: Int, from position: Int) {
        listeners[position].expectation = AcceptExpectation(
            count: max(1, count), wasMet: count == expectedCount, turn: turn)
    }

    // MARK: - One connection

    /// Takes the next connection from a TCP listener's queue. The descriptor is the caller's.
    public mutating func acceptNext(from position: Int, at now: Instant) -> Arrival {
        let listener = listeners[position]
        switch listener.socket.accept() {
        case .accepted(let client, let endpoint):
            return .connection(client, from: endpoint)
        case .skipped:
            return .again
        case .wouldBlock:
            return .none
        case .exhausted:
            switch refuseOne(from: listener) {
            case .refused: return .again
            case .queueIsEmpty: return .none
            case .impossible:
                pauseListener(position, at: now)
                return .none
            }
        case .failed:
            // The listener itself is broken; its level-triggered event would come for ever.
            counters.add(1, .internalErrors)
            epoll.remove(listener.socket)
            return .none
        }
    }

    /// Where a connection of the listener arrived: only with a wildcard address the socket has to be asked.
    public func localEndpoint(of client: Descriptor, through position: Int) -> Endpoint {
        let listener = listeners[position]
        return listener.isWildcard
            ? client.localEndpoint() ?? listener.binding.endpoint : listener.binding.endpoint
    }

    /// Resets a connection that cannot be served, and counts it by its cause.
    public func shed(_ client: Descriptor, _ reason: WorkerCounter, listener: ListenerNumber) {
        counters.add(1, reason)
        counters.add(1, .rejectedFlows, listener: listener)
        client.closeWithReset()
    }

    private enum Refusal {
        case refused
        case queueIsEmpty
        /// The spare descriptor is gone too.
        case impossible
    }

    /// Out of descriptors, the queue could never be emptied and its event would spin: the spare one makes
    /// room to take a connection and reset it.
    private mutating func refuseOne(from listener: ServedListener) -> Refusal {
        guard spareDescriptor.isOpen else {
            openSpareDescriptor()
            return .impossible
        }
        spareDescriptor.close()
        spareDescriptor = .none
        defer { openSpareDescriptor() }
        switch listener.socket.accept() {
        case .accepted(let client, _):
            shed(client, .shedDescriptors, listener: listener.binding.number)
            return .refused
        case .skipped:
            return .refused
        case .wouldBlock:
            return .queueIsEmpty
        case .exhausted, .failed:
            return .impossible
        }
    }

    mutating func openSpareDescriptor() {
        guard !spareDescriptor.isOpen else { return }
        if let descriptor = try? Descriptor.socket(.udp, .v4) { spareDescriptor = descriptor }
    }
}
