// The head of a response as its client gets it, written anew like the request's.

import Balancing

/// What a response is forwarded with, besides its head.
public struct ResponseFacts: Sendable {
    /// The content goes on in chunks, whatever the target's framing was.
    public var isChunked: Bool
    /// The client may send another request.
    public var isPersistent: Bool
    public var clientVersion: HTTPVersion
    /// Nil when the listener is gone: nothing is added then.
    public var attributes: ApplicationListenerAttributes?

    public init(
        isChunked: Bool, isPersistent: Bool, clientVersion: HTTPVersion,
        attributes: ApplicationListenerAttributes?
    ) {
        self.isChunked = isChunked
        self.isPersistent = isPersistent
        self.clientVersion = clientVersion
        self.attributes = attributes
    }
}

public enum ForwardedResponse {
    /// Appends status line and fields, without the empty line: the caller may have fields of its own.
    public static func write(
        _ head: ResponseHead, _ bytes: Span<UInt8>, facts: ResponseFacts, into output: inout OutputBuffer
    ) {
        appendStatusLine(head, bytes, &output)
        for index in head.fields.indices {
            let field = head.fields[index]
            if field.isHopByHop { continue }
            switch field.id {
            case .transferEncoding: continue
            case .contentLength:
                // Of the content that follows, or of the one that a HEAD or 304 speaks of.
                if facts.isChunked { continue }
            case .server:
                if let attributes = facts.attributes, !attributes.isServerFieldEnabled { continue }
            default: break
            }
            if let attributes = facts.attributes, !attributes.responseFields.isEmpty,
                InsertedFields.replaces(bytes.extracting(field.name.range), attributes)
            {
                continue
            }
            HeadWriter.appendField(field, bytes, to: &output)
        }
        if facts.isChunked { output.append("Transfer-Encoding: chunked\r\n") }
        if let attributes = facts.attributes, !attributes.responseFields.isEmpty {
            InsertedFields.append(attributes, to: &output)
        }
        if !facts.isPersistent {
            output.append("Connection: close\r\n")
        } else if facts.clientVersion == .http10 {
            output.append("Connection: keep-alive\r\n")
        }
    }

    /// An interim response, or the switch to WebSocket: as it is, but for hop-by-hop fields. With its empty line.
    public static func writeInterim(
        _ head: ResponseHead, _ bytes: Span<UInt8>, into output: inout OutputBuffer
    ) {
        appendStatusLine(head, bytes, &output)
        for index in head.fields.indices where !head.fields[index].isHopByHop {
            HeadWriter.appendField(head.fields[index], bytes, to: &output)
        }
        if head.statusCode == 101 { output.append("Connection: upgrade\r\nUpgrade: websocket\r\n") }
        output.append("\r\n")
    }

    private static func appendStatusLine(
        _ head: ResponseHead, _ bytes: Span<UInt8>, _ output: inout OutputBuffer
    ) {
        output.append("HTTP/1.1 ")
        output.append(decimal: UInt64(head.statusCode))
        output.append(" ")
        output.append(bytes, head.reason)
        output.append("\r\n")
    }
}

/// The response fields that a listener sets; `routing.http.response.….header_value`.
enum InsertedFields {
    static func name(of field: ApplicationListenerAttributes.InsertedField) -> String {
        switch field {
        case .strictTransportSecurity: "Strict-Transport-Security"
        case .allowOrigin: "Access-Control-Allow-Origin"
        case .allowMethods: "Access-Control-Allow-Methods"
        case .allowHeaders: "Access-Control-Allow-Headers"
        case .allowCredentials: "Access-Control-Allow-Credentials"
        case .exposeHeaders: "Access-Control-Expose-Headers"
        case .maxAge: "Access-Control-Max-Age"
        case .contentSecurityPolicy: "Content-Security-Policy"
        case .contentTypeOptions: "X-Content-Type-Options"
        case .frameOptions: "X-Frame-Options"
        }
    }

    /// Whether the listener's field takes the place of the target's.
    static func replaces(_ name: Span<UInt8>, _ attributes: ApplicationListenerAttributes) -> Bool {
        for field in attributes.responseFields.keys
        where ByteScanning.equals(name, 0..<name.count, Self.name(of: field).lowercased()) {
            return true
        }
        return false
    }

    static func append(_ attributes: ApplicationListenerAttributes, to output: inout OutputBuffer) {
        for field in ApplicationListenerAttributes.InsertedField.allCases {
            guard let value = attributes.responseFields[field] else { continue }
            output.append(name(of: field))
            output.append(": ")
            output.append(value)
            output.append("\r\n")
        }
    }
}
