// Every way in which a configuration file can be wrong: the line and the whole message, one row for each.

import Balancing
import Testing

@testable import ControlPlane

struct ConfigurationErrorRow: Sendable, CustomTestStringConvertible {
    let name: String
    let yaml: String
    /// Line by line.
    let errors: [String]

    init(_ name: String, _ yaml: String, _ errors: String) {
        self.name = name
        self.yaml = yaml
        self.errors = errors.split(separator: "\n").map(String.init)
    }

    static let all =
        document + settings + targetGroups + healthChecks + loadBalancers + tls + proxyProtocol + rules
        + application + applicationRules + wholeFile

    var testDescription: String { name }
}

/// The lines that a parse of `yaml` complains with; empty when it succeeds.
func complaints(_ yaml: String) -> [String] {
    do throws(ConfigurationErrors) {
        _ = try Configuration.parse(yaml, fileName: "weir.yaml")
        return []
    } catch {
        return error.errors.map(\.description)
    }
}

@Suite struct `Configuration errors` {
    @Test(arguments: ConfigurationErrorRow.all)
    func `each mistake is named with its line, value, bound and next step`(row: ConfigurationErrorRow) {
        #expect(complaints(row.yaml) == row.errors)
    }

    @Test func `all errors of a file come at once, in the order of its lines`() {
        let lines = complaints(
            """
            workers: 0
            target_groups:
              - { name: "-", protocol: SCTP, port: 0 }
              - { name: b, protocol: TCP, port: 80, attributes: { stickiness.enabled: maybe } }
            load_balancers:
              - { name: edge, type: network, addresses: [], listeners: [] }
            """)
        #expect(lines.map { $0.split(separator: ":")[1] } == ["1", "3", "3", "3", "4", "6"])
    }

    @Test func `a file with very many errors says how many were left out`() {
        let groups = (0..<500).map { "  - { name: g\($0), protocol: TCP, port: 0 }" }.joined(separator: "\n")
        let lines = complaints("target_groups:\n\(groups)")
        #expect(lines.count == Limits.configurationErrorCountMax + 1)
        #expect(lines.last == "weir.yaml:201: there are 300 more errors. Correct those above first.")
    }

    @Test func `what a message quotes makes it neither long nor several lines`() {
        let value = String(repeating: "a", count: 100_000) + "\\n\\u2028b"
        let lines = complaints(
            """
            load_balancers:
              - name: site
                type: application
                addresses: [10.0.0.1]
                attributes: { "idle_timeout.timeout_seconds": "\(value)", "routing.http2.enabled": "\\n" }
                listeners:
                  - port: 80
                    protocol: HTTP
                    default_action: { type: fixed_response, fixed_response: { status_code: 404 } }
                    rules:
                      - priority: 1
                        conditions: [ { path_pattern: { values: ["\(value)", "/a\\nb"] } } ]
                        actions: [ { type: fixed_response, fixed_response: { status_code: 404 } } ]
            """)
        #expect(lines.count == 4)
        #expect(lines.allSatisfy { $0.utf8.count < 4_096 && !$0.contains(where: \.isNewline) })
    }

    @Test func `an error carries line, column and path for machines`() throws {
        let error = try #require(throws: ConfigurationErrors.self) {
            try Configuration.parse(
                """
                target_groups:
                  - { name: web, protocol: TCP, port: 80,
                      health_check: { timeout: 500 } }
                """
            )
        }
        let first = try #require(error.errors.first)
        #expect(first.line == 3)
        #expect(first.column == 32)
        #expect(first.path == "target_groups[0].health_check.timeout")
    }
}
