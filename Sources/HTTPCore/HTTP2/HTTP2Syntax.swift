// The characters of pseudo-headers and field names; RFC 9113 section 8.3, RFC 3986 section 3.

enum HTTP2Syntax {
    /// Exactly as it is written: methods have a case.
    static func method(_ bytes: UnsafeBufferPointer<UInt8>) -> HTTPMethod {
        switch bytes.count {
        case 3:
            if unsafe isEqual(bytes, "GET") { return .get }
            if unsafe isEqual(bytes, "PUT") { return .put }
        case 4:
            if unsafe isEqual(bytes, "POST") { return .post }
            if unsafe isEqual(bytes, "HEAD") { return .head }
        case 5:
            if unsafe isEqual(bytes, "PATCH") { return .patch }
            if unsafe isEqual(bytes, "TRACE") { return .trace }
        case 6:
            if unsafe isEqual(bytes, "DELETE") { return .delete }
        case 7:
            if unsafe isEqual(bytes, "OPTIONS") { return .options }
            if unsafe isEqual(bytes, "CONNECT") { return .connect }
        default: break
        }
        return .other
    }

    static func isWebScheme(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        unsafe isEqualIgnoringCase(bytes, "https") || isEqualIgnoringCase(bytes, "http")
    }

    static func isContinue(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        unsafe isEqualIgnoringCase(bytes, "100-continue")
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

    /// A host and perhaps a port; without user information.
    static func isAuthority(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        guard !bytes.isEmpty else { return false }
        for index in 0..<bytes.count {
            switch unsafe bytes[index] {
            case 0...0x20, 0x7F...0xFF, UInt8(ascii: "@"), UInt8(ascii: "/"), UInt8(ascii: "\\"),
                UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: ","), UInt8(ascii: "\""),
                UInt8(ascii: "<"),
                UInt8(ascii: ">"):
                return false
            default: break
            }
        }
        return true
    }

    /// Letters, digits and hyphens, which is all that ELBv2 calls a valid field name.
    static func hasUsualName(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        for index in 0..<name.count {
            switch unsafe name[index] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                break
            default: return false
            }
        }
        return true
    }

    /// The same host and port, in whatever case.
    static func isSame(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where unsafe lowercased(left[index]) != lowercased(right[index]) {
            return false
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

    private static func isEqual(_ bytes: UnsafeBufferPointer<UInt8>, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count where unsafe bytes[index] != text.utf8Start[index] { return false }
        return true
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
