// Each kind of condition, as ELBv2 documents it.

import Balancing
import HTTPCore
import Testing

@Suite struct `Rule conditions` {
    @Test(arguments: [
        ("www.example.com", "www.example.com", true), ("www.example.com", "WWW.Example.COM", true),
        ("WWW.EXAMPLE.COM", "www.example.com", true), ("www.example.com", "www.example.com:8080", true),
        ("www.example.com", "www.example.com.", true), ("www.example.com", "www.example.com.:80", true),
        ("www.example.com", "xwww.example.com", false), ("www.example.com", "www.example.co", false),
        ("*.example.com", "a.example.com", true), ("*.example.com", "a.b.Example.com", true),
        ("*.example.com", "example.com", false), ("*.example.com", ".example.com", true),
        ("*.example.com", "a.example.com.evil.org", false), ("api?.example.com", "api1.example.com", true),
        ("api?.example.com", "api.example.com", false), ("*.example.*", "a.example.org", true),
        ("*a*b*.c", "xaxbx.c", true), ("*a*b*.c", "xbxax.c", false), ("*.example.com", "", false),
    ])
    func `host_header`(pattern: String, host: String, fits: Bool) {
        let condition = RuleCondition.hostHeader(TextPatterns(wildcards: [pattern]))
        #expect(SampleRequest(host: host).meets(condition) == fits)
    }

    @Test(arguments: [
        ("/img/*", "/img/a.png", true), ("/img/*", "/img/", true), ("/img/*", "/img", false),
        ("/img/*", "/IMG/a", false), ("/img/*/pics", "/img/a/b/pics", true), ("/a?c", "/abc", true),
        ("/a?c", "/ac", false), ("/", "/", true), ("/", "/x", false), ("*", "/anything", true),
        ("/a%20b", "/a%20b", true), ("/a%20b", "/a b", false), ("/%41", "/A", false),
        ("*.php", "/x/y.php", true),
        ("*.php", "/x/y.php5", false), ("/*a*a*b", "/aaaaab", true), ("/*a*a*b", "/aaaaa", false),
    ])
    func `path_pattern`(pattern: String, path: String, fits: Bool) {
        let condition = RuleCondition.pathPattern(TextPatterns(wildcards: [pattern]))
        #expect(SampleRequest(path: path, query: "q=/img/1").meets(condition) == fits)
    }

    @Test(arguments: [
        ("^/api/v[0-9]+/", "/api/v12/users", true), ("^/api/v[0-9]+/", "/x/api/v1/", false),
        ("/v[12]$", "/api/v2", true), ("/V[12]$", "/api/v2", false), ("users", "/api/users/1", true),
    ])
    func `a regular expression is searched for in the path, and case matters`(
        pattern: String, path: String, fits: Bool
    ) {
        let condition = RuleCondition.pathPattern(TextPatterns(regularExpressions: [pattern]))
        #expect(SampleRequest(path: path).meets(condition) == fits)
    }

    @Test func `a regular expression for hosts ignores case and the port`() {
        let condition = RuleCondition.hostHeader(
            TextPatterns(regularExpressions: ["^shop[0-9]?\\.example\\.COM$"]))
        #expect(SampleRequest(host: "Shop7.example.com:443").meets(condition))
        #expect(!SampleRequest(host: "shop77.example.com").meets(condition))
    }

    @Test(arguments: [
        ("User-Agent", "*Chrome*", true), ("user-agent", "mozilla/5.0 *", true),
        ("User-Agent", "Chrome", false),
        ("X-Team", "blue", true), ("X-Team", "RED", true), ("X-Team", "green", false),
        ("X-Tea", "blue", false),
        ("X-Missing", "*", false), ("X-Empty", "*", true), ("X-Empty", "?", false),
    ])
    func `http_header, of which any line may fit`(name: String, pattern: String, fits: Bool) {
        let request = SampleRequest(fields: [
            ("User-Agent", "Mozilla/5.0 (X11) Chrome/1"), ("x-team", "Red"), ("X-TEAM", "Blue"),
            ("X-Empty", ""),
        ])
        #expect(request.meets(.httpHeader(name: name, TextPatterns(wildcards: [pattern]))) == fits)
    }

