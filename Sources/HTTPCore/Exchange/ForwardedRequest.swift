// The head of a request as its target gets it, written anew from what was understood: nothing of the client's bytes
// goes on that two parsers could read in two ways.
//
// The form is HTTP/1.1's whatever both sides speak; for a target of HTTP/2 it is read once more. RFC 9110 section
// 7.6, RFC 9112 section 3.2, and ELBv2's fields.

import Balancing

/// What a request is forwarded with, besides its head.
public struct ForwardingFacts: Sendable {
    public var client: Endpoint
    /// Where the client connected to.
    public var local: Endpoint
    public var isSecure: Bool
    public var attributes: ApplicationLoadBalancerAttributes
    /// The fields that the listener speaks by of TLS; nil for none. What a client says in them is dropped.
    public var tlsFields: TLSFieldPlan?
    /// For X-Amzn-Trace-Id.
    public var unixSeconds: UInt64
    public var random: UInt128

    public init(
        client: Endpoint, local: Endpoint, isSecure: Bool,
        attributes: ApplicationLoadBalancerAttributes, tlsFields: TLSFieldPlan? = nil, unixSeconds: UInt64,
        random: UInt128
    ) {
        self.client = client
        self.local = local
        self.isSecure = isSecure
        self.attributes = attributes
        self.tlsFields = tlsFields
        self.unixSeconds = unixSeconds
        self.random = random
    }
}

public enum ForwardedRequest {
    /// What came of writing a head.
    public enum Outcome: Sendable {
        case written(droppedFieldCount: Int)
        /// A rewritten URL, or a rewritten host, that is none.
        case badTarget
        case badHost
    }

    /// Appends request line and fields, without the empty line: the caller may have fields of its own. `text` is
    /// left with the value of X-Amzn-Trace-Id.
    public static func write(
        _ head: RequestHead, _ bytes: Span<UInt8>, facts: ForwardingFacts, transforms: CompiledTransforms?,
        scratch: inout RuleScratch, text: inout [UInt8], into output: inout OutputBuffer
    ) -> Outcome {
        output.append(bytes, head.methodBytes)
        output.append(" ")
        guard appendTarget(head, bytes, transforms, &scratch, &text, &output) else { return .badTarget }
        output.append(" HTTP/1.1\r\nHost: ")
        guard appendHost(head, bytes, facts, transforms, &scratch, &text, &output) else { return .badHost }
        output.append("\r\n")
        let droppedCount = appendFields(head, bytes, facts, &output)
        appendFraming(head.framing, &output)
        if head.upgrade == .webSocket {
            output.append("Connection: upgrade\r\nUpgrade: websocket\r\n")
        }
        appendForwarded(head, bytes, facts, &text, &output)
        return .written(droppedFieldCount: droppedCount)
    }

    private static func appendTarget(
        _ head: RequestHead, _ bytes: Span<UInt8>, _ transforms: CompiledTransforms?,
        _ scratch: inout RuleScratch, _ text: inout [UInt8], _ output: inout OutputBuffer
    ) -> Bool {
        if let transforms {
            text.removeAll(keepingCapacity: true)
            switch transforms.rewriteTarget(head, bytes, scratch: &scratch, to: &text) {
            case .failed: return false
            case .rewritten:
                output.append(text.span)
                return true
            case .unchanged: break
            }
        }
        // An absolute-form target may have no path; RFC 9112 section 3.2.1 wants one.
        if head.path.isEmpty {
            output.append(head.method == .options && !head.hasQuery ? "*" : "/")
        } else {
            output.append(bytes, head.path)
        }
        if head.hasQuery {
            output.append("?")
            output.append(bytes, head.query)
        }
        return true
    }

    private static func appendHost(
        _ head: RequestHead, _ bytes: Span<UInt8>, _ facts: ForwardingFacts,
        _ transforms: CompiledTransforms?, _ scratch: inout RuleScratch, _ text: inout [UInt8],
        _ output: inout OutputBuffer
    ) -> Bool {
        if let transforms {
            text.removeAll(keepingCapacity: true)
            switch transforms.rewriteHost(head, bytes, scratch: &scratch, to: &text) {
            case .failed: return false
            case .rewritten:
                output.append(text.span)
                return true
            case .unchanged: break
            }
        }
        if head.authority.isEmpty {
            // A client of HTTP/1.0 need not say where it wants to go. HTTP/1.1, which the target hears, must.
            text.removeAll(keepingCapacity: true)
            ByteText.append(facts.local, to: &text)
            output.append(text.span)
            return true
        }
        output.append(bytes, head.authority)
        // ELBv2 tells the target the listener's port, unless the client did or everybody knows it.
        let isUsualPort = facts.local.port == 80 || facts.local.port == 443
        if !facts.attributes.preservesHostHeader, !isUsualPort,
            !HostSyntax.hasPort(bytes.extracting(head.authority.range))
        {
            output.append(":")
            output.append(decimal: UInt64(facts.local.port))
        }
        return true
    }

    private static func appendFields(
        _ head: RequestHead, _ bytes: Span<UInt8>, _ facts: ForwardingFacts, _ output: inout OutputBuffer
    ) -> Int {
        var droppedCount = 0
        let dropsUnusualNames = facts.attributes.dropsInvalidHeaderFields
        for index in head.fields.indices {
            let field = head.fields[index]
            if field.isHopByHop { continue }
            switch field.id {
            // Written anew, each by whoever knows it.
            case .host, .contentLength, .transferEncoding, .upgrade, .forwardedFor, .forwardedProto,
                .forwardedPort, .amznTraceID, .http2Settings:
                continue
            default: break
            }
            // Only Weir may say this, if anybody does.
            if let plan = facts.tlsFields, plan.guards(bytes.extracting(field.name.range)) { continue }
            if field.hasUnusualName, dropsUnusualNames {
                droppedCount += 1
                continue
            }
            HeadWriter.appendField(field, bytes, to: &output)
        }
        return droppedCount
    }

    /// What ELBv2 adds: who asked, how, and a name for the request.
    private static func appendForwarded(
        _ head: RequestHead, _ bytes: Span<UInt8>, _ facts: ForwardingFacts, _ text: inout [UInt8],
        _ output: inout OutputBuffer
    ) {
        text.removeAll(keepingCapacity: true)
        if ForwardedFields.appendForwardedFor(
            of: head, bytes, client: facts.client, mode: facts.attributes.forwardedForMode,
            tellsClientPort: facts.attributes.tellsClientPort, to: &text)
        {
            output.append("X-Forwarded-For: ")
            output.append(text.span)
            output.append("\r\n")
        }
        output.append("X-Forwarded-Proto: ")
        output.append(facts.isSecure ? "https" : "http")
        output.append("\r\nX-Forwarded-Port: ")
        output.append(decimal: UInt64(facts.local.port))
        output.append("\r\nX-Amzn-Trace-Id: ")
        text.removeAll(keepingCapacity: true)
        TraceField.append(
            for: head, bytes, unixSeconds: facts.unixSeconds, random: facts.random, to: &text)
        output.append(text.span)
        output.append("\r\n")
    }

    private static func appendFraming(_ framing: BodyFraming, _ output: inout OutputBuffer) {
        switch framing {
        case .none, .untilClose: break
        case .counted(let byteCount):
            output.append("Content-Length: ")
            output.append(decimal: byteCount)
            output.append("\r\n")
        case .chunked, .streamed:
            output.append("Transfer-Encoding: chunked\r\n")
        }
    }
}
