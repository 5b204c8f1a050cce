// What rules mean, written as plainly as possible and without any of the product's code but the expression engine:
// the measure for the index.

import Balancing

@testable import HTTPCore

extension SampleRequest {
    /// The first of the rules that applies, else their count.
    func naiveIndex(in rules: [[RuleCondition]]) -> Int {
        rules.firstIndex { conditions in conditions.allSatisfy(naivelyMeets) } ?? rules.count
    }

    private func naivelyMeets(_ condition: RuleCondition) -> Bool {
        switch condition {
        case .hostHeader(let texts):
            var name = host.lowercased().split(separator: ":", omittingEmptySubsequences: false)[0]
            if name.hasSuffix(".") { name.removeLast() }
            return !name.isEmpty && fits(texts, String(name), ignoringCase: true)
        case .pathPattern(let texts):
            return fits(texts, path, ignoringCase: false)
        case .httpHeader(let name, let texts):
            return fields.contains {
                $0.name.lowercased() == name.lowercased() && fits(texts, $0.value, ignoringCase: true)
            }
        case .httpRequestMethod(let methods):
            return methods.contains(method)
        case .sourceIP(let ranges):
            return ranges.contains { $0.contains(client) }
        case .queryString(let patterns):
            return queryPairs.contains { pair in patterns.contains { naivelyFits($0, pair) } }
        }
    }

    private func fits(_ texts: TextPatterns, _ text: String, ignoringCase: Bool) -> Bool {
        let prepared = Array((ignoringCase ? text.lowercased() : text).utf8)
        return texts.wildcards.contains {
            glob(Array((ignoringCase ? $0.lowercased() : $0).utf8)[...], prepared[...])
        }
            || texts.regularExpressions.contains { regex in
                guard let expression = try? RegularExpression(regex, ignoringCase: ignoringCase) else {
                    return false
                }
                var scratch = RegularExpressionScratch()
                return expression.firstMatch(in: prepared.span, 0..<prepared.count, &scratch)
            }
    }

    private func naivelyFits(_ pattern: QueryPattern, _ pair: (key: [UInt8], value: [UInt8]?)) -> Bool {
        let value = Array(pattern.value.lowercased().utf8)[...]
        if let key = pattern.key {
            return glob(Array(key.lowercased().utf8)[...], pair.key[...])
                && glob(value, (pair.value ?? [])[...])
        }
        return glob(value, (pair.value ?? [])[...]) || (pair.value == nil && glob(value, pair.key[...]))
    }

    private var queryPairs: [(key: [UInt8], value: [UInt8]?)] {
        let text = (query ?? "").split(separator: "#", omittingEmptySubsequences: false).first ?? ""
        return text.split(separator: "&").map { part in
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (decoded(sides[0]), sides.count > 1 ? decoded(sides[1]) : nil)
        }
    }

    private func decoded(_ text: Substring) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let first = rest.popFirst() {
            if first == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(first)
            }
        }
        return Array(String(decoding: bytes, as: UTF8.self).lowercased().utf8)
    }

    /// By trying everything; patterns in these tests have three wildcards at most.
    private func glob(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        let rest = pattern.dropFirst()
        if first == UInt8(ascii: "*") {
            return glob(rest, text) || (!text.isEmpty && glob(pattern, text.dropFirst()))
        }
        guard let byte = text.first, first == UInt8(ascii: "?") || first == byte else { return false }
        return glob(rest, text.dropFirst())
    }
}
