// The expression engine alone.

import Testing

@testable import HTTPCore

/// An expression with its table, both of which are asked.
struct SearchedExpression {
    let expression: RegularExpression
    private var pool = AutomatonPool()
    private let automaton: Automaton?

    init(_ pattern: String, ignoringCase: Bool = false) throws {
        expression = try RegularExpression(pattern, ignoringCase: ignoringCase)
        automaton = pool.add(expression)
    }

    /// What the program finds in a text, the whole match first; the table and the quick program must agree.
    func search(_ text: String) -> [Range<Int>?]? {
        let bytes = Array(text.utf8)
        var scratch = RegularExpressionScratch()
        let isFound = expression.firstMatch(in: bytes.span, 0..<bytes.count, &scratch)
        let groups = isFound ? (0...expression.groupCount).map { scratch.range(ofGroup: $0) } : nil
        let isFoundQuickly = expression.firstMatch(
            in: bytes.span, 0..<bytes.count, notingPlaces: false, &scratch)
        #expect(isFound == isFoundQuickly, "in \"\(text)\"")
        if let automaton {
            #expect(pool.matches(automaton, bytes.span, 0..<bytes.count) == isFound, "in \"\(text)\"")
        }
        return groups
    }
}

@Suite struct `Regular expressions` {
    @Test(
        arguments: [
            ("abc", "xabcx", [1..<4]), ("a|b", "b", [0..<1]), ("^a", "ba", nil), ("a$", "ba", [1..<2]),
            ("", "x", [0..<0]), ("a*", "aaa", [0..<3]), ("a*?", "aaa", [0..<0]), ("a+?", "aaa", [0..<1]),
            ("(a+)(b*)", "aab", [0..<3, 0..<2, 2..<3]), ("(a)|(b)", "b", [0..<1, nil, 0..<1]),
            ("(a|ab)(c|bcd)", "abcd", [0..<4, 0..<1, 1..<4]), ("a{2,3}", "aaaa", [0..<3]), ("a{2}", "a", nil),
            ("a{2,}?", "aaaa", [0..<2]), ("a{0}b", "ab", [1..<2]), ("x{,", "x{,", [0..<3]),
            ("(a*)*", "b", [0..<0, 0..<0]),
            ("(a*)+", "b", [0..<0, 0..<0]), ("(?:a|b)+", "abab", [0..<4]),
            ("(?<name>x)", "x", [0..<1, 0..<1]),
            ("[^/]+$", "/a/bc", [3..<5]), ("[]a]+", "]a", [0..<2]), ("[a-c-]+", "b-", [0..<2]),
            ("\\d+", "ab12", [2..<4]),
            ("\\D\\w\\s\\S", "ab c", [0..<4]), ("\\bfoo\\b", "a foo b", [2..<5]), ("\\bfoo\\b", "afoo", nil),
            ("\\Boo", "foo", [1..<3]), ("\\x41\\.", "A.", [0..<2]), ("(?i)aB", "Ab", [0..<2]),
            ("a(?i:b)c", "aBc", [0..<3]),
            ("a(?i:b)c", "aBC", nil), ("[[:alpha:]]+", "1ab", [1..<3]), ("a|", "b", [0..<0]),
            ("()", "x", [0..<0, 0..<0]),
            ("^$", "", [0..<0]), ("$^", "", [0..<0]), ("\\A.\\z", "x", [0..<1]), (".", "\n", nil),
            ("(^|/)b", "a/b", [1..<3, 1..<2]),
            ("(a|b)*?c", "abc", [0..<3, 1..<2]), ("{1", "{1", [0..<2]), ("a{1", "a{1", [0..<3]),
        ] as [(String, String, [Range<Int>?]?)])
    func `find the match that Perl finds`(pattern: String, text: String, groups: [Range<Int>?]?) throws {
        #expect(try SearchedExpression(pattern).search(text) == groups)
    }

    @Test(arguments: [
        ("a(", 2), ("a)", 2), ("[a", 1), ("a**", 3), ("*a", 1), ("a{2}{3}", 5), ("a{3,2}", 2), ("a{,2}", 2),
        ("a{1001}", 2), ("(?=a)", 1), ("(?!a)", 1), ("(?<=a)b", 1), ("(?<!a)b", 1), ("(?>a)", 1), ("a++", 3),
        ("a?+", 3), ("(a)\\1", 4), ("\\k<n>", 1), ("\\p{L}", 1), ("(?R)", 1), ("\\y", 1), ("[b-a]", 2),
        ("[\\d-z]", 2),
        ("\\xg1", 1), ("a\\", 2), ("é", 1), ("^*", 2), ("[[:nope:]]", 2), ("(a{1000}){1000}", 1),
        ("(?<>a)", 4),
    ])
    func `name the place of what they do not take`(pattern: String, position: Int) throws {
        let fault = try #require(throws: RegularExpressionFault.self) {
            try RegularExpression(pattern, ignoringCase: false)
        }
        #expect(fault.position == position, "\(fault)")
        #expect("\(fault)".contains("position \(position)"))
    }

    @Test func `take steps by the length of the text, whatever the nesting`() throws {
        for pattern in ["(a+)+$", "(a|a)*b", "(a|aa)+c", "([a-z]+)*1", "(.*)(.*)(.*)(.*)x", "(a?){64}a{64}b"]
        {
            let expression = try RegularExpression(pattern, ignoringCase: false)
            var counts: [UInt64] = []
            for length in [1_000, 2_000] {
                let bytes = [UInt8](repeating: UInt8(ascii: "a"), count: length) + [UInt8(ascii: "!")]
                var scratch = RegularExpressionScratch()
                #expect(!expression.firstMatch(in: bytes.span, 0..<bytes.count, &scratch))
                counts.append(scratch.stepCount)
            }
            #expect(counts[1] <= counts[0] * 2 + 10_000, "\(pattern): \(counts)")
            #expect(counts[1] <= UInt64(4 * 2_002 * expression.program.count))
        }
    }
}
