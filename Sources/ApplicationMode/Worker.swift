// One thread of application mode: its listeners, its connections, its exchanges, and nothing shared.
//
// An exchange is read top-down: accept and the reading of heads in Worker+Clients.swift, what a rule makes of a
// head in Worker+Routing.swift, the way to a target in Worker+Targets.swift, content both ways in
// Worker+Content.swift, the answer in Worker+Responses.swift, and everything that can go wrong in
// Worker+Failures.swift. This file holds the state and the turn.

import Balancing
import HTTPCore
import LinuxIO
import Reactor
import Serving
import TLSTermination

package struct Worker: ~Copyable {
    /// Token kinds; 0 is the mailbox's.
    enum Kind {
        static let connection: UInt8 = 2
    }

    package var core: WorkerCore
    let shelf: RoutingShelf
    let exchangeCounters: ExchangeCounters
    var routing = ApplicationRouting.empty

    var connections: MappedSlab<Connection>
    var connectionSlots: SlotAllocator
    var timers: TimerWheel
    var exchanges: MappedSlab<Exchange>
    var exchangeSlots: SlotAllocator
    /// Deadlines of exchanges that share their client's connection.
    var exchangeTimers: TimerWheel
    var cells: Stash
    /// For the access log, parallel to the exchanges; see Worker+AccessLog.swift.
    var records: MappedSlab<ExchangeRecord>
    let logRings: ApplicationLogRings
    /// Texts of exchanges under way that are logged.
    var noteCells: Stash
    /// What targets are told of clients' TLS; see Worker+TLSFields.swift.
    var fieldCells: Stash
    let traceSeed: HashSeed
    /// Connections whose budget ran out while they had work: they go on in the next turn.
    var runQueue: [Token] = []
    var runQueueInWork: [Token] = []
    var pool: ConnectionPool
    /// Exchanges of this worker by target number.
    var outstanding: OutstandingRequests
    /// Parallel to the snapshot's groups.
    var spreaders: [RequestSpreader] = []
    var spreaderNames: [String] = []
    var random: SplitMix64

    // Scratch, used within one step and never across steps.
    var input = [UInt8](repeating: 0, count: Limits.exchangeInputByteCountMax)
    var output = OutputBuffer(capacity: Limits.exchangeOutputByteCountMax)
    var requestHead = RequestHead()
    var responseHead = ResponseHead()
    var trailerFields: [HeadField] = []
    /// A text that is written before it is known to be wanted.
    var text: [UInt8] = []
    /// The texts of one record for a log, and a trace for it.
    var logText: [UInt8] = []
    var traceText: [UInt8] = []
    var ruleScratch = RuleScratch()
    /// The trailers that go out next, and a head on its way into frames.
    var trailerBlock = HTTP2FieldBlock()
    var headBlock = HTTP2FieldBlock()
    var date = DateText()
    /// The turn in which `date` was last looked at.
    var dateTurn = UInt32.max

    // HTTP/2
    let http2Pool = HTTP2Pool()
    /// Lent to one session at a time.
    var http2Inbox: HTTP2Inbox? = HTTP2Inbox()
    /// Exchanges with news, and connections with frames to send.
    var touched: [Touched] = []
    var touchedInWork: [Touched] = []
    /// Exchanges whose budget ran out: they go on in the next turn.
    var postponed: [Touched] = []
    var dirty: [Token] = []
    var dirtyInWork: [Token] = []
    /// Connections of HTTP/2 to targets that take more streams.
    var sharedPool: ConnectionPool
    /// How many streams a target took at a time on its last new connection, by its number; zero is not known.
    var streamCountsMax: MappedSlab<UInt16>

    /// TLS handshakes with clients that are under way.
    var handshakeCount = 0

    init(
        core: consuming WorkerCore, shelf: RoutingShelf, exchangeCounters: ExchangeCounters,
        logRings: ApplicationLogRings, now: Instant
    ) {
        let settings = core.settings
        self.shelf = shelf
        self.exchangeCounters = exchangeCounters
        // A client and its target take a slot each.
        let connectionCountMax = settings.tcpFlowCountMax * 2
        connections = MappedSlab(count: connectionCountMax)
        connectionSlots = SlotAllocator(capacity: connectionCountMax)
        timers = TimerWheel(entryCount: connectionCountMax, now: now)
        exchanges = MappedSlab(count: settings.tcpFlowCountMax)
        exchangeSlots = SlotAllocator(capacity: settings.tcpFlowCountMax)
        exchangeTimers = TimerWheel(entryCount: settings.tcpFlowCountMax, now: now)
        cells = Stash(cellCount: connectionCountMax, cellByteCount: Limits.exchangeOutputByteCountMax)
        records = MappedSlab(count: settings.tcpFlowCountMax)
        self.logRings = logRings
        noteCells = Stash(
            cellCount: settings.tcpFlowCountMax, cellByteCount: Limits.exchangeLogTextByteCountMax,
            warmCellCount: Limits.exchangeLogWarmCellCount)
        fieldCells = Stash(
            cellCount: settings.tcpFlowCountMax, cellByteCount: Limits.tlsFieldsByteCountMax)
        pool = ConnectionPool(targetNumberCountMax: settings.targetNumberCountMax)
        sharedPool = ConnectionPool(targetNumberCountMax: settings.targetNumberCountMax)
        streamCountsMax = MappedSlab(count: settings.targetNumberCountMax)
        outstanding = OutstandingRequests(targetNumberCountMax: settings.targetNumberCountMax)
        random = SplitMix64(seed: now.nanoseconds &+ UInt64(core.index) &* 0x9E37_79B9_7F4A_7C15)
        traceSeed = HashSeed(first: random.next(), second: random.next())
        self.core = core
        runQueue.reserveCapacity(1_024)
        runQueueInWork.reserveCapacity(1_024)
    }
}

