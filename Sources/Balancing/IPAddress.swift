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
        let characters = Array(text.utf8)
        if let bits = Self.parseV4(characters[...]) {
            self.init(v4: bits)
        } else if let groups = Self.parseV6(characters[...]) {
            var high: UInt64 = 0
            var low: UInt64 = 0
            for index in 0..<4 {
                high = high << 16 | UInt64(groups[index])
                low = low << 16 | UInt64(groups[index + 4])
            }
            self.init(v6High: high, v6Low: low)
        } else {
            return nil
        }
    }

    private static func parseV4(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0")
            else { return nil }
            var octet: UInt32 = 0
            for digit in part {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
                octet = octet * 10 + UInt32(digit - UInt8(ascii: "0"))
            }
            guard octet <= 255 else { return nil }
            bits = bits << 8 | octet
        }
        return bits
    }

    /// Reads the eight 16-bit groups, with at most one `::` and an optional dotted-quad tail.
    private static func parseV6(_ text: ArraySlice<UInt8>) -> [UInt16]? {
        guard text.count <= 45 else { return nil }
        let colon = UInt8(ascii: ":")
        var gapAt: ArraySlice<UInt8>.Index?
        var index = text.startIndex
        while index < text.endIndex - 1 {
            if text[index] == colon, text[index + 1] == colon {
                guard gapAt == nil else { return nil }
                gapAt = index
                index += 2
            } else {
                index += 1
            }
        }
        guard let gapAt else {
            let groups = parseGroups(text, mayEndInV4: true)
            return groups?.count == 8 ? groups : nil
        }
        guard let before = parseGroups(text[..<gapAt], mayEndInV4: false),
            let after = parseGroups(text[(gapAt + 2)...], mayEndInV4: true),
            before.count + after.count <= 7
        else { return nil }
        return before + Array(repeating: 0, count: 8 - before.count - after.count) + after
    }

    /// A dotted quad may only be the very end of an address, so not what stands before `::`.
    private static func parseGroups(_ text: ArraySlice<UInt8>, mayEndInV4: Bool) -> [UInt16]? {
        guard !text.isEmpty else { return [] }
        let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        var groups: [UInt16] = []
        for (position, part) in parts.enumerated() {
            if mayEndInV4, position == parts.count - 1, let v4 = parseV4(part) {
                groups.append(UInt16(v4 >> 16))
                groups.append(UInt16(v4 & 0xFFFF))
                continue
            }
            guard (1...4).contains(part.count) else { return nil }
            var group: UInt16 = 0
            for character in part {
                guard let digit = hexDigitValue(character) else { return nil }
                group = group << 4 | UInt16(digit)
            }
            groups.append(group)
        }
        return groups
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
