// Redirects and transforms: what is written, and what is not.

import Balancing
import CAllocationCount
import HTTPCore
import Testing

@Suite struct `Redirects` {
    private func location(
        _ action: RedirectAction, _ request: SampleRequest = SampleRequest(path: "/a/b", query: "x=1"),
        isSecure: Bool = false, port: UInt16 = 80
    ) -> (RedirectWriter.Outcome, String) {
        let (head, bytes) = request.head()
        var output = Array("Location: ".utf8)
        let outcome = RedirectWriter.append(
            action, for: head, bytes.span, in: .init(isSecure: isSecure, port: port), to: &output)
        return (outcome, String(decoding: output.dropFirst(10), as: UTF8.self))
    }

    @Test func `to HTTPS keeps host, path and query`() {
        let action = RedirectAction(protocol: "HTTPS", port: "443", statusCode: 301)
        #expect(location(action) == (.written, "https://www.example.com/a/b?x=1"))
        let other = SampleRequest(host: "h.example:8080", path: "/", query: nil)
        #expect(location(action, other, port: 8_080) == (.written, "https://h.example/"))
    }

    @Test func `a port that is not the protocol's own is written`() {
        #expect(
            location(RedirectAction(path: "/new", statusCode: 302), port: 8_080)
                == (.written, "http://www.example.com:8080/new?x=1"))
        #expect(
            location(RedirectAction(protocol: "HTTPS", port: "8443", query: "", statusCode: 302))
                == (.written, "https://www.example.com:8443/a/b"))
        #expect(
            location(RedirectAction(path: "/n", query: "", statusCode: 302), isSecure: true, port: 443)
                == (.written, "https://www.example.com/n"))
        #expect(
            location(RedirectAction(protocol: "HTTPS", statusCode: 302), isSecure: false, port: 80)
                == (.written, "https://www.example.com:80/a/b?x=1"))
    }

    @Test func `placeholders stand anywhere`() {
        let action = RedirectAction(
            host: "x.#{host}", path: "/#{port}/#{host}/#{path}/end",
            query: "p=#{path}&q=#{query}&s=#{protocol}&h=#{host}&n=#{port}", statusCode: 302)
        #expect(
            location(action)
                == (
                    .written,
                    "http://x.www.example.com/80/www.example.com/a/b/end"
                        + "?p=a/b&q=x=1&s=http&h=www.example.com&n=80"
                ))
    }

    @Test func `what a client sends is not read for placeholders and stays percent-encoded`() {
        let request = SampleRequest(path: "/%23%7Bhost%7D/%0d%0aX:y/#{host}", query: "a=%20<b>\u{e9}")
        #expect(
            location(RedirectAction(protocol: "HTTPS", port: "443", statusCode: 301), request)
                == (
                    .written,
                    "https://www.example.com/%23%7Bhost%7D/%0d%0aX:y/%23%7Bhost%7D?a=%20%3Cb%3E%C3%A9"
                ))
    }

    @Test func `hosts and targets that could do harm are refused, and nothing is written`() {
        let action = RedirectAction(protocol: "HTTPS", port: "443", statusCode: 301)
        for host in ["", "a b.com", "a.com/evil", "a.com\r\nX:y", "user@a.com", "<a>"] {
            #expect(location(action, SampleRequest(host: host)) == (.invalidHost, ""), "\(host)")
        }
        for path in ["/a\rb", "/a\nSet-Cookie: x", "/a\u{0}", "/\u{7f}"] {
            #expect(location(action, SampleRequest(path: path)) == (.invalidTarget, ""), "\(path)")
        }
        let fixed = RedirectAction(host: "b.com", statusCode: 301)
        #expect(location(fixed, SampleRequest(host: "")) == (.written, "http://b.com/"))
    }
}

@Suite struct `Transforms` {
    private func rewrite(
        _ transform: RuleTransform, _ request: SampleRequest
    ) -> (CompiledTransforms.Outcome, String) {
        let (head, bytes) = request.head()
        let transforms = CompiledTransforms([transform])
        var scratch = RuleScratch()
        var output = Array("> ".utf8)
        let outcome =
            switch transform {
            case .hostHeaderRewrite:
                transforms.rewriteHost(head, bytes.span, scratch: &scratch, to: &output)
            case .urlRewrite:
                transforms.rewriteTarget(head, bytes.span, scratch: &scratch, to: &output)
            }
        return (outcome, String(decoding: output.dropFirst(2), as: UTF8.self))
    }

    @Test(arguments: [
        (
            "^mywebsite-(.+).com$", "internal.dev.$1.myweb.com", "mywebsite-example.com",
            "internal.dev.example.myweb.com"
        ),
        ("^mywebsite-(.+).com$", "in.$1", "MyWebsite-a.COM:8080", "in.a:8080"),
        ("^(.*)$", "$1:9000", "a.com:80", "a.com:9000"),
        ("example", "test", "www.example.com", "www.test.com"),
        ("(x)?a", "[$1]", "a.com", nil), ("a.com", "b com", "a.com", nil), ("^.*$", "$$x", "a.com", nil),
        ("(a)(b)?", "$2$1z", "ab.com", "baz.com"), ("^.*$", "$0.internal", "a.com", "a.com.internal"),
        ("^.*$", "$9x", "a.com", "x"),
    ])
    func `rewrite the host`(regex: String, replacement: String, host: String, expected: String?) {
        let outcome = rewrite(
            .hostHeaderRewrite(Rewrite(regularExpression: regex, replacement: replacement)),
            SampleRequest(host: host))
        if let expected {
            #expect(outcome == (.rewritten, expected))
        } else {
            #expect(outcome == (.failed, ""))
        }
    }

