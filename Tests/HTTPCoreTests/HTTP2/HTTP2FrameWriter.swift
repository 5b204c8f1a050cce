// Frames of HTTP/2 byte by byte, also those that no honest peer sends; RFC 9113 section 4, RFC 7541.

struct FrameWriter {
    private(set) var bytes: [UInt8] = []

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    enum Kind: UInt8 {
        case data = 0
        case headers, priority, resetStream, settings, pushPromise, ping, goAway, windowUpdate, continuation
        case altService = 10
        case unknown = 0xBB
    }

    static let endStream: UInt8 = 0x1
    static let ack: UInt8 = 0x1
    static let endHeaders: UInt8 = 0x4
    static let padded: UInt8 = 0x8

    /// With the preface and empty settings of a client.
    static func client() -> FrameWriter {
        var writer = FrameWriter()
        writer.bytes = preface
        writer.settings()
        return writer
    }

    /// With the empty settings of a server.
    static func server() -> FrameWriter {
        var writer = FrameWriter()
        writer.settings()
        return writer
    }

    mutating func takeBytes() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    mutating func frame(_ kind: Kind, flags: UInt8 = 0, stream: Int32 = 0, _ payload: [UInt8] = []) {
        bytes += [
            UInt8(payload.count >> 16 & 0xFF), UInt8(payload.count >> 8 & 0xFF), UInt8(payload.count & 0xFF),
        ]
        bytes += [kind.rawValue, flags] + Self.word(UInt32(bitPattern: stream))
        bytes += payload
    }

    mutating func settings(_ values: [(id: UInt16, value: UInt32)] = [], isAck: Bool = false) {
        frame(
            .settings, flags: isAck ? Self.ack : 0,
            values.flatMap { [UInt8($0.id >> 8), UInt8($0.id & 0xFF)] + Self.word($0.value) })
    }

    mutating func ping(isAck: Bool = false) {
        frame(.ping, flags: isAck ? Self.ack : 0, [UInt8](repeating: 7, count: 8))
    }

    mutating func windowUpdate(stream: Int32, by count: UInt32) {
        frame(.windowUpdate, stream: stream, Self.word(count))
    }

    mutating func reset(stream: Int32, code: UInt32 = 8) {
        frame(.resetStream, stream: stream, Self.word(code))
    }

    mutating func goAway(lastStream: Int32, code: UInt32 = 0) {
        frame(.goAway, Self.word(UInt32(bitPattern: lastStream)) + Self.word(code))
    }

    mutating func data(stream: Int32, _ content: [UInt8], endsStream: Bool = false) {
        frame(.data, flags: endsStream ? Self.endStream : 0, stream: stream, content)
    }

    /// A head in one frame, its fields as they are given.
    mutating func headers(stream: Int32, _ fields: [TestField], endsStream: Bool = true) {
        frame(
            .headers, flags: Self.endHeaders | (endsStream ? Self.endStream : 0), stream: stream,
            Self.block(fields))
    }

    mutating func request(
        stream: Int32, _ method: String = "GET", _ path: String = "/", authority: String? = "weir.example",
        scheme: String = "https", _ fields: [TestField] = [], endsStream: Bool = true
    ) {
        headers(
            stream: stream,
            Self.requestHead(method, path, authority: authority, scheme: scheme) + fields,
            endsStream: endsStream)
    }

    static func requestHead(
        _ method: String = "GET", _ path: String = "/", authority: String? = "weir.example",
        scheme: String = "https"
    ) -> [TestField] {
        [TestField(":method", method), TestField(":scheme", scheme), TestField(":path", path)]
            + (authority.map { [TestField(":authority", $0)] } ?? [])
    }

    // MARK: HPACK

    /// Literals without indexing and without Huffman codes.
    static func block(_ fields: [TestField]) -> [UInt8] {
        fields.flatMap { field in
            [0] + string(Array(field.name.utf8)) + string(Array(field.value.utf8))
        }
    }

    /// A literal that enters the dynamic table as its latest entry, which `[0xBE]` then repeats.
    static func indexed(_ field: TestField) -> [UInt8] {
        [0x40] + string(Array(field.name.utf8)) + string(Array(field.value.utf8))
    }

    static func string(_ bytes: [UInt8]) -> [UInt8] {
        integer(bytes.count, prefix: 7) + bytes
    }

    static func integer(_ value: Int, prefix: Int) -> [UInt8] {
        let limit = 1 << prefix - 1
        guard value >= limit else { return [UInt8(value)] }
        var rest = value - limit
        var bytes = [UInt8(limit)]
        while rest >= 128 {
            bytes.append(UInt8(rest & 0x7F | 0x80))
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    private static func word(_ value: UInt32) -> [UInt8] {
        [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
    }
}

/// A frame that a session sent.
struct SentFrame: Equatable {
    var kind: FrameWriter.Kind
    var flags: UInt8
    var stream: Int32
    var payload: [UInt8]

    /// All frames of an output that is whole; without a client's preface.
    static func all(in output: [UInt8]) -> [SentFrame] {
        var rest = output[...]
        if rest.starts(with: FrameWriter.preface) { rest = rest.dropFirst(FrameWriter.preface.count) }
        var frames: [SentFrame] = []
        while rest.count >= 9 {
            let head = Array(rest.prefix(9))
            let count = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
            frames.append(
                SentFrame(
                    kind: FrameWriter.Kind(rawValue: head[3]) ?? .unknown, flags: head[4],
                    stream: Int32(head[5]) << 24 | Int32(head[6]) << 16 | Int32(head[7]) << 8
                        | Int32(head[8]),
                    payload: Array(rest.dropFirst(9).prefix(count))))
            rest = rest.dropFirst(9 + count)
        }
        return frames
    }

    /// The word in which a RST_STREAM and (the second) a GOAWAY give their reason.
    var code: UInt32 {
        payload.dropFirst(kind == .goAway ? 4 : 0).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }
}
