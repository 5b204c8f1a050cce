// Rules that are refused, and what is said about them.

import Balancing
import HTTPCore
import Testing

private func host(_ value: String) -> RuleCondition { .hostHeader(TextPatterns(wildcards: [value])) }
private func path(_ value: String) -> RuleCondition { .pathPattern(TextPatterns(wildcards: [value])) }

@Suite struct `Rule faults` {
    private let forward = RuleAction.fixedResponse(FixedResponse(statusCode: 200))

    private func messages(_ conditions: [RuleCondition]) -> [String] {
        RuleFault.check(ListenerRule(priority: 1, conditions: conditions, action: forward)).map(\.message)
    }

    private func messages(action: RuleAction, listener: RedirectWriter.Context? = nil) -> [String] {
        RuleFault.check(
            ListenerRule(
                priority: 1, conditions: [.pathPattern(TextPatterns(wildcards: ["/*"]))], action: action),
            listener: listener
        ).map(\.message)
    }

    private func messages(transforms: [RuleTransform]) -> [String] {
        RuleFault.check(
            ListenerRule(
                priority: 1, conditions: [.pathPattern(TextPatterns(wildcards: ["/*"]))], action: forward,
                transforms: transforms)
        ).map(\.message)
    }

    @Test func `good rules have none`() throws {
        let long = String(repeating: "a", count: 128)
        let conditions: [RuleCondition] = [
            host("*.example.com"), path("/img/*;v:1&~$'\"@:+%20.?"),
            .httpHeader(name: "X-Some_Header!", TextPatterns(wildcards: ["*Mozilla/5.0 (\\*"])),
            .httpHeader(name: "Cookie", TextPatterns(regularExpressions: ["(^|; )beta=1"])),
            .queryString([QueryPattern(value: "a"), QueryPattern(key: "k", value: long)]),
            .queryString([QueryPattern(key: "x", value: "y")]),
            .httpRequestMethod(["GET", "M-SEARCH", "A_B"]),
            .sourceIP([try #require(IPPrefix("10.0.0.0/8"))]),
        ]
        #expect(messages(conditions) == [])
        for name in ["example.com", "*.co?", "a_b.example.Com", "*.*"] {
            #expect(messages([host(name)]) == [])
        }
        #expect(
            messages(action: .redirect(RedirectAction(protocol: "HTTPS", port: "443", statusCode: 301))) == []
        )
        #expect(messages(action: .redirect(RedirectAction(path: "/new/#{path}", statusCode: 302))) == [])
        #expect(
            messages(
                action: .redirect(
                    RedirectAction(host: "example.#{host}", query: "#{query}&v=#{port}", statusCode: 302)))
                == [])
        #expect(
            messages(
                action: .fixedResponse(
                    FixedResponse(statusCode: 503, contentType: "text/html", messageBody: long)))
                == [])
        #expect(
            messages(transforms: [
                .urlRewrite(Rewrite(regularExpression: "^/a/(.*)$", replacement: "/$1?$$=$0")),
                .hostHeaderRewrite(Rewrite(regularExpression: "(.*)", replacement: "$1.internal")),
            ]) == [])
    }

    @Test(arguments: [
        ("", "empty"), ("localhost", "no dot"), ("example.com:80", "\":\""), ("a b.com", "U+20"),
        ("example.c0m", "behind the last dot"), ("example.", "behind the last dot"), ("münchen.de", "U+FC"),
        (String(repeating: "a", count: 125) + ".com", "129"),
    ])
    func `host_header values`(value: String, part: String) {
        let found = messages([host(value)])
        #expect(found.count == 1)
        #expect(
            found.first?.contains(part) == true && found.first?.contains("host_header") == true, "\(found)")
    }

    @Test(
        arguments: [
            (path(""), "empty"), (path("/a b"), "U+20"), (path("/a<"), "\"<\""), (path("/ä"), "U+E4"),
            (path("/" + String(repeating: "x", count: 128)), "129"),
            (.pathPattern(TextPatterns()), "no value"),
            (.pathPattern(TextPatterns(wildcards: ["/a"], regularExpressions: ["b"])), "one sort"),
            (.pathPattern(TextPatterns(regularExpressions: ["/(a"])), "position 2"),
            (.pathPattern(TextPatterns(regularExpressions: ["(?=a)"])), "lookaround"),
            (.pathPattern(TextPatterns(wildcards: Array(repeating: "/a", count: 33))), "33 values"),
            (.httpHeader(name: "Host", TextPatterns(wildcards: ["a"])), "host_header"),
            (.httpHeader(name: "", TextPatterns(wildcards: ["a"])), "no field name"),
            (.httpHeader(name: "X-*", TextPatterns(wildcards: ["a\u{7}"])), "U+7"),
            (.httpHeader(name: "X A", TextPatterns(wildcards: ["a"])), "U+20"),
            (.httpHeader(name: String(repeating: "x", count: 41), TextPatterns(wildcards: ["a"])), "41"),
            (.httpRequestMethod(["get"]), "\"g\""), (.httpRequestMethod([""]), "empty"),
            (.httpRequestMethod(["G*"]), "\"*\""),
            (.httpRequestMethod([String(repeating: "X", count: 41)]), "41"),
            (.queryString([]), "no value"), (.queryString([QueryPattern(value: "")]), "empty"),
            (.queryString([QueryPattern(key: "ä", value: "x")]), "U+E4"),
            (.queryString([QueryPattern(value: String(repeating: "q", count: 129))]), "129"),
        ] as [(RuleCondition, String)])
    func `values of other conditions`(condition: RuleCondition, part: String) {
        let found = messages([condition])
        #expect(found.count == 1, "\(found)")
        #expect(found.first?.contains(part) == true, "\(found)")
    }

    @Test func `kinds that may stand once`() {
        let twice: [[RuleCondition]] = [
            [host("a.com"), host("b.com")], [path("/a"), path("/b")],
            [.httpRequestMethod(["GET"]), .httpRequestMethod(["PUT"])],
        ]
        for conditions in twice {
            #expect(messages(conditions).filter { $0.contains("stands twice") }.count == 1)
        }
        let faults = RuleFault.check(
            ListenerRule(priority: 50_001, conditions: [path("/a"), path("/b b")], action: forward))
        #expect(faults.map(\.part) == [.priority, .condition(1), .condition(1)])
        #expect(messages([]).count == 1)
        #expect(messages(Array(repeating: .queryString([QueryPattern(value: "a")]), count: 17)).count == 1)
    }

    @Test(arguments: [
        (RedirectAction(statusCode: 301), "leads back"),
        (RedirectAction(query: "a=b", statusCode: 301), "leads back"),
        (RedirectAction(path: "/x", statusCode: 307), "307"),
        (RedirectAction(protocol: "FTP", statusCode: 301), "FTP"),
        (RedirectAction(port: "0", statusCode: 301), "port \"0\""),
        (RedirectAction(port: "65536", statusCode: 301), "65536"),
        (RedirectAction(port: "+80", statusCode: 301), "+80"),
        (RedirectAction(path: "x", statusCode: 301), "slash"),
        (RedirectAction(path: "", statusCode: 301), "0 characters"),
        (RedirectAction(path: "/#{query}", statusCode: 301), "means nothing"),
        (RedirectAction(path: "/#x", statusCode: 301), "begins no placeholder"),
        (RedirectAction(path: "/a b", statusCode: 301), "U+20"),
        (RedirectAction(path: "/ü", statusCode: 301), "U+FC"),
        (RedirectAction(host: "#{path}.com", statusCode: 301), "means nothing"),
        (RedirectAction(host: "a.com:80", statusCode: 301), "\":\""),
        (RedirectAction(host: "", statusCode: 301), "0 characters"),
        (RedirectAction(path: "/x", query: "?a", statusCode: 301), "question mark"),
        (RedirectAction(path: "/x", query: String(repeating: "a", count: 129), statusCode: 301), "129"),
        (RedirectAction(path: "/x", query: "a\r\nb", statusCode: 301), "U+D"),
    ])
    func `redirects`(action: RedirectAction, part: String) {
        let found = messages(action: .redirect(action))
        #expect(found.count == 1, "\(found)")
        #expect(found.first?.contains(part) == true, "\(found)")
    }

    @Test func `redirects that only their listener shows to be wrong`() {
        let secure = RedirectWriter.Context(isSecure: true, port: 443)
        let plain = RedirectWriter.Context(isSecure: false, port: 80)
        let back = RuleAction.redirect(RedirectAction(protocol: "HTTPS", port: "443", statusCode: 301))
        #expect(messages(action: back, listener: secure).count == 1)
        #expect(messages(action: back, listener: plain) == [])
        let down = RuleAction.redirect(RedirectAction(protocol: "HTTP", port: "80", statusCode: 301))
        #expect(messages(action: down, listener: secure).count == 1)
        #expect(messages(action: down, listener: plain).count == 1)
    }

    @Test(arguments: [
        (FixedResponse(statusCode: 301), "301"), (FixedResponse(statusCode: 600), "600"),
        (FixedResponse(statusCode: 199), "199"),
        (FixedResponse(statusCode: 200, contentType: "image/png"), "image/png"),
        (FixedResponse(statusCode: 200, messageBody: String(repeating: "é", count: 513)), "1026 bytes"),
    ])
    func `fixed responses`(response: FixedResponse, part: String) {
        let found = messages(action: .fixedResponse(response))
        #expect(found.count == 1)
        #expect(found.first?.contains(part) == true, "\(found)")
    }

    @Test(arguments: [
        (Rewrite(regularExpression: "(a", replacement: "b"), "position 1"),
        (Rewrite(regularExpression: "", replacement: "b"), "empty"),
        (Rewrite(regularExpression: "(a)", replacement: "$2"), "$2 at position 1"),
        (Rewrite(regularExpression: "a", replacement: "b c"), "U+20"),
        (Rewrite(regularExpression: String(repeating: "a", count: 1_025), replacement: "b"), "1025"),
        (Rewrite(regularExpression: "a", replacement: String(repeating: "a", count: 1_025)), "1025"),
    ])
    func `transforms`(rewrite: Rewrite, part: String) {
        for transform in [RuleTransform.urlRewrite(rewrite), .hostHeaderRewrite(rewrite)] {
            let found = messages(transforms: [transform])
            #expect(found.count == 1, "\(found)")
            #expect(found.first?.contains(part) == true, "\(found)")
        }
        let good = RuleTransform.urlRewrite(Rewrite(regularExpression: "a", replacement: "b"))
        #expect(messages(transforms: [good, good]).count == 1)
    }

    @Test func `every message is one line that says what to do`() {
        let conditions: [RuleCondition] = [host("x"), path("é"), .httpRequestMethod(["*"])]
        for message in messages(conditions) {
            #expect(message.hasSuffix(".") && !message.contains(where: \.isNewline), "\(message)")
        }
    }
}

