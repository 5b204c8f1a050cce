// What a good configuration file means, and that a hostile one costs nothing.

import Balancing
import Foundation
import Testing

@testable import ControlPlane

@Suite struct `Configuration file` {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test(arguments: ["weir.yaml", "demo.yaml", "application.yaml"])
    func `the shipped examples are valid`(file: String) throws {
        let text = try String(contentsOf: Self.root.appendingPathComponent("config/\(file)"), encoding: .utf8)
        let configuration = try Configuration.parse(text, fileName: file)
        #expect(!configuration.loadBalancers.isEmpty)
    }

    @Test func `the demo says what its README says`() throws {
        let text = try String(
            contentsOf: Self.root.appendingPathComponent("config/demo.yaml"), encoding: .utf8)
        let configuration = try Configuration.parse(text)
        #expect(configuration.settings.adminAddress.description == "127.0.0.1:9900")
        #expect(configuration.settings.state == .memory)
        let group = try #require(configuration.targetGroups.first)
        let targets = group.targets?.map(\.id.description)
        #expect(targets == ["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"])
        #expect(group.group.healthCheck.path == "/healthz")
        #expect(group.group.attributes.deregistrationDelaySeconds == 10)
        #expect(configuration.loadBalancers.first?.listeners.map(\.port) == [8080])
    }

    @Test func `the documented example reads as written`() throws {
        let text = try String(
            contentsOf: Self.root.appendingPathComponent("config/weir.yaml"), encoding: .utf8)
        let configuration = try Configuration.parse(text)
        let web = try #require(configuration.targetGroups.first { $0.group.name == "web" })
        #expect(web.group.healthCheck.lameDuck == LameDuck(headerName: "X-Lame-Duck", headerValue: "true"))
        #expect(web.group.healthCheck.matcher.description == "200-299")
        #expect(web.group.attributes.isSticky)
        #expect(
            web.targets?[2]
                == Target(
                    id: TargetID(address: IPAddress(v4: 0x0A00_010D), port: 8082), weight: 2,
                    availabilityZone: "b"))
        let canary = try #require(configuration.targetGroups.first { $0.group.name == "canary" })
        #expect(canary.targets == nil)
        let dns = try #require(configuration.targetGroups.first { $0.group.name == "dns" })
        #expect(dns.group.healthCheck.datagram?.expectation == .dnsResponse)
        #expect(dns.group.attributes.terminatesConnectionsOnDeregistration)
        let edge = try #require(configuration.loadBalancers.first)
        #expect(edge.isFreebind)
        #expect(edge.listeners[0].defaultAction.forward?.targetGroups.map(\.weight) == [90, 10])
        #expect(edge.listeners[0].defaultAction.forward?.isStickyByGroup == true)
        try Self.expectDocumentedTLS(configuration, edge)
        #expect(configuration.settings.runAs == "weir")
        #expect(configuration.namedSettings.contains("admin.listen"))
        #expect(!configuration.namedSettings.contains("hash_seed"))
    }

    private static func expectDocumentedTLS(_ configuration: Configuration, _ edge: LoadBalancer) throws {
        let vault = try #require(configuration.targetGroups.first { $0.group.name == "vault" }).group
        #expect(vault.tls?.serverName == "vault.internal.example.com")
        #expect(vault.tls?.isVerifying == true)
        #expect(vault.tls?.certificate?.privateKey == "/etc/weir/client.key")
        #expect(vault.healthCheck.tls == vault.tls)
        #expect(vault.healthCheck.path == "/v1/sys/health")
        let tls = try #require(edge.listeners.first { $0.port == 443 }?.tls)
        #expect(tls.policy == .default)
        #expect(tls.alpn == .http2Preferred)
        #expect(tls.certificates.count == 2)
        #expect(tls.certificates[0].ocspResponse == "/etc/weir/site.der")
        #expect(
            tls.mutualAuthentication
                == .verify(
                    ClientTrust(
                        caCertificates: "/etc/weir/clients-ca.pem", revocationLists: "/etc/weir/clients.crl"))
        )
        let passing = try #require(edge.listeners.first { $0.port == 8443 })
        #expect(passing.proxyProtocol?.accepts == [.v1, .v2])
        #expect(passing.proxyProtocol?.trusted.map(\.description) == ["10.0.9.0/24", "2001:db8:9::/64"])
        #expect(passing.rules.map(\.priority) == [10])
        #expect(passing.rules[0].conditions.count == 2)
        #expect(passing.rules[0].action.targetGroups.map(\.targetGroup) == ["canary"])
        #expect(configuration.settings.handshakeCountMax == 1_000)
        #expect(configuration.fileLines["/etc/weir/site-rsa.key"] != nil)
    }

    @Test func `access logs read the same as a block and as attributes, off unless enabled`() throws {
        func path(_ fields: String) throws -> String? {
            let edge = "name: a, type: network, addresses: [10.0.0.1], listeners: []"
            let text = "load_balancers: [ { \(edge), \(fields) } ]"
            return try Configuration.parse(text).loadBalancers.first?.attributes.accessLogPath
        }
        let attributes = "access_logs.file.enabled: true, access_logs.file.path: /var/log/a.log"
        #expect(try path("access_logs: { enabled: true, path: /var/log/a.log }") == "/var/log/a.log")
        #expect(try path("attributes: { \(attributes) }") == "/var/log/a.log")
        #expect(try path("access_logs: { enabled: true, path: stdout }") == "stdout")
        #expect(try path("access_logs: { path: /var/log/a.log }") == nil)
        #expect(try path("access_logs: { enabled: false, path: /var/log/a.log }") == nil)
        #expect(try path("ip_freebind: false") == nil)
    }

    @Test func `defaults are those of ELBv2`() throws {
        let configuration = try Configuration.parse("target_groups: [ { name: a, protocol: UDP, port: 53 } ]")
        let group = try #require(configuration.targetGroups.first?.group)
        #expect(group.healthCheck == HealthCheck())
        #expect(group.healthCheck.intervalSeconds == 30)
        #expect(group.healthCheck.timeoutSeconds == 10)
        #expect(group.attributes.deregistrationDelaySeconds == 300)
        #expect(configuration.settings == ApplianceSettings())
    }

    @Test func `quotes make no difference to numbers and booleans`() throws {
        let plain =
            "port: 80, attributes: { stickiness.enabled: true, "
            + "deregistration_delay.timeout_seconds: 5 }"
        let quoted = plain.replacing("80", with: "\"80\"").replacing("true", with: "\"true\"")
            .replacing("seconds: 5", with: "seconds: \"5\"")
        let read = { (fields: String) throws in
            try Configuration.parse("target_groups: [ { name: a, protocol: TCP, \(fields) } ]")
        }
        #expect(try read(plain) == read(quoted))
    }

    @Test func `a seed of 32 digits is read from its first digit on`() throws {
        let configuration = try Configuration.parse("hash_seed: \"000102030405060708090a0b0c0d0e0f\"")
        #expect(
            configuration.settings.hashSeed
                == HashSeed(first: 0x0001_0203_0405_0607, second: 0x0809_0A0B_0C0D_0E0F))
    }

    @Test func `an empty list of targets is a list`() throws {
        let configuration = try Configuration.parse(
            "target_groups: [ { name: a, protocol: TCP, port: 1, targets: [] }, { name: b, protocol: TCP, "
                + "port: 1 } ]")
        #expect(configuration.targetGroups.map(\.targets) == [[], nil])
    }
}

