// Tells the fields a balancer cares for by their names: length first, then whole words of letters.

extension FieldName {
    /// In lower case; empty for `other`.
    public var spelling: StaticString {
        switch self {
        case .other: ""
        case .host: "host"
        case .contentLength: "content-length"
        case .transferEncoding: "transfer-encoding"
        case .connection: "connection"
        case .keepAlive: "keep-alive"
        case .proxyConnection: "proxy-connection"
        case .proxyAuthenticate: "proxy-authenticate"
        case .te: "te"
        case .trailer: "trailer"
        case .upgrade: "upgrade"
        case .expect: "expect"
        case .cookie: "cookie"
        case .setCookie: "set-cookie"
        case .userAgent: "user-agent"
        case .via: "via"
        case .server: "server"
        case .date: "date"
        case .origin: "origin"
        case .contentType: "content-type"
        case .http2Settings: "http2-settings"
        case .forwardedFor: "x-forwarded-for"
        case .forwardedProto: "x-forwarded-proto"
        case .forwardedPort: "x-forwarded-port"
        case .amznTraceID: "x-amzn-trace-id"
        case .amznTLSVersion: "x-amzn-tls-version"
        case .amznTLSCipherSuite: "x-amzn-tls-cipher-suite"
        case .webSocketKey: "sec-websocket-key"
        case .webSocketVersion: "sec-websocket-version"
        case .grpcStatus: "grpc-status"
        }
    }

    /// The field of that name, in whatever case; `other` for all that a balancer does not look at.
    public init(naming name: Span<UInt8>) {
        self = .other
        for index in name.indices where !ASCIISet.token.contains(name[index]) { return }
        self = Self.recognised(name, 0..<name.count)
    }

    /// The name at a place of a head, whatever its case. Its bytes must be token characters.
    @inline(__always)
    static func recognised(_ bytes: Span<UInt8>, _ range: Range<Int>) -> FieldName {
        // Eight bytes of the name from an offset on, or what it has; in lower case. Among token characters only
        // letters turn into letters by this, so that no name is taken for another.
        @inline(__always)
        func word(_ offset: Int) -> UInt64 {
            let start = range.lowerBound &+ offset
            let count = min(8, range.upperBound &- start)
            let word = ByteScanning.word(bytes, at: start, byteCount: count)
            return (word | 0x2020_2020_2020_2020) & ByteScanning.mask(byteCount: count)
        }
        switch range.count {
        case 2:
            if word(0) == .letters("t", "e") { return .te }
        case 3:
            if word(0) == .letters("v", "i", "a") { return .via }
        case 4:
            if word(0) == .letters("h", "o", "s", "t") { return .host }
            if word(0) == .letters("d", "a", "t", "e") { return .date }
        case 6:
            if word(0) == .letters("c", "o", "o", "k", "i", "e") { return .cookie }
            if word(0) == .letters("e", "x", "p", "e", "c", "t") { return .expect }
            if word(0) == .letters("o", "r", "i", "g", "i", "n") { return .origin }
            if word(0) == .letters("s", "e", "r", "v", "e", "r") { return .server }
        case 7:
            if word(0) == .letters("t", "r", "a", "i", "l", "e", "r") { return .trailer }
            if word(0) == .letters("u", "p", "g", "r", "a", "d", "e") { return .upgrade }
        case 10:
            if word(0) == .letters("c", "o", "n", "n", "e", "c", "t", "i")
                && word(2) == .letters("n", "n", "e", "c", "t", "i", "o", "n")
            {
                return .connection
            }
            if word(0) == .letters("k", "e", "e", "p", "-", "a", "l", "i")
                && word(2) == .letters("e", "p", "-", "a", "l", "i", "v", "e")
            {
                return .keepAlive
            }
            if word(0) == .letters("s", "e", "t", "-", "c", "o", "o", "k")
                && word(2) == .letters("t", "-", "c", "o", "o", "k", "i", "e")
            {
                return .setCookie
            }
            if word(0) == .letters("u", "s", "e", "r", "-", "a", "g", "e")
                && word(2) == .letters("e", "r", "-", "a", "g", "e", "n", "t")
            {
                return .userAgent
            }
        case 11:
            if word(0) == .letters("g", "r", "p", "c", "-", "s", "t", "a")
                && word(3) == .letters("c", "-", "s", "t", "a", "t", "u", "s")
            {
                return .grpcStatus
            }
        case 12:
            if word(0) == .letters("c", "o", "n", "t", "e", "n", "t", "-")
                && word(4) == .letters("e", "n", "t", "-", "t", "y", "p", "e")
            {
                return .contentType
            }
        case 14:
            if word(0) == .letters("c", "o", "n", "t", "e", "n", "t", "-")
                && word(6) == .letters("t", "-", "l", "e", "n", "g", "t", "h")
            {
                return .contentLength
            }
            if word(0) == .letters("h", "t", "t", "p", "2", "-", "s", "e")
                && word(6) == .letters("s", "e", "t", "t", "i", "n", "g", "s")
            {
                return .http2Settings
            }
        case 15:
            if word(0) == .letters("x", "-", "f", "o", "r", "w", "a", "r")
                && word(7) == .letters("r", "d", "e", "d", "-", "f", "o", "r")
            {
                return .forwardedFor
            }
            if word(0) == .letters("x", "-", "a", "m", "z", "n", "-", "t")
                && word(7) == .letters("t", "r", "a", "c", "e", "-", "i", "d")
            {
                return .amznTraceID
            }
        case 16:
            if word(0) == .letters("p", "r", "o", "x", "y", "-", "c", "o")
                && word(8) == .letters("n", "n", "e", "c", "t", "i", "o", "n")
            {
                return .proxyConnection
            }
            if word(0) == .letters("x", "-", "f", "o", "r", "w", "a", "r")
                && word(8) == .letters("d", "e", "d", "-", "p", "o", "r", "t")
            {
                return .forwardedPort
            }
        case 17:
            if word(0) == .letters("t", "r", "a", "n", "s", "f", "e", "r")
                && word(8) == .letters("-", "e", "n", "c", "o", "d", "i", "n")
                && word(9) == .letters("e", "n", "c", "o", "d", "i", "n", "g")
            {
                return .transferEncoding
            }
            if word(0) == .letters("x", "-", "f", "o", "r", "w", "a", "r")
                && word(8) == .letters("d", "e", "d", "-", "p", "r", "o", "t")
                && word(9) == .letters("e", "d", "-", "p", "r", "o", "t", "o")
            {
                return .forwardedProto
            }
            if word(0) == .letters("s", "e", "c", "-", "w", "e", "b", "s")
                && word(8) == .letters("o", "c", "k", "e", "t", "-", "k", "e")
                && word(9) == .letters("c", "k", "e", "t", "-", "k", "e", "y")
            {
                return .webSocketKey
            }
        case 18:
            if word(0) == .letters("p", "r", "o", "x", "y", "-", "a", "u")
                && word(8) == .letters("t", "h", "e", "n", "t", "i", "c", "a")
                && word(10) == .letters("e", "n", "t", "i", "c", "a", "t", "e")
            {
                return .proxyAuthenticate
            }
            if word(0) == .letters("x", "-", "a", "m", "z", "n", "-", "t")
                && word(8) == .letters("l", "s", "-", "v", "e", "r", "s", "i")
                && word(10) == .letters("-", "v", "e", "r", "s", "i", "o", "n")
            {
                return .amznTLSVersion
            }
        case 21:
            if word(0) == .letters("s", "e", "c", "-", "w", "e", "b", "s")
                && word(8) == .letters("o", "c", "k", "e", "t", "-", "v", "e")
                && word(13) == .letters("-", "v", "e", "r", "s", "i", "o", "n")
            {
                return .webSocketVersion
            }
        case 23:
            if word(0) == .letters("x", "-", "a", "m", "z", "n", "-", "t")
                && word(8) == .letters("l", "s", "-", "c", "i", "p", "h", "e")
                && word(15) == .letters("e", "r", "-", "s", "u", "i", "t", "e")
            {
                return .amznTLSCipherSuite
            }
        default: break
        }
        return .other
    }
}

