// Which fields tell of a client's TLS, and which of a client's own are dropped for that.

import Balancing
import HTTPCore
import Testing

@Suite struct `Fields that tell of TLS` {
    private func makePlan(
        version: Bool = false, keyExchange: Bool = false, mutual: MutualAuthentication = .off,
        names: [ApplicationListenerAttributes.RenamedField: String] = [:]
    ) -> TLSFieldPlan? {
        var attributes = ApplicationLoadBalancerAttributes()
        attributes.tellsTLSVersionAndCipherSuite = version
        attributes.tellsTLSKeyExchange = keyExchange
        var listenerAttributes = ApplicationListenerAttributes()
        listenerAttributes.fieldNames = names
        return TLSFieldPlan(attributes, listenerAttributes, mutualAuthentication: mutual)
    }

    private func guards(_ plan: TLSFieldPlan, _ name: String) -> Bool {
        let bytes = Array(name.utf8)
        return plan.guards(bytes.span)
    }

    private let verify = MutualAuthentication.verify(ClientTrust(caCertificates: "ca.pem"))

    @Test func `nothing is told unless the listener says so`() {
        #expect(makePlan() == nil)
        #expect(makePlan(names: [.tlsVersion: "X-Version"]) == nil)
    }

    @Test func `what is told is dropped from clients, in every spelling`() throws {
        let plan = try #require(makePlan(version: true))
        for name in [
            "X-Amzn-Tls-Version", "x-amzn-tls-version", "X_AMZN_TLS_VERSION", "x-amzn-tls_cipher-suite",
        ] {
            #expect(guards(plan, name), "\(name)")
        }
        for name in [
            "", "X-Amzn-Tls-Kx", "X-Amzn-Tls-Versio", "X-Amzn-Tls-Version2", "X-Amzn-Mtls-Clientcert",
        ] {
            #expect(!guards(plan, name), "\(name)")
        }
        let keyExchange = try #require(makePlan(keyExchange: true))
        #expect(guards(keyExchange, "x-amzn-tls-kx"))
        #expect(!guards(keyExchange, "x-amzn-tls-version"))
    }

    /// Whichever the mode: a target that was told by one mode may believe what it reads after a change.
    @Test func `with mutual TLS every field of a certificate is dropped from clients`() throws {
        for mutual in [MutualAuthentication.passthrough, verify] {
            let plan = try #require(makePlan(mutual: mutual, names: [.mutualTLSSubject: "X-Who"]))
            for end in ["", "-Serial-Number", "-Issuer", "-Subject", "-Validity", "-Leaf"] {
                #expect(guards(plan, "X-Amzn-Mtls-Clientcert\(end)"))
            }
            #expect(guards(plan, "x-who"))
            #expect(plan.name(of: .mutualTLSSubject) == "X-Who")
            #expect(plan.name(of: .mutualTLSIssuer) == "X-Amzn-Mtls-Clientcert-Issuer")
        }
        #expect(try #require(makePlan(mutual: .passthrough)).certificate == .chain)
        #expect(try #require(makePlan(mutual: verify)).certificate == .facts)
    }

    @Test func `keys tell plans apart`() throws {
        let plans = [
            makePlan(version: true), makePlan(keyExchange: true), makePlan(version: true, keyExchange: true),
            makePlan(mutual: verify), makePlan(mutual: .passthrough),
            makePlan(version: true, names: [.tlsVersion: "X-Version"]),
        ].compactMap { $0?.key }
        #expect(Set(plans).count == 6 && !plans.contains(0))
        #expect(makePlan(version: true)?.key == makePlan(version: true)?.key)
    }

    @Test func `no certificate can end a field`() {
        var text: [UInt8] = []
        TLSFieldText.append("CN=a\r\nX-Evil: 1,O=é\0", to: &text)
        #expect(String(decoding: text, as: UTF8.self) == "CN=a??X-Evil: 1,O=???")
    }

    @Test func `PEM is encoded as in a URL but for three characters`() {
        var text: [UInt8] = []
        TLSFieldText.append(encoding: Array("-----BEGIN X-----\nab+/=\n".utf8).span, to: &text)
        #expect(String(decoding: text, as: UTF8.self) == "-----BEGIN%20X-----%0Aab+/=%0A")
    }
}

@Suite struct `What transforms made of a request` {
    /// The transformed host and target of a logged request; nil where the line shows none.
    private func transformed(_ request: String, written: String) throws -> [String?] {
        let bytes = Array(request.utf8)
        var head = RequestHead()
        try #require(RequestParser.parse(bytes.span, into: &head) == .complete)
        var texts = ExchangeTexts()
        var buffer: [UInt8] = []
        texts.appendTransformed(Array(written.utf8).span, of: head, bytes.span, to: &buffer)
        return [ExchangeTexts.Field.transformedHost, .transformedTarget].map { field in
            let range = texts.range(of: field, in: buffer.span)
            return range.isEmpty ? nil : String(decoding: buffer[range], as: UTF8.self)
        }
    }

    @Test func `only what has changed is told`() throws {
        let request = "GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n"
        func written(_ target: String, _ host: String) -> String {
            "GET \(target) HTTP/1.1\r\nHost: \(host)\r\nX: y\r\n"
        }
        #expect(try transformed(request, written: written("/a?b", "a.example")) == [nil, nil])
        #expect(try transformed(request, written: written("/a?b", "a.example:8080")) == [nil, nil])
        #expect(try transformed(request, written: written("/c", "a.example")) == [nil, "/c"])
        #expect(
            try transformed(request, written: written("/a?bc", "a.example.org")) == [
                "a.example.org", "/a?bc",
            ])
    }

    @Test(arguments: [
        ("GET /a?b HTTP/1.1", "/a?b"), ("GET /a HTTP/1.1", "/a"), ("GET /a? HTTP/1.1", "/a?"),
        ("GET http://h/x?y HTTP/1.1", "/x?y"), ("GET http://h?y HTTP/1.1", "?y"),
        ("GET http://h HTTP/1.1", ""),
        ("OPTIONS * HTTP/1.1", "*"),
    ])
    func `path and query stand together`(line: String, expected: String) throws {
        let bytes = Array("\(line)\r\nHost: h\r\n\r\n".utf8)
        var head = RequestHead()
        try #require(RequestParser.parse(bytes.span, into: &head) == .complete)
        #expect(String(decoding: bytes[head.pathAndQuery], as: UTF8.self) == expected)
    }
}
