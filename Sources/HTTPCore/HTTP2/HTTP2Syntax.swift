// The characters of pseudo-headers; RFC 9113 section 8.3, RFC 3986 section 3.

enum HTTP2Syntax {
    static func isWebScheme(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        unsafe isEqualIgnoringCase(bytes, "https") || isEqualIgnoringCase(bytes, "http")
    }

    /// An absolute path, or the asterisk of OPTIONS. A fragment never leaves a client that is one.
    static func isPath(_ bytes: UnsafeBufferPointer<UInt8>, method: HTTPMethod) -> Bool {
        if bytes.count == 1, unsafe bytes[0] == UInt8(ascii: "*") { return method == .options }
        guard unsafe bytes.first == UInt8(ascii: "/") else { return false }
        for index in 0..<bytes.count {
            let byte = unsafe bytes[index]
            if byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "#") { return false }
        }
        return true
    }

    /// The same host and port, in whatever case.
    static func isSame(_ bytes: Span<UInt8>, _ left: Range<Int>, _ right: Range<Int>) -> Bool {
        guard left.count == right.count else { return false }
        for offset in 0..<left.count {
            guard
                lowercased(bytes[left.lowerBound + offset]) == lowercased(bytes[right.lowerBound + offset])
            else { return false }
        }
        return true
    }

    /// Digits only, at most 18 of them.
    static func number(_ digits: UnsafeBufferPointer<UInt8>) -> Int? {
        guard (1...18).contains(digits.count) else { return nil }
        var number = 0
        for index in 0..<digits.count {
            let digit = unsafe digits[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            number = number * 10 + Int(digit)
        }
        return number
    }

    private static func isEqualIgnoringCase(_ bytes: UnsafeBufferPointer<UInt8>, _ text: StaticString) -> Bool
    {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count where unsafe lowercased(bytes[index]) != text.utf8Start[index] {
            return false
        }
        return true
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
    }
}