// MARK: - The turn

extension Worker: TurnHandler {
    package var isFinished: Bool { core.isStopped }

    package mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant) {
        core.counters.add(1, .events)
        let index = token.index
        switch token.kind {
        case Kind.connection:
            guard connections[index].phase != .free, connections[index].generation == token.generation
            else { break }
            connectionIsReady(index, readiness, at: now)
            return
        case WorkerCore.listenerKind:
            guard core.isCurrent(token) else { break }
            acceptSome(from: index, at: now)
            return
        default:
            break
        }
        core.counters.add(1, .staleEvents)
    }

    package mutating func finishTurn(at now: Instant) -> Int? {
        core.countTurn()
        runQueuedConnections(at: now)
        runPostponed(at: now)
        while let slot = timers.popDue(at: now) { timerFired(slot, at: now) }
        while let slot = exchangeTimers.popDue(at: now) { exchangeTimerFired(slot, at: now) }
        sendDirty(at: now)
        let coreWait = core.finishTurn(at: now)
        if !runQueue.isEmpty || !postponed.isEmpty { return 0 }
        let timer = min(
            timers.millisecondsUntilNext(from: now) ?? .max,
            exchangeTimers.millisecondsUntilNext(from: now) ?? .max)
        let soonest = min(timer, coreWait)
        return soonest == .max ? nil : soonest
    }

    private mutating func runQueuedConnections(at now: Instant) {
        guard !runQueue.isEmpty else { return }
        swap(&runQueue, &runQueueInWork)
        for position in 0..<runQueueInWork.count {
            let token = runQueueInWork[position]
            let slot = token.index
            guard connections[slot].generation == token.generation, connections[slot].phase != .free
            else { continue }
            connections[slot].isQueued = false
            goOn(slot, at: now)
        }
        runQueueInWork.removeAll(keepingCapacity: true)
    }

    /// The connection has work left that this turn has no time for.
    mutating func queue(_ slot: Int) {
        guard !connections[slot].isQueued else { return }
        connections[slot].isQueued = true
        runQueue.append(
            Token(kind: Kind.connection, generation: connections[slot].generation, index: slot))
    }
}

// MARK: - Events

extension Worker {
    private mutating func connectionIsReady(_ slot: Int, _ readiness: Readiness, at now: Instant) {
        if readiness.isReadable || readiness.isClosing { connections[slot].mayRead = true }
        if readiness.isWritable { connections[slot].mayWrite = true }
        if readiness.isClosing { connections[slot].isClosing = true }
        if readiness.hasErrorOrHangup {
            if connections[slot].phase == .connecting {
                connectFailed(slot, at: now)
                return
            }
            if readiness.hasError, connections[slot].role == .target, connections[slot].phase == .busy {
                // It may have answered before: the next read that finds nothing tells the error.
                connections[slot].isBroken = true
                connections[slot].isClosing = true
                connections[slot].mayRead = true
                goOn(slot, at: now)
                return
            }
            if readiness.hasError, connections[slot].role == .target, connections[slot].phase == .http2 {
                breakWriting(slot)
                goOn(slot, at: now)
                return
            }
            // A hangup alone is the ordinary end of both halves.
            if readiness.hasError, connections[slot].socket.takeError() != nil {
                connectionBroke(slot, at: now)
                return
            }
        }
        goOn(slot, at: now)
    }

    /// Does what can be done for a connection now.
    mutating func goOn(_ slot: Int, at now: Instant) {
        switch connections[slot].phase {
        case .free: return
        case .securing: secure(slot, at: now)
        case .http1: serve(slot, at: now)
        case .http2: serveHTTP2(slot, at: now)
        case .lingering: linger(slot, at: now)
        case .connecting: targetConnected(slot, at: now)
        case .idle: leavePool(slot, at: now)
        case .busy: targetIsReady(slot, at: now)
        }
    }
}
