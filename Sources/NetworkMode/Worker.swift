// One thread of network mode: its listeners, its flows, its snapshot, its counters, and nothing shared.
//
// A TCP flow is four calls, all in Worker+TCP.swift: acceptPending → connectNext → pump → end. A UDP
// flow is in Worker+UDP.swift. This file holds the state and the turn.

import Balancing
import LinuxIO
import Reactor

package struct Worker: ~Copyable {
    /// Token kinds; 0 is the mailbox's.
    enum Kind {
        static let listener: UInt8 = 1
        static let client: UInt8 = 2
        static let target: UInt8 = 3
        static let datagramFlow: UInt8 = 4
    }

    let index: Int
    let settings: WorkerSettings
    let counters: WorkerCounters
    let census: FlowCensus
    let epoll: EpollHandle
    /// Tells the prober that a target refused real traffic. Called at most once a second per target.
    let onTrafficRefused: @Sendable (TargetNumber) -> Void

    var snapshot = RoutingSnapshot.empty
    var listeners: [ServedListener] = []
    var pausedListeners: [Int] = []
    var resumeListenersAt = Instant.distantFuture
    var isDraining = false
    /// Counts turns, to tell whether an event came back at once.
    var turn: UInt32 = 0
    /// Listeners have their slots, but nothing is taken from them: before a take-over, and after a hand-over.
    var isHolding: Bool
    var isStopped = false

    // TCP
    var flows: MappedSlab<TCPFlow>
    var flowSlots: SlotAllocator
    var flowTimers: TimerWheel
    var pipes = PipePool(idleCountMax: Limits.pooledPipeCountMax)
    var stash: Stash
    let scratch = ByteRegion(byteCount: Limits.encryptedByteCountMax)
    /// Flows whose budget ran out while they had work: they go on in the next turn.
    var runQueue: [Token] = []
    var runQueueInWork: [Token] = []
    var lingeringPorts: LingeringPorts
    /// Index of the source address that the last connection began with.
    var nextSource = 0
    var portSteering: PortSteering
    var tls = TLSRouting()
    /// Flows whose client's handshake is under way.
    var greetingCount = 0
    /// What handshakes told, of flows with an access log; of others untouched.
    var accessNotes: MappedSlab<AccessNotes>
    let accessRing: RecordRing<AccessRecord>
    /// Kept open to be closed when descriptors run out: with it one queued connection can be taken and refused.
    var spareDescriptor = Descriptor.none

    // UDP
    var datagramFlows: MappedSlab<UDPFlow>
    var datagramSlots: SlotAllocator
    var datagramTable: FlowTable
    var datagramTimers: TimerWheel
    var unassured = UnassuredList()
    var batch: DatagramBatch
    var refusalReportedAt: [UInt32: Instant] = [:]

    package init(
        index: Int, settings: WorkerSettings, counters: WorkerCounters, census: FlowCensus,
        epoll: EpollHandle, now: Instant, isHolding: Bool = false, accessRing: RecordRing<AccessRecord>,
        onTrafficRefused: @escaping @Sendable (TargetNumber) -> Void
    ) throws(SystemCallError) {
        self.index = index
        self.isHolding = isHolding
        self.settings = settings
        self.counters = counters
        self.census = census
        self.epoll = epoll
        self.accessRing = accessRing
        self.onTrafficRefused = onTrafficRefused
        flows = MappedSlab(count: settings.tcpFlowCountMax)
        flowSlots = SlotAllocator(capacity: settings.tcpFlowCountMax)
        flowTimers = TimerWheel(entryCount: settings.tcpFlowCountMax, now: now)
        accessNotes = MappedSlab(count: settings.tcpFlowCountMax)
        stash = Stash(cellCount: settings.tcpFlowCountMax * 2)
        lingeringPorts = LingeringPorts()
        portSteering = PortSteering(
            ports: settings.ephemeralPorts, worker: index, workerCount: census.workerCount)
        datagramFlows = MappedSlab(count: settings.udpFlowCountMax)
        datagramSlots = SlotAllocator(capacity: settings.udpFlowCountMax)
        datagramTable = FlowTable(capacity: settings.udpFlowCountMax)
        datagramTimers = TimerWheel(entryCount: settings.udpFlowCountMax, now: now)
        batch = try DatagramBatch(capacity: Limits.datagramsPerBatch)
        runQueue.reserveCapacity(1024)
        runQueueInWork.reserveCapacity(1024)
        openSpareDescriptor()
    }
}

