// What happens on an HTTP/2 connection, and why it or one of its streams ends; RFC 9113.

/// What one call of a session found out; in the order in which it came.
///
/// The life of a stream: `request` (on a server's session) or nothing (on a client's, which opened it), then heads,
/// content and trailers, then exactly one `closed`. The peer's half ends once: with a head that `endsStream`, with
/// `trailers`, or with `endOfStream`. After `reset` only `closed` follows.
public enum HTTP2Event: Sendable, BitwiseCopyable {
    /// A client asks; the head is `requestHeads[head]` of the inbox.
    case request(stream: Int32, head: Int, endsStream: Bool)
    /// A client asks for what is not served: to be answered with the status of `reason`. What else the client says
    /// on that stream comes as usual.
    case refusal(stream: Int32, reason: HTTP2Refusal, endsStream: Bool)
    /// A request that broke the rules of HTTP/2 and was reset, unseen. For counting: no `closed` follows.
    case malformed(stream: Int32, fault: HTTP2MessageFault)
    /// A target answers; the head is `responseHeads[head]` of the inbox. One with a status below 200 is followed by
    /// another.
    case response(stream: Int32, head: Int, endsStream: Bool)
    /// Content, at that place in the received bytes. Every byte is to be told back by `consumed`.
    case content(stream: Int32, bytes: ByteRange)
    /// The fields are `trailerSections[section]` of the inbox.
    case trailers(stream: Int32, section: Int)
    case endOfStream(stream: Int32)
    /// The stream ended before its time. A response that has ended before is whole nevertheless.
    case reset(stream: Int32, reset: HTTP2Reset)
    /// The stream is gone, and its tag was this one.
    case closed(stream: Int32, tag: UInt64)
    /// After `write` took less than all: there is room again.
    case writable(stream: Int32)
    /// The peer opens no more streams, or takes none beyond `lastStream`; those beyond are reset as unprocessed.
    case goAway(lastStream: Int32, code: HTTP2ErrorCode)
    /// The peer's settings came: `availableStreamCount` may have changed.
    case settings
}

/// RFC 9113 section 7; any other number can come from a peer too.
public struct HTTP2ErrorCode: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    public static let none = Self(rawValue: 0)
    public static let protocolError = Self(rawValue: 1)
    public static let internalError = Self(rawValue: 2)
    public static let flowControlError = Self(rawValue: 3)
    public static let settingsTimeout = Self(rawValue: 4)
    public static let streamClosed = Self(rawValue: 5)
    public static let frameSizeError = Self(rawValue: 6)
    public static let refusedStream = Self(rawValue: 7)
    public static let cancel = Self(rawValue: 8)
    public static let compressionError = Self(rawValue: 9)
    public static let connectError = Self(rawValue: 10)
    public static let enhanceYourCalm = Self(rawValue: 11)
    public static let inadequateSecurity = Self(rawValue: 12)
    public static let http11Required = Self(rawValue: 13)
}

/// How a stream ended before its time.
public struct HTTP2Reset: Hashable, Sendable, BitwiseCopyable {
    public var code: HTTP2ErrorCode
    public var origin: Origin
    /// The peer has not looked at the request, which can be sent again elsewhere whatever its method; RFC 9113
    /// section 8.7.
    public var isUnprocessed: Bool

    public enum Origin: UInt8, Sendable, BitwiseCopyable {
        case peer
        /// This session, because the peer broke a rule of the protocol.
        case violation
    }
}

/// Requests that are understood and not served.
public enum HTTP2Refusal: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    /// Its fields exceed `Limits.http2HeaderListByteCountMax` or `http2FieldCountMax`.
    case headTooLarge
    /// CONNECT, also the extended one of RFC 8441.
    case connectMethod
    /// TRACE, which ELBv2 does not serve.
    case traceMethod

    public var statusCode: Int {
        switch self {
        case .headTooLarge: 431
        case .connectMethod, .traceMethod: 405
        }
    }
}

/// Why a message is malformed; RFC 9113 sections 8.1 to 8.3.
public enum HTTP2MessageFault: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    /// A missing, repeated, misplaced or unknown pseudo-header, an upper-case name, a field of one connection, or a
    /// length that the content does not have.
    case message
    /// A name that is no token, or a value with a control character.
    case field
    /// Neither http nor https.
    case scheme
    /// It does not begin with a slash, or has a fragment.
    case path
    /// With user information, or none at all.
    case authority
    /// Host names another than the authority.
    case hostMismatch
    case status
    /// A request beyond the streams that the settings grant.
    case tooManyStreams
}

/// Why a connection is over. What is pending (a GOAWAY) should be sent, then the connection closed.
public enum HTTP2Failure: UInt8, Error, Sendable, BitwiseCopyable, CaseIterable {
    // Broken rules of the protocol.
    case preface
    case protocolViolation
    case flowControl
    case frameSize
    case compression
    case streamState

    // Allowed, but too much of it in too short a time: GOAWAY says ENHANCE_YOUR_CALM.
    case resetFlood
    case continuationFlood
    case settingsFlood
    case pingFlood
    case priorityFlood
    case windowUpdateFlood
    case emptyFrameFlood
    case headerBomb
    /// The peer makes this side answer and does not take the answers.
    case unreadAnswers

    // This side's fault.
    case outOfMemory
    case internalError

    var code: HTTP2ErrorCode {
        switch self {
        case .preface, .protocolViolation: .protocolError
        case .flowControl: .flowControlError
        case .frameSize: .frameSizeError
        case .compression: .compressionError
        case .streamState: .streamClosed
        case .resetFlood, .continuationFlood, .settingsFlood, .pingFlood, .priorityFlood, .windowUpdateFlood,
            .emptyFrameFlood, .headerBomb, .unreadAnswers:
            .enhanceYourCalm
        case .outOfMemory, .internalError: .internalError
        }
    }
}
