// The `show` pages, the differences of `apply`, and the answer of `explain`.

import AdminModel

enum DetailPages {
    static func loadBalancer(_ loadBalancer: LoadBalancerDescription, _ style: Style) -> String {
        Tables.loadBalancers([loadBalancer], style)
            + block("LISTENERS", Tables.listeners(loadBalancer.listeners, style, indent: 2), style)
            + attributes(loadBalancer.attributes, style)
    }

    static func listener(_ listener: ListenerDescription, _ style: Style) -> String {
        Tables.listeners([listener], style) + settings(of: listener, style)
            + attributes(listener.attributes, style)
    }

    /// TLS, PROXY protocol and rules, as far as the listener has them.
    private static func settings(of listener: ListenerDescription, _ style: Style) -> String {
        var text = ""
        if let tls = listener.tls {
            let lines =
                ["security policy \(tls.sslPolicy)", "ALPN policy \(tls.alpnPolicy)"]
                + ["mutual authentication \(tls.mutualAuthentication)"]
                + tls.certificates.map { "certificate \($0)" }
            text += block("TLS", lines.map { "  \($0)\n" }.joined(), style)
        }
        if let headers = listener.proxyProtocol {
            let line =
                "\(headers.accept.joined(separator: ", ")) from \(headers.trusted.joined(separator: ", "))"
            text += block("PROXY PROTOCOL", "  \(line)\n", style)
        }
        if let rules = listener.rules {
            text += block("RULES", Tables.rules(rules, style, indent: 2), style)
        }
        if listener.rules == nil, let count = listener.ruleCount {
            let line =
                "\(HumanText.counted(count, "rule")) and the default action; \"weir rules list \(listener.id)\" "
                + "shows them"
            text += block("RULES", "  \(line)\n", style)
        }
        return text
    }

    /// One rule: each condition, the action and each transform in a line of its own.
    static func rule(_ rule: RuleDescription, _ style: Style) -> String {
        let name = rule.priority.map { "rule \($0)" } ?? "default action"
        let conditions = rule.conditions.isEmpty ? ["what no rule takes"] : rule.conditions.map(\.text)
        var text = style.paint("\(rule.listener) \(name)", .bold) + "\n"
        text += block("CONDITIONS", conditions.map { "  \($0)\n" }.joined(), style)
        if let transforms = rule.transforms {
            text += block("TRANSFORMS", transforms.map { "  \($0.text)\n" }.joined(), style)
        }
        text += block("ACTION", "  \(rule.action.text)\n", style)
        if let body = rule.action.fixedResponse?.messageBody, !body.isEmpty {
            let lines = body.split(whereSeparator: \.isNewline).map { line in
                "  \(String(line.map { $0.isControl ? " " : $0 }))\n"
            }
            text += block("MESSAGE BODY", lines.joined(), style)
        }
        return text
    }

    static func targetGroup(
        _ group: TargetGroupDescription, nowSeconds now: Double, _ style: Style
    ) -> String {
        HealthPage.render([group], nowSeconds: now, style)
            + block("HEALTH CHECK", "  \(healthCheck(group.healthCheck))\n", style)
            + attributes(group.attributes, style)
    }

    /// `HTTP traffic-port /healthz (200-399) every 10 s within 5 s; healthy after 3, unhealthy after 2`.
    static func healthCheck(_ check: HealthCheckDescription) -> String {
        guard check.enabled else { return "disabled: every target counts as healthy" }
        let question = [check.protocol, check.port, check.path, check.matcher.map { "(\($0))" }]
        return question.compactMap(\.self).joined(separator: " ")
            + " every \(check.intervalSeconds) s within \(check.timeoutSeconds) s; "
            + "healthy after \(check.healthyThresholdCount), unhealthy after \(check.unhealthyThresholdCount)"
    }

    static func explanation(_ answer: ExplainResponse, _ style: Style) -> String {
        let steps = answer.steps.enumerated().map { "  \($0.offset + 1). \($0.element)\n" }.joined()
        let place = answer.answer.map { style.paint("→ \($0)", .green) } ?? destination(of: answer, style)
        return "\(answer.client) at \(style.paint(answer.listener, .bold))\n\(steps)\(place)\n"
    }

    private static func destination(of answer: ExplainResponse, _ style: Style) -> String {
        if let targets = answer.targets {
            return style.paint("→ one of \(targets.joined(separator: ", "))", .green)
                + (answer.targetGroup.map { " of \($0)" } ?? "")
        }
        return switch (answer.targetGroup, answer.target) {
        case (let group?, let target?): style.paint("→ \(target)", .green) + " of \(group)"
        case (let group?, nil): style.paint("→ no target", .red) + " of \(group)"
        case (nil, let target?): style.paint("→ \(target)", .green)
        case (nil, nil): style.paint("→ nowhere", .red)
        }
    }

    static func changes(_ response: ApplyResponse, _ style: Style) -> String {
        let lines = response.changes.map { change in
            let (sign, color) = appearance(of: change.action)
            let details = change.details.map { "      \($0)\n" }.joined()
            return "  " + style.paint("\(sign) \(change.action) \(change.subject)", color) + "\n" + details
        }
        let warnings = response.warnings.map { style.paint("! \($0)", .yellow) + "\n" }
        return (lines + warnings).joined() + outcome(of: response) + "\n"
    }

    private static func outcome(of response: ApplyResponse) -> String {
        guard !response.changes.isEmpty else { return "Nothing to change: the appliance already runs this." }
        let count = HumanText.counted(response.changes.count, "change")
        return response.isApplied ? "Applied \(count)." : "Dry run: \(count), none applied."
    }

    private static func appearance(of action: String) -> (sign: String, color: Style.Color?) {
        switch action {
        case "create", "register": ("+", .green)
        case "delete", "deregister": ("-", .red)
        case "modify": ("~", .yellow)
        default: ("*", nil)
        }
    }

    private static func attributes(_ attributes: [String: String], _ style: Style) -> String {
        guard !attributes.isEmpty else { return "" }
        var table = TextTable(.init("KEY"), .init("VALUE"))
        for (key, value) in attributes.sorted(by: { $0.key < $1.key }) { table.add(.init(key), .init(value)) }
        return block("ATTRIBUTES", table.render(style, indent: 2), style)
    }

    private static func block(_ title: String, _ body: String, _ style: Style) -> String {
        "\n" + style.paint(title, .bold) + "\n" + body
    }
}
