// The forms of a request target and the syntax of an authority; RFC 9112 section 3.2, RFC 3986 section 3.2.2.
//
// Stricter than the URI grammar on hosts: letters, digits, `-`, `.`, `_`, `~`, or an address in brackets. User
// information is refused (RFC 9110 section 4.2.4). More lenient on paths and queries: every visible character but
// `#`, and bytes beyond ASCII, since clients send them and they end nothing.

enum RequestTarget {
    /// Fills authority and path of a head whose target, query and method are known. False if the target is none.
    @inline(__always)
    static func split(_ bytes: Span<UInt8>, into head: inout RequestHead) -> Bool {
        let target = head.target
        let end = head.hasQuery ? head.query.lowerBound &- 1 : target.upperBound
        guard bytes[target.lowerBound] == UInt8(ascii: "/"), head.method != .connect else {
            return splitUnusual(bytes, pathEnd: end, into: &head)
        }
        head.path = ByteRange(
            start: target.start, count: UInt32(truncatingIfNeeded: end &- target.lowerBound))
        return true
    }

    @inline(never)
    private static func splitUnusual(_ bytes: Span<UInt8>, pathEnd: Int, into head: inout RequestHead) -> Bool
    {
        let target = head.target.range
        if head.method == .connect {
            // Authority-form. Refused later by its method, with its head read for the log.
            guard !head.hasQuery, isAuthority(bytes, target) else { return false }
            head.authority = head.target
            return true
        }
        if target.count == 1, bytes[target.lowerBound] == UInt8(ascii: "*") {
            head.path = head.target
            return head.method == .options
        }
        let schemeByteCount: Int
        if target.count > 7, ByteScanning.equals(bytes, target.lowerBound..<target.lowerBound + 7, "http://")
        {
            schemeByteCount = 7
        } else if target.count > 8,
            ByteScanning.equals(bytes, target.lowerBound..<target.lowerBound + 8, "https://")
        {
            schemeByteCount = 8
        } else {
            return false
        }
        let start = target.lowerBound + schemeByteCount
        guard start < pathEnd else { return false }
        var end = start
        while end < pathEnd, bytes[end] != UInt8(ascii: "/") { end += 1 }
        guard isAuthority(bytes, start..<end) else { return false }
        head.authority = ByteRange(start..<end)
        head.path = ByteRange(end..<pathEnd)
        return true
    }

    /// A host, and a port of at most 65,535 if there is a colon behind it.
    static func isAuthority(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard !range.isEmpty else { return false }
        var index = range.lowerBound
        let end = range.upperBound
        if bytes[index] == UInt8(ascii: "[") {
            index += 1
            let start = index
            while index < end, isAddressCharacter(bytes[index]) { index += 1 }
            guard index < end, index - start >= 2, bytes[index] == UInt8(ascii: "]") else { return false }
            index += 1
        } else {
            while index < end, ASCIISet.hostName.contains(bytes[index]) { index += 1 }
            guard index > range.lowerBound else { return false }
        }
        guard index < end else { return true }
        guard bytes[index] == UInt8(ascii: ":"), end - index <= 6 else { return false }
        var port = 0
        for place in (index + 1)..<end {
            guard ASCIISet.isDigit(bytes[place]) else { return false }
            port = port * 10 + Int(bytes[place] - UInt8(ascii: "0"))
        }
        return port <= 65_535
    }

    private static func isAddressCharacter(_ byte: UInt8) -> Bool {
        ASCIISet.isDigit(byte) || (byte | 0x20) &- UInt8(ascii: "a") < 6 || byte == UInt8(ascii: ":")
            || byte == UInt8(ascii: ".")
    }
}
