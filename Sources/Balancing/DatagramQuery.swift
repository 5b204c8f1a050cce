// What a UDP probe sends and when it is answered; the presets for DNS and NTP.
//
// DNS: RFC 1035 section 4.1. NTP: RFC 5905 section 7.3. Each query carries a number of its own (the DNS id, the
// NTP transmit timestamp), so that an answer to another query, or one that merely repeats, proves nothing.

extension DatagramProbe {
    /// Asks for the name servers of the root, which every resolver knows and every other server can refuse.
    public static let dns = DatagramProbe(payload: dnsHeader + [0, 0, 2, 0, 1], expectation: .dnsResponse)

    /// Asks for the address of `name`, `.` for the root; nil when it is no domain name (RFC 1035 section 2.3.4).
    public static func dns(name: String) -> DatagramProbe? {
        guard name != "." else { return .dns }
        var encoded: [UInt8] = []
        let text = name.hasSuffix(".") ? name.dropLast() : name[...]
        for label in text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard (1...63).contains(label.count), label.allSatisfy({ (0x21...0x7E).contains($0) })
            else { return nil }
            encoded += [UInt8(label.count)] + label
        }
        guard encoded.count < 255 else { return nil }
        // The end of the name, type A, class IN.
        return DatagramProbe(payload: dnsHeader + encoded + [0, 0, 1, 0, 1], expectation: .dnsResponse)
    }

    /// A client's request of version 4.
    public static let ntp = DatagramProbe(
        payload: [0x23] + [UInt8](repeating: 0, count: 47), expectation: .ntpResponse)

    /// Recursion desired, one question. The id is filled in per query.
    private static var dnsHeader: [UInt8] { [0, 0, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0] }
}

/// One datagram to send, and the judge of what comes back.
public struct DatagramQuery: Sendable {
    /// Where a DNS message has its id.
    private static let idRange = 0..<2
    private static let dnsHeaderByteCount = 12
    private static let originTimestampRange = 24..<32
    private static let transmitTimestampRange = 40..<48
    private static let ntpByteCount = 48

    public let bytes: [UInt8]
    private let expectation: DatagramProbe.Expectation

    public init(_ probe: DatagramProbe, using generator: inout some RandomNumberGenerator) {
        expectation = probe.expectation
        var bytes = probe.payload
        switch probe.expectation {
        case .contains, .prefix:
            break
        case .dnsResponse:
            Self.fill(Self.idRange, of: &bytes, using: &generator)
        case .ntpResponse:
            Self.fill(Self.transmitTimestampRange, of: &bytes, using: &generator)
        }
        self.bytes = bytes
    }

    /// Puts random bytes into `range`, lengthening a payload that ends before it.
    private static func fill(
        _ range: Range<Int>, of bytes: inout [UInt8], using generator: inout some RandomNumberGenerator
    ) {
        while bytes.count < range.upperBound { bytes.append(0) }
        for index in range { bytes[index] = UInt8.random(in: 0...255, using: &generator) }
    }

    public func isAnswered(by datagram: ArraySlice<UInt8>) -> Bool {
        switch expectation {
        case .contains(let expected):
            return !expected.isEmpty && ByteSearch.contains(expected, in: datagram)
        case .prefix(let expected):
            return !expected.isEmpty && datagram.starts(with: expected)
        case .dnsResponse:
            let answer = Array(datagram)
            let isResponse = answer.count >= Self.dnsHeaderByteCount && answer[2] & 0x80 != 0
            return isResponse && answer[Self.idRange] == bytes[Self.idRange]
        case .ntpResponse:
            let answer = Array(datagram)
            guard answer.count >= Self.ntpByteCount else { return false }
            // Mode 4 is a server's answer, 5 a broadcast. Stratum 0 is a refusal, 16 says "not synchronised".
            return (4...5).contains(answer[0] & 7) && (1...15).contains(answer[1])
                && answer[Self.originTimestampRange].elementsEqual(bytes[Self.transmitTimestampRange])
        }
    }
}

/// Looks for bytes within bytes. Cost: the product of both lengths at worst, on a few KiB of a probe's answer.
public enum ByteSearch {
    public static func contains(_ needle: [UInt8], in haystack: ArraySlice<UInt8>) -> Bool {
        guard let first = needle.first else { return true }
        var rest = haystack
        while rest.count >= needle.count, let index = rest.firstIndex(of: first) {
            if rest[index...].starts(with: needle) { return true }
            rest = rest[(index + 1)...]
        }
        return false
    }
}
