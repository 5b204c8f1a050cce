// Random rule sets and requests, of few words each, so that they meet often and nearly meet more often.

import Balancing
import Foundation

/// Seeded randomness (SplitMix64; Steele, Lea & Flood, 2014): a failing seed replays its case.
struct RuleDice: RandomNumberGenerator {
    /// How many seeds a seeded test runs: `WEIR_SEEDS`, else 256.
    static let seedCount = ProcessInfo.processInfo.environment["WEIR_SEEDS"].flatMap(UInt64.init) ?? 256

    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func one<Element>(of elements: [Element]) -> Element { elements[below(elements.count)] }

    // MARK: Rules

    mutating func rules(countMax: Int) -> [[RuleCondition]] {
        let count = 1 + below(countMax)
        return (0..<count).map { _ in (0..<1 + below(3)).map { _ in condition() } }
    }

    private mutating func condition() -> RuleCondition {
        switch below(12) {
        case 0...2: return .hostHeader(texts(hosts, regexes: hostRegexes))
        case 3...6: return .pathPattern(texts(paths, regexes: pathRegexes))
        case 7: return .httpHeader(name: one(of: names), texts(values, regexes: valueRegexes))
        case 8: return .httpRequestMethod(some(of: methods))
        case 9, 10: return .queryString((0..<1 + below(3)).map { _ in queryPattern() })
        default: return .sourceIP(some(of: ranges))
        }
    }

    private mutating func some<Element>(of elements: [Element]) -> [Element] {
        (0..<1 + below(3)).map { _ in one(of: elements) }
    }

    private mutating func texts(_ words: [String], regexes: [String]) -> TextPatterns {
        if chance(25) { return TextPatterns(regularExpressions: some(of: regexes)) }
        return TextPatterns(wildcards: some(of: words).map { wild($0) })
    }

    /// Often the word itself, else with wildcards in place of some of it.
    private mutating func wild(_ word: String) -> String {
        guard chance(60), !word.isEmpty else { return chance(10) ? word.uppercased() : word }
        var bytes = Array(word.utf8)
        for _ in 0..<1 + below(3) {
            let start = below(bytes.count + 1)
            let end = min(bytes.count, start + below(6))
            bytes.replaceSubrange(start..<end, with: chance(70) ? [UInt8(ascii: "*")] : [UInt8(ascii: "?")])
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private mutating func queryPattern() -> QueryPattern {
        let key: String? = chance(30) ? nil : (chance(20) ? wild(one(of: queryKeys)) : one(of: queryKeys))
        return QueryPattern(key: key, value: wild(one(of: queryValues)))
    }

    // MARK: Requests

    mutating func request() -> SampleRequest {
        var request = SampleRequest()
        request.method = one(of: methods)
        request.host = chance(5) ? "" : one(of: hosts) + one(of: ["", "", ":80", "."])
        if chance(20) { request.host = request.host.uppercased() }
        request.path = chance(80) ? one(of: paths) : one(of: paths) + one(of: paths)
        if chance(60) {
            request.query =
                (0..<below(4)).map { _ in
                    let pair = one(of: queryKeys) + (chance(15) ? "" : "=" + one(of: queryValues))
                    return chance(20) ? percentEncoded(pair) : pair
                }.joined(separator: "&") + (chance(5) ? "#&k=v" : "")
        }
        request.fields = (0..<below(5)).map { _ in
            (chance(50) ? one(of: names) : one(of: names).lowercased(), one(of: values))
        }
        request.client = one(of: clients)
        return request
    }

    private mutating func percentEncoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            let isDivider = byte == UInt8(ascii: "=") || byte == UInt8(ascii: "&")
            if !isDivider, chance(30) {
                result += "%" + String(byte >> 4, radix: 16) + String(byte & 15, radix: 16, uppercase: true)
            } else {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return result
    }

    private var hosts: [String] {
        ["a.com", "www.a.com", "api.a.com", "b.org", "shop.b.org", "shop.eu.b.org", "x.y.z.com", "aa.com"]
    }
    private var hostRegexes: [String] {
        [
            "^a\\.", "\\.com$", "^(www|api)\\.a\\.com$", "shop", "^[a-z]+\\.b\\.org$", "(eu|y)\\.", ".",
            "^shop\\.b",
        ]
    }
    private var paths: [String] {
        [
            "/", "/a", "/a/b", "/a/b/c", "/api/v1/users", "/api/v1/users/7", "/api/v2/users", "/img/x.png",
            "/img/y.jpg", "/aaaa", "/aaaab", "/API/v1",
        ]
    }
    private var pathRegexes: [String] {
        [
            "^/api/v[12]/", "users$", "/users/\\d+$", "\\.(png|jpg)$", "^/a+b?$", "^/$", "b", "(/[a-z]+){3}",
            "^/img/", "\\bv1\\b", "^/api/v1/users/[0-9]+$",
        ]
    }
    private var names: [String] { ["X-Team", "User-Agent", "Cookie", "X-T", "Accept"] }
    private var values: [String] {
        ["", "red", "blue", "Mozilla/5.0 (X11)", "beta=1; x=2", "beta", "curl/8.0"]
    }
    private var valueRegexes: [String] { ["^re", "beta=[0-9]", "curl|wget", "^$", "ozil", "5\\.0"] }
    private var methods: [String] { ["GET", "POST", "PUT", "PURGE"] }
    private var queryKeys: [String] { ["k", "version", "lang", "q"] }
    private var queryValues: [String] { ["v", "", "v1", "v2", "de-DE", "de", "a b", "x%y", "value"] }
    private var ranges: [IPPrefix] {
        ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.7", "10.0.0.0/8", "2001:db8::/32", "::/0", "2001:db8::1"]
            .compactMap { IPPrefix($0) }
    }
    private var clients: [IPAddress] {
        ["192.0.2.7", "192.0.2.8", "10.1.2.3", "2001:db8::1", "2001:db9::1"].compactMap { IPAddress($0) }
    }
}
