// Reads a TLS ClientHello from bytes that were peeked at, to choose a target without ending TLS here.
//
// Records: RFC 8446 section 5.1; the message: section 4.1.2; server name: RFC 6066 section 3; ALPN: RFC 7301
// section 3.1. All versions from SSL 3.0 on share this form. Values made up to keep parsers honest (GREASE, RFC
// 8701) are unknown like any other and passed over; the server name of an encrypted hello's outer part is taken
// as it stands. Nothing is verified that routing does not need: the target does that.
//
// Each call begins anew: walking over the records of what came before costs less than peeking at it did.

public enum ClientHelloParser {
    public enum Outcome: Sendable {
        /// The hello needs at least this many peeked bytes in all, more than there are.
        case needMore(atLeast: Int)
        case hello(ClientHello)
        /// The first bytes are no TLS record with a handshake message; SSL 2.0 is no TLS.
        case notTLS
        /// A message of more than `Limits.clientHelloByteCountMax`, or cut into so many records that it needs more
        /// than `Limits.clientHelloPeekByteCountMax`.
        case oversized
        /// It begins like TLS, and then is not.
        case invalid(Fault)
    }

    public enum Fault: Error, Hashable, Sendable {
        /// Another kind of record, or none at all, before the hello was whole.
        case record
        /// A record with nothing in it or more than 2^14 bytes.
        case recordLength(Int)
        /// A handshake message of this type instead of a ClientHello.
        case messageType(UInt8)
        /// A part of the message ends beyond its surroundings, or has a length that it cannot have.
        case message
        case serverName
        case applicationProtocols
        /// This extension is there twice, so that target and balancer might believe different ones.
        case repeatedExtension(UInt16)
    }

    /// Reads the hello at the beginning of `bytes`, which may be empty.
    public static func parse(_ bytes: Span<UInt8>) -> Outcome {
        var reader = HandshakeReader(bytes)
        do throws(HandshakeReader.Stop) {
            return .hello(try parse(bytes, &reader))
        } catch {
            switch error {
            case .needMore(let byteCount):
                return byteCount > Limits.clientHelloPeekByteCountMax
                    ? .oversized : .needMore(atLeast: byteCount)
            case .notTLS: return .notTLS
            case .oversized: return .oversized
            case .invalid(let fault): return .invalid(fault)
            }
        }
    }

    private enum Extension {
        static let serverName: UInt16 = 0
        static let applicationProtocols: UInt16 = 16
    }

    private static let clientHelloType: UInt8 = 1
    private static let hostNameType: UInt8 = 0

    private static func parse(
        _ bytes: Span<UInt8>, _ reader: inout HandshakeReader
    ) throws(HandshakeReader.Stop) -> ClientHello {
        let type = try reader.byte(bytes)
        guard type == clientHelloType else { throw .invalid(.messageType(type)) }
        let byteCount = try Int(reader.byte(bytes)) << 16 | Int(reader.uint16(bytes))
        guard byteCount <= Limits.clientHelloByteCountMax else { throw .oversized }
        guard byteCount >= HandshakeReader.helloByteCountMin else { throw .invalid(.message) }
        reader.expect(byteCount)
        // Whether all of it is there comes first, so that what follows judges the message alone.
        var ahead = reader
        try ahead.skip(byteCount, bytes)

        // Version and random number.
        try reader.skip(2 + 32, bytes)
        let sessionIDByteCount = try Int(reader.byte(bytes))
        guard sessionIDByteCount <= 32 else { throw .invalid(.message) }
        try reader.skip(sessionIDByteCount, bytes)
        let ciphersByteCount = try Int(reader.uint16(bytes))
        guard ciphersByteCount >= 2, ciphersByteCount % 2 == 0 else { throw .invalid(.message) }
        try reader.skip(ciphersByteCount, bytes)
        let compressionsByteCount = try Int(reader.byte(bytes))
        guard compressionsByteCount >= 1 else { throw .invalid(.message) }
        try reader.skip(compressionsByteCount, bytes)
        // Before TLS 1.3 a hello may end here.
        guard !reader.isAtEnd else { return ClientHello() }
        return try parseExtensions(bytes, &reader)
    }

