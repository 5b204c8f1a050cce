// What targets are told of who asked: X-Forwarded-For, as ELBv2 writes it.
//
// A value only: whoever writes the head puts the name before it, and does not send on beside it the fields of this
// name that came with the request.

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
}
