// What a TLS client asks for in its first message, as far as it decides where a flow goes.

public struct ClientHello: Sendable {
    /// Nil when the client sent none, or what is not a host name.
    public internal(set) var serverName: ServerName?
    /// In the client's order of preference; empty when the client offered none.
    public internal(set) var applicationProtocols = ApplicationProtocols()

    init() {}

    /// One that says just this; protocol names that do not fit are left out.
    public init(serverName: ServerName?, applicationProtocols names: [String]) {
        self.serverName = serverName
        for name in names where applicationProtocols.beginName(byteCount: name.utf8.count) {
            for byte in name.utf8 { applicationProtocols.append(byte) }
        }
    }
}

/// Protocol names that a client offers (ALPN, RFC 7301 section 3.1); a plain value of fixed size.
///
/// Holds the names that fit into 255 bytes with a length byte each, far more than clients offer; names beyond
/// are as if they had not been offered.
public struct ApplicationProtocols: Sendable, BitwiseCopyable {
    private var storage = InlineArray<255, UInt8>(repeating: 0)
    private var storedCount: UInt8 = 0
    /// Where the name that is being appended has its length.
    private var lastStart: UInt8 = 0

    init() {}

    public var isEmpty: Bool { storedCount == 0 }

    /// Whether `name` is among them, byte by byte the same, such as `h2`.
    public func contains(_ name: Span<UInt8>) -> Bool {
        var start = 0
        while start < Int(storedCount) {
            let count = Int(storage[start])
            if count == name.count, isEqual(name, at: start + 1) { return true }
            start += 1 + count
        }
        return false
    }

    private func isEqual(_ name: Span<UInt8>, at start: Int) -> Bool {
        for index in name.indices where storage[start + index] != name[index] { return false }
        return true
    }

    /// For logs and people; bytes that are no UTF-8 are replaced.
    public var names: [String] {
        var names: [String] = []
        var start = 0
        while start < Int(storedCount) {
            let end = start + 1 + Int(storage[start])
            names.append(String(decoding: (start + 1..<end).map { storage[$0] }, as: UTF8.self))
            start = end
        }
        return names
    }

    /// Begins a name of `byteCount` bytes, all of which are to be appended; false when they do not fit.
    mutating func beginName(byteCount: Int) -> Bool {
        guard Int(storedCount) + 1 + byteCount <= storage.count else { return false }
        lastStart = storedCount
        storage[Int(storedCount)] = 0
        storedCount += 1
        return true
    }

    mutating func append(_ byte: UInt8) {
        guard Int(storedCount) < storage.count else { return }
        storage[Int(storedCount)] = byte
        storedCount += 1
        storage[Int(lastStart)] += 1
    }
}
