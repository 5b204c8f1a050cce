// One request and its response: who asked, who answers, and how far both have come.
//
// Trivial and valid when all zero, like a connection. What must be decided is in HTTPCore; here stands what was.

import Balancing
import HTTPCore
import LinuxIO

/// How content leaves towards one side.
enum ContentForm: UInt8, BitwiseCopyable {
    /// As it is: its length was told, or the connection's end tells.
    case raw
    case chunked
    /// As DATA frames of HTTP/2.
    case frames
}

/// Content on its way from one connection to another.
struct ContentLane: BitwiseCopyable {
    var reader = BodyReader(.none)
    var form = ContentForm.raw
    var isDone = false
    /// The pipe for large content is borrowed.
    var hasPipe = false
    var pipe = Pipe.none
    /// Bytes in the pipe.
    var pipeByteCount: UInt32 = 0
    /// Content that came by HTTP/2 and could not go on yet, at most a stream's window.
    var held = Held()
    /// Trailers that came by HTTP/2, as lines of HTTP/1.
    var trailers = Held()
    /// No more content comes by HTTP/2.
    var hasSourceEnded = false
    /// The worker's `trailerBlock` has this lane's trailers, to be sent at once.
    var hasTrailerBlock = false
    /// Content only, without heads and chunk lines.
    var byteCount: UInt64 = 0
}

struct Exchange: BitwiseCopyable {
    enum Phase: UInt8, BitwiseCopyable {
        case free = 0
        /// A connection to the target is being made.
        case connecting
        /// The request is with the target, of whose answer nothing has come.
        case awaitingHead
        /// The final head has gone to the client.
        case responding
        /// Switched protocols: bytes go both ways until both sides end.
        case tunnel
    }

    var phase = Phase.free
    var generation: UInt32 = 0
    var client: UInt32 = 0
    /// Zero for HTTP/1.
    var clientStream: Int32 = 0
    var targetPlusOne: UInt32 = 0
    var targetStream: Int32 = 0
    /// Neighbours among the exchanges of its client's and its target's connection, plus one.
    var nextOfClientPlusOne: UInt32 = 0
    var previousOfClientPlusOne: UInt32 = 0
    var nextOfTargetPlusOne: UInt32 = 0
    var previousOfTargetPlusOne: UInt32 = 0
    /// Waits among the touched ones; see `Worker.touched`.
    var isTouched = false

    var listener = ListenerNumber(0)
    /// Numbers the access log that its end goes to; zero for none. See Worker+AccessLog.swift.
    var log: UInt32 = 0
    /// The cell of its texts for the log, in the worker's `noteCells`.
    var noteCellPlusOne: UInt32 = 0
    var rule: UInt32 = 0
    var group: UInt32 = 0
    /// A group was chosen.
    var hasGroup = false
    /// Valid when `tried` is not empty.
    var targetNumber = TargetNumber(0)
    var tried = TriedTargets()
    var attemptCountMax: UInt8 = 1
    var isOutstanding = false
    /// What its cookie named, if that is eligible.
    var stickyTarget = TargetNumber(0)
    var hasStickyTarget = false

    var method = HTTPMethod.other
    var version = HTTPVersion.http11
    var upgrade = UpgradeRequest.none
    /// The client's connection may serve another request afterwards.
    var isClientPersistent = true
    var isTargetPersistent = true
    var expectsContinue = false
    /// Cookies to set in the response's head.
    var setsTargetCookie = false
    var setsGroupCookie = false
    /// The client is bound to the application's cookie already, whatever became of its target.
    var isBoundByApplicationCookie = false

    /// The request as it was first sent, until the target answers: another connection may need it.
    var replay = Held()
    var replaySentCount: UInt32 = 0
    /// `replay` is the whole request.
    var isReplayWhole = false
    /// Bytes of the head in `replay`.
    var replayHeadCount: UInt32 = 0
    /// A byte of the request went out on the present connection.
    var hasSentBytes = false

    var up = ContentLane()
    var down = ContentLane()

    /// Interim responses so far.
    var interimCount: UInt8 = 0
    /// Connections of HTTP/2 that had no stream left for it.
    var refusedStreamCount: UInt8 = 0
    var repeatCount: UInt8 = 0
    var failure = ExchangeFailure.none
    var statusCode: UInt16 = 0
    var targetStatusCode: UInt16 = 0
    var startedAt = Instant(nanoseconds: 0)
    /// When the whole head had come, when it was with the target, and when its answer began.
    var headAt = Instant(nanoseconds: 0)
    var sentAt = Instant(nanoseconds: 0)
    var answeredAt = Instant(nanoseconds: 0)
    /// When content last moved, either way.
    var lastMovedAt = Instant(nanoseconds: 0)

    /// The lane of one direction: up to the target, or down to the client.
    subscript(isUp isUp: Bool) -> ContentLane {
        get { isUp ? up : down }
        _modify { if isUp { yield &up } else { yield &down } }
    }

    var target: Int? { targetPlusOne > 0 ? Int(targetPlusOne) - 1 : nil }
    var isHead: Bool { method == .head }
}
