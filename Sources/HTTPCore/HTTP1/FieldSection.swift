// Reads field lines one by one, as strictly as RFC 9112 section 5 lets a recipient be.
//
// A line ends in CR LF and nothing else: whoever takes a bare LF or CR for a line end sees other fields than whoever
// does not. Nothing is corrected. Judged in the order of the bytes, so that a beginning of a head is never refused
// for another reason than the whole.

struct FieldSection {
    enum Line {
        /// One was appended.
        case field(FieldName)
        case end
        case needMore
        case refused(HeadFault)
    }

    /// Where the next line begins.
    var position: Int
    /// No byte of the section may stand here or after.
    let byteEnd: Int
    let lineByteCountMax: Int
    let fieldCountMax: Int
    /// A value has bytes beyond ASCII, which RFC 9110 calls obs-text and ELBv2 not compliant.
    var hasHighBytes = false

    init(position: Int, byteEnd: Int, lineByteCountMax: Int, fieldCountMax: Int) {
        self.position = position
        self.byteEnd = byteEnd
        self.lineByteCountMax = lineByteCountMax
        self.fieldCountMax = fieldCountMax
    }

    @inline(__always)
    mutating func readLine(_ bytes: Span<UInt8>, into fields: inout [HeadField]) -> Line {
        let start = position
        let lineEnd = min(start &+ lineByteCountMax, byteEnd)
        let end = min(lineEnd, bytes.count)
        guard start < end else { return ranOut(bytes, end: end, lineEnd: lineEnd) }

        var isUnusual = false
        var index = ByteScanning.endOfName(bytes, from: start, to: end, isUnusual: &isUnusual)
        guard index < end else { return ranOut(bytes, end: end, lineEnd: lineEnd) }
        guard bytes[index] == UInt8(ascii: ":"), index > start else {
            return unusualLine(bytes, start: start, nameEnd: index, end: end, lineEnd: lineEnd)
        }
        let name = start..<index
        index &+= 1
        while index < end, FieldSyntax.isWhitespace(bytes[index]) { index &+= 1 }
        let valueStart = index
        index = ByteScanning.endOfFieldValue(bytes, from: index, to: end, hasHighBytes: &hasHighBytes)
        guard index &+ 1 < end else {
            if index < end, bytes[index] != UInt8(ascii: "\r") {
                return .refused(Self.fault(of: bytes[index]))
            }
            return ranOut(bytes, end: end, lineEnd: lineEnd)
        }
        guard bytes[index] == UInt8(ascii: "\r"), bytes[index &+ 1] == UInt8(ascii: "\n") else {
            return .refused(Self.fault(of: bytes[index]))
        }
        var valueEnd = index
        while valueEnd > valueStart, FieldSyntax.isWhitespace(bytes[valueEnd &- 1]) { valueEnd &-= 1 }
        position = index &+ 2
        guard fields.count < fieldCountMax else { return .refused(.tooManyFields) }
        let id = isUnusual ? .other : FieldName.recognised(bytes, name)
        // Written here, out of registers: handed over in memory, the processor waits for its own stores.
        fields.append(
            HeadField(
                name: ByteRange(
                    start: UInt32(truncatingIfNeeded: start), count: UInt32(truncatingIfNeeded: name.count)),
                value: ByteRange(
                    start: UInt32(truncatingIfNeeded: valueStart),
                    count: UInt32(truncatingIfNeeded: valueEnd &- valueStart)),
                id: id, hasUnusualName: isUnusual))
        return .field(id)
    }

    /// The bytes ended within a line: they may go on, or may not.
    @inline(never)
    private func ranOut(_ bytes: Span<UInt8>, end: Int, lineEnd: Int) -> Line {
        guard end == lineEnd else { return .needMore }
        return .refused(lineEnd == byteEnd ? .headTooLong : .fieldLineTooLong)
    }

    /// The empty line, or none that is a field.
    @inline(never)
    private mutating func unusualLine(
        _ bytes: Span<UInt8>, start: Int, nameEnd: Int, end: Int, lineEnd: Int
    ) -> Line {
        let byte = bytes[nameEnd]
        switch byte {
        case UInt8(ascii: "\r"):
            guard nameEnd &+ 1 < end else { return ranOut(bytes, end: end, lineEnd: lineEnd) }
            guard bytes[nameEnd &+ 1] == UInt8(ascii: "\n") else { return .refused(.bareCarriageReturn) }
            guard nameEnd == start else { return .refused(.missingColon) }
            position = start &+ 2
            return .end
        case UInt8(ascii: ":"):
            return .refused(.emptyFieldName)
        case UInt8(ascii: " "), UInt8(ascii: "\t"):
            // Between name and colon: the classic disguise. At the beginning: a folded line, or an empty one.
            if nameEnd == start { return .refused(.foldedField) }
            var index = nameEnd
            while index < end, FieldSyntax.isWhitespace(bytes[index]) { index &+= 1 }
            guard index < end else { return ranOut(bytes, end: end, lineEnd: lineEnd) }
            return .refused(bytes[index] == UInt8(ascii: ":") ? .whitespaceBeforeColon : .badFieldName)
        case 0, UInt8(ascii: "\n"):
            return .refused(Self.fault(of: byte))
        default:
            return .refused(.badFieldName)
        }
    }

    private static func fault(of byte: UInt8) -> HeadFault {
        switch byte {
        case UInt8(ascii: "\r"): .bareCarriageReturn
        case UInt8(ascii: "\n"): .bareLineFeed
        case 0: .nullByte
        default: .controlCharacterInField
        }
    }
}

extension FieldName {
    /// By itself; what Connection names is hop-by-hop as well. RFC 9110 section 7.6.1.
    var isHopByHop: Bool {
        switch self {
        case .connection, .keepAlive, .proxyConnection, .proxyAuthenticate, .te, .transferEncoding, .upgrade,
            .http2Settings:
            true
        default:
            false
        }
    }
}