    private static func parseExtensions(
        _ bytes: Span<UInt8>, _ reader: inout HandshakeReader
    ) throws(HandshakeReader.Stop) -> ClientHello {
        var hello = ClientHello()
        var hasServerName = false
        var hasApplicationProtocols = false
        guard try Int(reader.uint16(bytes)) == reader.remainingByteCount else { throw .invalid(.message) }
        while !reader.isAtEnd {
            let type = try reader.uint16(bytes)
            let outerEnd = try reader.enter(byteCount: Int(reader.uint16(bytes)), else: .message)
            switch type {
            case Extension.serverName:
                guard !hasServerName else { throw .invalid(.repeatedExtension(type)) }
                hasServerName = true
                hello.serverName = try parseServerName(bytes, &reader)
            case Extension.applicationProtocols:
                guard !hasApplicationProtocols else { throw .invalid(.repeatedExtension(type)) }
                hasApplicationProtocols = true
                hello.applicationProtocols = try parseApplicationProtocols(bytes, &reader)
            default:
                try reader.skip(reader.remainingByteCount, bytes)
            }
            reader.leave(to: outerEnd)
        }
        return hello
    }

    /// A list with at most one host name; nil when there is none or it names nothing.
    private static func parseServerName(
        _ bytes: Span<UInt8>, _ reader: inout HandshakeReader
    ) throws(HandshakeReader.Stop) -> ServerName? {
        guard reader.remainingByteCount > 2, try Int(reader.uint16(bytes)) == reader.remainingByteCount
        else { throw .invalid(.serverName) }
        var result: ServerName?
        var hasHostName = false
        while !reader.isAtEnd {
            guard reader.remainingByteCount > 3 else { throw .invalid(.serverName) }
            let type = try reader.byte(bytes)
            let outerEnd = try reader.enter(byteCount: Int(reader.uint16(bytes)), else: .serverName)
            if type == hostNameType {
                guard !hasHostName, !reader.isAtEnd else { throw .invalid(.serverName) }
                hasHostName = true
                result = try readName(bytes, &reader)
            }
            try reader.skip(reader.remainingByteCount, bytes)
            reader.leave(to: outerEnd)
        }
        return result
    }

    private static func readName(
        _ bytes: Span<UInt8>, _ reader: inout HandshakeReader
    ) throws(HandshakeReader.Stop) -> ServerName? {
        var name = ServerName()
        while !reader.isAtEnd {
            guard name.append(try reader.byte(bytes)) else { return nil }
        }
        return name.finish() ? name : nil
    }

    private static func parseApplicationProtocols(
        _ bytes: Span<UInt8>, _ reader: inout HandshakeReader
    ) throws(HandshakeReader.Stop) -> ApplicationProtocols {
        guard reader.remainingByteCount > 2, try Int(reader.uint16(bytes)) == reader.remainingByteCount
        else { throw .invalid(.applicationProtocols) }
        var protocols = ApplicationProtocols()
        var isFull = false
        while !reader.isAtEnd {
            let byteCount = try Int(reader.byte(bytes))
            guard byteCount > 0 else { throw .invalid(.applicationProtocols) }
            let outerEnd = try reader.enter(byteCount: byteCount, else: .applicationProtocols)
            isFull = isFull || !protocols.beginName(byteCount: byteCount)
            while !isFull, !reader.isAtEnd { protocols.append(try reader.byte(bytes)) }
            try reader.skip(reader.remainingByteCount, bytes)
            reader.leave(to: outerEnd)
        }
        return protocols
    }
}

/// Reads one handshake message through the records that it is cut into.
struct HandshakeReader {
    enum Stop: Error {
        case needMore(byteCount: Int)
        case notTLS
        case oversized
        case invalid(ClientHelloParser.Fault)
    }

