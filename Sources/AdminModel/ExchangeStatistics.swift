// What is counted of requests, under CloudWatch's names for application load balancers where it has one.

/// Counted by application mode only.
package struct ExchangeStatistics: Codable, Sendable, Equatable {
    package var requestCount: UInt64 = 0
    /// Requests that targets have and have not answered yet.
    package var activeRequestCount: UInt64 = 0
    package var httpCodeTarget2xxCount: UInt64 = 0
    package var httpCodeTarget3xxCount: UInt64 = 0
    package var httpCodeTarget4xxCount: UInt64 = 0
    package var httpCodeTarget5xxCount: UInt64 = 0
    /// Weir's own answers: of a listener or a load balancer.
    package var httpCodeElb3xxCount: UInt64 = 0
    package var httpCodeElb4xxCount: UInt64 = 0
    package var httpCodeElb500Count: UInt64 = 0
    package var httpCodeElb502Count: UInt64 = 0
    package var httpCodeElb503Count: UInt64 = 0
    package var httpCodeElb504Count: UInt64 = 0
    /// All of 500 and above.
    package var httpCodeElb5xxCount: UInt64 = 0
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

    /// Answers of targets.
    package var targetResponseCount: UInt64 {
        httpCodeTarget2xxCount + httpCodeTarget3xxCount + httpCodeTarget4xxCount + httpCodeTarget5xxCount
    }

    /// Errors of whatever origin.
    package var errorCount: UInt64 { httpCodeTarget5xxCount + httpCodeElb5xxCount }
}
