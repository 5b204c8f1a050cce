// Which targets of a group may get new flows: ELBv2's routing rules as one pure function.

/// What the rules need to know of one target.
public struct Candidate: Sendable, Hashable {
    public let verdict: HealthVerdict
    /// Weight 0 is out of service by configuration, which no rule overrides.
    public let weight: Int
    public let availabilityZone: String?

    public init(verdict: HealthVerdict, weight: Int, availabilityZone: String?) {
        self.verdict = verdict
        self.weight = weight
        self.availabilityZone = availabilityZone
    }
}

public struct Eligibility: Sendable, Equatable {
    /// Positions of the targets that may get new flows, rising.
    public let positions: [Int]
    /// True when too few were healthy, so that all got in.
    public let isFailOpen: Bool
    /// True when the group is below its `dns_failover` minimums.
    public let isBelowFailoverMinimum: Bool

    /// Applies zone, health and the group's minimums, in this order.
    ///
    /// - Parameters:
    ///   - candidates: The registered targets that are not draining.
    ///   - attributes: Those of the group; its minimums decide.
    ///   - zone: The appliance's own zone when cross-zone balancing is off, else nil. A target without a
    ///     zone counts as in every zone. A zone without any target falls back to the whole group: the
    ///     appliance's address cannot move away as a zonal DNS record can.
    public init(of candidates: [Candidate], attributes: TargetGroupAttributes, zone: String?) {
        var pool = candidates.indices.filter { candidates[$0].weight > 0 }
        if let zone {
            let inZone = pool.filter {
                candidates[$0].availabilityZone == nil || candidates[$0].availabilityZone == zone
            }
            if !inZone.isEmpty { pool = inZone }
        }
        let healthy = pool.filter { candidates[$0].verdict.isHealthy }
        isFailOpen =
            !pool.isEmpty
            && Self.isBelow(
                count: attributes.minimumHealthyCountForRouting,
                percentage: attributes.minimumHealthyPercentageForRouting,
                healthyCount: healthy.count, totalCount: pool.count)
        isBelowFailoverMinimum = Self.isBelow(
            count: attributes.minimumHealthyCountForFailover,
            percentage: attributes.minimumHealthyPercentageForFailover,
            healthyCount: healthy.count, totalCount: pool.count)
        positions = isFailOpen ? pool : healthy
    }

    private static func isBelow(count: Int?, percentage: Int?, healthyCount: Int, totalCount: Int) -> Bool {
        if let count, healthyCount < count { return true }
        if let percentage, healthyCount * 100 < percentage * totalCount { return true }
        return false
    }
}
