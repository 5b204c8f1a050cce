// `weir status`: one readable page. What needs attention comes first.

import AdminModel
import Balancing

enum StatusPage {
    static func render(_ report: StatusReport, nowSeconds now: Double, _ style: Style) -> String {
        let sections = [
            headline(of: report, style) + warnings(of: report, style),
            section("LOAD BALANCERS", Tables.loadBalancers(report.loadBalancers, style, indent: 2), style),
            section(
                "LISTENERS", Tables.listeners(report.loadBalancers.flatMap(\.listeners), style, indent: 2),
                style),
            section("TARGET GROUPS", Tables.targetGroups(report.targetGroups, style, indent: 2), style),
            attention(report.targetGroups, nowSeconds: now, style),
        ]
        return sections.filter { !$0.isEmpty }.joined(separator: "\n")
    }

    private static func headline(of report: StatusReport, _ style: Style) -> String {
        var parts = [
            style.paint("weir \(report.version)", .bold),
            "up \(HumanText.duration(seconds: Double(report.uptimeSeconds)))",
            HumanText.counted(report.workerCount, "worker"),
        ]
        if report.isDraining { parts.append(style.paint("draining: takes no new flows", .yellow)) }
        return parts.joined(separator: "  ") + "\n"
    }

    private static func warnings(of report: StatusReport, _ style: Style) -> String {
        report.warnings.map { style.paint("! \($0)", .yellow) + "\n" }.joined()
    }

    private static func section(_ title: String, _ body: String, _ style: Style) -> String {
        style.paint(title, .bold) + "\n" + body
    }

    /// The targets that are not plainly healthy, with why; nothing when there are none.
    private static func attention(
        _ groups: [TargetGroupDescription], nowSeconds now: Double, _ style: Style
    ) -> String {
        var table = TextTable(
            .init("GROUP"), .init("TARGET"), .init("STATE"), .init("SINCE", .right), .init("REASON"))
        for group in groups {
            for target in group.targets where target.health.state != TargetHealthState.healthy.rawValue {
                table.add(
                    .init(group.name), .init(HumanText.endpoint(target.id, target.port)),
                    HealthPage.stateCell(of: target.health),
                    .init(HumanText.duration(seconds: now - target.health.since)),
                    HealthPage.reasonCell(of: target.health))
            }
        }
        return table.rows.isEmpty
            ? "" : section("TARGETS THAT ARE NOT HEALTHY", table.render(style, indent: 2), style)
    }
}