    @Test(arguments: [("GET", true), ("get", false), ("PURGE", true), ("POST", false), ("GE", false)])
    func `http_request_method is compared exactly`(method: String, fits: Bool) {
        #expect(SampleRequest(method: method).meets(.httpRequestMethod(["GET", "PURGE"])) == fits)
    }

    @Test(
        arguments: [
            ("version", "v1", "version=v1", true), ("version", "v1", "Version=V1", true),
            ("version", "v1", "a=b&version=v1&c", true), ("version", "v1", "version=v12", false),
            ("version", "v1", "xversion=v1", false), ("version", "v?", "version=v2", true),
            ("v*", "*", "version=", true), ("version", "*", "version", true), (nil, "v1", "x=v1", true),
            (nil, "v1", "v1=x", false), (nil, "red", "red", true), (nil, "*red*", "a=xredx", true),
            ("a b", "c", "a%20b=c", true), ("a%20b", "c", "a%20b=c", true), ("a", "b&c", "a=b%26c", true),
            ("a", "b", "%61=%62", true), ("a", "\\*", "a=*", true), ("a", "\\*", "a=b", false),
            ("a", "\\?", "a=?", true), ("a", "100%", "a=100%", true), ("a", "x", "b=y&a=x#a", true),
            ("a", "x", "b=y#&a=x", false), ("a", "b=c", "a=b=c", true), ("a", "b+c", "a=b+c", true),
        ] as [(String?, String, String, Bool)])
    func `query_string`(key: String?, value: String, query: String, fits: Bool) {
        let condition = RuleCondition.queryString([QueryPattern(key: key, value: value)])
        #expect(SampleRequest(query: query).meets(condition) == fits)
    }

    @Test(arguments: [
        ("192.0.2.0/24", "192.0.2.7", true), ("192.0.2.0/29", "192.0.2.8", false),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::/32", "2001:db8:1::1", true), ("192.0.2.7", "192.0.2.7", true),
    ])
    func `source_ip is the address of the connection`(range: String, client: String, fits: Bool) throws {
        var request = SampleRequest(fields: [("X-Forwarded-For", "198.51.100.1")])
        request.client = try #require(IPAddress(client))
        #expect(request.meets(.sourceIP([try #require(IPPrefix(range))])) == fits)
    }

    @Test func `a rule applies when all conditions do, and the first such rule is taken`() {
        let rules = CompiledRules(conditions: [
            [
                .hostHeader(TextPatterns(wildcards: ["a.com"])),
                .pathPattern(TextPatterns(wildcards: ["/x", "/y"])),
            ],
            [.hostHeader(TextPatterns(wildcards: ["a.com"]))],
            [.pathPattern(TextPatterns(wildcards: ["/*"]))],
        ])
        #expect(SampleRequest(host: "a.com", path: "/y").index(in: rules) == 0)
        #expect(SampleRequest(host: "a.com", path: "/z").index(in: rules) == 1)
        #expect(SampleRequest(host: "b.com", path: "/y").index(in: rules) == 2)
        #expect(SampleRequest(method: "OPTIONS", host: "b.com", path: "*").index(in: rules) == 3)
        #expect(rules.defaultIndex == 3)
    }

    @Test func `an absolute target without a path has the path of a slash`() {
        let (relative, _) = SampleRequest().head()
        var head = relative
        let bytes = Array("GET http://www.example.com HTTP/1.1\r\n\r\n".utf8)
        head.target = ByteRange(4..<26)
        head.path = .none
        var scratch = RuleScratch()
        let rules = CompiledRules(conditions: [[.pathPattern(TextPatterns(wildcards: ["/"]))]])
        #expect(rules.match(head, bytes.span, client: .anyV4, scratch: &scratch) == 0)
    }
}
