// Address ranges in CIDR notation (RFC 4632, RFC 4291 section 2.3).

/// The addresses that share their first bits.
public struct IPPrefix: Hashable, Sendable, BitwiseCopyable {
    /// The first address; all bits behind the length are zero.
    public let address: IPAddress
    /// 0–32 for IPv4, 0–128 for IPv6.
    public let length: UInt8

    private init(address: IPAddress, length: UInt8) {
        self.address = address
        self.length = length
    }

    /// Constant time. An IPv4 prefix never contains an IPv6 address, mapped ones included, nor the reverse.
    public func contains(_ other: IPAddress) -> Bool {
        guard other.family == address.family else { return false }
        let mask = Self.mask(length, address.family)
        return other.high & mask.high == address.high && other.low & mask.low == address.low
    }

    private static func mask(_ length: UInt8, _ family: IPAddress.Family) -> (high: UInt64, low: UInt64) {
        // A shift by 64 or more yields zero in Swift, and one by less than nothing shifts the other way.
        switch family {
        case .v4: (0, UInt64(UInt32.max << (32 - UInt32(length))))
        case .v6: (UInt64.max << (64 - Int(min(length, 64))), UInt64.max << (64 - Int(max(length, 64) - 64)))
        }
    }
}

extension IPPrefix: LosslessStringConvertible {
    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or an address alone, which is a range of one.
    ///
    /// Nil for anything else, a bit behind the length included: `10.0.0.1/8` may mean one address or many.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(String(parts[0])) else { return nil }
        let lengthMax: UInt8 = address.family == .v4 ? 32 : 128
        var length = lengthMax
        if parts.count == 2 {
            let digits = parts[1]
            guard digits.utf8.allSatisfy({ (48...57).contains($0) }), digits == "0" || !digits.hasPrefix("0"),
                let number = UInt8(digits), number <= lengthMax
            else { return nil }
            length = number
        }
        let mask = Self.mask(length, address.family)
        guard address.high & ~mask.high == 0, address.low & ~mask.low == 0 else { return nil }
        self.init(address: address, length: length)
    }

    public var description: String { "\(address)/\(length)" }
}
