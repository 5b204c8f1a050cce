// The index finds the rule that going through them one by one finds, with less work.

import Balancing
import CAllocationCount
import HTTPCore
import Testing

@Suite struct `Rule index` {
    @Test(arguments: [(8, 1), (40, 4), (200, 20)])
    func `finds what the plain matcher finds`(ruleCountMax: Int, divisor: UInt64) {
        var applied = 0
        let seedCount = RuleDice.seedCount / divisor + 1
        // One scratch for all: a worker has one for listeners of any number of rules.
        var scratch = RuleScratch()
        for seed in 0..<seedCount {
            var dice = RuleDice(seed: seed)
            let conditions = dice.rules(countMax: ruleCountMax)
            let rules = CompiledRules(conditions: conditions)
            for turn in 0..<20 {
                let request = dice.request()
                let (head, bytes) = request.head()
                let found = rules.match(head, bytes.span, client: request.client, scratch: &scratch)
                let expected = request.naiveIndex(in: conditions)
                #expect(found == expected, "seed \(seed), turn \(turn): \(request), \(conditions)")
                #expect(rules.explain(head, bytes.span, client: request.client).index == expected)
                if found != rules.defaultIndex { applied += 1 }
            }
        }
        #expect(applied > Int(seedCount) * 8, "many requests ought to meet a rule")
    }

