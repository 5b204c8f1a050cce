// Text made byte by byte at the end of a reused array: nothing here allocates while the array has room.
//
// What the data plane writes for people and protocols (addresses, numbers, dates) has a form here beside the one
// of `description`, which makes strings.

public enum ByteText {
    public static func append(_ text: String, to buffer: inout [UInt8]) {
        buffer.append(contentsOf: text.utf8)
    }

    public static func append(_ bytes: Span<UInt8>, to buffer: inout [UInt8]) {
        var index = 0
        while index < bytes.count {
            buffer.append(bytes[index])
            index += 1
        }
    }

    /// Decimal, without leading zeros unless `digitCount` asks for as many digits.
    public static func append(_ number: UInt64, digitCount: Int = 1, to buffer: inout [UInt8]) {
        var rest = number
        let start = buffer.count
        repeat {
            buffer.append(UInt8(ascii: "0"))
            rest /= 10
        } while rest > 0 || buffer.count - start < digitCount
        rest = number
        var index = buffer.count
        while index > start {
            index -= 1
            buffer[index] += UInt8(rest % 10)
            rest /= 10
        }
    }

    /// The low `digitCount` hexadecimal digits, in lower case.
    public static func append(hexadecimal number: UInt64, digitCount: Int, to buffer: inout [UInt8]) {
        var shift = 4 * (digitCount - 1)
        while shift >= 0 {
            buffer.append(hexadecimalDigit(UInt8(truncatingIfNeeded: number >> UInt64(shift)) & 0xF))
            shift -= 4
        }
    }

    private static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    /// The same text as the address's `description`.
    public static func append(_ address: IPAddress, to buffer: inout [UInt8]) {
        switch address.family {
        case .v4: appendV4(UInt32(truncatingIfNeeded: address.low), to: &buffer)
        case .v6: appendV6(address, to: &buffer)
        }
    }

    /// The same text as the endpoint's `description`: `192.0.2.1:80` or `[2001:db8::1]:80`.
    public static func append(_ endpoint: Endpoint, to buffer: inout [UInt8]) {
        let isBracketed = endpoint.address.family == .v6
        if isBracketed { buffer.append(UInt8(ascii: "[")) }
        append(endpoint.address, to: &buffer)
        if isBracketed { buffer.append(UInt8(ascii: "]")) }
        buffer.append(UInt8(ascii: ":"))
        append(UInt64(endpoint.port), to: &buffer)
    }

    private static func appendV4(_ bits: UInt32, to buffer: inout [UInt8]) {
        append(UInt64(bits >> 24), to: &buffer)
        buffer.append(UInt8(ascii: "."))
        append(UInt64(bits >> 16 & 255), to: &buffer)
        buffer.append(UInt8(ascii: "."))
        append(UInt64(bits >> 8 & 255), to: &buffer)
        buffer.append(UInt8(ascii: "."))
        append(UInt64(bits & 255), to: &buffer)
    }

    /// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups as `::`.
    private static func appendV6(_ address: IPAddress, to buffer: inout [UInt8]) {
        if address.high == 0, address.low >> 32 == 0xFFFF {
            append("::ffff:", to: &buffer)
            return appendV4(UInt32(truncatingIfNeeded: address.low), to: &buffer)
        }
        let gap = longestZeroRun(of: address)
        var index = 0
        while index < 8 {
            if index == gap.start, gap.count > 1 {
                append("::", to: &buffer)
                index += gap.count
                continue
            }
            if index > 0, index != gap.start + gap.count || gap.count < 2 { buffer.append(UInt8(ascii: ":")) }
            let group = UInt64(group(index, of: address))
            append(hexadecimal: group, digitCount: max(1, 16 - group.leadingZeroBitCount / 4), to: &buffer)
            index += 1
        }
    }

    private static func group(_ index: Int, of address: IPAddress) -> UInt16 {
        let word = index < 4 ? address.high : address.low
        return UInt16(truncatingIfNeeded: word >> UInt64(48 - 16 * (index % 4)))
    }

    private static func longestZeroRun(of address: IPAddress) -> (start: Int, count: Int) {
        var longest = (start: 0, count: 0)
        var start = 0
        while start < 8 {
            var end = start
            while end < 8, group(end, of: address) == 0 { end += 1 }
            if end - start > longest.count { longest = (start, end - start) }
            start = max(end, start + 1)
        }
        return longest
    }
}