    @Test(
        arguments: [
            ("^/api/(.*)$", "/$1", "/api/v1/users", "a=b", "/v1/users?a=b"),
            ("^/old/", "/new/", "/old/x", nil, "/new/x"),
            ("\\?.*$", "", "/x", "drop=1", "/x"), ("^/(\\w+)/(\\w+)", "/$2/$1", "/a/b/c", nil, "/b/a/c"),
            ("/(\\d+)$", "?id=$1", "/item/42", nil, "/item?id=42"),
            ("id=(\\d+)", "number=$1", "/x", "a&id=7&b", "/x?a&number=7&b"),
            ("^/x", "x", "/x", nil, nil), ("^/x", "/a b", "/x", nil, nil), ("^/x", "/a#b", "/x", nil, nil),
            ("^/%41", "/%42", "/%41", nil, "/%42"),
        ] as [(String, String, String, String?, String?)])
    func `rewrite the path and the query`(
        regex: String, replacement: String, path: String, query: String?, expected: String?
    ) {
        let outcome = rewrite(
            .urlRewrite(Rewrite(regularExpression: regex, replacement: replacement)),
            SampleRequest(path: path, query: query))
        if let expected {
            #expect(outcome == (.rewritten, expected))
        } else {
            #expect(outcome == (.failed, ""))
        }
    }

    @Test func `leave a request alone that does not match`() {
        let none = Rewrite(regularExpression: "^nowhere", replacement: "x")
        #expect(rewrite(.urlRewrite(none), SampleRequest()) == (.unchanged, ""))
        #expect(rewrite(.hostHeaderRewrite(none), SampleRequest()) == (.unchanged, ""))
        #expect(
            rewrite(
                .hostHeaderRewrite(Rewrite(regularExpression: "", replacement: "x")), SampleRequest(host: ""))
                == (.unchanged, ""))
    }

    @Test func `see a slash in an absolute target without a path`() {
        let bytes = Array("GET http://www.example.com?a=b HTTP/1.1\r\n\r\n".utf8)
        var head = RequestHead()
        head.target = ByteRange(4..<30)
        head.path = ByteRange(26..<26)
        head.query = ByteRange(27..<30)
        head.hasQuery = true
        let rewrite = Rewrite(regularExpression: "^/(.*)$", replacement: "/in/$1&c")
        var scratch = RuleScratch()
        var output: [UInt8] = []
        let outcome = CompiledTransforms([.urlRewrite(rewrite)])
            .rewriteTarget(head, bytes.span, scratch: &scratch, to: &output)
        #expect(outcome == .rewritten && String(decoding: output, as: UTF8.self) == "/in/?a=b&c")
    }

    @Test func `allocate nothing in a warm worker, and neither do redirects`() {
        let (head, bytes) = SampleRequest(path: "/api/v1/users/17", query: "a=b&c=d").head()
        let transforms = CompiledTransforms([
            .urlRewrite(Rewrite(regularExpression: "^/api/(v[0-9]+)/(.*)$", replacement: "/$1/$2&v=$1")),
            .hostHeaderRewrite(Rewrite(regularExpression: "^(.*)\\.com$", replacement: "$1.internal")),
        ])
        let action = RedirectAction(
            protocol: "HTTPS", host: "secure.#{host}", port: "8443", path: "/a-long-prefix-of-a-path/#{path}",
            query: "from=#{protocol}&#{query}", statusCode: 301)
        var scratch = RuleScratch()
        var output: [UInt8] = []
        output.reserveCapacity(1_024)
        var counts: [String: UInt64] = [:]
        func count(_ name: String, _ work: () -> Bool) {
            // The second time, when everything is warm.
            #expect(work())
            output.removeAll(keepingCapacity: true)
            allocation_count_take_part(true)
            let before = allocation_own_count()
            let isRight = work()
            let after = allocation_own_count()
            allocation_count_take_part(false)
            #expect(isRight)
            counts[name] = after - before
        }
        count("target") {
            transforms.rewriteTarget(head, bytes.span, scratch: &scratch, to: &output) == .rewritten
        }
        count("host") {
            transforms.rewriteHost(head, bytes.span, scratch: &scratch, to: &output) == .rewritten
        }
        count("redirect") {
            RedirectWriter.append(
                action, for: head, bytes.span, in: .init(isSecure: false, port: 80), to: &output) == .written
        }
        #expect(counts == ["target": 0, "host": 0, "redirect": 0])
    }

    @Test func `fail when the result is longer than a target may be`() {
        let many = String(repeating: "$1", count: 500)
        let long = SampleRequest(path: "/" + String(repeating: "a", count: 1_000))
        #expect(
            rewrite(.urlRewrite(Rewrite(regularExpression: "^(.*)$", replacement: many)), long)
                == (.failed, ""))
    }
}
