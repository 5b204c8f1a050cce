// A worker gives what it serves to another process, and takes over from one; see Upgrade in `weir`.
//
// The giving side: `handOver` stops reading and gives its UDP flows away, `release` closes what the successor
// serves. Until `release` nothing is lost: `adopt` and `resume` take it all back if the successor dies.
// The taking side begins holding: listeners have their slots but no event, until `resume`.
//
// Every descriptor leaves epoll by name. Closing would not do: the file stays open in the other process, and so
// would its registration here, whose events nobody could ever take.

import Balancing
import LinuxIO
import Reactor
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
    }

    private struct State {
        var shares: [ListenerShare] = []
        var flows: [Flow] = []
    }

    private let state = Mutex(State())

    package init() {}

    func add(_ shares: [ListenerShare]) { state.withLock { $0.shares += shares } }
    func add(_ flows: [Flow]) { state.withLock { $0.flows += flows } }

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

extension Worker {
    // MARK: - Giving

    func listShares(into collector: HandOverCollector) {
        collector.add(
            listeners.filter(\.isServed).map {
                ListenerShare(binding: $0.binding, worker: index, share: $0.share, socket: $0.socket)
            })
    }

    /// Stops reading from listeners and gives all UDP flows away; TCP flows go on.
    mutating func handOver(to collector: HandOverCollector, at now: Instant) {
        guard !isHolding else { return }
        isHolding = true
        for listener in listeners where listener.isServed { epoll.remove(listener.socket) }
        pausedListeners.removeAll(keepingCapacity: true)
        resumeListenersAt = .distantFuture
        var given: [HandOverCollector.Flow] = []
        for slot in 0..<datagramSlots.scanBound where datagramFlows[slot].isLive {
            let flow = datagramFlows[slot]
            let listener = listeners[flow.listenerPosition]
            epoll.remove(flow.socket)
            given.append(
                HandOverCollector.Flow(
                    binding: listener.binding, worker: index, share: listener.share,
                    flow: HandedOverFlow(
                        socketIndex: 0, key: flow.key, target: flow.target, isAnswered: flow.isAnswered,
                        isAssured: flow.isAssured, owesProxyHeader: flow.owesProxyHeader,
                        startedAt: flow.startedAt,
                        lastActivityAt: flow.lastActivityAt, clientByteCount: flow.clientByteCount,
                        targetByteCount: flow.targetByteCount),
                    socket: flow.socket))
            // The socket is the collector's from here: ending the flow must not close it.
            datagramFlows[slot].socket = .none
            counters.add(-1, .activeUDPFlows, target: flow.target)
            endDatagramFlow(slot)
        }
        collector.add(given)
    }

    /// Closes what the successor serves. No connection that waits in a queue is lost: the queue is the file's.
    mutating func release() {
        for position in listeners.indices where listeners[position].isServed { closeListener(position) }
        isDraining = true
    }

    // MARK: - Taking

    /// Begins to serve, for the first time or again.
    mutating func resume() {
        guard isHolding else { return }
        isHolding = false
        for position in listeners.indices where listeners[position].isServed { watchListener(position) }
    }

    /// Goes on with flows of another process. One that finds no room ends, as if its client had fallen silent.
    mutating func adopt(_ adopted: [(flow: AdoptedFlow, share: ListenerShare)], at now: Instant) {
        for (adoptee, share) in adopted {
            let position = listeners.firstIndex {
                $0.isServed && $0.binding == share.binding && $0.share == share.share
            }
            guard let position, adopt(adoptee, position, at: now) else {
                adoptee.socket.close()
                counters.add(1, .rejectedFlows, listener: share.binding.number)
                continue
            }
        }
    }

    private mutating func adopt(_ adoptee: AdoptedFlow, _ position: Int, at now: Instant) -> Bool {
        let given = adoptee.flow
        let listener = listeners[position].binding.number
        let hash = SipHash.hash(given.key, seed: snapshot.seed)
        guard census.count(.udp) < settings.udpFlowCountMax,
            datagramTable.slot(hash: hash, where: { datagramFlows[$0].key == given.key }) == nil,
            let slot = datagramSlots.allocate()
        else { return false }
        let generation = (datagramFlows[slot].generation &+ 1) & Token.generationMask
        datagramFlows[slot] = UDPFlow(
            isAnswered: given.isAnswered, isAssured: given.isAssured, owesProxyHeader: given.owesProxyHeader,
            attemptCountMax: UInt8(Limits.connectAttemptCountMax), generation: generation,
            socket: adoptee.socket, key: given.key, hash: hash,
            listener: listener, listenerPosition: position, target: adoptee.target,
            startedAt: given.startedAt, lastActivityAt: given.lastActivityAt,
            clientByteCount: given.clientByteCount, targetByteCount: given.targetByteCount)
        datagramFlows[slot].tried.insert(adoptee.target)
        let token = Token(kind: Kind.datagramFlow, generation: generation, index: slot)
        guard datagramTable.insert(hash: hash, slot: slot) else {
            datagramSlots.free(slot)
            return false
        }
        guard epoll.add(adoptee.socket, for: .readable, token: token.rawValue) == nil else {
            datagramTable.remove(hash: hash, slot: slot)
            datagramSlots.free(slot)
            return false
        }
        datagramFlows[slot].isLive = true
        if !given.isAssured { unassured.append(slot, in: &datagramFlows) }
        counters.add(1, .newUDPFlows, target: adoptee.target, listener: listener)
        counters.add(1, .activeUDPFlows, target: adoptee.target, listener: listener)
        census.change(.udp, by: 1, worker: index)
        // A deadline that has passed fires in this turn.
        datagramTimers.set(
            slot, to: max(now, given.lastActivityAt.advanced(bySeconds: settings.udpIdleTimeoutSeconds)))
        return true
    }
}
