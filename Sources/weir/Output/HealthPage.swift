// Target health as text: per group one line of summary, then a line per target with the sentence in full.

import AdminModel
import Balancing

enum HealthPage {
    static func render(_ groups: [TargetGroupDescription], nowSeconds now: Double, _ style: Style) -> String {
        guard !groups.isEmpty else { return "There are no target groups.\n" }
        return groups.map { group in
            summary(of: group, style) + "\n" + table(of: group.targets, nowSeconds: now, style)
        }.joined(separator: "\n")
    }

    /// `web  TCP  2/3 healthy`, and what follows from it for traffic.
    static func summary(of group: TargetGroupDescription, _ style: Style) -> String {
        var parts = [style.paint(group.name, .bold), group.protocol, healthyCount(of: group, style)]
        if group.isFailOpen {
            parts.append(style.paint("fail open: too few are healthy, so all get flows", .red))
        }
        if group.loadBalancers.isEmpty { parts.append(style.paint("in no listener", .dim)) }
        return parts.joined(separator: "  ")
    }

    static func healthyCount(of group: TargetGroupDescription, _ style: Style) -> String {
        let text = "\(group.healthyTargetCount)/\(group.targetCount) healthy"
        return style.paint(text, color(of: group))
    }

    static func color(of group: TargetGroupDescription) -> Style.Color {
        if group.targetCount == 0 { return .dim }
        if group.healthyTargetCount == 0 { return .red }
        return group.healthyTargetCount < group.targetCount ? .yellow : .green
    }

    private static func table(
        of targets: [TargetDescription], nowSeconds now: Double, _ style: Style
    ) -> String {
        guard !targets.isEmpty else { return "  no targets\n" }
        var table = TextTable(
            .init("TARGET"), .init("ZONE"), .init("STATE"), .init("SINCE", .right), .init("PROBE", .right),
            .init("REASON"))
        for target in targets {
            let health = target.health
            table.add(
                .init(HumanText.endpoint(target.id, target.port)), .init(target.availabilityZone ?? ""),
                stateCell(of: health), .init(HumanText.duration(seconds: now - health.since)),
                .init(health.lastProbeMilliseconds.map(HumanText.milliseconds) ?? ""), reasonCell(of: health))
        }
        return table.render(style, indent: 2)
    }

    /// `Target.Timeout: 10.0.0.1:80 did not answer within 5 s.`
    static func reasonCell(of health: HealthDescription) -> TextTable.Cell {
        .init([health.reason ?? "", health.description].filter { !$0.isEmpty }.joined(separator: ": "))
    }

    /// `● healthy`, `◐ draining, 27s left`.
    static func stateCell(of health: HealthDescription) -> TextTable.Cell {
        let appearance = HealthAppearance(state: health.state)
        let left =
            health.drainingSecondsLeft.map { ", \(HumanText.duration(seconds: Double($0))) left" } ?? ""
        return .init("\(appearance.glyph) \(health.state)\(left)", appearance.color)
    }
}

/// One group's health as `--output json` shows it.
struct HealthReport: Encodable, Sendable {
    var targetGroup: String
    var healthyTargetCount: Int
    var targetCount: Int
    var isFailOpen: Bool
    var targets: [TargetDescription]

    init(_ group: TargetGroupDescription) {
        targetGroup = group.name
        healthyTargetCount = group.healthyTargetCount
        targetCount = group.targetCount
        isFailOpen = group.isFailOpen
        targets = group.targets
    }
}
