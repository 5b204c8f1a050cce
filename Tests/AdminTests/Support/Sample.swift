// One load balancer, one group with a target in each interesting state, two flows. Times are round numbers.

import AdminModel

enum Sample {
    /// The moment of every page in these tests.
    static let nowSeconds = 1_000_000.0

    static let webTargets = [
        TargetDescription(
            id: "10.0.1.11", port: 8080, weight: 1, availabilityZone: "a",
            health: HealthDescription(
                state: "healthy", reason: nil, description: "", since: nowSeconds - 192,
                lastProbeMilliseconds: 0.84, lastProbeAt: nowSeconds - 3),
            statistics: statistics(1)),
        TargetDescription(
            id: "10.0.1.12", port: 8081, weight: 1, availabilityZone: "b",
            health: HealthDescription(
                state: "unhealthy", reason: "Target.Timeout",
                description: "10.0.1.12:8081 did not answer within 5 s.", since: nowSeconds - 12),
            statistics: statistics(2)),
        TargetDescription(
            id: "2001:db8::13", port: 8080, weight: 2, availabilityZone: nil,
            health: HealthDescription(
                state: "draining", reason: "Target.DeregistrationInProgress",
                description: "Target deregistration is in progress.", since: nowSeconds - 3,
                drainingSecondsLeft: 27),
            statistics: statistics(3)),
    ]

    static let webGroup = TargetGroupDescription(
        name: "web", protocol: "TCP", port: 8080,
        healthCheck: HealthCheckDescription(
            enabled: true, protocol: "HTTP", port: "traffic-port", path: "/healthz", matcher: "200-399",
            intervalSeconds: 10, timeoutSeconds: 5, healthyThresholdCount: 3, unhealthyThresholdCount: 2),
        attributes: ["deregistration_delay.timeout_seconds": "30", "stickiness.enabled": "true"],
        loadBalancers: ["edge"], healthyTargetCount: 1, targetCount: 3, isFailOpen: false,
        statistics: statistics(6), targets: webTargets)

    static let spareGroup = TargetGroupDescription(
        name: "spare", protocol: "UDP", port: 53,
        healthCheck: HealthCheckDescription(
            enabled: false, protocol: "TCP", port: "traffic-port", path: nil, matcher: nil,
            intervalSeconds: 30,
            timeoutSeconds: 10, healthyThresholdCount: 5, unhealthyThresholdCount: 2),
        attributes: [:], loadBalancers: [], healthyTargetCount: 0, targetCount: 0, isFailOpen: false,
        statistics: FlowStatistics(), targets: [])

    static let listener = ListenerDescription(
        id: "edge:80", loadBalancer: "edge", port: 80, protocol: "TCP",
        forward: [
            ForwardDescription(targetGroup: "web", weight: 90),
            ForwardDescription(targetGroup: "spare", weight: 10),
        ],
        attributes: ["tcp.idle_timeout.seconds": "350"], statistics: statistics(6))

    /// A rule with everything, a short one, and the default action.
    static let rules: [RuleDescription] = {
        var host = ConditionDescription()
        host.hostHeader = .init(values: ["a.example.com", "*.b.example.com"])
        var path = ConditionDescription()
        path.pathPattern = .init(regexValues: ["^/img/"])
        var method = ConditionDescription()
        method.httpRequestMethod = .init(values: ["POST"])
        return [
            RuleDescription(
                listener: "site:80", priority: 10, conditions: [host, path],
                action: .forward(
                    [
                        ForwardDescription(targetGroup: "web", weight: 90),
                        ForwardDescription(targetGroup: "canary", weight: 10),
                    ], stickiness: StickinessDescription(enabled: true, duration: 60)),
                transforms: [
                    TransformDescription(urlRewrite: .init(rewrites: [.init(regex: "^/a", replace: "/b")]))
                ]),
            RuleDescription(
                listener: "site:80", priority: 20, conditions: [method],
                action: .fixedResponse(
                    FixedResponseDescription(statusCode: "405", contentType: "text/plain"))),
            RuleDescription(
                listener: "site:80", priority: nil, conditions: [],
                action: .redirect(
                    RedirectDescription(protocol: "HTTPS", port: "443", statusCode: "HTTP_301"))),
        ]
    }()

    static let loadBalancer = LoadBalancerDescription(
        name: "edge", type: "network", addresses: ["203.0.113.10", "2001:db8::10"], attributes: [:],
        isAvailable: true, statistics: statistics(6), listeners: [listener])

    static let darkLoadBalancer = LoadBalancerDescription(
        name: "dark", type: "network", addresses: ["203.0.113.11"], attributes: [:], isAvailable: false,
        statistics: FlowStatistics(), listeners: [])

    static let status = StatusReport(
        version: "1.2.3", uptimeSeconds: 11_520, workerCount: 2, isDraining: false,
        warnings: ["TCP flows are limited to 20,000: the descriptor limit is 40,960."],
        counters: ["turns": 12, "stale_events": 3, "pipes_open": 4, "snapshot_version": 7],
        loadBalancers: [loadBalancer, darkLoadBalancer], targetGroups: [webGroup, spareGroup])

    static let flows = [
        FlowDescription(
            transport: "TCP", listener: "edge:80", client: "192.0.2.1:40000", targetGroup: "web",
            target: "10.0.1.11:8080", state: "established", ageSeconds: 10, idleSeconds: 2,
            clientBytes: 1_024,
            targetBytes: 10_485_760, worker: 0),
        FlowDescription(
            transport: "UDP", listener: "edge:80", client: "[2001:db8::1]:5353", targetGroup: "web",
            target: "10.0.1.12:8081", state: "answered", ageSeconds: 0, idleSeconds: 0, clientBytes: 64,
            targetBytes: 128, worker: 1),
    ]

    static let changes = [
        ChangeDescription(action: "create", subject: "target group \"web\""),
        ChangeDescription(action: "modify", subject: "listener edge:80", details: ["port: 80 → 81"]),
        ChangeDescription(action: "delete", subject: "load balancer \"dark\""),
    ]

    static func statistics(_ factor: UInt64) -> FlowStatistics {
        var statistics = FlowStatistics()
        statistics.newFlowCountTcp = 1_000 * factor
        statistics.newFlowCountUdp = 10 * factor
        statistics.activeFlowCountTcp = 5 * factor
        statistics.activeFlowCountUdp = factor
        statistics.processedBytesTcp = 1_048_576 * factor
        statistics.processedBytesUdp = 1_024 * factor
        statistics.clientBytes = 49_600 * factor
        statistics.targetBytes = 1_000_000 * factor
        statistics.tcpClientResetCount = factor
        statistics.tcpTargetResetCount = 2 * factor
        statistics.tcpElbResetCount = 3 * factor
        statistics.targetConnectionErrorCount = 4 * factor
        return statistics
    }
}
