// IP addresses and endpoints as plain numbers.
//
// Text forms follow RFC 4291 (reading) and RFC 5952 (writing). An IPv4 address lives in the low 32
// bits. IPv4-mapped IPv6 addresses stay IPv6: listeners are V6ONLY, so the two families never meet.

/// An IPv4 or IPv6 address.
///
/// Trivial and 24 bytes, so that it can stand in flow keys and slots without reference counting.
public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
    public enum Family: UInt8, Sendable, BitwiseCopyable {
        case v4 = 4
        case v6 = 6
    }

    public let high: UInt64
    public let low: UInt64
    public let family: Family

    public init(v4 bits: UInt32) {
        high = 0
        low = UInt64(bits)
        family = .v4
    }

    public init(v6High high: UInt64, v6Low low: UInt64) {
        self.high = high
        self.low = low
        family = .v6
    }

    /// An IPv4 address as IPv6, `::ffff:a.b.c.d`; see RFC 4291 section 2.5.5.2. An IPv6 address as it is.
    public var mappedToV6: IPAddress {
        switch family {
        case .v4: IPAddress(v6High: 0, v6Low: 0xFFFF << 32 | low)
        case .v6: self
        }
    }

    public static let anyV4 = IPAddress(v4: 0)
    public static let anyV6 = IPAddress(v6High: 0, v6Low: 0)

    /// `0.0.0.0` or `::`, which as a listen address means every address of the machine.
    public var isUnspecified: Bool { high == 0 && low == 0 }

    public var isLoopback: Bool {
        switch family {
        case .v4: low >> 24 == 127
        case .v6: high == 0 && low == 1
        }
    }

    public var isMulticast: Bool {
        switch family {
        case .v4: low >> 28 == 0xE
        case .v6: high >> 56 == 0xFF
        }
    }
}

extension IPAddress: LosslessStringConvertible {
    /// Reads dotted-quad IPv4 or RFC 4291 IPv6 text; nil for anything else, zone ids and leading zeros included.
    public init?(_ text: String) {
        self.init(text.utf8.span)
    }

    /// The same from bytes, without allocation.
    public init?(_ text: Span<UInt8>) {
        if let bits = Self.readV4(text) {
            self.init(v4: bits)
        } else if let bits = Self.readV6(text) {
            self.init(
                v6High: UInt64(truncatingIfNeeded: bits >> 64), v6Low: UInt64(truncatingIfNeeded: bits))
        } else {
            return nil
        }
    }

