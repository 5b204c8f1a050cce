// Who may tell a listener the address of a client, and how.
//
// Source: the PROXY protocol specification, versions 1 and 2, by Willy Tarreau. A header is believed only from
// listed addresses: anybody else could claim to be anyone, and pass every rule that trusts an address.

/// What a listener accepts before the bytes of a connection.
public struct ProxyProtocolSettings: Hashable, Sendable {
    public struct Versions: OptionSet, Hashable, Sendable, BitwiseCopyable {
        public let rawValue: UInt8

        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        public static let v1 = Versions(rawValue: 1)
        public static let v2 = Versions(rawValue: 2)
    }

    /// Never empty.
    public var accepts: Versions
    /// Connections from these must begin with a header; all others are taken as they come. Never empty.
    public var trusted: [IPPrefix]

    public init(accepts: Versions, trusted: [IPPrefix]) {
        self.accepts = accepts
        self.trusted = trusted
    }

    /// Whether a connection from `address` begins with a header. Linear in at most 64 ranges.
    public func expectsHeader(from address: IPAddress) -> Bool {
        trusted.contains { $0.contains(address) }
    }
}
