// Reads PROXY protocol headers of version 1: one line of text (section 2.1).
//
// "PROXY", a protocol, two addresses and two ports, single spaces between, CR LF at the end; 107 bytes at most.

enum ProxyHeaderLine {
    typealias Outcome = ProxyHeaderParser.Outcome
    typealias Fault = ProxyHeaderParser.Fault

    static let prefix: InlineArray<6, UInt8> = [0x50, 0x52, 0x4F, 0x58, 0x59, 0x20]
    /// "PROXY UNKNOWN" and the end of the line.
    static let byteCountMin = 15
    static let byteCountMax = 107

    private static let tcp4: InlineArray<5, UInt8> = [0x54, 0x43, 0x50, 0x34, 0x20]
    private static let tcp6: InlineArray<5, UInt8> = [0x54, 0x43, 0x50, 0x36, 0x20]
    private static let unknown: InlineArray<7, UInt8> = [0x55, 0x4E, 0x4B, 0x4E, 0x4F, 0x57, 0x4E]

    private static let carriageReturn = UInt8(ascii: "\r")
    private static let lineFeed = UInt8(ascii: "\n")
    private static let space = UInt8(ascii: " ")

    static func parse(_ bytes: Span<UInt8>) -> Outcome {
        var reader = ByteReader(0..<min(bytes.count, byteCountMax))
        switch take(prefix, &reader, bytes) {
        case .some(false): return .invalid(.signature)
        case nil: return needMore(bytes)
        case .some(true): break
        }
        // Which protocol shows in its fourth byte, so that more of a wrong one need not be waited for.
        let family: IPAddress.Family?
        let isKnown: Bool?
        if reader.peek(bytes) == unknown[0] {
            family = nil
            isKnown = take(unknown, &reader, bytes)
        } else {
            var other = reader
            let isV4 = take(tcp4, &reader, bytes)
            let isV6 = take(tcp6, &other, bytes)
            family = isV6 == true ? .v6 : .v4
            if isV6 == true { reader = other }
            isKnown = isV4 == true || isV6 == true ? true : (isV4 == nil || isV6 == nil ? nil : false)
        }
        switch isKnown {
        case .some(false): return .invalid(.lineProtocol)
        case nil: return needMore(bytes)
        case .some(true): return parseRest(bytes, from: reader, family)
        }
    }

    /// Whether `expected` comes next; nil when the bytes end within it. Reads it only when it is there.
    private static func take<let count: Int>(
        _ expected: InlineArray<count, UInt8>, _ reader: inout ByteReader, _ bytes: Span<UInt8>
    ) -> Bool? {
        var ahead = reader
        for index in expected.indices {
            guard let byte = ahead.byte(bytes) else { return nil }
            guard byte == expected[index] else { return false }
        }
        reader = ahead
        return true
    }

    private static func needMore(_ bytes: Span<UInt8>) -> Outcome {
        guard bytes.count < byteCountMax else { return .invalid(.line) }
        return .needMore(atLeast: max(byteCountMin, bytes.count + 1))
    }

    private static func parseRest(
        _ bytes: Span<UInt8>, from start: ByteReader, _ family: IPAddress.Family?
    ) -> Outcome {
        if family == nil, let byte = start.peek(bytes), byte != space, byte != carriageReturn {
            return .invalid(.lineProtocol)
        }
        // The end of the line comes first: a number at the end of the bytes may be half a number.
        var end = start
        while let byte = end.peek(bytes), byte != carriageReturn {
            guard byte != lineFeed else { return .invalid(.line) }
            guard family == nil || isAddressCharacter(byte) else { return .invalid(.lineAddress) }
            _ = end.skip(1)
        }
        let fields = start.position..<end.position
        guard end.take(carriageReturn, bytes), let last = end.byte(bytes) else { return needMore(bytes) }
        guard last == lineFeed else { return .invalid(.line) }
        guard let family else {
            return .header(ProxyHeader(version: .v1, origin: .unknown), byteCount: end.position)
        }
        do throws(Fault) {
            let origin = try origin(bytes, in: fields, family)
            return .header(ProxyHeader(version: .v1, origin: origin), byteCount: end.position)
        } catch {
            return .invalid(error)
        }
    }

    /// Whatever may be in an address, a port or between them.
    private static func isAddressCharacter(_ byte: UInt8) -> Bool {
        hexDigitValue(byte) != nil || byte == space || byte == UInt8(ascii: ".") || byte == UInt8(ascii: ":")
    }

    private static func origin(
        _ bytes: Span<UInt8>, in fields: Range<Int>, _ family: IPAddress.Family
    ) throws(Fault) -> ProxyHeader.Origin {
        var reader = ByteReader(fields)
        guard let source = IPAddress(bytes.extracting(word(&reader, bytes))),
            let destination = IPAddress(bytes.extracting(word(&reader, bytes))),
            source.family == family, destination.family == family
        else { throw .lineAddress }
        guard let sourcePort = port(bytes, in: word(&reader, bytes)),
            let destinationPort = port(bytes, in: reader.remainingRange)
        else { throw .linePort }
        return .relayed(
            source: Endpoint(address: source, port: sourcePort),
            destination: Endpoint(address: destination, port: destinationPort), transport: .tcp)
    }

    /// What stands before the next space; the space is read too.
    private static func word(_ reader: inout ByteReader, _ bytes: Span<UInt8>) -> Range<Int> {
        let start = reader.position
        while let byte = reader.peek(bytes), byte != space { _ = reader.skip(1) }
        let end = reader.position
        _ = reader.take(space, bytes)
        return start..<end
    }

    /// 0 to 65535 in decimal digits, without zeros in front.
    private static func port(_ bytes: Span<UInt8>, in range: Range<Int>) -> UInt16? {
        guard (1...5).contains(range.count) else { return nil }
        var reader = ByteReader(range)
        var number: UInt32 = 0
        while let digit = reader.byte(bytes) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit),
                reader.position == range.lowerBound + 1 || number > 0
            else { return nil }
            number = number * 10 + UInt32(digit - UInt8(ascii: "0"))
        }
        return UInt16(exactly: number)
    }
}
