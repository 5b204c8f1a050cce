// Heads made from text, for what only reads them.

import Balancing
import HTTPCore

/// The bytes of a head and the head that points into them, with fields of known names.
struct BuiltHead {
    var bytes: [UInt8] = Array("GET / HTTP/1.1\r\n".utf8)
    var request = RequestHead()
    var response = ResponseHead()

    init(_ fields: [(FieldName, String)] = []) {
        for (id, value) in fields { add(id, "x-name", value) }
    }

    mutating func add(_ id: FieldName, _ name: String, _ value: String) {
        let nameStart = bytes.count
        bytes += name.utf8
        let nameRange = ByteRange(nameStart..<bytes.count)
        bytes += ": ".utf8
        let valueStart = bytes.count
        bytes += value.utf8
        let field = HeadField(name: nameRange, value: ByteRange(valueStart..<bytes.count), id: id)
        request.fields.append(field)
        response.fields.append(field)
        bytes += "\r\n".utf8
    }

    func text(_ range: ByteRange) -> String {
        String(decoding: bytes[range.range], as: UTF8.self)
    }
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

func text(_ write: (inout [UInt8]) -> Void) -> String {
    var buffer: [UInt8] = []
    write(&buffer)
    return text(buffer)
}