@Suite struct `Hostile configuration` {
    @Test func `an alias bomb is refused before it unfolds`() {
        var yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<40 {
            let alias = [String](repeating: "*a\(level - 1)", count: 9).joined(separator: ", ")
            yaml += "a\(level): &a\(level) [\(alias)]\n"
        }
        #expect(
            complaints(yaml) == [
                "weir.yaml:2: \"*a0\" is a YAML alias, which Weir does not read: a few of them can unfold into "
                    + "gigabytes. Write the value out."
            ])
    }

    @Test func `an alias bomb in a mapping key is refused before it is hashed`() {
        var yaml = "- &a0 [x, x]\n"
        for level in 1..<60 { yaml += "- &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        yaml += "- ? *a59\n  : y\n"
        #expect(complaints(yaml).count == 1)
    }

    @Test func `ampersands and asterisks in values are no aliases`() {
        #expect(
            complaints(
                """
                target_groups:
                  - name: a   # see *b and &c
                    protocol: TCP
                    port: 80
                    health_check: { protocol: HTTP, path: "/x?a=1&b=2*c" }
                """
            ).isEmpty)
    }

    @Test(arguments: ["[", "{a: ", "- ", "? ", "\n- "])
    func `deep nesting ends in an error`(opening: String) async {
        // On a task, where stacks are smallest.
        let lines = await Task { complaints(String(repeating: opening, count: 200_000)) }.value
        #expect(lines.count == 1)
    }

    @Test func `nesting up to the parser's own bound is survived`() async {
        let text = "target_groups: " + String(repeating: "[", count: 990) + String(repeating: "]", count: 990)
        let lines = await Task { complaints(text) }.value
        #expect(
            lines == [
                "weir.yaml:1: target_groups[0]: this entry is a list; it must be a mapping with the keys name, "
                    + "protocol, protocol_version, port, health_check, attributes, targets, connect_timeout, "
                    + "connect_attempts, tls."
            ])
    }

    @Test func `a file above the bound is not read at all`() {
        let text = String(repeating: "#", count: Limits.configurationByteCountMax + 1)
        #expect(
            complaints(text) == [
                "weir.yaml:1: the file has 8388609 bytes; at most 8388608 are read. Register targets with "
                    + "\"weir targets register\" instead of listing them."
            ])
    }

    @Test func `keys that nobody knows cost no more than the errors that are shown`() {
        let lines = complaints((0..<50_000).map { "a\($0): b" }.joined(separator: "\n"))
        #expect(lines.count == Limits.configurationErrorCountMax + 1)
    }

    @Test func `text cut or changed anywhere never traps`() throws {
        let text = try String(
            contentsOf: `Configuration file`.root.appendingPathComponent("config/weir.yaml"), encoding: .utf8)
        let bytes = Array(text.utf8.filter { $0 < 128 })
        var generator = SplitMix64(state: 42)
        for _ in 0..<300 {
            var mutated = bytes
            for _ in 0..<Int.random(in: 1...8, using: &generator) {
                let index = Int.random(in: 0..<mutated.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: mutated[index] = UInt8.random(in: 9..<127, using: &generator)
                case 1: mutated.remove(at: index)
                default: mutated.removeSubrange(index..<min(mutated.count, index + 40))
                }
            }
            for line in complaints(String(decoding: mutated, as: UTF8.self)) {
                #expect(line.hasPrefix("weir.yaml:"))
                #expect(!line.contains("\n"))
            }
        }
    }
}

/// Steele et al., 2014: small, and the same for the same seed everywhere.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
