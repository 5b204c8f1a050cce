// /metrics from a status report: a pure function.
//
// The same flow is counted at its load balancer, listener, group and target, so each level has names of its
// own (weir_…, weir_listener_…, weir_target_group_…, weir_target_…): a sum over one name counts a flow once.
// HELP names the CloudWatch metric. Labels are bounded by the configuration.

import AdminModel
import Balancing

package enum StatusMetrics {
    typealias Label = PrometheusText.Label
    typealias Sample = PrometheusText.Sample

    package static func text(for report: StatusReport) -> String {
        var text = PrometheusText()
        writeProcess(report, to: &text)
        writeWorkers(report.counters, to: &text)
        writeLoadBalancers(report.loadBalancers, to: &text)
        writeListeners(report.loadBalancers.flatMap(\.listeners), to: &text)
        writeTargetGroups(report.targetGroups, to: &text)
        writeTargets(report.targetGroups, to: &text)
        writeCertificates(report.certificates ?? [], to: &text)
        return text.text
    }

    // MARK: The process

    private static func writeProcess(_ report: StatusReport, to text: inout PrometheusText) {
        text.family(
            "weir_build_info", .gauge, help: "The running version, as a label.",
            [Sample([Label("version", report.version)], 1)])
        text.family(
            "weir_uptime_seconds", .gauge, help: "Seconds since this process started.",
            [Sample([], report.uptimeSeconds)])
        text.family("weir_workers", .gauge, help: "Worker threads.", [Sample([], report.workerCount)])
        text.family(
            "weir_draining", .gauge, help: "1 while the process drains its listeners before it ends.",
            [Sample([], report.isDraining ? 1 : 0)])
        text.family(
            "weir_warnings", .gauge, help: "Warnings in weir status that an operator should read.",
            [Sample([], report.warnings.count)])
    }

    /// Worker totals that go down as well as up; all others are counters.
    private static let workerGauges: Set = ["pipes_open", "snapshot_version"]

    private static func writeWorkers(_ counters: [String: UInt64], to text: inout PrometheusText) {
        for (name, value) in counters.sorted(by: { $0.key < $1.key }) {
            let isGauge = workerGauges.contains(name)
            text.family(
                "weir_worker_\(PrometheusText.sanitizeName(name))\(isGauge ? "" : "_total")",
                isGauge ? .gauge : .counter,
                help: "Worker total: \(name.replacing("_", with: " ")).", [Sample([], value)])
        }
    }

    // MARK: Levels of traffic

    private static func writeLoadBalancers(
        _ loadBalancers: [LoadBalancerDescription], to text: inout PrometheusText
    ) {
        text.family(
            "weir_load_balancer_available", .gauge,
            help: "1 while no target group is below its dns_failover minimums.",
            loadBalancers.map { Sample([Label("load_balancer", $0.name)], $0.isAvailable ? 1 : 0) })
        let rows = loadBalancers.map { ([Label("load_balancer", $0.name)], $0.statistics) }
        FlowMetrics(prefix: "weir", place: "load balancer").write(rows, to: &text)
        ExchangeMetrics(prefix: "weir", place: "load balancer", isTargetSide: false).write(rows, to: &text)
    }

    private static func writeListeners(_ listeners: [ListenerDescription], to text: inout PrometheusText) {
        let rows = listeners.map {
            ([Label("load_balancer", $0.loadBalancer), Label("listener", $0.id)], $0.statistics)
        }
        FlowMetrics(prefix: "weir_listener", place: "listener").write(rows, to: &text)
        ExchangeMetrics(prefix: "weir_listener", place: "listener", isTargetSide: false).write(
            rows, to: &text)
    }

    private static func writeTargetGroups(_ groups: [TargetGroupDescription], to text: inout PrometheusText) {
        func family(_ name: String, help: String, _ value: (TargetGroupDescription) -> Int) {
            text.family(
                name, .gauge, help: help, groups.map { Sample([Label("target_group", $0.name)], value($0)) })
        }
        family("weir_healthy_hosts", help: "HealthyHostCount: targets considered healthy.") {
            $0.healthyTargetCount
        }
        family("weir_unhealthy_hosts", help: "UnHealthyHostCount: targets considered unhealthy.") {
            $0.targets.count { unhealthyStates.contains($0.health.state) }
        }
        family("weir_registered_hosts", help: "Targets registered, in any state.") { $0.targetCount }
        family(
            "weir_target_group_fail_open",
            help: "1 while too few targets are healthy, so that all of them get flows."
        ) { $0.isFailOpen ? 1 : 0 }
        let rows = groups.map { ([Label("target_group", $0.name)], $0.statistics) }
        FlowMetrics(prefix: "weir_target_group", place: "target group").write(rows, to: &text)
        ExchangeMetrics(prefix: "weir_target_group", place: "target group", isTargetSide: true)
            .write(rows, to: &text)
    }

    private static let unhealthyStates: Set = [
        TargetHealthState.unhealthy.rawValue, TargetHealthState.unhealthyDraining.rawValue,
    ]

    private static func writeTargets(_ groups: [TargetGroupDescription], to text: inout PrometheusText) {
        let targets = groups.flatMap { group in group.targets.map { (labels(of: $0, in: group), $0) } }
        text.family(
            "weir_target_health", .gauge,
            help: "1 for the state that the target is in, 0 for each other state.",
            targets.flatMap { labels, target in
                TargetHealthState.allCases.map { state in
                    Sample(
                        labels + [Label("state", state.rawValue)],
                        target.health.state == state.rawValue ? 1 : 0)
                }
            })
        text.family(
            "weir_target_health_since_timestamp_seconds", .gauge,
            help: "When the target came into its state, in seconds since 1970.",
            targets.map { Sample($0, $1.health.since) })
        text.family(
            "weir_target_probe_duration_seconds", .gauge, help: "How long the last health check took.",
            targets.compactMap { labels, target in
                target.health.lastProbeMilliseconds.map { Sample(labels, $0 / 1_000) }
            })
        text.family(
            "weir_target_weight", .gauge, help: "The target's weight.", targets.map { Sample($0, $1.weight) })
        let rows = targets.map { ($0, $1.statistics) }
        FlowMetrics(prefix: "weir_target", place: "target").write(rows, to: &text)
        ExchangeMetrics(prefix: "weir_target", place: "target", isTargetSide: true).write(rows, to: &text)
    }

    // MARK: Certificates

    /// One file may be used in several places, which are told apart by `used_by`.
    private static func writeCertificates(
        _ certificates: [CertificateDescription], to text: inout PrometheusText
    ) {
        text.family(
            "weir_certificate_expiry_timestamp_seconds", .gauge,
            help: "When a certificate in use expires, in seconds since 1970.",
            certificates.map { certificate in
                Sample(
                    [
                        Label("used_by", certificate.usedBy), Label("file", certificate.file),
                        Label("subject", certificate.subject),
                    ], certificate.notAfter)
            })
    }

    private static func labels(of target: TargetDescription, in group: TargetGroupDescription) -> [Label] {
        let address = AdminAddress.tcp(host: target.id, port: target.port).description
        return [Label("target_group", group.name), Label("target", address)]
    }
}
