// Which certificates answer for a name: exact before wildcard before default; see RFC 6066 section 3 and
// RFC 9525 section 6.3.
//
// A sorted table that is looked up without allocation, since the lookup runs inside every handshake.

/// From a server name to the index of a group of certificates.
struct CertificateNames {
    private struct Entry {
        let start: Int
        let count: Int
        let group: Int
    }

    /// The names without `*.`, one after the other, in lower case.
    private let bytes: [UInt8]
    private let exact: [Entry]
    private let wildcards: [Entry]

    /// Names as in certificates, `*.` in front of a wildcard's; later pairs of the same name are ignored.
    init(_ groups: [(name: String, group: Int)]) {
        var bytes: [UInt8] = []
        var exact: [Entry] = []
        var wildcards: [Entry] = []
        var seen: Set<String> = []
        for (name, group) in groups where seen.insert(name).inserted {
            let isWildcard = name.hasPrefix("*.")
            let stored = Array(isWildcard ? name.utf8.dropFirst(2) : name.utf8[...])
            let entry = Entry(start: bytes.count, count: stored.count, group: group)
            bytes += stored
            if isWildcard { wildcards.append(entry) } else { exact.append(entry) }
        }
        let stored = bytes
        let isBefore = { (left: Entry, right: Entry) in
            stored[left.start..<left.start + left.count]
                .lexicographicallyPrecedes(stored[right.start..<right.start + right.count])
        }
        self.bytes = bytes
        self.exact = exact.sorted(by: isBefore)
        self.wildcards = wildcards.sorted(by: isBefore)
    }

    /// The group for a name as a client sent it, in any case and with or without the final dot; nil when no
    /// certificate has it.
    func group(of name: RawSpan) -> Int? {
        var end = name.byteCount
        if end > 0, byte(name, end - 1) == UInt8(ascii: ".") { end -= 1 }
        guard end > 0 else { return nil }
        if let group = find(name, 0, end, in: exact) { return group }
        // A wildcard stands for exactly one label, and not for an empty one.
        guard let dot = (0..<end).first(where: { byte(name, $0) == UInt8(ascii: ".") }), dot > 0 else {
            return nil
        }
        return find(name, dot + 1, end, in: wildcards)
    }

    private func find(_ name: RawSpan, _ start: Int, _ end: Int, in entries: [Entry]) -> Int? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            let order = compare(name, start, end, with: entries[middle])
            if order == 0 { return entries[middle].group }
            if order < 0 { high = middle } else { low = middle + 1 }
        }
        return nil
    }

    /// Negative when the name's bytes come before the entry's, zero when they are the same.
    private func compare(_ name: RawSpan, _ start: Int, _ end: Int, with entry: Entry) -> Int {
        for index in 0..<min(end - start, entry.count) {
            let difference = Int(byte(name, start + index)) - Int(bytes[entry.start + index])
            if difference != 0 { return difference }
        }
        return (end - start) - entry.count
    }

    private func byte(_ name: RawSpan, _ index: Int) -> UInt8 {
        let byte = name.unsafeLoad(at: index)
        return (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    /// A name of a certificate as this table wants it: lower case, no final dot; nil for what is no host name.
    static func normalized(_ name: some Sequence<UInt8>) -> String? {
        var result: [UInt8] = name.map {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0
        }
        if result.last == UInt8(ascii: ".") { result.removeLast() }
        let hasWildcard = result.starts(with: Array("*.".utf8))
        let isHostName = result.dropFirst(hasWildcard ? 2 : 0).allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
                || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_")
        }
        guard isHostName, result.count > (hasWildcard ? 2 : 0), result.count <= 253 else { return nil }
        return String(decoding: result, as: UTF8.self)
    }
}

extension RawSpan {
    fileprivate func unsafeLoad(at index: Int) -> UInt8 {
        // Bounds are checked by the span itself; one byte of any value is a UInt8.
        unsafe unsafeLoad(fromByteOffset: index, as: UInt8.self)
    }
}
