// Request bodies: JSON of a bounded depth, and errors that name the field.

import AdminModel
import Foundation
import Hummingbird

enum JSONBody {
    /// Decodes the body that BodyMiddleware collected.
    static func decode<Value: Decodable>(_ type: Value.Type, from request: Request) async throws -> Value {
        let buffer = try await request.body.collect(upTo: AdminLimits.applyByteCountMax)
        return try decode(type, from: Array(buffer.readableBytesView))
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        guard !bytes.isEmpty else { throw RequestRefusal.invalid("The request body is empty. Send JSON.") }
        guard depth(of: bytes) <= AdminLimits.jsonDepthMax else {
            throw RequestRefusal.invalid(
                "The request body nests deeper than \(AdminLimits.jsonDepthMax) levels. Send flatter JSON.")
        }
        do {
            return try AdminCoding.decoder().decode(type, from: Data(bytes))
        } catch let error as DecodingError {
            throw RequestRefusal.invalid(message(for: error))
        }
    }

    /// The deepest nesting of brackets and braces outside strings.
    static func depth(of bytes: [UInt8]) -> Int {
        var depth = 0
        var deepest = 0
        var isInString = false
        var isEscaped = false
        for byte in bytes {
            if isEscaped {
                isEscaped = false
            } else if isInString {
                isEscaped = byte == UInt8(ascii: "\\")
                isInString = byte != UInt8(ascii: "\"")
            } else {
                switch byte {
                case UInt8(ascii: "\""): isInString = true
                case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
                case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
                default: break
                }
                deepest = max(deepest, depth)
            }
        }
        return deepest
    }

    private static func message(for error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, let context):
            "The field \"\(path(context.codingPath + [key]))\" is missing."
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            "The field \"\(path(context.codingPath))\" must be \(name(of: type))."
        case .dataCorrupted(let context) where !context.codingPath.isEmpty:
            "The field \"\(path(context.codingPath))\" is out of range."
        case .dataCorrupted:
            "The request body is not valid JSON."
        @unknown default:
            "The request body is not what is expected here."
        }
    }

    private static func name(of type: any Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is Int.Type: "a whole number"
        case is Bool.Type: "true or false"
        case is [Any].Type: "a list"
        default: "an object"
        }
    }

    /// `targets[0].port`, in the spelling of the wire.
    private static func path(_ keys: [any CodingKey]) -> String {
        keys.reduce(into: "") { path, key in
            if let index = key.intValue {
                path += "[\(index)]"
            } else {
                path += (path.isEmpty ? "" : ".") + snakeCase(key.stringValue)
            }
        }
    }

    private static func snakeCase(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            result += character.isUppercase ? "_\(character.lowercased())" : String(character)
        }
    }
}
