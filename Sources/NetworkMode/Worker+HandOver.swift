// UDP flows go to another process, and come from one; see ServingWorker for the rest of a hand-over.

import Balancing
import LinuxIO
import Reactor
import Serving

extension Worker {
    /// Gives all UDP flows away; TCP flows go on.
    package mutating func giveFlows(to collector: HandOverCollector) {
        var given: [HandOverCollector.Flow] = []
        for slot in 0..<datagramSlots.scanBound where datagramFlows[slot].isLive {
            let flow = datagramFlows[slot]
            let listener = core.listeners[flow.listenerPosition]
            core.epoll.remove(flow.socket)
            given.append(
                HandOverCollector.Flow(
                    binding: listener.binding, worker: core.index, share: listener.share,
                    flow: HandedOverFlow(
                        socketIndex: 0, key: flow.key, target: flow.target, isAnswered: flow.isAnswered,
                        isAssured: flow.isAssured, owesProxyHeader: flow.owesProxyHeader,
                        startedAt: flow.startedAt,
                        lastActivityAt: flow.lastActivityAt, clientByteCount: flow.clientByteCount,
                        targetByteCount: flow.targetByteCount),
                    socket: flow.socket))
            // The socket is the collector's from here: ending the flow must not close it.
            datagramFlows[slot].socket = .none
            core.counters.add(-1, .activeUDPFlows, target: flow.target)
            endDatagramFlow(slot)
        }
        collector.add(given)
    }

    /// Goes on with flows of another process. One that finds no room ends, as if its client had fallen silent.
    package mutating func adopt(_ adopted: [(flow: AdoptedFlow, share: ListenerShare)], at now: Instant) {
        for (adoptee, share) in adopted {
            let position = core.listeners.firstIndex {
                $0.isServed && $0.binding == share.binding && $0.share == share.share
            }
            guard let position, adopt(adoptee, position, at: now) else {
                adoptee.socket.close()
                core.counters.add(1, .rejectedFlows, listener: share.binding.number)
                continue
            }
        }
    }

    private mutating func adopt(_ adoptee: AdoptedFlow, _ position: Int, at now: Instant) -> Bool {
        let given = adoptee.flow
        let listener = core.listeners[position].binding.number
        let hash = SipHash.hash(given.key, seed: core.snapshot.seed)
        guard core.census.count(.udp) < core.settings.udpFlowCountMax,
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
        guard core.epoll.add(adoptee.socket, for: .readable, token: token.rawValue) == nil else {
            datagramTable.remove(hash: hash, slot: slot)
            datagramSlots.free(slot)
            return false
        }
        datagramFlows[slot].isLive = true
        if !given.isAssured { unassured.append(slot, in: &datagramFlows) }
        core.counters.add(1, .newUDPFlows, target: adoptee.target, listener: listener)
        core.counters.add(1, .activeUDPFlows, target: adoptee.target, listener: listener)
        core.census.change(.udp, by: 1, worker: core.index)
        // A deadline that has passed fires in this turn.
        datagramTimers.set(
            slot, to: max(now, given.lastActivityAt.advanced(bySeconds: core.settings.udpIdleTimeoutSeconds)))
        return true
    }
}
