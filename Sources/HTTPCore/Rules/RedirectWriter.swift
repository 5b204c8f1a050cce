// The Location of a redirect action, made of the request; RFC 9110 section 10.2.2.
//
// What comes from the client is copied percent-encoded as it came, is never read for placeholders, and can hold
// nothing that ends a line: otherwise a client could write header fields of its own into the response.

import Balancing

public enum RedirectWriter {
    /// What the placeholders mean beside the request itself.
    public struct Context: Sendable, BitwiseCopyable {
        /// The listener speaks HTTPS.
        public var isSecure: Bool
        /// The listener's port.
        public var port: UInt16

        public init(isSecure: Bool, port: UInt16) {
            self.isSecure = isSecure
            self.port = port
        }
    }

    public enum Outcome: Sendable, BitwiseCopyable {
        case written
        /// `#{host}` is needed and the request names no host, or one with characters that no host has: 400.
        case invalidHost
        /// The request's path or query has bytes that no URI has, such as control characters: 400.
        case invalidTarget
    }

    /// Appends the absolute URI to `output`; nothing when there is none.
    ///
    /// A port that is the default of the protocol is left out, and so is the question mark of an empty query.
    public static func append(
        _ action: RedirectAction, for head: borrowing RequestHead, _ bytes: Span<UInt8>, in context: Context,
        to output: inout [UInt8]
    ) -> Outcome {
        let start = output.count
        let source = Source(
            host: RequestText.host(of: head, bytes), path: RequestText.path(of: head, bytes),
            query: head.query.range.clamped(to: bytes.indices), context: context)
        let isSecure =
            switch action.protocol {
            case "HTTPS": true
            case "HTTP": false
            default: context.isSecure
            }
        output.append(contentsOf: (isSecure ? "https://" : "http://").utf8)

        let hostStart = output.count
        expand(action.host, source, bytes, to: &output)
        guard HostSyntax.isHost(output.span.extracting(hostStart..<output.count)) else {
            output.removeSubrange(start...)
            return .invalidHost
        }
        let port = action.port == "#{port}" ? context.port : UInt16(action.port) ?? context.port
        if port != (isSecure ? 443 : 80) {
            output.append(UInt8(ascii: ":"))
            append(port, to: &output)
        }

        let pathStart = output.count
        expand(action.path, source, bytes, to: &output)
        if output.count == pathStart { output.append(UInt8(ascii: "/")) }
        let queryStart = output.count
        output.append(UInt8(ascii: "?"))
        expand(action.query, source, bytes, to: &output)
        if output.count == queryStart + 1 { output.removeLast() }
        for index in pathStart..<output.count where output[index] < 0x20 || output[index] == 0x7F {
            output.removeSubrange(start...)
            return .invalidTarget
        }
        return .written
    }

    private struct Source {
        let host: Range<Int>?
        let path: Range<Int>
        let query: Range<Int>
        let context: Context
    }

    /// The parts of a template that stand for something.
    enum Placeholder: String, CaseIterable, Sendable {
        case `protocol` = "#{protocol}"
        case host = "#{host}"
        case port = "#{port}"
        case path = "#{path}"
        case query = "#{query}"

        /// The placeholder that begins at `position`.
        init?(in text: Span<UInt8>, at position: Int) {
            guard position + 7 <= text.count, text[position] == UInt8(ascii: "#"),
                text[position + 1] == UInt8(ascii: "{")
            else { return nil }
            // The first two letters tell the names apart; the whole is compared afterwards.
            switch (text[position + 2], text[position + 3]) {
            case (UInt8(ascii: "h"), _): self = .host
            case (UInt8(ascii: "q"), _): self = .query
            case (UInt8(ascii: "p"), UInt8(ascii: "a")): self = .path
            case (UInt8(ascii: "p"), UInt8(ascii: "o")): self = .port
            case (UInt8(ascii: "p"), UInt8(ascii: "r")): self = .protocol
            default: return nil
            }
            let name = rawValue.utf8.span
            guard position + name.count <= text.count else { return nil }
            for index in name.indices where text[position + index] != name[index] { return nil }
        }

        var byteCount: Int {
            switch self {
            case .protocol: 11
            case .host, .path, .port: 7
            case .query: 8
            }
        }
    }

    private static func expand(
        _ template: String, _ source: Source, _ bytes: Span<UInt8>, to output: inout [UInt8]
    ) {
        let text = template.utf8.span
        var position = 0
        while position < text.count {
            guard let placeholder = Placeholder(in: text, at: position) else {
                output.append(text[position])
                position += 1
                continue
            }
            position += placeholder.byteCount
            switch placeholder {
            case .protocol:
                output.append(contentsOf: (source.context.isSecure ? "https" : "http").utf8)
            case .host:
                if let host = source.host { copy(host, bytes, to: &output) }
            case .port:
                append(source.context.port, to: &output)
            case .path:
                // The template has the slash.
                copy(source.path.dropFirst(), bytes, to: &output)
            case .query:
                copy(source.query, bytes, to: &output)
            }
        }
    }

    private static func append(_ port: UInt16, to output: inout [UInt8]) {
        var divisor: UInt16 = 10_000
        while divisor > 1, port < divisor { divisor /= 10 }
        while divisor > 0 {
            output.append(UInt8(ascii: "0") + UInt8(port / divisor % 10))
            divisor /= 10
        }
    }

    /// Copies bytes of the request; what must be percent-encoded in a URI and came without is.
    private static func copy(_ range: Range<Int>, _ bytes: Span<UInt8>, to output: inout [UInt8]) {
        for position in range {
            let byte = bytes[position]
            switch byte {
            case 0x80..., UInt8(ascii: " "), UInt8(ascii: "\""), UInt8(ascii: "<"), UInt8(ascii: ">"),
                UInt8(ascii: "\\"), UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "{"),
                UInt8(ascii: "|"), UInt8(ascii: "}"), UInt8(ascii: "#"):
                output.append(UInt8(ascii: "%"))
                output.append(hexadecimalDigit(byte >> 4))
                output.append(hexadecimalDigit(byte & 15))
            default:
                output.append(byte)
            }
        }
    }

    private static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }
}
