// The parts of a request that conditions look at, cut out once per match.

struct RequestText: Sendable {
    /// Without a port and a final dot; nil when the request names no host.
    let host: Range<Int>?
    let path: Range<Int>
    /// Up to a number sign, which ends a query (RFC 3986 section 3.4); empty for none.
    let query: Range<Int>

    init(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) {
        host = Self.host(of: head, bytes)
        path = Self.path(of: head, bytes)
        var query = head.query.range.clamped(to: bytes.indices)
        for position in query where bytes[position] == UInt8(ascii: "#") {
            query = query.lowerBound..<position
            break
        }
        self.query = query
    }

    /// The host without its port, `[::1]` with its brackets; a final dot is the root's and says nothing.
    static func host(of head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Range<Int>? {
        let authority = head.authority.range.clamped(to: bytes.indices)
        var end = authority.upperBound
        var isBracketed = false
        for position in authority {
            if bytes[position] == UInt8(ascii: "[") { isBracketed = true }
            if bytes[position] == UInt8(ascii: "]") { isBracketed = false }
            if bytes[position] == UInt8(ascii: ":"), !isBracketed {
                end = position
                break
            }
        }
        if end > authority.lowerBound, bytes[end - 1] == UInt8(ascii: ".") { end -= 1 }
        return end > authority.lowerBound ? authority.lowerBound..<end : nil
    }

    /// The path; that of an absolute-form target without one is its own slash (RFC 9110 section 4.2.3).
    static func path(of head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Range<Int> {
        let path = head.path.range.clamped(to: bytes.indices)
        guard path.isEmpty else { return path }
        for position in head.target.range.clamped(to: bytes.indices)
        where bytes[position] == UInt8(ascii: "/") {
            return position..<position + 1
        }
        return path
    }
}
