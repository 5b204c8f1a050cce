// Which targets may get new flows: zones, health, minimums and fail open.

import Balancing
import Testing

@Suite struct `Target eligibility` {
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        /// `h` healthy, `u` unhealthy, `i` initial, `l` lame duck; then the zone, then `*0` for weight 0.
        let candidates: [String]
        var zone: String?
        var attributes: [String: String] = [:]
        let positions: [Int]
        var isFailOpen = false
        var isBelowFailoverMinimum = false

        var testDescription: String { name }
    }

    private static let routingCount =
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count"
    private static let routingPercentage =
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage"
    private static let failoverCount = "target_group_health.dns_failover.minimum_healthy_targets.count"
    private static let failoverPercentage =
        "target_group_health.dns_failover.minimum_healthy_targets.percentage"

    private static let rows = [
        Row(name: "an empty group", candidates: [], positions: [], isBelowFailoverMinimum: true),
        Row(name: "all healthy", candidates: ["h", "h", "h"], positions: [0, 1, 2]),
        Row(name: "only healthy ones get flows", candidates: ["h", "u", "i", "l", "h"], positions: [0, 4]),
        Row(
            name: "none healthy: all get flows", candidates: ["u", "u", "i"], positions: [0, 1, 2],
            isFailOpen: true, isBelowFailoverMinimum: true),
        Row(name: "weight 0 gets none though healthy", candidates: ["h", "h*0"], positions: [0]),
        Row(
            name: "weight 0 gets none in fail open either", candidates: ["u", "h*0"], positions: [0],
            isFailOpen: true, isBelowFailoverMinimum: true),
        Row(
            name: "only weight 0", candidates: ["h*0", "u*0"], positions: [], isBelowFailoverMinimum: true),

        Row(
            name: "below the routing count all get flows", candidates: ["h", "u", "u"],
            attributes: [routingCount: "2"], positions: [0, 1, 2], isFailOpen: true),
        Row(
            name: "at the routing count only healthy ones do", candidates: ["h", "h", "u"],
            attributes: [routingCount: "2"], positions: [0, 1]),
        Row(
            name: "below the routing percentage all get flows", candidates: ["h", "u", "u"],
            attributes: [routingPercentage: "34"], positions: [0, 1, 2], isFailOpen: true),
        Row(
            name: "just above the routing percentage only healthy ones do", candidates: ["h", "u", "u"],
            attributes: [routingPercentage: "33"], positions: [0]),
        Row(
            name: "count and percentage must both hold", candidates: ["h", "h", "u", "u"],
            attributes: [routingCount: "2", routingPercentage: "51"], positions: [0, 1, 2, 3],
            isFailOpen: true),
        Row(
            name: "targets of weight 0 do not count towards the percentage",
            candidates: ["h", "u", "u*0", "u*0"],
            attributes: [routingPercentage: "50"], positions: [0]),

        Row(
            name: "failover minimum without fail open", candidates: ["h", "u"],
            attributes: [failoverCount: "2"],
            positions: [0], isBelowFailoverMinimum: true),
        Row(
            name: "failover percentage", candidates: ["h", "u"],
            attributes: [failoverCount: "off", failoverPercentage: "51"], positions: [0],
            isBelowFailoverMinimum: true),
        Row(
            name: "failover off", candidates: ["u"], attributes: [failoverCount: "off"], positions: [0],
            isFailOpen: true),

        Row(name: "own zone only", candidates: ["h a", "h b", "h a"], zone: "a", positions: [0, 2]),
        Row(
            name: "no zone given is every zone", candidates: ["h", "h b", "h a"], zone: "a",
            positions: [0, 2]),
        Row(
            name: "a zone without targets falls back to all", candidates: ["h b", "u c"], zone: "a",
            positions: [0]),
        Row(
            name: "fail open stays within the zone", candidates: ["u a", "h b"], zone: "a", positions: [0],
            isFailOpen: true, isBelowFailoverMinimum: true),
        Row(
            name: "a zone with only weight 0 falls back", candidates: ["h a*0", "h b"], zone: "a",
            positions: [1]),
        Row(name: "cross-zone ignores zones", candidates: ["h a", "h b"], positions: [0, 1]),
    ]

    @Test(arguments: rows)
    func `follows zone, health and minimums`(row: Row) throws {
        var attributes = TargetGroupAttributes(for: .tcp)
        for (key, value) in row.attributes { try attributes.set(key, to: value) }
        let eligibility = Eligibility(
            of: row.candidates.map(candidate), attributes: attributes, zone: row.zone)
        #expect(eligibility.positions == row.positions)
        #expect(eligibility.isFailOpen == row.isFailOpen)
        #expect(eligibility.isBelowFailoverMinimum == row.isBelowFailoverMinimum)
    }

    private func candidate(_ text: String) -> Candidate {
        let parts = text.split(separator: "*")
        let words = parts[0].split(separator: " ")
        let verdict: HealthVerdict =
            switch words[0] {
            case "h": .healthy
            case "i": .initial
            case "l": .lameDuck
            default: .unhealthy(.connectionRefused)
            }
        return Candidate(
            verdict: verdict, weight: parts.count > 1 ? 0 : 1,
            availabilityZone: words.count > 1 ? String(words[1]) : nil)
    }

    @Test func `whatever the group, flows go to live weights and nowhere else`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let candidates = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                candidate(
                    ["h", "u", "i", "l", "h a", "u a", "h b", "h*0", "u a*0"].randomElement(using: &generator)
                        ?? "h")
            }
            let zone = ["a", "b", nil].randomElement(using: &generator) ?? nil
            let eligibility = Eligibility(
                of: candidates, attributes: TargetGroupAttributes(for: .tcp), zone: zone)
            #expect(eligibility.positions == eligibility.positions.sorted(), "seed \(seed)")
            #expect(eligibility.positions.allSatisfy { candidates[$0].weight > 0 }, "seed \(seed)")
            // Fail open: a group with any live weight is never without a target.
            #expect(eligibility.positions.isEmpty == candidates.allSatisfy { $0.weight == 0 }, "seed \(seed)")
            if !eligibility.isFailOpen {
                #expect(eligibility.positions.allSatisfy { candidates[$0].verdict.isHealthy }, "seed \(seed)")
            }
        }
    }
}
