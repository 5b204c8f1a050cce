// Prometheus text: format, escaping, levels, and promtool's judgement where it is installed.

import AdminModel
import AdminServer
import Foundation
import Testing

@Suite struct `Prometheus text` {
    private let text = StatusMetrics.text(for: Sample.status)

    private func lines(of name: String) -> [String] {
        text.split(separator: "\n").map(String.init).filter {
            $0.hasPrefix(name + "{") || $0.hasPrefix(name + " ")
        }
    }

    @Test func `the families that operators know are there, with CloudWatch's names in the help`() {
        #expect(
            lines(of: "weir_active_flows").first
                == #"weir_active_flows{load_balancer="edge",transport="tcp"} 30"#)
        #expect(text.contains("# HELP weir_active_flows ActiveFlowCount by load balancer"))
        #expect(text.contains("# TYPE weir_new_flows_total counter"))
        #expect(
            lines(of: "weir_processed_bytes_total").contains(
                #"weir_processed_bytes_total{load_balancer="edge",direction="target_to_client"} 6000000"#))
        #expect(
            lines(of: "weir_tcp_resets_total").contains(
                #"weir_tcp_resets_total{load_balancer="edge",by="elb"} 18"#))
        #expect(lines(of: "weir_healthy_hosts").first == #"weir_healthy_hosts{target_group="web"} 1"#)
        #expect(lines(of: "weir_unhealthy_hosts").first == #"weir_unhealthy_hosts{target_group="web"} 1"#)
        #expect(lines(of: "weir_target_connection_errors_total").count == 2)
        #expect(lines(of: "weir_build_info") == [#"weir_build_info{version="1.2.3"} 1"#])
    }

    @Test func `a target has exactly one state`() {
        let states = lines(of: "weir_target_health").filter { $0.contains("[2001:db8::13]:8080") }
        #expect(states.count == 7)
        #expect(states.filter { $0.hasSuffix(" 1") }.map { $0.contains(#"state="draining""#) } == [true])
    }

    @Test func `worker totals are counters, but for what goes up and down`() {
        #expect(text.contains("# TYPE weir_worker_turns_total counter\nweir_worker_turns_total 12\n"))
        #expect(text.contains("# TYPE weir_worker_pipes_open gauge\nweir_worker_pipes_open 4\n"))
    }

    @Test func `no name stands for two levels, and no family is torn apart`() {
        var seen: Set<String> = []
        var current = ""
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let name = String(line.prefix { $0 != "{" && $0 != " " })
            guard name != current else { continue }
            #expect(seen.insert(name).inserted, "\(name) appears twice")
            current = name
        }
    }

    @Test func `label values are escaped`() {
        var writer = PrometheusText()
        writer.family("x", .gauge, help: "a\\b\nc", [.init([.init("l", "\\ \" \n")], 0.5)])
        #expect(writer.text == "# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{l=\"\\\\ \\\" \\n\"} 0.5\n")
    }

    @Test func `a family without samples is not announced`() {
        var writer = PrometheusText()
        writer.family("x", .gauge, help: "nothing", [])
        #expect(writer.text.isEmpty)
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: promtool)))
    func `promtool has nothing to complain about`() throws {
        let process = Process()
        process.executableURL = URL(filePath: promtool)
        process.arguments = ["check", "metrics"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
        try input.fileHandleForWriting.close()
        let complaints = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(complaints == "")
    }
}

private let promtool = "/usr/bin/promtool"
