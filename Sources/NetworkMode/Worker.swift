// One thread of network mode: what every worker has, its flows, and nothing shared.
//
// A TCP flow is four calls, all in Worker+TCP.swift: acceptPending → connectNext → pump → end. A UDP
// flow is in Worker+UDP.swift. This file holds the state and the turn.

import Balancing
import LinuxIO
import Reactor
import Serving

package struct Worker: ~Copyable {
    /// Token kinds; 0 is the mailbox's, and `WorkerCore.listenerKind` the listeners'.
    enum Kind {
        static let client: UInt8 = 2
        static let target: UInt8 = 3
        static let datagramFlow: UInt8 = 4
    }

    package var core: WorkerCore

    // TCP
    var flows: MappedSlab<TCPFlow>
    var flowSlots: SlotAllocator
    var flowTimers: TimerWheel
    var stash: Stash
    let scratch = ByteRegion(byteCount: Limits.encryptedByteCountMax)
    /// Flows whose budget ran out while they had work: they go on in the next turn.
    var runQueue: [Token] = []
    var runQueueInWork: [Token] = []
    /// Flows whose client's handshake is under way.
    var greetingCount = 0
    /// What handshakes told, of flows with an access log; of others untouched.
    var accessNotes: MappedSlab<AccessNotes>
    let accessRing: RecordRing<AccessRecord>

    // UDP
    var datagramFlows: MappedSlab<UDPFlow>
    var datagramSlots: SlotAllocator
    var datagramTable: FlowTable
    var datagramTimers: TimerWheel
    var unassured = UnassuredList()
    var batch: DatagramBatch
    var refusalReportedAt: [UInt32: Instant] = [:]

    init(
        core: consuming WorkerCore, accessRing: RecordRing<AccessRecord>, now: Instant
    ) throws(SystemCallError) {
        let settings = core.settings
        self.core = core
        self.accessRing = accessRing
        flows = MappedSlab(count: settings.tcpFlowCountMax)
        flowSlots = SlotAllocator(capacity: settings.tcpFlowCountMax)
        flowTimers = TimerWheel(entryCount: settings.tcpFlowCountMax, now: now)
        accessNotes = MappedSlab(count: settings.tcpFlowCountMax)
        stash = Stash(cellCount: settings.tcpFlowCountMax * 2)
        datagramFlows = MappedSlab(count: settings.udpFlowCountMax)
        datagramSlots = SlotAllocator(capacity: settings.udpFlowCountMax)
        datagramTable = FlowTable(capacity: settings.udpFlowCountMax)
        datagramTimers = TimerWheel(entryCount: settings.udpFlowCountMax, now: now)
        batch = try DatagramBatch(capacity: Limits.datagramsPerBatch)
        runQueue.reserveCapacity(1024)
        runQueueInWork.reserveCapacity(1024)
    }
}

extension Worker: ServingWorker {
    package var isFinished: Bool { core.isStopped }

    package mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant) {
        core.counters.add(1, .events)
        let index = token.index
        switch token.kind {
        case Kind.client:
            guard flows[index].phase != .free, flows[index].generation == token.generation else { break }
            clientIsReady(index, readiness, at: now)
            return
        case Kind.target:
            guard flows[index].phase != .free, flows[index].generation == token.generation else { break }
            targetIsReady(index, readiness, at: now)
            return
        case WorkerCore.listenerKind:
            guard core.isCurrent(token) else { break }
            switch core.listeners[index].binding.transport {
            case .tcp: acceptSome(from: index, at: now)
            case .udp: receivePending(from: index, readiness, at: now)
            }
            return
        case Kind.datagramFlow:
            guard datagramFlows[index].isLive, datagramFlows[index].generation == token.generation
            else { break }
            datagramFlowIsReady(index, readiness, at: now)
            return
        default:
            break
        }
        core.counters.add(1, .staleEvents)
    }

    package mutating func finishTurn(at now: Instant) -> Int? {
        core.countTurn()
        runQueuedFlows(at: now)
        while let slot = flowTimers.popDue(at: now) { flowTimerFired(slot, at: now) }
        while let slot = datagramTimers.popDue(at: now) { datagramTimerFired(slot, at: now) }
        let rest = core.finishTurn(at: now)
        if !runQueue.isEmpty { return 0 }
        let tcp = flowTimers.millisecondsUntilNext(from: now) ?? .max
        let udp = datagramTimers.millisecondsUntilNext(from: now) ?? .max
        let soonest = min(tcp, udp, rest)
        return soonest == .max ? nil : soonest
    }
}

