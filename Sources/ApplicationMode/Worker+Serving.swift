// What the control plane asks of a worker of application mode; see ServingWorker.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker: ServingWorker {
    package mutating func snapshotDidChange(at now: Instant) {
        routing = shelf.routing(for: core.snapshot)
        // A group keeps its spreader, and with it every target its turn.
        var former: [String: RequestSpreader] = [:]
        for (name, spreader) in zip(spreaderNames, spreaders) { former[name] = spreader }
        spreaderNames = core.snapshot.groups.map(\.name)
        spreaders = core.snapshot.groups.map { group in
            var spreader = former[group.name] ?? RequestSpreader(seed: random.next())
            if group.application != nil { spreader.adopt(group, outstanding: outstanding, at: now) }
            return spreader
        }
        closeUnwanted(at: now)
    }

    /// Idle connections to targets that get no more requests would keep those from being drained.
    private mutating func closeUnwanted(at now: Instant) {
        for slot in 0..<connectionSlots.scanBound where connections[slot].role == .target {
            guard !routing.takesRequests(connections[slot].target) else { continue }
            if connections[slot].phase == .idle {
                pool.remove(slot, &connections)
                closeTarget(slot, at: now)
            } else if connections[slot].phase == .http2 {
                leaveSharedPool(slot)
                guard connections[slot].exchangePlusOne == 0 else { continue }
                connections[slot].http2.goAway()
                markDirty(slot)
            }
        }
    }

    /// Group indexes are the snapshot's: what is under way follows its group, or has none any more.
    package mutating func snapshotWillChange(to next: RoutingSnapshot, at now: Instant) {
        let places = Dictionary(
            next.groups.enumerated().map { ($1.name, UInt32($0)) }, uniquingKeysWith: { first, _ in first })
        let moves = core.snapshot.groups.map { places[$0.name] ?? .max }
        guard moves.enumerated().contains(where: { $1 != UInt32($0) }) else { return }
        for slot in 0..<exchangeSlots.scanBound where exchanges[slot].phase != .free {
            let group = Int(exchanges[slot].group)
            exchanges[slot].group = group < moves.count ? moves[group] : .max
        }
        for slot in 0..<connectionSlots.scanBound where connections[slot].phase != .free {
            let group = Int(connections[slot].group)
            connections[slot].group = group < moves.count ? moves[group] : .max
        }
    }

    package mutating func evict(_ target: TargetNumber, _ eviction: FlowEviction, at now: Instant) {
        // Whatever the reason, nobody waits for another request to it.
        while let idle = pool.top(of: target) {
            pool.remove(idle, &connections)
            closeTarget(idle, at: now)
        }
        guard case .all = eviction else { return }
        for slot in 0..<connectionSlots.scanBound
        where connections[slot].phase != .free && connections[slot].role == .target
            && connections[slot].target == target
        {
            evict(slot, at: now)
        }
    }

    private mutating func evict(_ slot: Int, at now: Instant) {
        switch connections[slot].phase {
        case .connecting, .securing: connectFailed(slot, at: now)
        case .http2: http2Broke(slot, at: now)
        default:
            guard let exchange = connections[slot].exchange else { return closeTarget(slot, at: now) }
            targetBroke(exchange, at: now)
        }
    }

    package mutating func list(into collector: FlowCollector, at now: Instant) {
        var progress = collector.progress(of: core.index)
        let room = collector.room
        var slotCount = collector.slotsPerMessage
        var records: [FlowRecord] = []
        while progress.nextFlowSlot < connectionSlots.scanBound, slotCount > 0, records.count < room {
            let connection = connections[progress.nextFlowSlot]
            progress.nextFlowSlot += 1
            slotCount -= 1
            guard connection.phase != .free, connection.role == .client else { continue }
            records.append(record(of: connection, at: now))
        }
        progress.liveCount = core.census.count(.tcp)
        progress.isDone = progress.nextFlowSlot >= connectionSlots.scanBound
        collector.add(records, of: core.index, progress)
    }

    /// Clients between two requests get a moment, in which a request that is on its way arrives and is answered with
    /// `Connection: close`. Nobody waits for connections to targets that carry nothing.
    package mutating func drainDidBegin(at now: Instant) {
        for slot in 0..<connectionSlots.scanBound {
            if connections[slot].isShared { leaveSharedPool(slot) }
            switch connections[slot].phase {
            case .http1:
                if connections[slot].exchangePlusOne == 0 { connections[slot].lastActivityAt = now }
                armClient(slot, at: now)
            case .idle:
                pool.remove(slot, &connections)
                closeTarget(slot, at: now)
            case .http2 where connections[slot].role == .client:
                // Streams under way go on, and so do those that are on the wire.
                sayFarewell(slot, at: now)
            case .http2:
                // Exchanges go on, and it ends with the last of them.
                connections[slot].isRetired = true
                if connections[slot].exchangePlusOne == 0 { shareAgain(slot, at: now) }
            case .free, .securing, .lingering, .connecting, .busy: break
            }
        }
    }

    package mutating func endAllFlows(at now: Instant) {
        for slot in 0..<connectionSlots.scanBound where connections[slot].phase != .free {
            guard connections[slot].role == .client else { continue }
            while let exchange = connections[slot].exchange { clientLeft(exchange, at: now) }
            closeClient(slot, withReset: true, at: now)
        }
        for slot in 0..<connectionSlots.scanBound where connections[slot].phase != .free {
            if connections[slot].phase == .idle { pool.remove(slot, &connections) }
            leaveSharedPool(slot)
            closeTarget(slot, withReset: true, at: now)
        }
    }
}
