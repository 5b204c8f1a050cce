// The tables of the listing commands: pure functions from the model to text.

import AdminModel

enum Tables {
    static func loadBalancers(
        _ loadBalancers: [LoadBalancerDescription], _ style: Style, indent: Int = 0
    ) -> String {
        guard !loadBalancers.isEmpty else { return none("load balancers", indent) }
        var table = TextTable(
            .init("NAME"), .init("TYPE"), .init("ADDRESSES"), .init("STATE"), .init("LISTENERS", .right),
            .init("ACTIVE", .right), .init("NEW", .right), .init("BYTES", .right), .init("REQUESTS", .right),
            .init("5XX", .right), .init("REJECTED", .right))
        for loadBalancer in loadBalancers {
            let statistics = loadBalancer.statistics
            table.add(
                .init(loadBalancer.name, .bold), .init(loadBalancer.type),
                .init(loadBalancer.addresses.joined(separator: ", ")),
                loadBalancer.isAvailable ? .init("available", .green) : .init("unavailable", .red),
                .init("\(loadBalancer.listeners.count)"), active(statistics), new(statistics),
                bytes(statistics), requests(statistics), errors(statistics), rejected(statistics))
        }
        return table.render(style, indent: indent)
    }

    static func listeners(_ listeners: [ListenerDescription], _ style: Style, indent: Int = 0) -> String {
        guard !listeners.isEmpty else { return none("listeners", indent) }
        var table = TextTable(
            .init("LISTENER"), .init("PROTOCOL"), .init("FORWARDS TO"), .init("ACTIVE", .right),
            .init("NEW", .right), .init("BYTES", .right), .init("REQUESTS", .right),
            .init("5XX", .right), .init("RESETS C/T/E", .right), .init("REJECTED", .right))
        for listener in listeners {
            table.add(
                .init(listener.id, .bold), .init(listener.protocol), .init(action(of: listener)),
                active(listener.statistics), new(listener.statistics), bytes(listener.statistics),
                requests(listener.statistics), errors(listener.statistics), resets(listener.statistics),
                rejected(listener.statistics))
        }
        return table.render(style, indent: indent)
    }

    /// Each rule in one line: its conditions and its action in words.
    static func rules(_ rules: [RuleDescription], _ style: Style, indent: Int = 0) -> String {
        var table = TextTable(.init("PRIORITY", .right), .init("CONDITIONS"), .init("ACTION"))
        for rule in rules {
            table.add(
                .init(rule.priority.map(String.init) ?? "default", .bold), .init(rule.conditionText),
                .init(rule.actionText))
        }
        return table.render(style, indent: indent)
    }

    static func targetGroups(_ groups: [TargetGroupDescription], _ style: Style, indent: Int = 0) -> String {
        guard !groups.isEmpty else { return none("target groups", indent) }
        var table = TextTable(
            .init("GROUP"), .init("PROTOCOL"), .init("PORT", .right), .init("HEALTHY", .right),
            .init("LOAD BALANCERS"), .init("ACTIVE", .right), .init("NEW", .right), .init("BYTES", .right),
            .init("REQUESTS", .right), .init("5XX", .right), .init("CONNECT ERRORS", .right),
            .init("CLIENT ADDRESS"), .init("NOTE"))
        for group in groups {
            table.add(
                .init(group.name, .bold), .init(group.protocol), .init("\(group.port)"),
                .init("\(group.healthyTargetCount)/\(group.targetCount)", HealthPage.color(of: group)),
                .init(group.loadBalancers.joined(separator: ", ")), active(group.statistics),
                new(group.statistics), bytes(group.statistics), requests(group.statistics),
                errors(group.statistics),
                count(group.statistics.targetConnectionErrorCount, .yellow), clientAddress(of: group),
                note(on: group))
        }
        return table.render(style, indent: indent)
    }

    static func targets(
        _ targets: [TargetDescription], nowSeconds now: Double, _ style: Style
    ) -> String {
        guard !targets.isEmpty else { return "There are no targets.\n" }
        var table = TextTable(
            .init("TARGET"), .init("ZONE"), .init("WEIGHT", .right), .init("STATE"), .init("SINCE", .right),
            .init("ACTIVE", .right), .init("NEW", .right), .init("BYTES", .right), .init("REQUESTS", .right),
            .init("5XX", .right), .init("REASON"))
        for target in targets {
            table.add(
                .init(HumanText.endpoint(target.id, target.port), .bold),
                .init(target.availabilityZone ?? ""),
                .init("\(target.weight)"), HealthPage.stateCell(of: target.health),
                .init(HumanText.duration(seconds: now - target.health.since)), active(target.statistics),
                new(target.statistics), bytes(target.statistics), requests(target.statistics),
                errors(target.statistics), HealthPage.reasonCell(of: target.health))
        }
        return table.render(style)
    }

