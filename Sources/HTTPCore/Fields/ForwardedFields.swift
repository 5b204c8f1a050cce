// What targets are told of a request's way: X-Forwarded-For, -Proto and -Port, as ELBv2 writes them.
//
// Fields of these names that came with the request are not sent on beside them.

import Balancing

public enum ForwardedFields {
    /// Appends the value of X-Forwarded-For: what came, in one line, and in the mode append the client's address
    /// behind it.
    ///
    /// A client may have written what came; only what is appended is known.
    ///
    /// - Parameters:
    ///   - bytes: Those that `head` was read from.
    ///   - client: As the connection shows it, or a trusted PROXY header.
    ///   - tellsClientPort: `routing.http.xff_client_port.enabled`: `192.0.2.1:50000`, `[2001:db8::1]:50000`.
    /// - Returns: Whether there is to be such a field; nothing was appended otherwise.
    public static func appendForwardedFor(
        of head: RequestHead, _ bytes: Span<UInt8>, client: Endpoint, mode: ForwardedForMode,
        tellsClientPort: Bool, to buffer: inout [UInt8]
    ) -> Bool {
        if mode == .remove { return false }
        let start = buffer.count
        var index = 0
        while index < head.fields.count {
            let field = head.fields[index]
            if field.id == .forwardedFor, !field.value.isEmpty, field.value.upperBound <= bytes.count {
                if buffer.count > start { ByteText.append(", ", to: &buffer) }
                ByteText.append(bytes.extracting(field.value.range), to: &buffer)
            }
            index += 1
        }
        if mode == .append {
            if buffer.count > start { ByteText.append(", ", to: &buffer) }
            if tellsClientPort {
                ByteText.append(client, to: &buffer)
            } else {
                ByteText.append(client.address, to: &buffer)
            }
        }
        return buffer.count > start
    }

    /// Writes all that a request gets of these, and X-Amzn-Trace-Id, as field lines.
    ///
    /// - Parameters:
    ///   - bytes: Those that `head` was read from.
    ///   - scratch: Emptied first; holds the value of X-Amzn-Trace-Id afterwards, which the access log wants.
    public static func append(
        for head: RequestHead, _ bytes: Span<UInt8>, facts: ForwardingFacts, scratch: inout [UInt8],
        into output: inout OutputBuffer
    ) {
        scratch.removeAll(keepingCapacity: true)
        let hasForwardedFor = appendForwardedFor(
            of: head, bytes, client: facts.client, mode: facts.attributes.forwardedForMode,
            tellsClientPort: facts.attributes.tellsClientPort, to: &scratch)
        if hasForwardedFor {
            output.append("X-Forwarded-For: ")
            output.append(scratch.span)
            output.append("\r\n")
        }
        output.append(facts.isSecure ? "X-Forwarded-Proto: https\r\n" : "X-Forwarded-Proto: http\r\n")
        output.append("X-Forwarded-Port: ")
        output.append(decimal: UInt64(facts.localPort))
        output.append("\r\nX-Amzn-Trace-Id: ")
        scratch.removeAll(keepingCapacity: true)
        TraceField.append(
            for: head, bytes, unixSeconds: UInt64(facts.unixSeconds), random: facts.random, to: &scratch)
        output.append(scratch.span)
        output.append("\r\n")
    }
}
