// What may stand where a host and its port do; RFC 3986 section 3.2, of which names and addresses are in use.

enum HostSyntax {
    /// A name or an IPv4 address, or an IPv6 address in brackets; and perhaps a port.
    static func isAuthority(_ text: Span<UInt8>) -> Bool {
        guard text.count > 0 else { return false }
        var end = text.count
        if let colon = portColon(text) {
            guard isPort(text.extracting((colon + 1)..<text.count)) else { return false }
            end = colon
        }
        return isHost(text.extracting(0..<end))
    }

    static func hasPort(_ text: Span<UInt8>) -> Bool { portColon(text) != nil }

    /// Letters, digits, hyphens, dots and underscores, or anything like an address between brackets.
    static func isHost(_ text: Span<UInt8>) -> Bool {
        guard (1...255).contains(text.count) else { return false }
        if text[0] == UInt8(ascii: "[") {
            guard text.count > 2, text[text.count - 1] == UInt8(ascii: "]") else { return false }
            for index in 1..<text.count - 1 where !isAddressByte(text[index]) { return false }
            return true
        }
        for index in text.indices where !isNameByte(text[index]) { return false }
        return true
    }

    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: ":"), UInt8(ascii: "."):
            true
        default:
            false
        }
    }

    /// Where the colon of the port is: the last one, unless a bracket follows it.
    private static func portColon(_ text: Span<UInt8>) -> Int? {
        var index = text.count - 1
        while index >= 0 {
            if text[index] == UInt8(ascii: ":") { return index }
            if text[index] == UInt8(ascii: "]") { return nil }
            index -= 1
        }
        return nil
    }

    /// 1–65535, without leading zeros.
    private static func isPort(_ text: Span<UInt8>) -> Bool {
        guard (1...5).contains(text.count), text[0] != UInt8(ascii: "0") else { return false }
        var value = 0
        for index in text.indices {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[index]) else { return false }
            value = value * 10 + Int(text[index] - UInt8(ascii: "0"))
        }
        return value <= 65_535
    }
}