@Suite struct `Rule explanations` {
    @Test func `name the rule and why not the ones before it`() {
        let rules = CompiledRules(conditions: [
            [
                .hostHeader(TextPatterns(wildcards: ["*.org"])),
                .pathPattern(TextPatterns(wildcards: ["/a/*"])),
            ],
            [.httpHeader(name: "X-Team", TextPatterns(regularExpressions: ["^re"]))],
            [.pathPattern(TextPatterns(wildcards: ["/a/*"]))],
            [.pathPattern(TextPatterns(wildcards: ["/*"]))],
        ])
        let request = SampleRequest(path: "/a/b", fields: [("X-Team", "blue"), ("x-team", "green")])
        let (head, bytes) = request.head()
        let explanation = rules.explain(head, bytes.span, client: request.client)
        #expect(explanation.index == 2 && request.index(in: rules) == 2)
        #expect(explanation.looks.map(\.applies) == [false, false, true])
        #expect(explanation.looks.map(\.priority) == [1, 2, 3])
        #expect(explanation.looks[0].conditions.map(\.isMet) == [false, true])
        #expect(
            explanation.looks.flatMap { $0.conditions.map(\.sentence) } == [
                "host_header \"www.example.com\" is none of \"*.org\"",
                "path_pattern \"/a/b\" is one of \"/a/*\"",
                "http_header X-Team \"blue\", \"green\" is none of regex \"^re\"",
                "path_pattern \"/a/b\" is one of \"/a/*\"",
            ])
    }

    @Test func `end with the default action when nothing applies`() {
        let rules = CompiledRules(conditions: [
            [.httpRequestMethod(["PUT"])], [.queryString([QueryPattern(value: "a")])],
        ])
        let (head, bytes) = SampleRequest().head()
        let explanation = rules.explain(head, bytes.span, client: .anyV4)
        #expect(explanation.index == rules.defaultIndex && explanation.looks.count == 2)
    }
}