    /// Rules of one kind with different values, and a request that meets the one in the middle.
    struct Kind: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let condition: @Sendable (Int) -> [RuleCondition]
        let request: @Sendable (Int) -> SampleRequest
    }

    private static let kinds = [
        Kind(testDescription: "hosts") {
            [.hostHeader(TextPatterns(wildcards: ["host\($0).example.com"]))]
        } request: {
            SampleRequest(host: "host\($0).example.com")
        },
        Kind(testDescription: "host endings") {
            [.hostHeader(TextPatterns(wildcards: ["*.t\($0).example.com"]))]
        } request: {
            SampleRequest(host: "a.t\($0).example.com")
        },
        Kind(testDescription: "paths") {
            [.pathPattern(TextPatterns(wildcards: ["/service-\($0)/*"]))]
        } request: {
            SampleRequest(path: "/service-\($0)/x/y")
        },
        Kind(testDescription: "path endings") {
            [.pathPattern(TextPatterns(wildcards: ["/shop/*/item-\($0)"]))]
        } request: {
            SampleRequest(path: "/shop/x/item-\($0)")
        },
        Kind(testDescription: "parts of paths") {
            [.pathPattern(TextPatterns(wildcards: ["*-\(100_000 + $0)-*"]))]
        } request: {
            SampleRequest(path: "/x/a-\(100_000 + $0)-b")
        },
        Kind(testDescription: "path expressions") {
            [.pathPattern(TextPatterns(regularExpressions: ["^/v[0-9]+/service-\(10_000 + $0)/[a-z]+$"]))]
        } request: {
            SampleRequest(path: "/v3/service-\(10_000 + $0)/users")
        },
        Kind(testDescription: "hosts and paths") {
            [
                .hostHeader(TextPatterns(wildcards: ["h\($0 % 32).a.com"])),
                .pathPattern(TextPatterns(wildcards: ["/p\($0 / 32)/*"])),
            ]
        } request: {
            SampleRequest(host: "h\($0 % 32).a.com", path: "/p\($0 / 32)/z")
        },
        Kind(testDescription: "headers") {
            [.httpHeader(name: "X-Tenant", TextPatterns(wildcards: ["t\($0)"]))]
        } request: {
            SampleRequest(fields: [("Accept", "*/*"), ("x-tenant", "T\($0)")])
        },
        Kind(testDescription: "queries") {
            [.queryString([QueryPattern(key: "tenant", value: "t\($0)")])]
        } request: {
            SampleRequest(query: "a=b&tenant=t\($0)")
        },
        Kind(testDescription: "addresses") {
            [.sourceIP([IPPrefix("10.\($0 / 250).\($0 % 250).0/24")].compactMap { $0 })]
        } request: {
            SampleRequest(client: IPAddress("10.\($0 / 250).\($0 % 250).9") ?? .anyV4)
        },
    ]

    @Test(arguments: kinds)
    func `looks at no more rules among a thousand than among ten`(kind: Kind) {
        for count in [10, 1_000] {
            let rules = CompiledRules(conditions: (0..<count).map(kind.condition))
            for number in [0, count / 2, count - 1] {
                let request = kind.request(number)
                let (head, bytes) = request.head()
                var scratch = RuleScratch()
                #expect(rules.match(head, bytes.span, client: request.client, scratch: &scratch) == number)
                #expect(scratch.candidateCount <= 4, "\(scratch.candidateCount) of \(count) rules")
            }
        }
    }

    @Test func `rules of every kind by turns are divided by all of them`() {
        let kinds = Self.kinds
        let rules = CompiledRules(conditions: (0..<1_000).map { kinds[$0 % kinds.count].condition($0) })
        for number in 0..<1_000 {
            let request = kinds[number % kinds.count].request(number)
            let (head, bytes) = request.head()
            var scratch = RuleScratch()
            #expect(rules.match(head, bytes.span, client: request.client, scratch: &scratch) == number)
            #expect(scratch.candidateCount <= 8, "\(scratch.candidateCount) rules for number \(number)")
        }
    }

    @Test func `a request that repeats a key is looked at once`() {
        let rules = CompiledRules(
            conditions: (0..<100).map {
                [.queryString([QueryPattern(key: "k", value: "v*x\($0)")]), .httpRequestMethod(["PUT"])]
            } + [
                [.pathPattern(TextPatterns(wildcards: ["*abcd*z"]))],
                [.pathPattern(TextPatterns(wildcards: ["*bcda*z"]))],
            ]
        )
        let query = Array(repeating: "k=v", count: 2_000).joined(separator: "&")
        let request = SampleRequest(path: String(repeating: "abcd", count: 2_000), query: query)
        let (head, bytes) = request.head()
        var scratch = RuleScratch()
        #expect(
            rules.match(head, bytes.span, client: request.client, scratch: &scratch) == rules.defaultIndex)
        #expect(scratch.candidateCount <= 102)
    }

    @Test func `wildcards take at most text times pattern`() {
        let pattern =
            "*" + String(repeating: "a", count: 60) + "b*" + String(repeating: "a?", count: 30) + "b"
        let rules = CompiledRules(conditions: [[.pathPattern(TextPatterns(wildcards: [pattern]))]])
        let (head, bytes) = SampleRequest(path: "/" + String(repeating: "a", count: 8_000)).head()
        var scratch = RuleScratch()
        #expect(rules.match(head, bytes.span, client: .anyV4, scratch: &scratch) == 1)
        #expect(scratch.stepCount > 8_000 && scratch.stepCount <= 8_001 * 128)
    }

    @Test func `expressions too large for a table take steps by the length of the text`() {
        let nested = "^/(a|b)*a(a|b){12}c"
        let rules = CompiledRules(conditions: [[.pathPattern(TextPatterns(regularExpressions: [nested]))]])
        var counts: [UInt64] = []
        for length in [1_000, 2_000] {
            let (head, bytes) = SampleRequest(path: "/" + String(repeating: "ab", count: length / 2)).head()
            var scratch = RuleScratch()
            #expect(rules.match(head, bytes.span, client: .anyV4, scratch: &scratch) == 1)
            counts.append(scratch.stepCount)
        }
        #expect(counts[0] > 1_000 && counts[1] < 3 * counts[0])
    }

    @Test func `rules without conditions, and no rules at all, have an answer`() {
        #expect(SampleRequest().index(in: CompiledRules([])) == 0)
        #expect(SampleRequest().index(in: CompiledRules(conditions: [])) == 0)
        #expect(SampleRequest().index(in: CompiledRules(conditions: [[]])) == 0)
    }

    @Test func `places outside of the bytes lead to the default action, not into a trap`() {
        let rules = CompiledRules(
            conditions: (0..<20).map { [.pathPattern(TextPatterns(wildcards: ["/\($0)"]))] })
        var (head, _) = SampleRequest(query: "a=b", fields: [("X", "y")]).head()
        let none: [UInt8] = []
        head.path = ByteRange(start: 4_000_000_000, count: 4_000_000_000)
        var scratch = RuleScratch()
        #expect(rules.match(head, none.span, client: .anyV4, scratch: &scratch) == rules.defaultIndex)
    }

    @Test func `a warm worker allocates nothing`() {
        var dice = RuleDice(seed: 7)
        let conditions =
            dice.rules(countMax: 100) + [
                [.pathPattern(TextPatterns(regularExpressions: ["[a-z/]*a[a-z/]{20}[0-9]+x"]))]
            ]
        let rules = CompiledRules(conditions: conditions)
        var scratch = RuleScratch()
        var requests: [(RequestHead, [UInt8], IPAddress)] = []
        for _ in 0..<50 {
            let request = dice.request()
            let (head, bytes) = request.head()
            requests.append((head, bytes, request.client))
        }
        var sum = 0
        var index = 0
        var allocations: UInt64 = 0
        for round in 0..<2 {
            index = 0
            allocation_count_take_part(round == 1)
            let before = allocation_own_count()
            // No loop over a sequence: an unoptimised iterator allocates.
            while index < requests.count {
                let (head, bytes, client) = requests[index]
                sum &+= rules.match(head, bytes.span, client: client, scratch: &scratch)
                index += 1
            }
            allocations = allocation_own_count() - before
            allocation_count_take_part(false)
        }
        #expect(allocations == 0)
        #expect(sum > 0)
    }
}