    private static let handshakeRecordType: UInt8 = 22
    private static let recordHeadByteCount = 5
    private static let recordByteCountMax = 1 << 14
    private static let messageHeadByteCount = 4
    /// Of a ClientHello without session, with one cipher and without extensions.
    static let helloByteCountMin = 2 + 32 + 1 + 2 + 2 + 1 + 1

    private var records: ByteReader
    /// Where the current record ends in the bytes, which may not be there yet.
    private var fragmentEnd = 0
    /// How much of the message was read, and where reading of its current part ends.
    private var messagePosition = 0
    private var messageEnd = messageHeadByteCount
    /// How long the whole message is, or at least is.
    private var messageByteCount = messageHeadByteCount + helloByteCountMin

    init(_ bytes: Span<UInt8>) {
        records = ByteReader(0..<min(bytes.count, Limits.clientHelloPeekByteCountMax))
    }

    var remainingByteCount: Int { messageEnd - messagePosition }
    var isAtEnd: Bool { messagePosition == messageEnd }

    /// The head of the message was read, and `byteCount` bytes follow.
    mutating func expect(_ byteCount: Int) {
        messageByteCount = messagePosition + byteCount
        messageEnd = messageByteCount
    }

    /// Ends reading after the next `byteCount` bytes, until `leave`; returns what to leave to.
    mutating func enter(
        byteCount: Int, else fault: ClientHelloParser.Fault
    ) throws(Stop) -> Int {
        guard byteCount <= remainingByteCount else { throw .invalid(fault) }
        defer { messageEnd = messagePosition + byteCount }
        return messageEnd
    }

    mutating func leave(to end: Int) {
        messageEnd = end
    }

    mutating func byte(_ bytes: Span<UInt8>) throws(Stop) -> UInt8 {
        guard !isAtEnd else { throw .invalid(.message) }
        if records.position == fragmentEnd { try openRecord(bytes) }
        guard let byte = records.byte(bytes) else { throw needMore(from: records.position) }
        messagePosition += 1
        return byte
    }

    mutating func uint16(_ bytes: Span<UInt8>) throws(Stop) -> UInt16 {
        try UInt16(byte(bytes)) << 8 | UInt16(byte(bytes))
    }

    mutating func skip(_ byteCount: Int, _ bytes: Span<UInt8>) throws(Stop) {
        guard byteCount <= remainingByteCount else { throw .invalid(.message) }
        var restByteCount = byteCount
        while restByteCount > 0 {
            if records.position == fragmentEnd { try openRecord(bytes) }
            let count = min(restByteCount, fragmentEnd - records.position)
            guard records.skip(count) != nil else { throw needMore(from: records.position) }
            messagePosition += count
            restByteCount -= count
        }
    }

    /// Reads the head of the next record. Its version says nothing (RFC 8446 section 5.1) but that it is TLS.
    private mutating func openRecord(_ bytes: Span<UInt8>) throws(Stop) {
        let start = records.position
        let needMore = needMore(from: start + Self.recordHeadByteCount)
        let isFirst = start == 0
        guard let type = records.byte(bytes) else { throw needMore }
        guard type == Self.handshakeRecordType else { throw isFirst ? .notTLS : .invalid(.record) }
        guard let major = records.byte(bytes) else { throw needMore }
        guard major == 3 else { throw isFirst ? .notTLS : .invalid(.record) }
        guard records.byte(bytes) != nil, let declared = records.uint16(bytes) else { throw needMore }
        let byteCount = Int(declared)
        guard (1...Self.recordByteCountMax).contains(byteCount) else {
            throw .invalid(.recordLength(byteCount))
        }
        fragmentEnd = records.position + byteCount
    }

    /// What is missing of the message, if it came in one piece from `position` on.
    private func needMore(from position: Int) -> Stop {
        .needMore(byteCount: position + messageByteCount - messagePosition)
    }
}
