// Which certificate or rule a server name means: exact before wildcard before default (RFC 9525 section 6.3).
//
// An open-addressed hash table, at most half full, built once per snapshot. A look-up hashes the name twice at
// most, whatever the number of entries, and allocates nothing, as it stands in every handshake. Names come from
// the configuration alone, so a client cannot make the table slow and the hash needs no key.

public struct ServerNameTable: Sendable {
    private struct Entry: Sendable {
        let hash: UInt64
        let pattern: ServerNamePattern
        let value: Int
    }

    private let entries: [Entry]
    /// Positions in `entries` plus one; zero is free. As many as a power of two.
    private let slots: [UInt32]
    /// What names without an entry mean, and clients that send none.
    public let defaultValue: Int?

    /// Builds the table; of several entries for one pattern the first holds.
    public init(_ values: [(pattern: ServerNamePattern, value: Int)], default defaultValue: Int? = nil) {
        var entries: [Entry] = []
        var seen: Set<ServerNamePattern> = []
        for (pattern, value) in values where seen.insert(pattern).inserted {
            entries.append(Entry(hash: Self.hash(pattern), pattern: pattern, value: value))
        }
        var slotCount = 2
        while slotCount < 2 * entries.count { slotCount *= 2 }
        var slots = [UInt32](repeating: 0, count: slotCount)
        for (index, entry) in entries.enumerated() {
            var slot = Int(truncatingIfNeeded: entry.hash) & (slotCount - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (slotCount - 1) }
            slots[slot] = UInt32(index + 1)
        }
        self.entries = entries
        self.slots = slots
        self.defaultValue = defaultValue
    }

    /// The value for a name as a client sent it, in any case; the default for what is not a host name.
    public func value(for text: Span<UInt8>) -> Int? {
        value(for: ServerName(text))
    }

    /// The value for a name; the default for none.
    public func value(for name: ServerName?) -> Int? {
        guard let name else { return defaultValue }
        if let value = find(name, from: 0, isWildcard: false) { return value }
        // A wildcard stands for exactly one label.
        if let parentStart = name.parentStart,
            let value = find(name, from: parentStart, isWildcard: true)
        {
            return value
        }
        return defaultValue
    }

    private func find(_ name: ServerName, from start: Int, isWildcard: Bool) -> Int? {
        let hash = Self.hash(name, from: start, isWildcard: isWildcard)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        // Ends, as half of the slots are free.
        while slots[slot] != 0 {
            let index = Int(slots[slot]) - 1
            if entries[index].hash == hash, entries[index].pattern.isWildcard == isWildcard,
                Self.isSuffix(entries[index].pattern.name, of: name, from: start)
            {
                return entries[index].value
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private static func isSuffix(_ suffix: ServerName, of name: ServerName, from start: Int) -> Bool {
        guard suffix.byteCount == name.byteCount - start else { return false }
        for index in 0..<suffix.byteCount where suffix[index] != name[start + index] { return false }
        return true
    }

    private static func hash(_ pattern: ServerNamePattern) -> UInt64 {
        hash(pattern.name, from: 0, isWildcard: pattern.isWildcard)
    }

    /// FNV-1a (Fowler, Noll & Vo), its upper half folded down since the lower bits choose the slot.
    private static func hash(_ name: ServerName, from start: Int, isWildcard: Bool) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ (isWildcard ? 1 : 0)
        for index in start..<name.byteCount {
            hash = (hash ^ UInt64(name[index])) &* 0x0000_0100_0000_01b3
        }
        return hash ^ hash >> 32
    }
}
