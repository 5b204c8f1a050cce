// The families of request statistics, for one level: load balancer, listener, target group or target.

import AdminModel

struct ExchangeMetrics {
    typealias Label = PrometheusText.Label
    typealias Sample = PrometheusText.Sample
    typealias Row = (labels: [Label], statistics: FlowStatistics)

    let prefix: String
    let place: String
    /// Weir's own answers belong to listeners, the times of answers to targets.
    let isTargetSide: Bool

    func write(_ rows: [Row], to text: inout PrometheusText) {
        let rows = rows.compactMap { row in row.statistics.http.map { (labels: row.labels, http: $0) } }
        guard !rows.isEmpty else { return }
        func family(
            _ name: String, _ kind: PrometheusText.Kind, _ help: String,
            _ value: (ExchangeStatistics) -> UInt64
        ) {
            text.family(
                "\(prefix)_\(name)", kind, help: "\(help) by \(place).",
                rows.map { Sample($0.labels, value($0.http)) })
        }
        family("requests_total", .counter, "RequestCount", \.requestCount)
        text.family(
            "\(prefix)_target_responses_total", .counter,
            help: "HTTPCode_Target_2XX_Count and its like by \(place): answers of targets, by class.",
            rows.flatMap { row in
                row.http.httpCodeTargetCount.sorted { $0.key < $1.key }
                    .map { Sample(row.labels + [Label("class", $0.key.lowercased())], $0.value) }
            })
        if isTargetSide {
            family(
                "active_requests", .gauge, "Requests that targets have not answered yet", \.activeRequestCount
            )
            text.family(
                "\(prefix)_response_seconds_total", .counter,
                help:
                    "TargetResponseTime by \(place), summed up: from a request's end to its answer's beginning.",
                rows.map { Sample($0.labels, $0.http.targetResponseSeconds) })
            family(
                "repeated_requests_total", .counter,
                "Requests sent once more because a pooled connection turned out dead", \.repeatedRequestCount)
            family(
                "unhealthy_routing_requests_total", .counter, "UnhealthyRoutingRequestCount",
                \.unhealthyRoutingRequestCount)
            return
        }
        text.family(
            "\(prefix)_elb_responses_total", .counter,
            help: "HTTPCode_ELB_5XX_Count and its like by \(place): Weir's own answers, by status or class.",
            rows.flatMap { row in
                // Those of one status are in their class, too, and a sum must not count them twice.
                var counts = row.http.httpCodeElbCount
                let named = ["500", "502", "503", "504"].reduce(0) { $0 + (counts[$1] ?? 0) }
                let all = counts.removeValue(forKey: "5XX") ?? 0
                counts["5xx_other"] = all - min(named, all)
                return counts.sorted { $0.key < $1.key }
                    .map { Sample(row.labels + [Label("status", $0.key.lowercased())], $0.value) }
            })
        family("redirects_total", .counter, "HTTP_Redirect_Count", \.httpRedirectCount)
        family("fixed_responses_total", .counter, "HTTP_Fixed_Response_Count", \.httpFixedResponseCount)
        family("web_sockets_total", .counter, "Connections that became WebSockets", \.webSocketCount)
        family("http2_requests_total", .counter, "Requests that came by HTTP/2", \.http2RequestCount)
        family("grpc_requests_total", .counter, "GrpcRequestCount", \.grpcRequestCount)
        family(
            "dropped_invalid_headers_total", .counter, "DroppedInvalidHeaderRequestCount",
            \.droppedInvalidHeaderRequestCount)
        family(
            "desync_non_compliant_requests_total", .counter,
            "DesyncMitigationMode_NonCompliant_Request_Count",
            \.desyncMitigationModeNonCompliantRequestCount)
        family("refused_requests_total", .counter, "Heads that are no requests", \.refusedRequestCount)
        family("http2_abuses_total", .counter, "Connections of HTTP/2 ended for abuse", \.http2AbuseCount)
    }
}
