// The families of flow statistics, for one level: load balancer, listener, target group or target.

import AdminModel

struct FlowMetrics {
    typealias Label = PrometheusText.Label
    typealias Sample = PrometheusText.Sample
    typealias Row = (labels: [Label], statistics: FlowStatistics)

    /// The beginning of each name.
    let prefix: String
    /// What the level is called in HELP.
    let place: String

    func write(_ rows: [Row], to text: inout PrometheusText) {
        writeFlows(rows, to: &text)
        writeBytes(rows, to: &text)
        writeFailures(rows, to: &text)
    }

    private func writeFlows(_ rows: [Row], to text: inout PrometheusText) {
        text.family(
            "\(prefix)_active_flows", .gauge, help: "ActiveFlowCount by \(place): flows open now.",
            samples(rows, label: "transport") {
                [("tcp", $0.activeFlowCountTcp), ("udp", $0.activeFlowCountUdp)]
            })
        text.family(
            "\(prefix)_new_flows_total", .counter, help: "NewFlowCount by \(place): flows opened.",
            samples(rows, label: "transport") { [("tcp", $0.newFlowCountTcp), ("udp", $0.newFlowCountUdp)] })
        text.family(
            "\(prefix)_rejected_flows_total", .counter,
            help: "RejectedFlowCount by \(place): new flows refused for lack of room, descriptors, targets.",
            samples(rows, \.rejectedFlowCount))
        text.family(
            "\(prefix)_unhealthy_routing_flows_total", .counter,
            help: "UnhealthyRoutingFlowCount by \(place): new flows while too few targets were healthy.",
            samples(rows, \.unhealthyRoutingFlowCount))
    }

    private func writeBytes(_ rows: [Row], to text: inout PrometheusText) {
        text.family(
            "\(prefix)_processed_bytes_total", .counter,
            help: "ProcessedBytes by \(place): payload, by the side that sent it.",
            samples(rows, label: "direction") {
                [("client_to_target", $0.clientBytes), ("target_to_client", $0.targetBytes)]
            })
        text.family(
            "\(prefix)_transport_processed_bytes_total", .counter,
            help: "ProcessedBytes_TCP and ProcessedBytes_UDP by \(place): the same payload, by transport.",
            samples(rows, label: "transport") {
                [("tcp", $0.processedBytesTcp), ("udp", $0.processedBytesUdp)]
            })
        text.family(
            "\(prefix)_dropped_datagrams_total", .counter,
            help: "Datagrams by \(place) that found no flow, target, descriptor or buffer.",
            samples(rows, \.droppedDatagramCount))
    }

    private func writeFailures(_ rows: [Row], to text: inout PrometheusText) {
        text.family(
            "\(prefix)_tcp_resets_total", .counter,
            help: "TCP_Client_Reset_Count, TCP_Target_Reset_Count and TCP_ELB_Reset_Count by \(place).",
            samples(rows, label: "by") {
                [
                    ("client", $0.tcpClientResetCount), ("target", $0.tcpTargetResetCount),
                    ("elb", $0.tcpElbResetCount),
                ]
            })
        text.family(
            "\(prefix)_tls_negotiation_errors_total", .counter,
            help: "ClientTLSNegotiationErrorCount and TargetTLSNegotiationErrorCount by \(place).",
            samples(rows, label: "side") {
                [
                    ("client", $0.clientTlsNegotiationErrorCount),
                    ("target", $0.targetTlsNegotiationErrorCount),
                ]
            })
        // For a single target the pattern would give "target_target", and without the repetition the name of
        // the load balancers' family.
        let name =
            prefix == "weir_target"
            ? "weir_target_failed_connections_total" : "\(prefix)_target_connection_errors_total"
        text.family(
            name, .counter,
            help: "TargetConnectionErrorCount by \(place): connections to targets that failed.",
            samples(rows, \.targetConnectionErrorCount))
    }

    private func samples(_ rows: [Row], _ value: (FlowStatistics) -> UInt64) -> [Sample] {
        rows.map { Sample($0.labels, value($0.statistics)) }
    }

    private func samples(
        _ rows: [Row], label: String, _ values: (FlowStatistics) -> [(String, UInt64)]
    ) -> [Sample] {
        rows.flatMap { row in
            values(row.statistics).map { Sample(row.labels + [Label(label, $0.0)], $0.1) }
        }
    }
}
