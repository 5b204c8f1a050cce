// The expression engine against Foundation's (ICU), on random expressions and texts of few letters.

import Foundation
import Testing

@testable import HTTPCore

extension RuleDice {
    /// An expression that both engines take and mean the same by.
    mutating func expression(depth: Int = 3) -> String {
        let alternatives = (0..<(chance(25) ? 2 + below(2) : 1)).map { _ in
            (0..<below(4)).map { _ in repeated(depth: depth) }.joined()
        }
        return alternatives.joined(separator: "|")
    }

    private mutating func repeated(depth: Int) -> String {
        let (atom, isPlace) = atom(depth: depth)
        guard !isPlace, chance(40) else { return atom }
        let quantifier = one(of: ["*", "+", "?", "{2}", "{1,2}", "{0,3}", "{2,}", "{0}"])
        return atom + quantifier + (chance(25) ? "?" : "")
    }

    private mutating func atom(depth: Int) -> (text: String, isPlace: Bool) {
        switch below(depth > 0 ? 14 : 10) {
        case 0...4: (one(of: ["a", "b", "c", "A", "1"]), false)
        case 5: (one(of: [".", "\\d", "\\w", "\\W", "\\s", "\\D", "\\.", "\\x61"]), false)
        case 6, 7: (one(of: ["[ab]", "[^a]", "[a-c1]", "[\\d.]", "[^\\w]", "[[:upper:]b]", "[-a]"]), false)
        case 8: (one(of: ["^", "$", "\\b", "\\B"]), true)
        case 9: (one(of: ["/", " ", "-"]), false)
        case 10, 11: ("(" + expression(depth: depth - 1) + ")", false)
        case 12: ("(?:" + expression(depth: depth - 1) + ")", false)
        default: ("(?i:" + expression(depth: depth - 1) + ")", false)
        }
    }

    mutating func text() -> String {
        (0..<below(9)).map { _ in one(of: ["a", "a", "b", "b", "c", "A", "B", "1", ".", "/", " ", "-"]) }
            .joined()
    }
}

@Suite struct `Regular expressions against ICU` {
    /// Whether something repeated can match nothing: ICU ends such a repetition before its least count is reached.
    private func repeatsNothing(_ tree: RegularExpressionTree) -> Bool {
        switch tree {
        case .empty, .set, .start, .end, .wordBoundary: false
        case .group(let inner, _): repeatsNothing(inner)
        case .sequence(let parts), .alternatives(let parts): parts.contains(where: repeatsNothing)
        case .repetition(let inner, _, _, _): inner.matchesEmpty || repeatsNothing(inner)
        }
    }

    @Test func `find the same matches and groups`() throws {
        var matchCount = 0
        var groupCount = 0
        for seed in 0..<2 * RuleDice.seedCount {
            var dice = RuleDice(seed: seed)
            let pattern = dice.expression()
            // Foundation takes no empty one.
            guard !pattern.isEmpty else { continue }
            let ignoresCase = dice.chance(30)
            var parser = RegularExpressionParser(pattern, ignoringCase: ignoresCase)
            let tree = try parser.parse()
            guard !repeatsNothing(tree) else { continue }
            let subject = try SearchedExpression(pattern, ignoringCase: ignoresCase)
            let reference = try #require(
                try? NSRegularExpression(pattern: pattern, options: ignoresCase ? [.caseInsensitive] : []),
                "seed \(seed): \(pattern)")
            for _ in 0..<12 {
                let text = dice.text()
                let found = subject.search(text)
                let match = reference.firstMatch(
                    in: text, range: NSRange(location: 0, length: text.utf8.count))
                let expected = match.map { match in
                    (0..<match.numberOfRanges).map { Range(match.range(at: $0)) }
                }
                #expect((found == nil) == (expected == nil), "seed \(seed): \(pattern) in \"\(text)\"")
                guard let found, let expected else { continue }
                matchCount += 1
                let count = min(found.count, RegularExpression.groupCountMax + 1)
                #expect(
                    Array(found.prefix(count)) == Array(expected.prefix(count)),
                    "seed \(seed): \(pattern) in \"\(text)\"")
                groupCount += count
            }
        }
        #expect(matchCount > Int(RuleDice.seedCount) * 5 && groupCount > Int(RuleDice.seedCount) * 8)
    }

    @Test func `literals of an expression stand in every match`() throws {
        var literalCount = 0
        for seed in 0..<2 * RuleDice.seedCount {
            var dice = RuleDice(seed: seed)
            let pattern = (dice.chance(50) ? "^" : "") + dice.expression() + (dice.chance(50) ? "$" : "")
            let ignoresCase = dice.chance(50)
            let expression = try RegularExpression(pattern, ignoringCase: ignoresCase)
            var scratch = RegularExpressionScratch()
            for _ in 0..<12 {
                let text = dice.text()
                let isFound = expression.firstMatch(in: text.utf8.span, 0..<text.utf8.count, &scratch)
                guard isFound else { continue }
                let bytes = Array((ignoresCase ? text.lowercased() : text).utf8)
                #expect(bytes.starts(with: expression.literalPrefix), "\(pattern) in \(text)")
                #expect(
                    bytes.reversed().starts(with: expression.literalSuffix.reversed()),
                    "\(pattern) in \(text)")
                for literal in expression.literals {
                    literalCount += 1
                    #expect(bytes.firstRange(of: literal) != nil, "\(pattern) in \(text)")
                }
            }
        }
        #expect(literalCount > Int(RuleDice.seedCount) / 4)
    }
}
