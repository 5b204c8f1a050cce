// The head of a message, as places in the bytes in which it came: the same for HTTP/1.1 and HTTP/2.
//
// A head is filled anew for every message and its field array is kept, so that a warm worker allocates nothing.
// Whoever reads it is lent the bytes it was read from. RFC 9110 sections 5 to 7.

/// Some bytes of a message, by their place.
public struct ByteRange: Hashable, Sendable, BitwiseCopyable {
    public var start: UInt32
    public var count: UInt32

    public static let none = ByteRange(start: 0, count: 0)

    public init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }

    public init(_ range: Range<Int>) {
        start = UInt32(clamping: range.lowerBound)
        count = UInt32(clamping: range.count)
    }

    public var isEmpty: Bool { count == 0 }
    public var lowerBound: Int { Int(start) }
    public var upperBound: Int { Int(start) + Int(count) }
    public var range: Range<Int> { lowerBound..<upperBound }
}

public enum HTTPVersion: UInt8, Sendable, BitwiseCopyable {
    case http10
    case http11
    case http2
}

public enum HTTPMethod: UInt8, Sendable, BitwiseCopyable {
    case other
    case get
    case head
    case post
    case put
    case delete
    case connect
    case options
    case trace
    case patch
}

/// The fields that a balancer reads, adds or takes away; all others are `other`.
public enum FieldName: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case other
    case host
    case contentLength
    case transferEncoding
    case connection
    case keepAlive
    case proxyConnection
    case proxyAuthenticate
    case te
    case trailer
    case upgrade
    case expect
    case cookie
    case setCookie
    case userAgent
    case via
    case server
    case date
    case origin
    case contentType
    case http2Settings
    case forwardedFor  // x-forwarded-for
    case forwardedProto
    case forwardedPort
    case amznTraceID
    case amznTLSVersion
    case amznTLSCipherSuite
    case webSocketKey
    case webSocketVersion
    case grpcStatus
}

/// One field line, name and value without the whitespace around it.
public struct HeadField: Sendable, BitwiseCopyable {
    public var name: ByteRange
    public var value: ByteRange
    public var id: FieldName
    /// Its name has characters besides letters, digits and hyphens: ELBv2 calls such a field invalid, and drops
    /// it when told to.
    public var hasUnusualName: Bool
    /// Hop-by-hop by itself or because Connection names it (RFC 9110 section 7.6.1): not forwarded.
    public var isHopByHop: Bool

    public init(
        name: ByteRange, value: ByteRange, id: FieldName, hasUnusualName: Bool = false,
        isHopByHop: Bool = false
    ) {
        self.name = name
        self.value = value
        self.id = id
        self.hasUnusualName = hasUnusualName
        self.isHopByHop = isHopByHop
    }
}

/// How the end of a message's content is found; RFC 9112 section 6.3.
public enum BodyFraming: Hashable, Sendable, BitwiseCopyable {
    case none
    case counted(UInt64)
    case chunked
    /// A response of HTTP/1.0, or one that gives no length.
    case untilClose
    /// HTTP/2 content without a declared length: its stream says when it ends.
    case streamed
}

/// What a request with Upgrade asks for.
public enum UpgradeRequest: UInt8, Sendable, BitwiseCopyable {
    case none
    case webSocket
    /// Anything else, which is not passed on.
    case other
}

public struct RequestHead: Sendable {
    public var version = HTTPVersion.http11
    public var method = HTTPMethod.other
    public var methodBytes = ByteRange.none
    /// The whole request-target as it came (HTTP/1), or the `:path` (HTTP/2).
    public var target = ByteRange.none
    /// Where the request wants to go, without user information: the authority of an absolute-form target, else the
    /// Host field or `:authority`; with its port, if it names one. Empty when there is none.
    public var authority = ByteRange.none
    /// Without the query; `*` for OPTIONS of the server as a whole.
    public var path = ByteRange.none
    /// What follows the first question mark.
    public var query = ByteRange.none
    public var hasQuery = false
    public var fields: [HeadField] = []
    public var framing = BodyFraming.none
    /// The client will take further responses on this connection. Always true in HTTP/2.
    public var isPersistent = true
    public var expectsContinue = false
    public var upgrade = UpgradeRequest.none
    /// The client accepts trailers (TE: trailers), which gRPC needs.
    public var acceptsTrailers = false
    /// Bytes of the head with its last empty line. HTTP/2: of its decoded fields.
    public var byteCount = 0
    public var desync = DesyncFinding.compliant

    public init() {
        fields.reserveCapacity(64)
    }
}

public struct ResponseHead: Sendable {
    public var version = HTTPVersion.http11
    /// 100–999.
    public var statusCode = 0
    public var reason = ByteRange.none
    public var fields: [HeadField] = []
    public var framing = BodyFraming.none
    /// The target's connection can carry another exchange afterwards.
    public var isPersistent = true
    public var byteCount = 0

    public init() {
        fields.reserveCapacity(64)
    }

    public var isInterim: Bool { statusCode < 200 }
}
