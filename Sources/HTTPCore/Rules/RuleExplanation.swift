// Why a request takes the rule it takes, as values for `explain`.

import Balancing

/// The rule of a request and the look at each rule on the way to it.
public struct RuleExplanation: Sendable {
    /// One condition held against the request.
    public struct ConditionLook: Sendable {
        public let condition: RuleCondition
        public let isMet: Bool
        /// For people, such as `host_header "shop.example.com" is none of "*.example.org"`.
        public let sentence: String
    }

    /// One rule held against the request.
    public struct Look: Sendable {
        /// The place of the rule in `CompiledRules.routes`.
        public let index: Int
        public let priority: Int?
        /// In the order of the rule; all of them, whatever the first ones said.
        public let conditions: [ConditionLook]

        public var applies: Bool { conditions.allSatisfy(\.isMet) }
    }

    /// The place of the rule taken, as `CompiledRules.match` returns it.
    public let index: Int
    /// The rules in rising priority up to the one taken; all of them when the default action is.
    public let looks: [Look]
}

extension RuleExplanation.ConditionLook {
    init(
        _ condition: RuleCondition, isMet: Bool, head: borrowing RequestHead, text: RequestText,
        bytes: Span<UInt8>, _ client: IPAddress
    ) {
        let values = condition.valueTexts.joined(separator: ", ")
        let subject: String
        switch condition {
        case .hostHeader:
            subject = "host_header \(Self.quoted(text.host, bytes) ?? "(none)")"
        case .pathPattern:
            subject = "path_pattern \(Self.quoted(text.path, bytes) ?? "(none)")"
        case .httpRequestMethod:
            subject = "http_request_method \(Self.quoted(head.methodBytes.range, bytes) ?? "(none)")"
        case .queryString:
            subject = "query_string \(Self.quoted(text.query, bytes) ?? "(none)")"
        case .sourceIP:
            subject = "source_ip \(client)"
        case .httpHeader(let name, _):
            var lines: [String] = []
            for index in 0..<head.fields.count {
                let field = head.fields[index]
                guard Self.text(field.name.range, bytes)?.lowercased() == name.lowercased() else { continue }
                lines.append(Self.quoted(field.value.range, bytes) ?? "\"\"")
            }
            subject = "http_header \(name) \(lines.isEmpty ? "(none)" : lines.joined(separator: ", "))"
        }
        self.condition = condition
        self.isMet = isMet
        sentence = isMet ? "\(subject) is one of \(values)" : "\(subject) is none of \(values)"
    }

    private static func text(_ range: Range<Int>, _ bytes: Span<UInt8>) -> String? {
        let range = range.clamped(to: bytes.indices)
        guard !range.isEmpty else { return nil }
        return String(decoding: range.map { bytes[$0] }, as: UTF8.self)
    }

    private static func quoted(_ range: Range<Int>?, _ bytes: Span<UInt8>) -> String? {
        range.flatMap { text($0, bytes) }.map { "\"\($0)\"" }
    }
}

extension RuleCondition {
    /// ELBv2's name for the kind, with underscores.
    public var fieldName: String {
        switch self {
        case .hostHeader: "host_header"
        case .pathPattern: "path_pattern"
        case .httpHeader: "http_header"
        case .httpRequestMethod: "http_request_method"
        case .queryString: "query_string"
        case .sourceIP: "source_ip"
        }
    }

    /// Its values as people write them.
    public var valueTexts: [String] {
        switch self {
        case .hostHeader(let texts), .pathPattern(let texts), .httpHeader(_, let texts):
            texts.wildcards.map { "\"\($0)\"" } + texts.regularExpressions.map { "regex \"\($0)\"" }
        case .httpRequestMethod(let methods): methods
        case .queryString(let pairs):
            pairs.map { pair in "\"\(pair.key.map { "\($0)=" } ?? "")\(pair.value)\"" }
        case .sourceIP(let ranges): ranges.map(\.description)
        }
    }
}
