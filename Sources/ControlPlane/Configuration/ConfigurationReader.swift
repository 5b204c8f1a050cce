// The tools with which each part of the configuration is read: mappings with known keys, and scalars
// within bounds. A problem never ends the reading; it is noted with its line, so that all come at once.

import Balancing
import Yams

struct ConfigurationReader {
    let fileName: String
    private(set) var problems: [ConfigurationError] = []
    /// Where each certificate, key or list is first named.
    var fileLines: [String: Int] = [:]
    /// See `Configuration`.
    var unlistedListeners: Set<String> = []
    var unlistedRules: Set<ListenerID> = []
    private var omittedProblemCount = 0

    init(fileName: String) {
        self.fileName = fileName
    }

    /// The problems in the order of their lines; the last says how many were left out.
    var errors: ConfigurationErrors {
        var sorted = problems.enumerated()
            .sorted { ($0.element.line, $0.offset) < ($1.element.line, $1.offset) }
            .map(\.element)
        if omittedProblemCount > 0, let last = sorted.last {
            sorted.append(
                ConfigurationError(
                    fileName: fileName, line: last.line, path: "",
                    message: "there are \(omittedProblemCount) more errors. Correct those above first."))
        }
        return ConfigurationErrors(errors: sorted)
    }

    /// A mapping of the document, and how people and machines name it.
    struct Scope {
        let fields: [String: Node]
        let mark: Position
        /// For people: `target_groups[0] "web"`; empty at the top.
        let subject: String
        /// What stands before a key of this mapping within the subject: `health_check.`, or empty.
        let prefix: String
        /// For machines: `target_groups[0].health_check`; empty at the top.
        let path: String

        func path(to key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
    }

    /// A value and where it stands, for checks across the document.
    struct Located<Value> {
        var value: Value
        var scope: Scope
    }

    // MARK: Problems

    /// Notes one problem. Beyond the bound it is only counted, and `message` is not even composed.
    mutating func note(
        at mark: Position?, path: @autoclosure () -> String, subject: String,
        _ message: @autoclosure () -> String
    ) {
        guard problems.count < Limits.configurationErrorCountMax else {
            omittedProblemCount += 1
            return
        }
        let message = Self.line(message())
        problems.append(
            ConfigurationError(
                fileName: fileName, line: mark?.line ?? 1, column: mark?.column,
                path: path(), message: subject.isEmpty ? message : "\(subject): \(message)"))
    }

    /// Notes `KEY MESSAGE` about one key of a mapping, at the line of its value.
    mutating func note(_ key: String, of scope: Scope, _ message: @autoclosure () -> String) {
        note(
            at: scope.fields[key]?.position ?? scope.mark, path: scope.path(to: key), subject: scope.subject,
            "\(scope.prefix)\(key) \(message())")
    }

    // MARK: Mappings and sequences

