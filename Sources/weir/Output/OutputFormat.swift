// --output: tables for people, JSON and YAML with the same keys for programs.

import AdminModel
import ArgumentParser
import Foundation
import Yams

enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case table
    case json
    case yaml

    /// Writes `value` as JSON or YAML, or else what `table` makes of it.
    func show(_ value: some Encodable, table: (Style) -> String) throws {
        switch self {
        case .table: StandardOutput.write(table(Style.detect()))
        case .json: StandardOutput.write(try Self.json(value))
        case .yaml: StandardOutput.write(try Self.yaml(value))
        }
    }

    static func json(_ value: some Encodable) throws -> String {
        String(decoding: try AdminCoding.encoder(pretty: true).encode(value), as: UTF8.self) + "\n"
    }

    /// The JSON as YAML, so that both have the same keys.
    static func yaml(_ value: some Encodable) throws -> String {
        let data = try AdminCoding.encoder().encode(value)
        let tree = try JSONDecoder().decode(JSONValue.self, from: data)
        return try Yams.dump(object: tree.object, width: -1, allowUnicode: true, sortKeys: true)
    }
}

/// Any JSON, to carry it from one encoder to another.
private enum JSONValue: Decodable {
    case null
    case bool(Bool)
    case integer(Int64)
    case unsigned(UInt64)
    case number(Double)
    case string(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(UInt64.self) {
            self = .unsigned(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .list(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    /// In the types that Yams represents.
    var object: Any {
        switch self {
        case .null: NSNull()
        case .bool(let value): value
        case .integer(let value): value
        case .unsigned(let value): value
        // Yams would write 0.84 as 8.4e-1.
        case .number(let value): Node("\(value)", Tag(.float))
        case .string(let value): value
        case .list(let values): values.map(\.object)
        case .object(let values): values.mapValues(\.object)
        }
    }
}
