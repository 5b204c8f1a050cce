// The cookies of a request, one after the other, as places in its bytes; RFC 6265 sections 4.2 and 5.4.
//
// Read as browsers and targets do: pairs are separated by semicolons, whatever quotes say, and blanks around names and
// values are not part of them. HTTP/2 may split the field into several (RFC 9113 section 8.2.3), which are read in
// order. A piece without an equals sign is passed over.

public struct Cookie: Hashable, Sendable, BitwiseCopyable {
    public let name: ByteRange
    /// Without quotes around it.
    public let value: ByteRange
}

/// A place in the cookies of one request. Small, so that whoever looks for a cookie makes one and throws it away.
public struct CookieReader: Sendable, BitwiseCopyable {
    private var fieldIndex = 0
    /// Bytes of that field's value that were read.
    private var offset = 0

    public init() {}

    /// The next cookie, or nil after the last.
    ///
    /// - Parameter bytes: Those that `head` was read from.
    public mutating func next(in head: RequestHead, _ bytes: Span<UInt8>) -> Cookie? {
        while fieldIndex < head.fields.count {
            let field = head.fields[fieldIndex]
            let end = min(field.value.upperBound, bytes.count)
            while field.id == .cookie, field.value.lowerBound + offset < end {
                let start = field.value.lowerBound + offset
                var stop = start
                while stop < end, bytes[stop] != UInt8(ascii: ";") { stop += 1 }
                offset += stop + 1 - start
                if let cookie = Self.cookie(in: start..<stop, bytes) { return cookie }
            }
            fieldIndex += 1
            offset = 0
        }
        return nil
    }

    private static func cookie(in piece: Range<Int>, _ bytes: Span<UInt8>) -> Cookie? {
        var equals = piece.lowerBound
        while equals < piece.upperBound, bytes[equals] != UInt8(ascii: "=") { equals += 1 }
        guard equals < piece.upperBound else { return nil }
        let name = FieldSyntax.trimmed(piece.lowerBound..<equals, bytes)
        var value = FieldSyntax.trimmed(equals + 1..<piece.upperBound, bytes)
        let quote = UInt8(ascii: "\"")
        if value.count >= 2, bytes[value.lowerBound] == quote, bytes[value.upperBound - 1] == quote {
            value = value.lowerBound + 1..<value.upperBound - 1
        }
        return Cookie(name: ByteRange(name), value: ByteRange(value))
    }
}

extension RequestHead {
    /// Whether the request has a cookie of this name, which is told apart by case.
    ///
    /// - Parameter bytes: Those that the head was read from.
    public func hasCookie(named name: String, _ bytes: Span<UInt8>) -> Bool {
        var reader = CookieReader()
        while let cookie = reader.next(in: self, bytes) {
            if cookie.name.spells(name, bytes) { return true }
        }
        return false
    }
}

extension ResponseHead {
    /// Whether the response sets a cookie of this name; RFC 6265 section 5.2.
    ///
    /// - Parameter bytes: Those that the head was read from.
    public func setsCookie(named name: String, _ bytes: Span<UInt8>) -> Bool {
        var index = 0
        while index < fields.count {
            let field = fields[index]
            if field.id == .setCookie {
                var start = field.value.lowerBound
                let end = min(field.value.upperBound, bytes.count)
                while start < end, FieldSyntax.isWhitespace(bytes[start]) { start += 1 }
                var stop = start
                while stop < end, bytes[stop] != UInt8(ascii: "="), bytes[stop] != UInt8(ascii: ";") {
                    stop += 1
                }
                if stop < end, bytes[stop] == UInt8(ascii: "=") {
                    while stop > start, FieldSyntax.isWhitespace(bytes[stop - 1]) { stop -= 1 }
                    if ByteRange(start..<stop).spells(name, bytes) { return true }
                }
            }
            index += 1
        }
        return false
    }
}

extension ByteRange {
    /// Whether the bytes at this place are those of `text`.
    func spells(_ text: String, _ bytes: Span<UInt8>) -> Bool {
        let wanted = text.utf8.span
        guard wanted.count == Int(count), upperBound <= bytes.count else { return false }
        var index = 0
        while index < wanted.count {
            if bytes[lowerBound + index] != wanted[index] { return false }
            index += 1
        }
        return true
    }
}
