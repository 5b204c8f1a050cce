// What is counted of requests, under CloudWatch's names for application load balancers where it has one.

/// Counted by application mode only.
package struct ExchangeStatistics: Codable, Sendable, Equatable {
    package var requestCount: UInt64 = 0
    /// Requests that targets have and have not answered yet.
    package var activeRequestCount: UInt64 = 0
    /// HTTPCode_Target_2XX_Count and its like: answers of targets, by class, `2XX` to `5XX`.
    package var httpCodeTargetCount: [String: UInt64] = [:]
    /// HTTPCode_ELB_5XX_Count and its like: Weir's own answers, of a listener or a load balancer, by class, `3XX` to
    /// `5XX`, and those of 500, 502, 503 and 504 also by themselves.
    package var httpCodeElbCount: [String: UInt64] = [:]
    /// Summed up over all answers, from the request's end to the answer's beginning: of a target or a group.
    package var targetResponseSeconds: Double = 0
    package var httpRedirectCount: UInt64 = 0
    package var httpFixedResponseCount: UInt64 = 0
    package var webSocketCount: UInt64 = 0
    package var http2RequestCount: UInt64 = 0
    package var grpcRequestCount: UInt64 = 0
    /// Sent once more because a pooled connection turned out dead.
    package var repeatedRequestCount: UInt64 = 0
    package var unhealthyRoutingRequestCount: UInt64 = 0
    package var droppedInvalidHeaderRequestCount: UInt64 = 0
    package var desyncMitigationModeNonCompliantRequestCount: UInt64 = 0
    package var refusedRequestCount: UInt64 = 0
    /// Connections of HTTP/2 that were ended for abuse.
    package var http2AbuseCount: UInt64 = 0

    package init() {}

    /// Errors of whatever origin.
    package var errorCount: UInt64 { (httpCodeTargetCount["5XX"] ?? 0) + (httpCodeElbCount["5XX"] ?? 0) }
}
