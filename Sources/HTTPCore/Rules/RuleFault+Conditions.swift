// What may stand in conditions.

import Balancing

extension RuleFault {
    static let textLengthMax = 128
    static let nameLengthMax = 40

    static func checkConditions(_ conditions: [RuleCondition]) -> [RuleFault] {
        var faults: [RuleFault] = []
        if conditions.isEmpty {
            faults.append(
                RuleFault(
                    part: .conditions,
                    message: "the rule has no condition; add one, or make its action the default action."))
        }
        if conditions.count > Limits.conditionsPerRuleMax {
            faults.append(
                RuleFault(
                    part: .conditions,
                    message: "\(conditions.count) conditions are more than \(Limits.conditionsPerRuleMax); "
                        + "split the rule."))
        }
        var seen: Set<String> = []
        for (index, condition) in conditions.enumerated() {
            var messages = checkCondition(condition)
            let kind = condition.fieldName
            switch condition {
            case .hostHeader, .pathPattern, .httpRequestMethod, .sourceIP:
                if !seen.insert(kind).inserted {
                    messages.append(
                        "\(kind) stands twice, and a rule may have one; put the values into one condition, of "
                            + "which any may fit.")
                }
            case .httpHeader, .queryString:
                break
            }
            faults += messages.map { RuleFault(part: .condition(index), message: $0) }
        }
        return faults
    }

    private static func checkCondition(_ condition: RuleCondition) -> [String] {
        let kind = condition.fieldName
        var messages: [String] = []
        let count = condition.valueCount
        if count == 0 {
            messages.append("\(kind) has no value; give it at least one.")
        } else if count > Limits.valuesPerConditionMax {
            messages.append(
                "\(kind) has \(count) values, more than \(Limits.valuesPerConditionMax); split the rule.")
        }
        switch condition {
        case .hostHeader(let texts):
            messages += check(texts, kind, ignoringCase: true, checkHost)
        case .pathPattern(let texts):
            messages += check(texts, kind, ignoringCase: false, checkPath)
        case .httpHeader(let name, let texts):
            messages += checkHeaderName(name)
            messages += check(texts, kind, ignoringCase: true) { checkVisible($0, kind) }
        case .httpRequestMethod(let methods):
            messages += methods.compactMap(checkMethod)
        case .queryString(let pairs):
            for pair in pairs {
                if let key = pair.key {
                    messages += [checkLength(key, kind), checkVisible(key, kind)].compacted
                }
                messages += [checkLength(pair.value, kind), checkVisible(pair.value, kind)].compacted
            }
        case .sourceIP:
            break
        }
        return messages
    }

    private static func check(
        _ texts: TextPatterns, _ kind: String, ignoringCase: Bool, _ checkValue: (String) -> String?
    ) -> [String] {
        var messages: [String] = []
        if !texts.wildcards.isEmpty, !texts.regularExpressions.isEmpty {
            messages.append(
                "\(kind) has both values and regular expressions, and a condition has one sort; make two rules."
            )
        }
        for value in texts.wildcards {
            messages += [checkLength(value, kind) ?? checkValue(value)].compacted
        }
        for value in texts.regularExpressions {
            if let message = checkLength(value, kind) {
                messages.append(message)
                continue
            }
            do throws(RegularExpressionFault) {
                _ = try RegularExpression(value, ignoringCase: ignoringCase)
            } catch {
                messages.append("\(kind) regular expression \"\(value)\" has \(error); correct it.")
            }
        }
        return messages
    }

    private static func checkLength(_ value: String, _ kind: String) -> String? {
        let length = value.utf8.count
        if length == 0 { return "\(kind) has an empty value; remove it or say what it should be." }
        guard length > textLengthMax else { return nil }
        return
            "\(kind) value \"\(value)\" is \(length) characters long, more than \(textLengthMax); shorten it, "
            + "for instance with a * in it."
    }