extension Worker {
    package mutating func evict(_ target: TargetNumber, _ eviction: FlowEviction, at now: Instant) {
        if case .all = eviction {
            for slot in 0..<flowSlots.scanBound
            where flows[slot].phase != .free && flows[slot].hasTarget && flows[slot].targetNumber == target {
                if flows[slot].phase == .established {
                    end(slot, .balancerReset, at: now)
                } else {
                    // Not a byte has passed yet: another target may take it.
                    connectFailed(slot, at: now)
                }
            }
        }
        for slot in 0..<datagramSlots.scanBound
        where datagramFlows[slot].isLive && datagramFlows[slot].target == target {
            endDatagramFlow(slot)
        }
    }

    package func list(into collector: FlowCollector, at now: Instant) {
        var progress = collector.progress(of: core.index)
        let room = collector.room
        var slotCount = collector.slotsPerMessage
        var records: [FlowRecord] = []
        while progress.nextFlowSlot < flowSlots.scanBound, slotCount > 0, records.count < room {
            let flow = flows[progress.nextFlowSlot]
            progress.nextFlowSlot += 1
            slotCount -= 1
            guard flow.phase != .free else { continue }
            let isHalfClosed = flow.up.transfer.isDone || flow.down.transfer.isDone
            records.append(
                FlowRecord(
                    key: flow.key, listener: flow.listener, target: flow.targetNumber,
                    state: flow.phase == .connecting
                        ? .connecting : isHalfClosed ? .halfClosed : .established,
                    ageNanoseconds: now.nanoseconds(since: flow.startedAt),
                    idleNanoseconds: now.nanoseconds(since: flow.lastActivityAt),
                    clientBytes: flow.up.transfer.byteCount, targetBytes: flow.down.transfer.byteCount,
                    worker: core.index))
        }
        while progress.nextDatagramSlot < datagramSlots.scanBound, slotCount > 0, records.count < room {
            let flow = datagramFlows[progress.nextDatagramSlot]
            progress.nextDatagramSlot += 1
            slotCount -= 1
            guard flow.isLive else { continue }
            records.append(
                FlowRecord(
                    key: flow.key, listener: flow.listener, target: flow.target,
                    state: flow.isAnswered ? .answered : .unanswered,
                    ageNanoseconds: now.nanoseconds(since: flow.startedAt),
                    idleNanoseconds: now.nanoseconds(since: flow.lastActivityAt),
                    clientBytes: flow.clientByteCount, targetBytes: flow.targetByteCount, worker: core.index))
        }
        progress.liveCount = flowSlots.usedCount + datagramSlots.usedCount
        progress.isDone =
            progress.nextFlowSlot >= flowSlots.scanBound
            && progress.nextDatagramSlot >= datagramSlots.scanBound
        collector.add(records, of: core.index, progress)
    }

    /// UDP flows answer through their listener's socket.
    package mutating func listenerClosed(_ position: Int) {
        guard core.listeners[position].binding.transport == .udp else { return }
        for slot in 0..<datagramSlots.scanBound
        where datagramFlows[slot].isLive && datagramFlows[slot].listenerPosition == position {
            endDatagramFlow(slot)
        }
    }

    package mutating func endAllFlows(at now: Instant) {
        for slot in 0..<flowSlots.scanBound where flows[slot].phase != .free {
            end(slot, .balancerReset, at: now)
        }
        for slot in 0..<datagramSlots.scanBound where datagramFlows[slot].isLive { endDatagramFlow(slot) }
    }
}
