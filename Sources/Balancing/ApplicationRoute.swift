// What application mode needs of a snapshot beyond network mode's part: rules, listener settings, and how each
// group spreads requests.

/// A rule as a worker follows it.
public struct RuleRoute: Sendable {
    public enum Action: Sendable {
        /// Groups of positive weight; `stickinessSeconds` is how long a client keeps its group, nil for not at all.
        case forward([ListenerRoute.Choice], stickinessSeconds: Int?)
        case redirect(RedirectAction)
        case fixedResponse(FixedResponse)
    }

    /// Nil for the default action.
    public let priority: Int?
    public let conditions: [RuleCondition]
    public let action: Action
    public let transforms: [RuleTransform]

    public init(
        priority: Int?, conditions: [RuleCondition], action: Action, transforms: [RuleTransform] = []
    ) {
        self.priority = priority
        self.conditions = conditions
        self.action = action
        self.transforms = transforms
    }
}

/// An application listener as a worker sees it.
public final class ApplicationRoute: Sendable {
    /// In rising priority, the default action last.
    public let rules: [RuleRoute]
    public let loadBalancerAttributes: ApplicationLoadBalancerAttributes
    public let listenerAttributes: ApplicationListenerAttributes

    public init(
        rules: [RuleRoute],
        loadBalancerAttributes: ApplicationLoadBalancerAttributes = ApplicationLoadBalancerAttributes(),
        listenerAttributes: ApplicationListenerAttributes = ApplicationListenerAttributes()
    ) {
        self.rules = rules
        self.loadBalancerAttributes = loadBalancerAttributes
        self.listenerAttributes = listenerAttributes
    }
}

/// What the targets of an application group speak.
public enum ProtocolVersion: String, Hashable, Sendable, CaseIterable {
    case http1 = "HTTP1"
    case http2 = "HTTP2"
    case grpc = "GRPC"
}

/// How an application group chooses among its eligible targets.
public enum LoadBalancingAlgorithm: String, Hashable, Sendable, CaseIterable {
    case roundRobin = "round_robin"
    case leastOutstandingRequests = "least_outstanding_requests"
    case weightedRandom = "weighted_random"
}

/// How an application group keeps a client on its target.
public enum ApplicationStickiness: Hashable, Sendable {
    /// The balancer's own cookie.
    case loadBalancerCookie(durationSeconds: Int)
    /// Follows the target's own cookie of this name.
    case applicationCookie(name: String, durationSeconds: Int)
}

/// One application group as a worker sees it; the arrays run parallel to `GroupRoute.targets`.
public final class ApplicationGroupRoute: Sendable {
    public let protocolVersion: ProtocolVersion
    public let algorithm: LoadBalancingAlgorithm
    /// `load_balancing.algorithm.anomaly_mitigation`; only with weighted random.
    public let mitigatesAnomalies: Bool
    public let stickiness: ApplicationStickiness?
    /// 30–900, zero for off: how long a new target's share grows from little to full.
    public let slowStartSeconds: Int
    /// The weights of the targets, 1–999.
    public let weights: [Int]
    /// When a target began to take requests; nil for one that is not starting slowly.
    public let startedAt: [Instant?]

    public init(
        protocolVersion: ProtocolVersion = .http1, algorithm: LoadBalancingAlgorithm = .roundRobin,
        mitigatesAnomalies: Bool = false, stickiness: ApplicationStickiness? = nil,
        slowStartSeconds: Int = 0, weights: [Int], startedAt: [Instant?] = []
    ) {
        self.protocolVersion = protocolVersion
        self.algorithm = algorithm
        self.mitigatesAnomalies = mitigatesAnomalies
        self.stickiness = stickiness
        self.slowStartSeconds = slowStartSeconds
        self.weights = weights
        self.startedAt = startedAt.isEmpty ? weights.map { _ in nil } : startedAt
    }
}