extension Worker: TurnHandler {
    package var isFinished: Bool { isStopped }

    package mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant) {
        counters.add(1, .events)
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
        case Kind.listener:
            guard index < listeners.count, listeners[index].isServed,
                listeners[index].generation == token.generation
            else { break }
            switch listeners[index].binding.transport {
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
        counters.add(1, .staleEvents)
    }

    package mutating func take(_ message: WorkerMessage, at now: Instant) {
        switch message {
        case .publish(let next, let nextTLS, let change, let receipt):
            if let nextTLS { tls = nextTLS }
            if let change { apply(change, routingNewFlowsBy: next, at: now) }
            snapshot = next
            counters.worker.set(next.version, row: 0, column: WorkerCounter.snapshotVersion.rawValue)
            receipt.acknowledge()
        case .evict(let target, let eviction, let receipt):
            evict(target, eviction, at: now)
            receipt.acknowledge()
        case .list(let collector, let receipt):
            list(into: collector, at: now)
            receipt.acknowledge()
        case .drain(let receipt):
            drainListeners(at: now)
            receipt.acknowledge()
        case .listShares(let collector, let receipt):
            listShares(into: collector)
            receipt.acknowledge()
        case .handOver(let collector, let receipt):
            handOver(to: collector, at: now)
            receipt.acknowledge()
        case .adopt(let adopted, let receipt):
            adopt(adopted, at: now)
            receipt.acknowledge()
        case .listen(let change, let receipt):
            apply(change, routingNewFlowsBy: snapshot, at: now)
            receipt.acknowledge()
        case .resume(let receipt):
            resume()
            receipt.acknowledge()
        case .release(let receipt):
            release()
            receipt.acknowledge()
        case .stop:
            stop(at: now)
        }
    }

    package mutating func finishTurn(at now: Instant) -> Int? {
        counters.add(1, .turns)
        turn &+= 1
        runQueuedFlows(at: now)
        while let slot = flowTimers.popDue(at: now) { flowTimerFired(slot, at: now) }
        while let slot = datagramTimers.popDue(at: now) { datagramTimerFired(slot, at: now) }
        lingeringPorts.expire(at: now, counters.ports)
        resumeListeners(at: now)
        counters.worker.set(UInt64(pipes.openCount), row: 0, column: WorkerCounter.pipesOpen.rawValue)
        if !runQueue.isEmpty { return 0 }
        let tcp = flowTimers.millisecondsUntilNext(from: now) ?? .max
        let udp = datagramTimers.millisecondsUntilNext(from: now) ?? .max
        let resume = resumeListenersAt == .distantFuture ? Int.max : 100
        let soonest = min(tcp, udp, resume)
        return soonest == .max ? nil : soonest
    }
}

extension Worker {
    private mutating func evict(_ target: TargetNumber, _ eviction: FlowEviction, at now: Instant) {
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

    private func list(into collector: FlowCollector, at now: Instant) {
        var progress = collector.progress(of: index)
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
                    worker: index))
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
                    clientBytes: flow.clientByteCount, targetBytes: flow.targetByteCount, worker: index))
        }
        progress.liveCount = flowSlots.usedCount + datagramSlots.usedCount
        progress.isDone =
            progress.nextFlowSlot >= flowSlots.scanBound
            && progress.nextDatagramSlot >= datagramSlots.scanBound
        collector.add(records, of: index, progress)
    }

    private mutating func stop(at now: Instant) {
        for slot in 0..<flowSlots.scanBound where flows[slot].phase != .free {
            end(slot, .balancerReset, at: now)
        }
        for slot in 0..<datagramSlots.scanBound where datagramFlows[slot].isLive { endDatagramFlow(slot) }
        for position in listeners.indices where listeners[position].isServed { closeListener(position) }
        if spareDescriptor.isOpen { spareDescriptor.close() }
        isStopped = true
    }
}
