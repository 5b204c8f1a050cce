// Host names as TLS clients ask for them (SNI, RFC 6066 section 3), in one spelling.
//
// A name is letters, digits and hyphens (LDH labels, RFC 5890 section 2.3.1), in lower case, without a final dot;
// and underscores, as there are hosts and certificates with them. Whatever else a client sends names nothing
// here, so that it cannot match anything.

/// A host name in lower case; a plain value of fixed size.
public struct ServerName: Sendable, BitwiseCopyable {
    /// RFC 1035 section 2.3.4, without the root's dot.
    public static let byteCountMax = 253
    private static let labelByteCountMax = 63
    private static let dot = UInt8(ascii: ".")

    /// Room for the longest name and a final dot.
    private var storage = InlineArray<254, UInt8>(repeating: 0)
    private var storedCount: UInt8 = 0
    private var labelByteCount: UInt8 = 0

    /// No name yet: `append` and then `finish` make it one.
    init() {}

    /// Reads a name in any case, with or without a final dot; nil for what is not a host name.
    public init?(_ text: Span<UInt8>) {
        for index in text.indices {
            guard append(text[index]) else { return nil }
        }
        guard finish() else { return nil }
    }

    public init?(_ text: String) {
        self.init(text.utf8.span)
    }

    /// Adds a byte in lower case; false when it has no place in a host name.
    mutating func append(_ byte: UInt8) -> Bool {
        let count = byteCount
        guard count < storage.count else { return false }
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"):
            storage[count] = byte
        case UInt8(ascii: "A")...UInt8(ascii: "Z"):
            storage[count] = byte | 0x20
        case UInt8(ascii: "-") where labelByteCount > 0:
            storage[count] = byte
        case Self.dot where labelByteCount > 0 && storage[count - 1] != UInt8(ascii: "-"):
            storage[count] = byte
        default:
            return false
        }
        labelByteCount = byte == Self.dot ? 0 : labelByteCount + 1
        storedCount += 1
        return labelByteCount <= Self.labelByteCountMax
    }

    /// Takes a final dot away; false when what was appended is no name.
    mutating func finish() -> Bool {
        if storedCount > 0, labelByteCount == 0 { storedCount -= 1 }
        return (1...Self.byteCountMax).contains(byteCount) && storage[byteCount - 1] != UInt8(ascii: "-")
    }

    public var byteCount: Int { Int(storedCount) }

    /// The byte at `index`, which must be below `byteCount`.
    public subscript(index: Int) -> UInt8 {
        precondition(index >= 0 && index < byteCount, "beyond the end of a server name")
        return storage[index]
    }

    /// Lends the bytes, for instance to a PROXY protocol header.
    public func withBytes<Result, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(storage.span.extracting(first: byteCount))
    }

    /// Where the second label begins; nil when there is none.
    var parentStart: Int? {
        for index in 0..<byteCount where storage[index] == Self.dot { return index + 1 }
        return nil
    }
}

extension ServerName: Hashable, CustomStringConvertible {
    public static func == (left: ServerName, right: ServerName) -> Bool {
        guard left.storedCount == right.storedCount else { return false }
        for index in 0..<left.byteCount where left.storage[index] != right.storage[index] { return false }
        return true
    }

    public func hash(into hasher: inout Hasher) {
        for index in 0..<byteCount { hasher.combine(storage[index]) }
    }

    public var description: String {
        String(decoding: (0..<byteCount).map { storage[$0] }, as: UTF8.self)
    }
}

/// What certificates and rules are written for: a name, or all names one label below one.
public struct ServerNamePattern: Hashable, Sendable, CustomStringConvertible {
    /// Without `*.`.
    public let name: ServerName
    public let isWildcard: Bool

    /// Reads `example.com` or `*.example.com`; nil for anything else, other places of `*` included.
    public init?(_ text: String) {
        isWildcard = text.hasPrefix("*.")
        guard let name = ServerName(isWildcard ? String(text.dropFirst(2)) : text) else { return nil }
        self.name = name
    }

    public var description: String { isWildcard ? "*.\(name)" : "\(name)" }
}
