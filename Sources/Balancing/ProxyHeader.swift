// What a PROXY protocol header says: on whose behalf a connection or a datagram comes.
//
// The PROXY protocol, versions 1 and 2, HAProxy Technologies, revision of 2020-03-05. `ProxyHeaderWriter` makes
// headers of version 2, `ProxyHeaderParser` reads both. A header is believed only when it comes from a peer that
// is configured as trusted: it says whatever its sender likes.

/// A received header. Values of variable length are offsets into the bytes that were parsed.
public struct ProxyHeader: Hashable, Sendable {
    public enum Version: UInt8, Hashable, Sendable {
        case v1 = 1
        case v2 = 2
    }

    /// Who is at the ends of the original connection.
    public enum Origin: Hashable, Sendable {
        /// The sender speaks for itself, as for a health check: the real addresses of the connection hold.
        case local
        /// Relayed, but by a protocol that the sender cannot name or Weir does not serve (UNKNOWN, UNSPEC, Unix
        /// sockets): the real addresses of the connection hold.
        case unknown
        /// Relayed for the client at `source`, which had connected to `destination`. Both are of one family; an
        /// IPv4-mapped IPv6 address stays IPv6. Ports may be 0.
        case relayed(source: Endpoint, destination: Endpoint, transport: Transport)
    }

    /// What the sender knows of the client's TLS connection (PP2_TYPE_SSL).
    public struct TLS: Hashable, Sendable {
        public let client: ClientFlags
        /// Zero when the client presented a certificate and it was verified.
        public let verifyResult: UInt32
        /// Such as `TLSv1.3`, in ASCII.
        public internal(set) var version: Range<Int>?
        /// Of the client's certificate, in UTF-8.
        public internal(set) var commonName: Range<Int>?
        public internal(set) var cipher: Range<Int>?
        public internal(set) var signatureAlgorithm: Range<Int>?
        public internal(set) var keyAlgorithm: Range<Int>?
    }

    public struct ClientFlags: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8

        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// The client came over TLS.
        public static let tls = ClientFlags(rawValue: 0x01)
        /// The client presented a certificate on this connection.
        public static let certificateOnConnection = ClientFlags(rawValue: 0x02)
        /// The client presented a certificate at least once in the session that this connection belongs to.
        public static let certificateInSession = ClientFlags(rawValue: 0x04)
    }

    public let version: Version
    public let origin: Origin
    /// This and the following only in version 2, and never for a local origin.
    public internal(set) var applicationProtocol: Range<Int>?
    /// The name that the client asked for; at most 255 bytes of whatever the client sent.
    public internal(set) var authority: Range<Int>?
    /// At most 128 bytes.
    public internal(set) var uniqueID: Range<Int>?
    public internal(set) var tls: TLS?
    /// There was a checksum, and it was right.
    public internal(set) var isChecksummed = false

    init(version: Version, origin: Origin) {
        self.version = version
        self.origin = origin
    }
}

/// What parser and writer of version 2 share, under the names of the specification.
enum ProxyProtocol {
    static let signature: InlineArray<12, UInt8> = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    /// Signature, version and command, family and transport, length.
    static let fixedByteCount = 16
    static let addressesV4ByteCount = 12
    static let addressesV6ByteCount = 36
    static let addressesUnixByteCount = 216

    static let version: UInt8 = 0x20
    static let localCommand: UInt8 = 0x0
    static let proxyCommand: UInt8 = 0x1

    static let familyV4: UInt8 = 0x10
    static let familyV6: UInt8 = 0x20
    static let familyUnix: UInt8 = 0x30
    static let stream: UInt8 = 0x1
    static let datagram: UInt8 = 0x2

    static let tlvHeadByteCount = 3
    static let checksumByteCount = 4
    static let checksumTLVByteCount = tlvHeadByteCount + checksumByteCount
    /// Of PP2_TYPE_SSL before its inner values: client flags and verify result.
    static let tlsHeadByteCount = 5
    static let authorityByteCountMax = 255
    static let uniqueIDByteCountMax = 128

    enum TLV {
        static let applicationProtocol: UInt8 = 0x01
        static let authority: UInt8 = 0x02
        static let checksum: UInt8 = 0x03
        static let uniqueID: UInt8 = 0x05
        static let tls: UInt8 = 0x20
        static let tlsVersion: UInt8 = 0x21
        static let tlsCommonName: UInt8 = 0x22
        static let tlsCipher: UInt8 = 0x23
        static let tlsSignatureAlgorithm: UInt8 = 0x24
        static let tlsKeyAlgorithm: UInt8 = 0x25
    }
}