    /// Opens a mapping and notes every key that is not in `keys`.
    ///
    /// - Parameter unavailable: Keys that have no place here, each with what to do instead.
    mutating func scope(
        of node: Node, subject: String, prefix: String, path: String, keys: [String],
        unavailable: [String: String] = [:]
    ) -> Scope? {
        guard case .mapping(let mapping) = node else {
            let name =
                prefix.isEmpty ? (subject.isEmpty ? "the file" : "this entry") : String(prefix.dropLast())
            note(
                at: node.position, path: path, subject: subject,
                "\(name) is \(Self.describe(node)); it must be a mapping with the keys "
                    + "\(keys.joined(separator: ", ")).")
            return nil
        }
        var fields: [String: Node] = [:]
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                note(
                    at: key.position, path: path, subject: subject,
                    "a key is \(Self.describe(key)); keys are words: \(keys.joined(separator: ", ")).")
                continue
            }
            let name = scalar.string
            if let reason = unavailable[name] {
                note(
                    at: key.position, path: path.isEmpty ? name : "\(path).\(name)", subject: subject,
                    "\(prefix)\(name) is not available here. \(reason)")
            } else if keys.contains(name) {
                fields[name] = value
            } else {
                note(
                    at: key.position, path: path.isEmpty ? name : "\(path).\(name)", subject: subject,
                    "unknown key \"\(prefix)\(Self.shortened(name))\""
                        + NearestKey.advice(for: name, in: keys))
            }
        }
        return Scope(
            fields: fields, mark: node.position ?? .start, subject: subject, prefix: prefix,
            path: path)
    }

    /// `target_groups[0] "web"`, or without a name while there is no usable one.
    static func subject(_ path: String, of node: Node) -> String {
        guard case .mapping(let mapping) = node,
            case .scalar(let name)? = mapping.first(where: { $0.key.scalar?.string == "name" })?.value,
            NameRule.isValid(name.string)
        else { return path }
        return "\(path) \"\(name.string)\""
    }

    /// Opens the mapping under `key`; nil when it is absent or no mapping.
    mutating func child(
        _ key: String, of scope: Scope, keys: [String], unavailable: [String: String] = [:]
    ) -> Scope? {
        guard let node = value(key, of: scope) else { return nil }
        return self.scope(
            of: node, subject: scope.subject, prefix: "\(scope.prefix)\(key).", path: scope.path(to: key),
            keys: keys, unavailable: unavailable)
    }

    /// The elements under `key`; nil when it is absent or no list.
    mutating func list(_ key: String, of scope: Scope, countMax: Int, nextStep: String) -> [Node]? {
        guard let node = value(key, of: scope) else { return nil }
        guard case .sequence(let sequence) = node else {
            note(key, of: scope, "is \(Self.describe(node)); it must be a list.")
            return nil
        }
        guard sequence.count <= countMax else {
            note(
                key, of: scope,
                "has \(sequence.count) entries; at most \(countMax) are allowed. "
                    + "\(nextStep)")
            return nil
        }
        return Array(sequence)
    }

    /// The node under `key`; one without a value is noted.
    mutating func value(_ key: String, of scope: Scope) -> Node? {
        guard let node = scope.fields[key] else { return nil }
        guard !node.isEmptyScalar else {
            note(key, of: scope, "has no value. Give one, or leave the key out.")
            return nil
        }
        return node
    }

    // MARK: Scalars

    mutating func text(_ key: String, of scope: Scope) -> String? {
        guard let node = value(key, of: scope) else { return nil }
        guard case .scalar(let scalar) = node else {
            note(key, of: scope, "is \(Self.describe(node)); it must be a single value.")
            return nil
        }
        return scalar.string
    }

    /// A text that must be there.
    mutating func requiredText(_ key: String, of scope: Scope, _ nextStep: String) -> String? {
        guard scope.fields[key] != nil else {
            note(key, of: scope, "is missing. \(nextStep)")
            return nil
        }
        return text(key, of: scope)
    }

    mutating func integer(
        _ key: String, of scope: Scope, in range: ClosedRange<Int>, unit: String = ""
    ) -> Int? {
        guard let text = text(key, of: scope) else { return nil }
        guard let number = Self.wholeNumber(text), range.contains(number) else {
            let shown = Self.wholeNumber(text).map { "\($0)\(unit)" } ?? "\"\(Self.shortened(text))\""
            note(
                key, of: scope,
                "is \(shown); it must be a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound)\(unit).")
            return nil
        }
        return number
    }

    mutating func port(_ key: String, of scope: Scope) -> UInt16? {
        integer(key, of: scope, in: 1...65_535).map { UInt16(clamping: $0) }
    }

    mutating func boolean(_ key: String, of scope: Scope) -> Bool? {
        guard let text = text(key, of: scope) else { return nil }
        switch text {
        case "true": return true
        case "false": return false
        default:
            note(key, of: scope, "is \"\(Self.shortened(text))\"; it must be true or false.")
            return nil
        }
    }

    mutating func choice<Choice: RawRepresentable & CaseIterable>(
        _ key: String, of scope: Scope, as type: Choice.Type
    ) -> Choice? where Choice.RawValue == String {
        guard let text = text(key, of: scope) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            let known = type.allCases.map(\.rawValue).joined(separator: ", ")
            note(key, of: scope, "is \"\(Self.shortened(text))\"; it must be one of \(known).")
            return nil
        }
        return choice
    }

    /// The name of a load balancer or target group.
    mutating func name(of scope: Scope) -> String? {
        guard let name = requiredText("name", of: scope, "Give each entry a name of its own.") else {
            return nil
        }
        guard NameRule.isValid(name) else {
            note("name", of: scope, "is \"\(Self.shortened(name))\"; \(NameRule.sentence)")
            return nil
        }
        return name
    }

    /// Sets every attribute that stands under `attributes`.
    mutating func readAttributes<Attributes: AttributeSet>(of scope: Scope, into attributes: inout Attributes)
    {
        guard let node = value("attributes", of: scope) else { return }
        guard case .mapping(let mapping) = node else {
            note(
                "attributes", of: scope,
                "is \(Self.describe(node)); it must be a mapping of attribute "
                    + "keys.")
            return
        }
        for (keyNode, valueNode) in mapping {
            guard case .scalar(let key) = keyNode else {
                note("attributes", of: scope, "has a key that is \(Self.describe(keyNode)); keys are words.")
                continue
            }
            let path = "\(scope.path(to: "attributes")).\(key.string)"
            // What only the other kind of load balancer has is refused below, in words of its own.
            guard attributes.keys.contains(key.string) || attributes.isForeign(key.string) else {
                note(
                    at: keyNode.position, path: path, subject: scope.subject,
                    "unknown attribute \"\(Self.shortened(key.string))\""
                        + NearestKey.advice(for: key.string, in: attributes.keys))
                continue
            }
            guard case .scalar(let value) = valueNode else {
                note(
                    at: valueNode.position, path: path, subject: scope.subject,
                    "\(key.string) is \(Self.describe(valueNode)); it must be a single value.")
                continue
            }
            do throws(AttributeError) {
                try attributes.set(key.string, to: value.string)
            } catch {
                note(at: valueNode.position, path: path, subject: scope.subject, "\(error.description).")
            }
        }
    }

    /// Notes a contradiction among attributes at the line of the one that is to change.
    mutating func noteAttribute(_ key: String, of scope: Scope, _ message: String) {
        var mark = scope.fields["attributes"]?.position ?? scope.mark
        if case .mapping(let mapping)? = scope.fields["attributes"],
            let value = mapping.first(where: { $0.key.scalar?.string == key })?.value
        {
            mark = value.position ?? mark
        }
        note(
            at: mark, path: "\(scope.path(to: "attributes")).\(key)", subject: scope.subject, "\(message).")
    }

    // MARK: Words

    /// Decimal digits with an optional minus, so that `010`, `1_000` and `1e3` do not mean a surprise.
    static func wholeNumber(_ text: String) -> Int? {
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }),
            digits.count == 1 || digits.first != "0"
        else { return nil }
        return Int(text)
    }

    static func describe(_ node: Node) -> String {
        switch node {
        case .scalar(let scalar):
            node.isEmptyScalar
                ? "empty"
                : "the single value "
                    + "\"\(shortened(scalar.string))\""
        case .mapping: "a mapping"
        case .sequence: "a list"
        case .alias: "an alias"
        }
    }

    /// A message as one line that a terminal can show, whatever it quotes.
    private static func line(_ message: String) -> String {
        guard message.utf8.count > messageByteCountMax || message.contains(where: \.isNewline) else {
            return message
        }
        let line = String(message.map { $0.isNewline ? " " : $0 })
        guard line.utf8.count > messageByteCountMax else { return line }
        return "\(line.prefix(messageByteCountMax / 4))…"
    }

    private static let messageByteCountMax = 2_000

    /// At most 64 characters of a text that somebody else wrote, without line breaks.
    static func shortened(_ text: String) -> String {
        let line = String(text.prefix(65).map { $0.isNewline ? " " : $0 })
        return line.count > 64 ? "\(line.prefix(64))…" : line
    }
}
