// The fields behind a chunked message. Those that frame, route, authenticate or describe a message come too late to
// be believed, and are marked as not to be passed on; RFC 9110 section 6.5.1.

public enum TrailerSection {
    public static let fieldCountMax = 64

    /// Fills `fields` with those of a section that `BodyReader` has returned; positions are those of `bytes`.
    public static func read(_ bytes: Span<UInt8>, _ range: Range<Int>, into fields: inout [HeadField]) {
        fields.removeAll(keepingCapacity: true)
        var section = FieldSection(
            position: range.lowerBound, byteEnd: range.upperBound, lineByteCountMax: range.count,
            fieldCountMax: fieldCountMax)
        // The range ends with its last line, without the empty one: it runs out rather than ends.
        while section.position < range.upperBound, case .field = section.readLine(bytes, into: &fields) {
            fields[fields.count - 1].isHopByHop = isForbidden(fields[fields.count - 1], bytes)
        }
    }

    static func isForbidden(_ field: HeadField, _ bytes: Span<UInt8>) -> Bool {
        switch field.id {
        case .other:
            // A program that takes `_` for `-` would see another field. And what Weir alone may say, as of a client's
            // certificate, no trailer may say either.
            field.hasUnusualName || isReserved(field.name, bytes)
                || forbiddenNames.contains { ByteScanning.equals(bytes, field.name.range, $0) }
        case .grpcStatus:
            false
        case .host, .contentLength, .transferEncoding, .connection, .keepAlive, .proxyConnection,
            .proxyAuthenticate, .te, .trailer, .upgrade, .expect, .cookie, .setCookie, .userAgent, .via,
            .server,
            .date, .origin, .contentType, .http2Settings, .forwardedFor, .forwardedProto, .forwardedPort,
            .amznTraceID, .amznTLSVersion, .amznTLSCipherSuite, .webSocketKey, .webSocketVersion:
            true
        }
    }

    /// `X-Amzn-…`
    private static func isReserved(_ name: ByteRange, _ bytes: Span<UInt8>) -> Bool {
        let prefix = "x-amzn-"
        let end = name.lowerBound + prefix.utf8.count
        return end <= name.upperBound && ByteScanning.equals(bytes, name.lowerBound..<end, prefix)
    }

    private static let forbiddenNames = [
        "authorization", "proxy-authorization", "www-authenticate", "authentication-info",
        "proxy-authentication-info", "content-encoding", "content-range", "content-location",
        "content-language",
        "cache-control", "pragma", "range", "max-forwards", "age", "expires", "location", "retry-after",
        "vary",
        "warning", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
        "forwarded",
    ]
}