    static func flows(_ response: FlowsResponse, _ style: Style) -> String {
        guard !response.flows.isEmpty else { return "There are no live flows.\n" }
        var table = TextTable(
            .init("TRANSPORT"), .init("LISTENER"), .init("CLIENT"), .init("TARGET"), .init("GROUP"),
            .init("STATE"), .init("AGE", .right), .init("IDLE", .right), .init("TO TARGET", .right),
            .init("TO CLIENT", .right), .init("RATE", .right), .init("WORKER", .right))
        for flow in response.flows {
            table.add(
                .init(flow.transport), .init(flow.listener), .init(flow.client), .init(flow.target),
                .init(flow.targetGroup), .init(flow.state),
                .init(HumanText.duration(seconds: flow.ageSeconds)),
                .init(HumanText.duration(seconds: flow.idleSeconds)),
                .init(HumanText.byteCount(flow.clientBytes)),
                .init(HumanText.byteCount(flow.targetBytes)),
                .init(HumanText.byteRate(flow.clientBytes + flow.targetBytes, perSeconds: flow.ageSeconds)),
                .init("\(flow.worker)"))
        }
        let omitted =
            response.omittedCount == 0
            ? "" : "and \(HumanText.count(UInt64(response.omittedCount))) more; raise --limit to see them\n"
        return table.render(style) + omitted
    }

    /// Where the default action leads: groups, or what is answered; and how many rules come before it.
    private static func action(of listener: ListenerDescription) -> String {
        let action =
            listener.forward.isEmpty
            ? listener.defaultAction?.text ?? "" : forward(listener.forward)
        guard let count = listener.ruleCount, count > 0 else { return action }
        return "\(action) (\(HumanText.counted(count, "rule")))"
    }

    /// `web`, or `web 90, canary 10`.
    static func forward(_ forward: [ForwardDescription]) -> String {
        if forward.count == 1, let only = forward.first { return only.targetGroup }
        return forward.map { "\($0.targetGroup) \($0.weight)" }.joined(separator: ", ")
    }

    private static func none(_ what: String, _ indent: Int) -> String {
        String(repeating: " ", count: indent) + "There are no \(what).\n"
    }

    /// What targets see of the client; empty where they see Weir's address alone, as they do by default.
    private static func clientAddress(of group: TargetGroupDescription) -> TextTable.Cell {
        switch group.clientAddress {
        case "preserved": "preserved"
        case "proxy-v2": "PROXY v2"
        case "preserved+proxy-v2": "preserved, PROXY v2"
        default: ""
        }
    }

    private static func note(on group: TargetGroupDescription) -> TextTable.Cell {
        if group.isFailOpen { return .init("fail open", .red) }
        return group.loadBalancers.isEmpty ? .init("in no listener", .dim) : ""
    }

    // MARK: Columns of statistics

    private static func active(_ statistics: FlowStatistics) -> TextTable.Cell {
        count(statistics.activeFlowCount)
    }

    private static func new(_ statistics: FlowStatistics) -> TextTable.Cell {
        count(statistics.newFlowCount)
    }

    private static func bytes(_ statistics: FlowStatistics) -> TextTable.Cell {
        .init(HumanText.byteCount(statistics.processedBytes))
    }

    /// Empty in network mode, which knows no requests.
    private static func requests(_ statistics: FlowStatistics) -> TextTable.Cell {
        statistics.http.map { count($0.requestCount) } ?? ""
    }

    private static func errors(_ statistics: FlowStatistics) -> TextTable.Cell {
        statistics.http.map { count($0.errorCount, .red) } ?? ""
    }

    private static func rejected(_ statistics: FlowStatistics) -> TextTable.Cell {
        count(statistics.rejectedFlowCount, .red)
    }

    /// By client, by target, by the load balancer itself.
    private static func resets(_ statistics: FlowStatistics) -> TextTable.Cell {
        .init(
            [statistics.tcpClientResetCount, statistics.tcpTargetResetCount, statistics.tcpElbResetCount]
                .map(HumanText.count).joined(separator: "/"))
    }

    private static func count(_ value: UInt64, _ color: Style.Color? = nil) -> TextTable.Cell {
        .init(HumanText.count(value), value == 0 ? nil : color)
    }
}
