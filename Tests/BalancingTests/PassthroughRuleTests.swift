// Rules by the ClientHello: which applies, and where its flows then go.

import Testing

@testable import Balancing

@Suite struct `Passthrough rules` {
    private func hello(_ name: String?, _ protocols: [String] = []) -> ClientHello {
        var hello = ClientHello()
        hello.serverName = name.flatMap { ServerName($0) }
        for name in protocols {
            let fits = hello.applicationProtocols.beginName(byteCount: name.utf8.count)
            #expect(fits)
            for byte in name.utf8 { hello.applicationProtocols.append(byte) }
        }
        return hello
    }

    private func rule(
        _ priority: Int, _ names: [String]? = nil, alpn: [String]? = nil, group: Int = 0
    ) throws -> PassthroughRoute {
        var conditions: [PassthroughCondition] = []
        if let names {
            conditions.append(.serverName(try names.map { try #require(ServerNamePattern($0)) }))
        }
        if let alpn { conditions.append(.alpn(alpn)) }
        return PassthroughRoute(
            priority: priority, conditions: conditions,
            choices: [ListenerRoute.Choice(groupIndex: group, cumulativeWeight: 1)], isStickyByGroup: false)
    }

    private func route(_ rules: [PassthroughRoute]) -> ListenerRoute {
        ListenerRoute(
            id: ListenerID(loadBalancer: "edge", port: 443),
            choices: [ListenerRoute.Choice(groupIndex: 9, cumulativeWeight: 1)], isStickyByGroup: false,
            tcpIdleTimeoutSeconds: 350, rules: rules)
    }

    @Test func `the first rule of which every condition applies is taken`() throws {
        let route = route([
            try rule(1, ["a.example.com"], alpn: ["h2"]), try rule(2, ["a.example.com", "*.b.example.com"]),
            try rule(3, alpn: ["acme-tls/1", "h2"]),
        ])
        #expect(route.rule(for: hello("a.example.com", ["http/1.1", "h2"])) == 0)
        #expect(route.rule(for: hello("A.EXAMPLE.com.", ["http/1.1"])) == 1)
        #expect(route.rule(for: hello("x.b.example.com")) == 1)
        #expect(route.rule(for: hello("b.example.com")) == nil)
        #expect(route.rule(for: hello("x.y.b.example.com")) == nil)
        #expect(route.rule(for: hello("xa.example.com")) == nil)
        #expect(route.rule(for: hello("c.example.com", ["acme-tls/1"])) == 2)
        #expect(route.rule(for: hello(nil, ["h2"])) == 2)
        #expect(route.rule(for: hello(nil)) == nil)
        #expect(self.route([]).rule(for: hello("a.example.com")) == nil)
    }

    @Test func `a rule has groups of its own, and one that is gone has none`() throws {
        let route = route([try rule(1, ["a.example.com"], group: 4)])
        let endpoint = Endpoint(address: IPAddress(v4: 1), port: 1)
        let key = FlowKey(client: endpoint, local: endpoint, transport: .tcp)
        #expect(RoutingSnapshot.empty.chooseGroup(of: route, key: key) == 9)
        #expect(RoutingSnapshot.empty.chooseGroup(of: route, rule: 0, key: key) == 4)
        #expect(RoutingSnapshot.empty.chooseGroup(of: route, rule: 1, key: key) == nil)
    }

    @Test func `a header is expected from trusted addresses alone`() throws {
        let settings = ProxyProtocolSettings(
            accepts: .v2,
            trusted: [try #require(IPPrefix("10.0.0.0/24")), try #require(IPPrefix("2001:db8::1"))])
        for (text, isExpected) in [
            ("10.0.0.7", true), ("10.0.1.7", false), ("2001:db8::1", true), ("::1", false),
        ] {
            #expect(settings.expectsHeader(from: try #require(IPAddress(text))) == isExpected)
        }
    }
}
