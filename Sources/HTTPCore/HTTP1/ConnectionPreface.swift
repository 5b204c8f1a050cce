// Recognises a client that speaks HTTP/2 at once, without TLS ("prior knowledge"); RFC 9113 section 3.4.

public enum ConnectionPreface {
    public enum Match: Hashable, Sendable, BitwiseCopyable {
        case no
        /// So far; read more before deciding.
        case partial
        case yes
    }

    public static let byteCount = 24

    /// Whether the first bytes of a connection are the preface. No bytes at all are `partial`.
    public static func match(_ bytes: Span<UInt8>) -> Match {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8.span
        for index in 0..<min(bytes.count, preface.count) where bytes[index] != preface[index] { return .no }
        return bytes.count < preface.count ? .partial : .yes
    }
}
