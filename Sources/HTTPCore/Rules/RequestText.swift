// The parts of a request that conditions look at, cut out once per match.

struct RequestText: Sendable {
    /// Without a port and a final dot; nil when the request names no host.
    let host: Range<Int>?
    let path: Range<Int>
    /// Up to a number sign, which ends a query (RFC 3986 section 3.4); empty for none.
    let query: Range<Int>

    /// What no rule of a listener asks for need not be cut out.
    init(_ head: borrowing RequestHead, _ bytes: Span<UInt8>, cutsHost: Bool = true, cutsQuery: Bool = true) {
        host = cutsHost ? Self.host(of: head, bytes) : nil
        path = Self.path(of: head, bytes)
        query = cutsQuery ? Self.query(of: head, bytes) : 0..<0
    }

    private static func query(of head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Range<Int> {
        let query = head.query.range.clamped(to: bytes.indices)
        for position in query where bytes[position] == UInt8(ascii: "#") {
            return query.lowerBound..<position
        }
        return query
    }

    /// The host without its port, `[::1]` with its brackets; a final dot is the root's and says nothing.
    static func host(of head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Range<Int>? {
        let authority = head.authority.range.clamped(to: bytes.indices)
        var end = authority.lowerBound
        if end < authority.upperBound, bytes[end] == UInt8(ascii: "[") {
            while end < authority.upperBound, bytes[end] != UInt8(ascii: "]") { end &+= 1 }
        }
        while end < authority.upperBound, bytes[end] != UInt8(ascii: ":") { end &+= 1 }
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
