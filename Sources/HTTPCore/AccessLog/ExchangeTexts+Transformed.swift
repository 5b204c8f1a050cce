// What a rule's transforms made of a request, for the access log: read off the head that the target gets, and told
// only where it is something else than the client said.

import Balancing

extension RequestHead {
    /// The path with its query, in the bytes that the head was read from.
    public var pathAndQuery: Range<Int> {
        guard hasQuery else { return path.range }
        // An absolute-form target may have a query and no path; the question mark stands before the query.
        let start = path.isEmpty ? max(0, query.lowerBound - 1) : path.lowerBound
        return start..<max(start, query.upperBound)
    }
}

extension ExchangeTexts {
    /// - Parameters:
    ///   - written: What `ForwardedRequest.write` has written of the head: `METHOD target HTTP/1.1`, then `Host: host`.
    ///   - bytes: Those that `head` was read from.
    ///   - buffer: As for `append`.
    public mutating func appendTransformed(
        _ written: Span<UInt8>, of head: RequestHead, _ bytes: Span<UInt8>, to buffer: inout [UInt8]
    ) {
        let target = Self.piece(of: written, from: head.methodBytes.range.count + 1, to: UInt8(ascii: " "))
        let host = Self.piece(
            of: written, from: target.upperBound + " HTTP/1.1\r\nHost: ".utf8.count, to: UInt8(ascii: "\r"))
        let writtenTarget = written.extracting(target)
        if !Self.begins(writtenTarget, with: bytes.extracting(head.pathAndQuery))
            || target.count != head.pathAndQuery.count
        {
            append(.transformedTarget, writtenTarget, to: &buffer)
        }
        let authority = bytes.extracting(head.authority.range)
        guard !authority.isEmpty else { return }
        let writtenHost = written.extracting(host)
        // Weir may have added its port to a host that was not rewritten.
        let isSame =
            Self.begins(writtenHost, with: authority)
            && (host.count == authority.count || writtenHost[authority.count] == UInt8(ascii: ":"))
        if !isSame { append(.transformedHost, writtenHost, to: &buffer) }
    }

    private static func piece(of bytes: Span<UInt8>, from start: Int, to end: UInt8) -> Range<Int> {
        let start = min(start, bytes.count)
        var stop = start
        while stop < bytes.count, bytes[stop] != end { stop += 1 }
        return start..<stop
    }

    private static func begins(_ bytes: Span<UInt8>, with prefix: Span<UInt8>) -> Bool {
        guard bytes.count >= prefix.count else { return false }
        for index in prefix.indices where bytes[index] != prefix[index] { return false }
        return true
    }
}
