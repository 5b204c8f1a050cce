// The balancer's own cookies: what they are called, what is in them, and how they are read and written.
//
// A value is 30 bytes as 40 characters of base64url: kind and version (1), when it was issued (5, Unix seconds), the
// identity of a target or a group (8), the seal of all that (16). One character more, less or other is another
// cookie, and not one of ours: it is ignored as if it had not come. How long a cookie counts is not in it: the
// group's settings of now say so, so that a shorter duration holds for cookies that are out already, as with ELBv2.

import Balancing

public enum StickinessCookie: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    /// Names a target, under a duration of the balancer's; `stickiness.type` lb_cookie.
    case target = 1
    /// Names a target beside the application's own cookie; `stickiness.type` app_cookie.
    case application = 2
    /// Names a group of a weighted forward action.
    case group = 3

    public var name: String {
        switch self {
        case .target: "AWSALB"
        case .application: "AWSALBAPP-0"
        case .group: "AWSALBTG"
        }
    }

    /// The twin with the same value that requests from other sites carry as well. ELBv2 has none beside the
    /// application's cookie.
    public var crossOriginName: String? {
        switch self {
        case .target: "AWSALBCORS"
        case .application: nil
        case .group: "AWSALBTGCORS"
        }
    }

    /// What a cookie of ours says.
    public struct Content: Hashable, Sendable, BitwiseCopyable {
        public let identity: UInt64
        public let issuedAtUnixSeconds: UInt64

        public init(identity: UInt64, issuedAtUnixSeconds: UInt64) {
            self.identity = identity
            self.issuedAtUnixSeconds = issuedAtUnixSeconds
        }

        /// Clocks of appliances that share a seed differ; what comes from further ahead is not believed.
        static let clockDifferenceSecondsMax: UInt64 = 300

        /// - Parameter durationSeconds: How long the group keeps its clients.
        public func counts(at unixSeconds: UInt64, durationSeconds: Int) -> Bool {
            let latest = unixSeconds.addingReportingOverflow(Self.clockDifferenceSecondsMax)
            guard latest.overflow || issuedAtUnixSeconds <= latest.partialValue else { return false }
            let age = unixSeconds > issuedAtUnixSeconds ? unixSeconds - issuedAtUnixSeconds : 0
            return age < UInt64(max(0, durationSeconds))
        }
    }

    /// Characters of a value.
    public static let valueByteCount = 40
    /// ELBv2 tells browsers to keep every cookie of its own for seven days, whatever the group's duration.
    public static let lifetimeSeconds: UInt64 = 604_800
    /// The form of the bytes.
    private static let version: UInt64 = 1

    private func heading(issuedAt: UInt64) -> UInt64 {
        (Self.version << 4 | UInt64(rawValue)) << 40 | issuedAt & 0xFF_FFFF_FFFF
    }

    // MARK: Writing

    /// Appends a cookie's value; 40 bytes.
    public func appendValue(_ content: Content, keys: StickinessKeys, to buffer: inout [UInt8]) {
        let heading = heading(issuedAt: content.issuedAtUnixSeconds)
        let seal = keys.seal(heading: heading, identity: content.identity)
        // Six bits at a time: 48 of the heading, 64 of each word that follows.
        var writer = SixBitWriter()
        writer.append(heading, bitCount: 48, to: &buffer)
        writer.append(content.identity, bitCount: 64, to: &buffer)
        writer.append(seal.0, bitCount: 64, to: &buffer)
        writer.append(seal.1, bitCount: 64, to: &buffer)
    }

    /// Appends the value of a Set-Cookie field, such as `AWSALB=…; Expires=Wed, 21 Oct 2015 07:28:00 GMT; Path=/`.
    ///
    /// - Parameter isCrossOrigin: Writes the twin, with `SameSite=None; Secure`; the application's cookie, which has
    ///   no twin, under its own name.
    public func appendSetCookie(
        _ content: Content, isCrossOrigin: Bool = false, keys: StickinessKeys, to buffer: inout [UInt8]
    ) {
        ByteText.append(isCrossOrigin ? crossOriginName ?? name : name, to: &buffer)
        buffer.append(UInt8(ascii: "="))
        appendValue(content, keys: keys, to: &buffer)
        ByteText.append("; Expires=", to: &buffer)
        CivilTime(unixSeconds: content.issuedAtUnixSeconds + Self.lifetimeSeconds).appendHTTPDate(to: &buffer)
        ByteText.append("; Path=/", to: &buffer)
        if isCrossOrigin { ByteText.append("; SameSite=None; Secure", to: &buffer) }
    }

    // MARK: Reading

    /// What a value says; nil for everything that Weir did not write with these keys for this kind of cookie.
    public func content(of value: Span<UInt8>, keys: StickinessKeys) -> Content? {
        guard value.count == Self.valueByteCount else { return nil }
        var reader = SixBitReader()
        guard let heading = reader.next(bitCount: 48, value), let identity = reader.next(bitCount: 64, value),
            let first = reader.next(bitCount: 64, value), let second = reader.next(bitCount: 64, value),
            heading >> 40 == Self.version << 4 | UInt64(rawValue)
        else { return nil }
        let seal = keys.seal(heading: heading, identity: identity)
        // Both words at once: how long it takes tells nothing of how much is right.
        guard (first ^ seal.0) | (second ^ seal.1) == 0 else { return nil }
        return Content(identity: identity, issuedAtUnixSeconds: heading & 0xFF_FFFF_FFFF)
    }

    /// Whether a cookie of this name is of this kind.
    func isNamed(by name: ByteRange, _ bytes: Span<UInt8>) -> Bool {
        if name.spells(self.name, bytes) { return true }
        guard let crossOriginName else { return false }
        return name.spells(crossOriginName, bytes)
    }
}

/// Base64url (RFC 4648 section 5) of words, without a buffer in between.
private struct SixBitWriter {
    private var pending: UInt64 = 0
    private var pendingBitCount = 0

    mutating func append(_ word: UInt64, bitCount: Int, to buffer: inout [UInt8]) {
        var shift = bitCount
        while shift > 0 {
            // Bytes, so that what is pending stays small.
            shift -= 8
            pending = pending << 8 | (word >> UInt64(shift)) & 0xFF
            pendingBitCount += 8
            while pendingBitCount >= 6 {
                pendingBitCount -= 6
                buffer.append(Self.character(UInt8(pending >> UInt64(pendingBitCount) & 63)))
            }
            pending &= 63
        }
    }

    private static func character(_ value: UInt8) -> UInt8 {
        switch value {
        case 0..<26: UInt8(ascii: "A") + value
        case 26..<52: UInt8(ascii: "a") + value - 26
        case 52..<62: UInt8(ascii: "0") + value - 52
        case 62: UInt8(ascii: "-")
        default: UInt8(ascii: "_")
        }
    }
}

private struct SixBitReader {
    private var position = 0
    private var pending: UInt64 = 0
    private var pendingBitCount = 0

    /// The next bits; nil when the text ends or has another character.
    mutating func next(bitCount: Int, _ text: Span<UInt8>) -> UInt64? {
        var word: UInt64 = 0
        var count = 0
        while count < bitCount {
            while pendingBitCount < 8 {
                guard position < text.count, let value = Self.value(text[position]) else { return nil }
                position += 1
                pending = pending << 6 | UInt64(value)
                pendingBitCount += 6
            }
            pendingBitCount -= 8
            word = word << 8 | (pending >> UInt64(pendingBitCount)) & 0xFF
            pending &= 0xFF
            count += 8
        }
        return word
    }

    private static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