    private static func readV4(_ text: Span<UInt8>) -> UInt32? {
        var reader = ByteReader(text)
        var bits: UInt32 = 0
        for position in 0..<4 {
            if position > 0, !reader.take(UInt8(ascii: "."), text) { return nil }
            let start = reader.position
            var octet: UInt32 = 0
            while let digit = reader.peek(text), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) {
                // No second digit after a zero, which some would read as octal.
                guard reader.position == start || octet > 0 else { return nil }
                octet = octet * 10 + UInt32(digit - UInt8(ascii: "0"))
                guard octet <= 255, reader.skip(1) != nil else { return nil }
            }
            guard reader.position > start else { return nil }
            bits = bits << 8 | octet
        }
        return reader.isAtEnd ? bits : nil
    }

    /// Reads the eight 16-bit groups, with at most one `::` and an optional dotted-quad tail.
    private static func readV6(_ text: Span<UInt8>) -> UInt128? {
        let colon = UInt8(ascii: ":")
        var reader = ByteReader(text)
        var bits: UInt128 = 0
        var groupCount = 0
        /// How many groups stand before `::`.
        var countBeforeGap: Int?
        if reader.take(colon, text) {
            guard reader.take(colon, text) else { return nil }
            countBeforeGap = 0
        }
        while countBeforeGap == nil || countBeforeGap != groupCount || !reader.isAtEnd {
            let start = reader.position
            var group: UInt128 = 0
            while let character = reader.peek(text), let digit = hexDigitValue(character) {
                guard reader.skip(1) != nil, reader.position - start <= 4 else { return nil }
                group = group << 4 | UInt128(digit)
            }
            guard reader.position > start else { return nil }
            if reader.peek(text) == UInt8(ascii: ".") {
                // A dotted quad is two groups, and the very end of an address.
                guard let v4 = readV4(text.extracting(start..<text.count)) else { return nil }
                bits = bits << 32 | UInt128(v4)
                groupCount += 2
                break
            }
            bits = bits << 16 | group
            groupCount += 1
            guard groupCount <= 8 else { return nil }
            if reader.isAtEnd { break }
            guard reader.take(colon, text) else { return nil }
            if reader.take(colon, text) {
                guard countBeforeGap == nil else { return nil }
                countBeforeGap = groupCount
            }
        }
        guard let countBeforeGap else { return groupCount == 8 ? bits : nil }
        guard groupCount <= 7 else { return nil }
        // What stands before the gap moves up to the top.
        let tailBitCount = 16 * (groupCount - countBeforeGap)
        let tail = bits & ((1 << UInt128(tailBitCount)) - 1)
        return (bits >> UInt128(tailBitCount)) << UInt128(128 - 16 * countBeforeGap) | tail
    }

    public var description: String {
        switch family {
        case .v4:
            return "\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)"
        case .v6:
            let groups = (0..<8).map { index in
                UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - 16 * (index % 4)))
            }
            return Self.describeV6(groups)
        }
    }

    /// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups as `::`.
    private static func describeV6(_ groups: [UInt16]) -> String {
        if groups[0..<5].allSatisfy({ $0 == 0 }), groups[5] == 0xFFFF {
            return "::ffff:" + IPAddress(v4: UInt32(groups[6]) << 16 | UInt32(groups[7])).description
        }
        var longest = 0..<0
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > longest.count, end - start >= 2 { longest = start..<end }
            start = max(end, start + 1)
        }
        let text = { (range: Range<Int>) in
            groups[range].map { String($0, radix: 16) }.joined(separator: ":")
        }
        guard !longest.isEmpty else { return text(0..<8) }
        return text(0..<longest.lowerBound) + "::" + text(longest.upperBound..<8)
    }
}

/// The value of one hexadecimal digit, or nil.
public func hexDigitValue(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
    default: nil
    }
}

/// An address and a port.
public struct Endpoint: Hashable, Sendable, BitwiseCopyable {
    public let address: IPAddress
    public let port: UInt16

    public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}

extension Endpoint: LosslessStringConvertible {
    /// Reads `192.0.2.1:80` or `[2001:db8::1]:80`.
    public init?(_ text: String) {
        guard let parsed = AddressAndPort(text), let port = parsed.port else { return nil }
        self.init(address: parsed.address, port: port)
    }

    public var description: String {
        switch address.family {
        case .v4: "\(address):\(port)"
        case .v6: "[\(address)]:\(port)"
        }
    }
}

/// An address with an optional port, as a target is written: `ID[:PORT]`, `[V6]:PORT` or a bare IPv6 address.
public struct AddressAndPort: Sendable {
    public let address: IPAddress
    public let port: UInt16?

    public init?(_ text: String) {
        if let bare = IPAddress(text) {
            address = bare
            port = nil
            return
        }
        let host: Substring
        let tail: Substring
        if text.first == "[" {
            guard let close = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<close]
            tail = text[text.index(after: close)...]
            guard host.contains(":") else { return nil }
        } else {
            guard let colon = text.firstIndex(of: ":") else { return nil }
            host = text[..<colon]
            tail = text[colon...]
        }
        guard let address = IPAddress(String(host)) else { return nil }
        self.address = address
        guard !tail.isEmpty else {
            port = nil
            return
        }
        let digits = tail.dropFirst()
        guard tail.first == ":", !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }),
            let number = UInt16(digits), number > 0
        else { return nil }
        port = number
    }
}
