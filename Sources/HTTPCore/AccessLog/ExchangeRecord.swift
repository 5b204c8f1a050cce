// What a worker notes of an exchange for the access log: numbers in a trivial record, texts beside it.
//
// A worker must not wait for a log, nor make strings for it. So it copies the record into one ring and the texts,
// gathered in a reused buffer and cut at their bounds, into another; the log's thread makes the line. See
// ExchangeLine.

import Balancing

/// The numbers of one exchange, or of one WebSocket connection.
public struct ExchangeRecord: Sendable, BitwiseCopyable {
    /// The first field: what the client spoke.
    public enum Kind: UInt8, Sendable, BitwiseCopyable {
        case http
        case https
        /// HTTP/2 over TLS.
        case http2
        /// gRPC over TLS.
        case grpc
        case webSocket
        case secureWebSocket
    }

    public enum Action: UInt8, Sendable, BitwiseCopyable {
        case none
        case forward
        case redirect
        case fixedResponse
    }

    /// What became of the rule's transforms.
    public enum TransformStatus: UInt8, Sendable, BitwiseCopyable {
        case none
        case success
        case invalidHost
        case invalidPath
        case bufferTooSmall
        case replaceError
    }

    /// Numbers the log that the line goes to; zero for none.
    public var log: UInt32 = 0
    public var kind = Kind.http
    public var version = HTTPVersion.http11
    public var action = Action.none
    public var transformStatus = TransformStatus.none
    public var finding = DesyncFinding.compliant
    public var client: Endpoint
    /// Where the client connected to.
    public var local: Endpoint
    /// The one that answered, or that was tried last.
    public var target: Endpoint?
    /// When the request's first byte came.
    public var receivedAt: Instant
    /// When the request's head went to the target; nil when it did not.
    public var dispatchedAt: Instant?
    /// When the target's head began to come; nil when it did not.
    public var answeredAt: Instant?
    /// When the response began to leave for the client; nil when it did not.
    public var respondedAt: Instant?
    /// When the exchange was over, or the WebSocket connection.
    public var endedAt: Instant
    /// Zero when the client got none.
    public var statusCode: UInt16 = 0
    /// Zero when the target gave none.
    public var targetStatusCode: UInt16 = 0
    /// With heads.
    public var receivedByteCount: UInt64 = 0
    public var sentByteCount: UInt64 = 0
    /// 1–50,000; 0 for the default action, -1 when rules could not be evaluated; nil when it never came to that.
    public var rulePriority: Int32?
    /// Numbers of the TLS registries; zero without TLS.
    public var tlsVersion: UInt16 = 0
    public var tlsCipher: UInt16 = 0
    /// Numbers the certificate that the client got; zero for none.
    public var certificate: UInt32 = 0
    public var isTLSSessionReused = false
    /// The client's group cookie was not one of ours; ELBv2's AWSALBTGCookieInvalid.
    public var isGroupCookieInvalid = false
    public var connection: ConnectionTraceID
    /// Where the gathered bytes are, in a ring of such; whoever keeps them elsewhere has no use for it.
    public var textPosition: UInt64 = 0
    /// Where each text is among them.
    public var texts = ExchangeTexts()

    public init(
        client: Endpoint, local: Endpoint, connection: ConnectionTraceID, receivedAt: Instant,
        endedAt: Instant
    ) {
        self.client = client
        self.local = local
        self.connection = connection
        self.receivedAt = receivedAt
        self.endedAt = endedAt
    }
}

/// The places of an exchange's texts in the bytes that were gathered for it.
public struct ExchangeTexts: Sendable, BitwiseCopyable {
    public enum Field: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        case method
        /// As the request names its host; its port may be missing.
        case authority
        /// The path with its query.
        case target
        case userAgent
        /// The value of X-Amzn-Trace-Id as the target got it.
        case traceID
        /// The target group's name.
        case group
        /// The server name of the client's hello.
        case serverName
        case redirectURL
        case transformedHost
        case transformedTarget

        /// More is cut, and the line shows that it was.
        public var byteCountMax: Int {
            switch self {
            case .method: 32
            case .authority, .serverName, .transformedHost: 260
            case .target, .userAgent, .redirectURL, .transformedTarget: Limits.accessLogTextByteCountMax
            case .traceID: 512
            case .group: Limits.nameLengthMax
            }
        }
    }

    private struct Place: Sendable, BitwiseCopyable {
        var start: UInt16 = 0
        var count: UInt16 = 0
    }

    private var places = InlineArray<10, Place>(repeating: Place())
    private var cuts: UInt16 = 0
    /// Of all texts together, at most 18 KiB or so.
    public private(set) var byteCount: UInt16 = 0

    public init() {}

    /// Adds a field's text behind the others, at most once for each field.
    ///
    /// - Parameter buffer: What was gathered so far of this exchange, and nothing else; reused for the next.
    public mutating func append(_ field: Field, _ text: Span<UInt8>, to buffer: inout [UInt8]) {
        assert(Int(byteCount) == buffer.count, "the buffer has texts of another exchange")
        let count = min(text.count, field.byteCountMax)
        places[Int(field.rawValue)] = Place(start: byteCount, count: UInt16(count))
        if count < text.count { cuts |= 1 << UInt16(field.rawValue) }
        ByteText.append(text.extracting(first: count), to: &buffer)
        byteCount += UInt16(count)
    }

    /// - Parameter bytes: Those gathered for this exchange.
    /// - Returns: Where the field's text is in them; empty when it has none.
    public func range(of field: Field, in bytes: Span<UInt8>) -> Range<Int> {
        let place = places[Int(field.rawValue)]
        let end = Int(place.start) + Int(place.count)
        return end <= bytes.count ? Int(place.start)..<end : 0..<0
    }

    public func isCut(_ field: Field) -> Bool {
        cuts & 1 << UInt16(field.rawValue) != 0
    }
}
