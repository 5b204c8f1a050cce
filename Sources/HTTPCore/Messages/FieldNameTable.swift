// From the bytes of a field name to the fields that a balancer knows; RFC 9110 section 5.1.
//
// By length first, then by the one byte that tells the known names of that length apart: a name is compared with
// at most one other.

extension FieldName {
    /// The field of that name, in whatever case; `other` for all that a balancer does not look at.
    public init(naming name: Span<UInt8>) {
        let (candidate, id) = Self.candidate(for: name)
        self = Self.isEqual(name, to: candidate) ? id : .other
    }

    private static func candidate(for name: Span<UInt8>) -> (StaticString, FieldName) {
        switch name.count {
        case 2: ("te", .te)
        case 3: ("via", .via)
        case 4:
            switch name[0] | 0x20 {
            case UInt8(ascii: "h"): ("host", .host)
            default: ("date", .date)
            }
        case 6:
            switch name[0] | 0x20 {
            case UInt8(ascii: "e"): ("expect", .expect)
            case UInt8(ascii: "c"): ("cookie", .cookie)
            case UInt8(ascii: "s"): ("server", .server)
            default: ("origin", .origin)
            }
        case 7:
            switch name[0] | 0x20 {
            case UInt8(ascii: "t"): ("trailer", .trailer)
            default: ("upgrade", .upgrade)
            }
        case 10:
            switch name[0] | 0x20 {
            case UInt8(ascii: "c"): ("connection", .connection)
            case UInt8(ascii: "k"): ("keep-alive", .keepAlive)
            case UInt8(ascii: "s"): ("set-cookie", .setCookie)
            default: ("user-agent", .userAgent)
            }
        case 11: ("grpc-status", .grpcStatus)
        case 12: ("content-type", .contentType)
        case 14:
            switch name[0] | 0x20 {
            case UInt8(ascii: "c"): ("content-length", .contentLength)
            default: ("http2-settings", .http2Settings)
            }
        case 15:
            switch name[2] | 0x20 {
            case UInt8(ascii: "f"): ("x-forwarded-for", .forwardedFor)
            default: ("x-amzn-trace-id", .amznTraceID)
            }
        case 16:
            switch name[0] | 0x20 {
            case UInt8(ascii: "p"): ("proxy-connection", .proxyConnection)
            default: ("x-forwarded-port", .forwardedPort)
            }
        case 17:
            switch name[0] | 0x20 {
            case UInt8(ascii: "t"): ("transfer-encoding", .transferEncoding)
            case UInt8(ascii: "x"): ("x-forwarded-proto", .forwardedProto)
            default: ("sec-websocket-key", .webSocketKey)
            }
        case 18:
            switch name[0] | 0x20 {
            case UInt8(ascii: "p"): ("proxy-authenticate", .proxyAuthenticate)
            default: ("x-amzn-tls-version", .amznTLSVersion)
            }
        case 21: ("sec-websocket-version", .webSocketVersion)
        case 23: ("x-amzn-tls-cipher-suite", .amznTLSCipherSuite)
        default: ("", .other)
        }
    }

    private static func isEqual(_ name: Span<UInt8>, to lowercase: StaticString) -> Bool {
        guard lowercase.utf8CodeUnitCount == name.count else { return false }
        for index in name.indices {
            // A literal of as many bytes as the name has.
            guard unsafe lowercased(name[index]) == lowercase.utf8Start[index] else { return false }
        }
        return true
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }
}
