// The slot of one proxied TCP connection: trivial, preallocated, valid when all zero.

import Balancing
import LinuxIO
import Serving
import TLSTermination

/// One direction of a flow, with what it borrows while bytes are in transit.
struct Lane: BitwiseCopyable {
    var transfer = Transfer()
    /// Borrowed while the transfer holds bytes that came by splice.
    var pipe: Pipe?
    /// The stash cell plus one that keeps copied bytes which the sink did not take; zero for none.
    var stashCellPlusOne: UInt32 = 0
    /// Where in the cell the held bytes begin.
    var stashOffset: UInt32 = 0
    /// The source ended without saying so (no close_notify), so the end is passed on without saying so.
    var isCutShort = false
}

/// What a client has to say before its flow finds a target, in this order.
struct Greeting: OptionSet, BitwiseCopyable {
    let rawValue: UInt8

    /// A trusted peer's word on whose behalf it connects.
    static let proxyHeader = Greeting(rawValue: 1)
    /// The ClientHello, to be looked at and left in place.
    static let clientHello = Greeting(rawValue: 2)
    static let handshake = Greeting(rawValue: 4)
}

struct TCPFlow: BitwiseCopyable {
    enum Phase: UInt8, BitwiseCopyable {
        case free = 0
        /// Something is awaited from the client before a target is chosen; see `Greeting`.
        case greeting
        case connecting
        /// The TLS handshake with the target.
        case securing
        case established
    }

    var phase = Phase.free
    var greeting: Greeting = []
    /// The rule that chose the group, plus one; zero for the default action.
    var rulePlusOne: UInt16 = 0
    /// The target is to hear first on whose behalf the connection comes.
    var sendsProxyHeader = false
    /// In the queue of flows whose budget ran out while they had work.
    var isQueued = false
    /// Memory was short; the timer tries again.
    var isStalled = false
    /// Keepalive is on towards the target.
    var isKeptAlive = false
    /// TCP_NODELAY is on towards the target.
    var isPrompt = false
    /// Our FIN towards the target went first, so its port stays in TIME_WAIT after the end.
    var closesTargetFirst = false
    /// Zero for the kernel's choice, else one more than the index of the source address, or `clientColumn`.
    var sourceColumn: UInt8 = 0
    /// Counts the lives of the slot; it outlives each of them.
    var generation: UInt32 = 0
    /// The log that hears of the flow's end, with what stands in `Worker.accessNotes`; zero for none.
    var accessLog: UInt32 = 0
    var client = Descriptor.none
    var target = Descriptor.none
    var clientSession = TLSSession.none
    var targetSession = TLSSession.none
    var key: FlowKey
    var listener: ListenerNumber
    var targetNumber: TargetNumber
    var tried = TriedTargets()
    var attemptCountMax: UInt8 = 0
    var idleTimeoutSeconds: UInt32 = 0
    /// Bytes from the client to the target.
    var up = Lane()
    /// Bytes from the target to the client.
    var down = Lane()
    /// A target is chosen: `targetNumber` says which.
    var hasTarget: Bool { tried.count > 0 }
    var rule: Int? { rulePlusOne > 0 ? Int(rulePlusOne) - 1 : nil }
    var isSecure: Bool { clientSession.isOpen || targetSession.isOpen }
    var startedAt: Instant
    var lastActivityAt: Instant
}

/// Why a flow ended; it decides what each side sees and who is counted.
enum FlowEnding {
    /// Both directions passed their FIN on.
    case finished
    case clientReset
    case targetReset
    /// Weir's own doing: idle, no target reached, draining over, target unhealthy, out of descriptors.
    case balancerReset
    /// No TLS session came of it; the alert that says why is sent, so the connection just closes.
    case handshakeFailed
}
