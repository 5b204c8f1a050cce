// From text to YAML nodes, without falling into YAML's traps.
//
// A few nested aliases unfold into gigabytes when a node is hashed or walked, and libyaml's nodes know
// no bound. So aliases are refused before anything is composed, by a scan that needs no lexer: an alias
// can only mean something if the same name stands behind both "&" and "*". libyaml itself ends nesting
// at 1,000 levels.

import Balancing
import Yams

enum ConfigurationDocument {
    struct Root {
        let node: Node
    }

    /// Complex keys ("? …") are hashed once per level around them; no configuration needs any.
    private static let complexKeyCountMax = 16

    static func compose(_ yaml: String, fileName: String) throws(ConfigurationErrors) -> Root {
        func refusal(line: Int, column: Int? = nil, _ message: String) -> ConfigurationErrors {
            ConfigurationErrors(errors: [
                ConfigurationError(fileName: fileName, line: line, column: column, path: "", message: message)
            ])
        }

        let byteCount = yaml.utf8.count
        guard byteCount <= Limits.configurationByteCountMax else {
            throw refusal(
                line: 1,
                "the file has \(byteCount) bytes; at most \(Limits.configurationByteCountMax) are read. "
                    + "Register targets with \"weir targets register\" instead of listing them.")
        }
        if let found = findUnsupported(in: Array(yaml.utf8)) {
            throw refusal(line: found.line, column: found.column, found.message)
        }
        let node: Node?
        do {
            node = try Yams.compose(yaml: yaml)
        } catch {
            throw ConfigurationErrors(errors: [describe(error, yaml: yaml, fileName: fileName)])
        }
        guard let node, !node.isEmptyScalar else {
            throw refusal(
                line: 1, "the file is empty; it needs at least one of target_groups and load_balancers.")
        }
        return Root(node: node)
    }

    // MARK: Aliases

    private struct Unsupported {
        let line: Int
        let column: Int
        let message: String
    }

    private static func findUnsupported(in text: [UInt8]) -> Unsupported? {
        let anchors = names(after: UInt8(ascii: "&"), in: text)
        if !anchors.isEmpty {
            let known = Set(anchors.map(\.name))
            if let alias = names(after: UInt8(ascii: "*"), in: text).first(where: { known.contains($0.name) })
            {
                let position = Self.position(of: alias.offset, in: text)
                let name = ConfigurationReader.shortened(String(decoding: alias.name, as: UTF8.self))
                return Unsupported(
                    line: position.line, column: position.column,
                    message: "\"*\(name)\" is a YAML alias, which Weir does not read: a few of them can "
                        + "unfold into gigabytes. Write the value out.")
            }
        }
        if let offset = complexKeyOffset(in: text) {
            let position = Self.position(of: offset, in: text)
            return Unsupported(
                line: position.line, column: position.column,
                message: "the file has more than \(complexKeyCountMax) complex keys (\"? …\"). "
                    + "Write each key as \"key: value\".")
        }
        return nil
    }

    /// Every name that follows `sigil` where a token could begin; comments and quotes count too.
    ///
    /// A letter or "=" before it, as in `?a=1&b=2`, makes it part of a word for libyaml as well.
    private static func names(after sigil: UInt8, in text: [UInt8]) -> [(
        name: ArraySlice<UInt8>, offset: Int
    )] {
        var found: [(name: ArraySlice<UInt8>, offset: Int)] = []
        for offset in text.indices where text[offset] == sigil {
            guard offset == 0 || canPrecedeToken(text[offset - 1]) else { continue }
            let rest = text[(offset + 1)...]
            let name = rest.prefix { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default:
                    false
                }
            }
            if !name.isEmpty { found.append((name, offset)) }
        }
        return found
    }

    /// Blanks, indicators and the ends of quoted or flow values.
    ///
    /// Also whatever is not ASCII: libyaml knows line breaks there.
    private static func canPrecedeToken(_ byte: UInt8) -> Bool {
        byte >= 0x80 || byte <= 0x20 || "[]{},:?-\"'".utf8.contains(byte)
    }

    private static func complexKeyOffset(in text: [UInt8]) -> Int? {
        var count = 0
        let after: Set<UInt8> = Set(" \t\r\n".utf8)
        for offset in text.indices where text[offset] == UInt8(ascii: "?") {
            guard offset == 0 || canPrecedeToken(text[offset - 1]), offset + 1 < text.count,
                after.contains(text[offset + 1])
            else { continue }
            count += 1
            if count > complexKeyCountMax { return offset }
        }
        return nil
    }

    private static func position(of offset: Int, in text: [UInt8]) -> (line: Int, column: Int) {
        let head = text[..<offset]
        let line = 1 + head.count { $0 == UInt8(ascii: "\n") }
        let column = 1 + (head.lastIndex(of: UInt8(ascii: "\n")).map { offset - $0 - 1 } ?? offset)
        return (line, column)
    }

    // MARK: Errors of the YAML itself

    private static func describe(_ error: any Error, yaml: String, fileName: String) -> ConfigurationError {
        func problem(_ line: Int, _ column: Int?, _ message: String) -> ConfigurationError {
            ConfigurationError(
                fileName: fileName, line: max(1, line), column: column, path: "",
                message: message)
        }
        switch error as? YamlError {
        case .scanner(let context, let text, let mark, _), .parser(let context, let text, let mark, _),
            .composer(let context, let text, let mark, _):
            let whole = [context?.text, text].compactMap { $0 }.joined(separator: ", ")
            return problem(
                mark.line, mark.column,
                "not valid YAML: \(whole). Check the indentation, colons and quotes at column "
                    + "\(mark.column).")
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.prefix(3).map { "\"\(ConfigurationReader.shortened($0))\"" }
                .joined(separator: ", ")
            return problem(
                context.mark.line, context.mark.column,
                "the key \(names) stands twice in one mapping, "
                    + "first here. Keep one of them.")
        case .reader(let text, let offset, _, _):
            let head = yaml.prefix(offset ?? 0)
            let line = 1 + head.count { $0.isNewline }
            return problem(
                line, nil,
                "not valid YAML: \(text). The file must be UTF-8 text without control characters.")
        case .memory:
            return problem(
                1, nil,
                "not valid YAML: it is nested too deeply. Weir needs no more than ten levels.")
        default:
            return problem(1, nil, "not valid YAML: \(error).")
        }
    }
}

/// Where something stands in the document, both from 1.
struct Position: Equatable {
    let line: Int
    let column: Int

    static let start = Position(line: 1, column: 1)
}

extension Node {
    var position: Position? {
        mark.map { Position(line: max(1, $0.line), column: max(1, $0.column)) }
    }

    /// True for what YAML reads as null: nothing, `~` or `null`, not quoted.
    var isEmptyScalar: Bool {
        guard case .scalar(let scalar) = self, scalar.style == .plain || scalar.style == .any else {
            return false
        }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }
}
