// A connection of a worker, to a client or to a target: one slot, one socket, one registration.
//
// Trivial and valid when all zero: slots live in a slab and are only ever overwritten. An idle connection owns its
// socket, its slot and nothing else; bytes that cannot go on wait in cells that are given back at once.

import Balancing
import HTTPCore
import LinuxIO
import TLSTermination

/// Bytes that wait in a cell of the worker's stash; see `Worker.cells`.
struct Held: BitwiseCopyable {
    /// Zero for none.
    var cellPlusOne: UInt32 = 0
    var offset: UInt32 = 0
    var count: UInt32 = 0

    var isEmpty: Bool { count == 0 }
    /// How many bytes the cell has held at most: taking from its front does not change that.
    var byteCountMax: Int { Int(offset) + Int(count) }
}

struct Connection: BitwiseCopyable {
    enum Phase: UInt8, BitwiseCopyable {
        case free = 0
        /// A client's or a target's TLS handshake is under way.
        case securing
        /// A client between requests or in one, over HTTP/1.
        case http1
        /// Streams of either side; see Worker+HTTP2.swift.
        case http2
        /// A client that was answered for the last time: what it still sends is read and dropped, so that no reset
        /// overtakes the answer (RFC 9112 section 9.6).
        case lingering
        /// A target's connection is being made.
        case connecting
        /// To a target, waiting in the pool.
        case idle
        /// To a target, carrying an exchange.
        case busy
    }

    /// How far the end of a client's connection of HTTP/2 has come; RFC 9113 section 6.8.
    enum Farewell: UInt8, BitwiseCopyable {
        case none = 0
        /// It was asked to begin no more streams, and those on the wire are still taken.
        case announced
        /// Streams beyond those that came are not taken.
        case said
    }

    enum Role: UInt8, BitwiseCopyable {
        case client
        case target
    }

    var phase = Phase.free
    var role = Role.client
    /// Readiness is edge-triggered, so it is remembered until the socket says otherwise.
    var mayRead = false
    var mayWrite = false
    /// The other side has sent its end; what came before it may still be there to be read.
    var isClosing = false
    /// The other side takes nothing any more; what it sent before may still be there to be read.
    var isBroken = false
    /// The end has been read.
    var hasEnded = false
    /// Waits in the run queue for the next turn.
    var isQueued = false
    /// Where the source address of a target's connection came from; see `TargetSocket`.
    var sourceColumn: UInt8 = 0
    /// Carried an exchange before: the target may have closed it meanwhile, which is nobody's fault.
    var isReused = false
    /// Ours was the first FIN, so its port stays in TIME_WAIT.
    var closesFirst = false
    /// Counts the lives of the slot; it outlives each of them.
    var generation: UInt32 = 0
    var socket = Descriptor.none
    var session = TLSSession.none
    var listener = ListenerNumber(0)
    var target = TargetNumber(0)
    /// The group of a target's connection, in the snapshot by which it was opened.
    var group: UInt32 = 0
    /// The exchange under way, plus one; with HTTP/2 the first of several.
    var exchangePlusOne: UInt32 = 0
    var http2 = HTTP2Session.none
    /// Frames wait for the end of the turn.
    var isDirty = false
    /// To a target that is spoken to by HTTP/2, and in the shared pool now.
    var isShared = false
    var isPooled = false
    /// To a target by HTTP/2: its settings have come, and requests may go out.
    var hasSettings = false
    var isReady = false
    /// Takes no more exchanges, whatever its session says.
    var isRetired = false
    /// To a client by HTTP/2: what it was told of the end of its connection.
    var farewell = Farewell.none
    /// Neighbours in the pool of the target, plus one.
    var nextPlusOne: UInt32 = 0
    var previousPlusOne: UInt32 = 0
    var requestCount: UInt32 = 0
    /// Read from the socket and not yet understood.
    var input = Held()
    /// Not yet taken by the socket.
    var output = Held()
    /// The lines that tell targets of a client's TLS, in a cell of the worker's `fieldCells`, and the key of the plan
    /// by which they were made; zero before.
    var tlsFields = Held()
    var tlsFieldsKey: UInt32 = 0
    /// The client's or the target's address.
    var peer = Endpoint(address: IPAddress(v4: 0), port: 0)
    /// Where the client connected to.
    var local = Endpoint(address: IPAddress(v4: 0), port: 0)
    var startedAt = Instant(nanoseconds: 0)
    var lastActivityAt = Instant(nanoseconds: 0)
    /// The first byte of the head that is being read; zero when none has come.
    var headStartedAt = Instant(nanoseconds: 0)

    var isSecure: Bool { session.isOpen }
    var exchange: Int? { exchangePlusOne > 0 ? Int(exchangePlusOne) - 1 : nil }
}
