// What the fields of a head say about its message as a whole: framing, persistence, what is asked of the recipient.
//
// One value per head, filled line by line. RFC 9112 sections 6 and 9, RFC 9110 sections 7.6.1, 7.8, 10.1.

struct MessageFacts: BitwiseCopyable {
    /// Fields that Connection may name; more are no use of it, and would cost a comparison each with every field.
    static let connectionOptionCountMax = 32

    var contentLength: UInt64?
    var hasDuplicateContentLength = false
    var isChunked = false
    var hasSuspiciousTransferEncoding = false
    var hasSuspiciousContentLength = false
    var hostValue: ByteRange?
    var saysClose = false
    var saysKeepAlive = false
    var saysUpgrade = false
    var namedOptionCount = 0
    var acceptsTrailers = false
    var expectsContinue = false
    var upgrade = UpgradeRequest.none

    /// Takes the last of `fields` into account, and may mark it as one that is not passed on.
    @inline(__always)
    mutating func takeLast(
        _ id: FieldName, of fields: inout [HeadField], _ bytes: Span<UInt8>
    ) -> HeadFault? {
        switch id {
        case .other:
            takeSuspicion(&fields, bytes)
            return nil
        case .host, .contentLength, .transferEncoding, .connection, .keepAlive, .proxyConnection,
            .proxyAuthenticate, .te, .upgrade, .expect, .http2Settings:
            return takeControl(id, &fields, bytes)
        case .trailer, .cookie, .setCookie, .userAgent, .via, .server, .date, .origin, .contentType,
            .forwardedFor,
            .forwardedProto, .forwardedPort, .amznTraceID, .amznTLSVersion, .amznTLSCipherSuite,
            .webSocketKey,
            .webSocketVersion, .grpcStatus:
            return nil
        }
    }

    @inline(never)
    private mutating func takeControl(
        _ id: FieldName, _ fields: inout [HeadField], _ bytes: Span<UInt8>
    ) -> HeadFault? {
        let last = fields.count - 1
        if id.isHopByHop { fields[last].isHopByHop = true }
        let value = fields[last].value.range
        switch id {
        case .host:
            guard hostValue == nil else { return .duplicateHost }
            hostValue = fields[last].value
        case .contentLength:
            guard let number = Self.contentLength(bytes, value) else { return .badContentLength }
            if let known = contentLength {
                guard known == number else { return .conflictingContentLength }
                hasDuplicateContentLength = true
                fields[last].isHopByHop = true
            }
            contentLength = number
        case .transferEncoding:
            if isChunked { return .repeatedChunked }
            if let fault = Self.transferCodingFault(bytes, value) { return fault }
            isChunked = true
        case .connection:
            return takeConnectionOptions(bytes, value)
        case .te:
            var elements = ListElements(value)
            while let element = elements.next(bytes) {
                if ByteScanning.equals(bytes, element, "trailers") { acceptsTrailers = true }
            }
        case .upgrade:
            upgrade =
                upgrade == .none && ByteScanning.equals(bytes, value, "websocket") ? .webSocket : .other
        case .expect:
            if ByteScanning.equals(bytes, value, "100-continue") { expectsContinue = true }
        default:
            break
        }
        return nil
    }

    private mutating func takeConnectionOptions(_ bytes: Span<UInt8>, _ value: Range<Int>) -> HeadFault? {
        var elements = ListElements(value)
        while let element = elements.next(bytes) {
            if ByteScanning.equals(bytes, element, "close") {
                saysClose = true
            } else if ByteScanning.equals(bytes, element, "keep-alive") {
                saysKeepAlive = true
            } else if ByteScanning.equals(bytes, element, "upgrade") {
                saysUpgrade = true
            } else {
                namedOptionCount += 1
                guard namedOptionCount <= Self.connectionOptionCountMax else {
                    return .tooManyConnectionOptions
                }
            }
        }
        return nil
    }

    /// Digits only, at most 18, without leading zeros: what every parser reads as the same number.
    private static func contentLength(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
        guard (1...18).contains(range.count) else { return nil }
        let digits = bytes.extracting(range)
        guard digits.count == 1 || digits[0] != UInt8(ascii: "0") else { return nil }
        var number: UInt64 = 0
        for index in digits.indices {
            guard ASCIISet.isDigit(digits[index]) else { return nil }
            number = number &* 10 &+ UInt64(digits[index] &- UInt8(ascii: "0"))
        }
        return number
    }

    /// Nil for `chunked` alone, which is all that is taken.
    private static func transferCodingFault(_ bytes: Span<UInt8>, _ value: Range<Int>) -> HeadFault? {
        if ByteScanning.equals(bytes, value, "chunked") { return nil }
        var chunkedCount = 0
        var isChunkedLast = false
        var isList = !value.isEmpty
        var start = value.lowerBound
        while start <= value.upperBound, isList {
            var end = start
            while end < value.upperBound, bytes[end] != UInt8(ascii: ",") { end &+= 1 }
            let coding = ByteScanning.trimmed(bytes, start..<end)
            isList = !coding.isEmpty
            for index in coding where !ASCIISet.token.contains(bytes[index]) { isList = false }
            isChunkedLast = ByteScanning.equals(bytes, coding, "chunked")
            if isChunkedLast { chunkedCount += 1 }
            start = end &+ 1
        }
        guard isList else { return .badTransferEncoding }
        if chunkedCount > 1 { return .repeatedChunked }
        return chunkedCount == 1 && !isChunkedLast ? .badTransferEncoding : .unsupportedTransferCoding
    }

    // MARK: Disguises

    @inline(__always)
    private mutating func takeSuspicion(_ fields: inout [HeadField], _ bytes: Span<UInt8>) {
        let last = fields.count &- 1
        guard let disguised = FramingDisguise.unmask(bytes, fields[last].name.range) else { return }
        fields[last].isHopByHop = true
        if disguised == .contentLength {
            hasSuspiciousContentLength = true
        } else {
            hasSuspiciousTransferEncoding = true
        }
    }
}

extension MessageFacts {
    /// Marks the fields that Connection names.
    ///
    /// What a message cannot be understood without stays, as do the fields that say who sent it: a client must not
    /// be able to have them taken away behind a balancer that looked at them.
    @inline(never)
    static func markNamedFields(_ bytes: Span<UInt8>, in fields: inout [HeadField]) {
        for connection in fields.indices where fields[connection].id == .connection {
            var elements = ListElements(fields[connection].value.range)
            while let element = elements.next(bytes) {
                for index in fields.indices
                where ByteScanning.equals(bytes, fields[index].name.range, element)
                    && fields[index].mayBeNamed
                {
                    fields[index].isHopByHop = true
                }
            }
        }
    }
}

extension HeadField {
    fileprivate var mayBeNamed: Bool {
        switch id {
        case .host, .contentLength, .contentType, .cookie, .setCookie, .forwardedFor, .forwardedProto,
            .forwardedPort, .amznTraceID, .amznTLSVersion, .amznTLSCipherSuite, .grpcStatus:
            false
        default:
            true
        }
    }
}

/// The elements of a comma-separated value that are not empty.
struct ListElements {
    private var position: Int
    private let end: Int

    init(_ value: Range<Int>) {
        position = value.lowerBound
        end = value.upperBound
    }

    mutating func next(_ bytes: Span<UInt8>) -> Range<Int>? {
        while position < end {
            let start = position
            var index = start
            while index < end, bytes[index] != UInt8(ascii: ",") { index &+= 1 }
            position = index &+ 1
            let element = ByteScanning.trimmed(bytes, start..<index)
            if !element.isEmpty { return element }
        }
        return nil
    }
}