    /// Letters, digits, `-`, `_`, `.` and wildcards; a dot, and behind the last one only letters (or wildcards).
    private static func checkHost(_ value: String) -> String? {
        let bytes = Array(value.utf8)
        let isWildcard = { (byte: UInt8) in byte == UInt8(ascii: "*") || byte == UInt8(ascii: "?") }
        if let wrong = value.unicodeScalars.first(where: { scalar in
            !scalar.isASCII
                || !(HostSyntax.isNameByte(UInt8(scalar.value)) || isWildcard(UInt8(scalar.value)))
        }) {
            return "host_header value \"\(value)\" has \(named(wrong)), which no host name has; use letters, "
                + "digits, \"-\", \"_\", \".\" and the wildcards * and ?, and no port."
        }
        guard let dot = bytes.lastIndex(of: UInt8(ascii: ".")) else {
            return "host_header value \"\(value)\" has no dot; write a whole name such as \"*.example.com\"."
        }
        let isLetter = { (byte: UInt8) in (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
        guard bytes[(dot + 1)...].allSatisfy({ isLetter($0) || isWildcard($0) }), dot + 1 < bytes.count else {
            return
                "host_header value \"\(value)\" ends in what is no top-level domain; use only letters behind "
                + "the last dot."
        }
        return nil
    }

    private static let pathSpecials = "_-.$/~\"'@:+&;*?%"

    private static func checkPath(_ value: String) -> String? {
        let wrong = value.unicodeScalars.first { scalar in
            !scalar.isASCII
                || !(scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
                    || pathSpecials.unicodeScalars.contains(scalar))
        }
        guard let wrong else { return nil }
        return
            "path_pattern value \"\(value)\" has \(named(wrong)), which is not allowed there; use letters, "
            + "digits, _ - . $ / ~ \" ' @ : + & ; and %, and the wildcards * and ?."
    }

    private static func checkVisible(_ value: String, _ kind: String) -> String? {
        let wrong = value.unicodeScalars.first { !(0x20...0x7E).contains($0.value) }
        guard let wrong else { return nil }
        return "\(kind) value \"\(value)\" has \(named(wrong)); use printable ASCII characters."
    }

    private static func checkHeaderName(_ name: String) -> [String] {
        if name.isEmpty { return ["http_header has no field name; set one."] }
        if name.lowercased() == "host" { return ["http_header cannot look at Host; use host_header."] }
        if name.utf8.count > nameLengthMax {
            return [
                "http_header name \"\(name)\" is \(name.utf8.count) characters long, more than "
                    + "\(nameLengthMax); no rule can look at that field."
            ]
        }
        guard
            let wrong = name.unicodeScalars.first(where: {
                !$0.isASCII || !FieldSyntax.isTokenCharacter(UInt8($0.value))
            })
        else { return [] }
        return [
            "http_header name \"\(name)\" has \(named(wrong)), which no field name has (RFC 9110 section 5.6.2); "
                + "wildcards work only in values."
        ]
    }

    private static func checkMethod(_ method: String) -> String? {
        if method.isEmpty { return "http_request_method has an empty value; remove it." }
        if method.utf8.count > nameLengthMax {
            return "http_request_method \"\(method)\" is \(method.utf8.count) characters long, more than "
                + "\(nameLengthMax); shorten it."
        }
        let wrong = method.unicodeScalars.first {
            !("A"..."Z").contains($0) && $0 != "-" && $0 != "_"
        }
        guard let wrong else { return nil }
        return "http_request_method \"\(method)\" has \(named(wrong)); use capital letters, - and _, since "
            + "methods are compared exactly."
    }

    /// A character that shows on a terminal, or its number.
    static func named(_ scalar: Unicode.Scalar) -> String {
        if (0x21...0x7E).contains(scalar.value) { return "\"\(scalar)\"" }
        return "character U+" + String(scalar.value, radix: 16, uppercase: true)
    }
}

extension RuleCondition {
    /// How many values it has.
    public var valueCount: Int {
        switch self {
        case .hostHeader(let texts), .pathPattern(let texts), .httpHeader(_, let texts): texts.valueCount
        case .httpRequestMethod(let methods): methods.count
        case .queryString(let pairs): pairs.count
        case .sourceIP(let ranges): ranges.count
        }
    }
}

extension [String?] {
    fileprivate var compacted: [String] { compactMap { $0 } }
}