extension HTTPMethod {
    /// Methods are told apart by case; RFC 9110 section 9.1.
    @inline(__always)
    static func recognised(_ bytes: Span<UInt8>, _ range: Range<Int>) -> HTTPMethod {
        guard range.count <= 7 else { return .other }
        switch ByteScanning.word(bytes, at: range.lowerBound, byteCount: range.count) {
        case .letters("G", "E", "T"): return .get
        case .letters("P", "U", "T"): return .put
        case .letters("H", "E", "A", "D"): return .head
        case .letters("P", "O", "S", "T"): return .post
        case .letters("P", "A", "T", "C", "H"): return .patch
        case .letters("T", "R", "A", "C", "E"): return .trace
        case .letters("D", "E", "L", "E", "T", "E"): return .delete
        case .letters("C", "O", "N", "N", "E", "C", "T"): return .connect
        case .letters("O", "P", "T", "I", "O", "N", "S"): return .options
        default: return .other
        }
    }
}

extension UInt64 {
    /// Up to eight letters as they stand in memory.
    @inline(__always)
    static func letters(
        _ first: Unicode.Scalar, _ second: Unicode.Scalar, _ third: Unicode.Scalar = "\0",
        _ fourth: Unicode.Scalar = "\0", _ fifth: Unicode.Scalar = "\0", _ sixth: Unicode.Scalar = "\0",
        _ seventh: Unicode.Scalar = "\0", _ eighth: Unicode.Scalar = "\0"
    ) -> UInt64 {
        UInt64(first.value) | UInt64(second.value) << 8 | UInt64(third.value) << 16
            | UInt64(fourth.value) << 24 | UInt64(fifth.value) << 32 | UInt64(sixth.value) << 40
            | UInt64(seventh.value) << 48 | UInt64(eighth.value) << 56
    }
}
