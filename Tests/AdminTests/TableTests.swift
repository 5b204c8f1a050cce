// Tables and pages: pure functions, compared with what a person should see.

import AdminModel
import Testing

@testable import weir

@Suite struct `Tables and pages` {
    @Test func `columns align, numbers to the right, without trailing blanks`() {
        var table = TextTable(.init("NAME"), .init("COUNT", .right), .init("NOTE"))
        table.add("a", "1,000", "first")
        table.add("longer", "7", "")
        #expect(table.render(.plain) == "NAME    COUNT  NOTE\na       1,000  first\nlonger      7\n")
        #expect(table.render(.plain, indent: 2).hasPrefix("  NAME"))
    }

    @Test func `a column with nothing in it is left out`() {
        var table = TextTable(.init("A"), .init("B"), .init("C"))
        table.add("1", "", "3")
        #expect(table.render(.plain) == "A  C\n1  3\n")
    }

    @Test func `on a narrow screen the last column is wrapped, or goes below`() {
        var table = TextTable(.init("NAME"), .init("WHY"))
        table.add("web", "it did not answer within 5 s")
        table.add("dns", "")
        let beside = Style(width: 30)
        #expect(table.render(beside) == "NAME  WHY\nweb   it did not answer within\n      5 s\ndns\n")
        let below = Style(width: 28)
        #expect(table.render(below) == "NAME\nweb\n    it did not answer within\n    5 s\ndns\n")
        #expect(table.render(Style(width: 34)) == table.render(.plain))
    }

    @Test func `colour changes no width`() {
        var table = TextTable(.init("STATE"), .init("NEXT"))
        table.add(.init("up", .green), "x")
        #expect(table.render(Style(isColored: true)).contains("\u{1B}[32mup\u{1B}[0m     x"))
    }

    @Test func `what comes from elsewhere cannot command the terminal`() {
        var table = TextTable(.init("A"))
        table.add(.init("x\u{1B}[2J\ny"))
        #expect(table.render(.plain) == "A\nx [2J y\n")
    }

    @Test func `health tells state, since when, why and the sentence in full`() {
        let page = HealthPage.render([Sample.webGroup], nowSeconds: Sample.nowSeconds, .plain)
        let expected = """
            web  TCP  1/3 healthy
              TARGET               ZONE  STATE                 SINCE   PROBE  REASON
              10.0.1.11:8080       a     ● healthy             3m12s  0.8 ms
              10.0.1.12:8081       b     ✖ unhealthy             12s          Target.Timeout: \
            10.0.1.12:8081 did not answer within 5 s.
              [2001:db8::13]:8080        ◐ draining, 27s left     3s          Target.DeregistrationInProgress\
            : Target deregistration is in progress.

            """
        #expect(page == expected)
    }

    @Test func `status is one page with what is not healthy at its end`() {
        let page = StatusPage.render(Sample.status, nowSeconds: Sample.nowSeconds, .plain)
        #expect(page.hasPrefix("weir 1.2.3  up 3h12m  2 workers\n! TCP flows are limited to 20,000"))
        for title in ["LOAD BALANCERS", "LISTENERS", "TARGET GROUPS", "TARGETS THAT ARE NOT HEALTHY"] {
            #expect(page.contains("\n\(title)\n"))
        }
        #expect(page.contains("web 90, spare 10"))
        #expect(page.contains("unavailable"))
        #expect(page.contains("in no listener"))
        #expect(!page.contains("10.0.1.11:8080"))
        #expect(page.contains("10.0.1.12:8081 did not answer within 5 s.\n"))
    }

    @Test func `flows show bytes and rates for people`() {
        let table = Tables.flows(FlowsResponse(flows: Sample.flows, omittedCount: 1_200), .plain)
        #expect(table.contains("1.0 KiB     10 MiB  1.0 MiB/s"))
        #expect(table.contains("[2001:db8::1]:5353"))
        #expect(table.hasSuffix("and 1,200 more; raise --limit to see them\n"))
    }

    @Test func `changes carry their sign and say whether they were made`() {
        let applied = DetailPages.changes(ApplyResponse(changes: Sample.changes, isApplied: true), .plain)
        #expect(
            applied == """
                  + create target group "web"
                  ~ modify listener edge:80
                      port: 80 → 81
                  - delete load balancer "dark"
                Applied 3 changes.

                """)
        let dry = DetailPages.changes(ApplyResponse(changes: Sample.changes, isApplied: false), .plain)
        #expect(dry.hasSuffix("Dry run: 3 changes, none applied.\n"))
        let none = DetailPages.changes(ApplyResponse(changes: [], isApplied: true), .plain)
        #expect(none == "Nothing to change: the appliance already runs this.\n")
    }

    @Test func `an explanation numbers its steps and ends with the place`() {
        let answer = ExplainResponse(
            listener: "edge:80", client: "192.0.2.1:4000", targetGroup: "web", target: "10.0.1.11:8080",
            steps: ["First.", "Second."])
        #expect(
            DetailPages.explanation(answer, .plain) == """
                192.0.2.1:4000 at edge:80
                  1. First.
                  2. Second.
                → 10.0.1.11:8080 of web

                """)
    }

    @Test func `a group's page tells its health check in one sentence`() {
        #expect(
            DetailPages.healthCheck(Sample.webGroup.healthCheck)
                == "HTTP traffic-port /healthz (200-399) every 10 s within 5 s; "
                + "healthy after 3, unhealthy after 2"
        )
        #expect(DetailPages.healthCheck(Sample.spareGroup.healthCheck).hasPrefix("disabled"))
    }

    @Test func `a rule is one line: priority, conditions and action in words`() {
        #expect(
            Tables.rules(Sample.rules, .plain) == """
                PRIORITY  CONDITIONS                                              ACTION
                      10  host a.example.com or *.b.example.com and path ~^/img/  rewrite URL ^/a → /b, forward \
                to web 90, canary 10 (sticky 60 s)
                      20  method POST                                             answer 405 text/plain
                 default  otherwise                                               redirect 301 \
                https://#{host}:443/#{path}?#{query}

                """)
    }

    @Test func `a rule's page has each condition, transform and action by itself`() {
        #expect(
            DetailPages.rule(Sample.rules[0], .plain) == """
                site:80 rule 10

                CONDITIONS
                  host a.example.com or *.b.example.com
                  path ~^/img/

                TRANSFORMS
                  rewrite URL ^/a → /b

                ACTION
                  forward to web 90, canary 10 (sticky 60 s)

                """)
        var answer = Sample.rules[1]
        answer.action.fixedResponse?.messageBody = "one\u{1B}[2J\ntwo"
        #expect(
            DetailPages.rule(answer, .plain).hasSuffix("MESSAGE BODY\n  one [2J\n  two\n"))
        #expect(DetailPages.rule(Sample.rules[2], .plain).contains("what no rule takes"))
    }

    @Test func `an application listener's action and number of rules show in the list`() {
        var listener = Sample.listener
        listener.forward = []
        listener.protocol = "HTTPS"
        listener.defaultAction = Sample.rules[1].action
        listener.ruleCount = 2
        #expect(Tables.listeners([listener], .plain).contains("answer 405 text/plain (2 rules)"))
        #expect(
            DetailPages.listener(listener, .plain).contains(
                "2 rules and the default action; \"weir rules list edge:80\" shows them"))
    }

    @Test func `an explanation of a request ends with its answer, or with all targets`() {
        var answer = ExplainResponse(
            listener: "site:80", client: "192.0.2.1", targetGroup: nil, target: nil, steps: [])
        answer.answer = "301 https://a.example.com/"
        #expect(DetailPages.explanation(answer, .plain).hasSuffix("→ 301 https://a.example.com/\n"))
        answer.answer = nil
        answer.targets = ["10.0.0.1:80", "10.0.0.2:80"]
        #expect(DetailPages.explanation(answer, .plain).hasSuffix("→ one of 10.0.0.1:80, 10.0.0.2:80\n"))
        answer.targetGroup = "web"
        #expect(DetailPages.explanation(answer, .plain).hasSuffix("10.0.0.2:80 of web\n"))
        answer.targets = nil
        #expect(DetailPages.explanation(answer, .plain).hasSuffix("→ no target of web\n"))
    }

    @Test func `only what changed is told, the first time everything`() {
        var changes = HealthChanges()
        #expect(changes.lines(for: [Sample.webGroup]).count == 3)
        #expect(changes.lines(for: [Sample.webGroup]).isEmpty)
        var group = Sample.webGroup
        group.targets[0].health.state = "unhealthy"
        group.targets[0].health.reason = "Target.Timeout"
        group.targets[0].health.description = "No answer."
        group.targets.remove(at: 2)
        #expect(
            changes.lines(for: [group]) == [
                "web  10.0.1.11:8080  healthy → unhealthy  Target.Timeout  No answer.",
                "web  [2001:db8::13]:8080  draining → gone",
            ])
    }
}

@Suite struct `Human text` {
    @Test(
        arguments: [
            (0, "0s"), (59.9, "59s"), (192, "3m12s"), (7_500, "2h05m"), (356_400, "4d03h"), (-3, "0s"),
        ] as [(Double, String)])
    func `durations`(seconds: Double, text: String) {
        #expect(HumanText.duration(seconds: seconds) == text)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_536, "1.5 KiB"), (12 << 20, "12 MiB"),
            ((1 << 20) - 1, "1.0 MiB"), (UInt64.max, "16 EiB"),
        ] as [(UInt64, String)])
    func `byte counts`(count: UInt64, text: String) {
        #expect(HumanText.byteCount(count) == text)
    }

    @Test(
        arguments: [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] as [(UInt64, String)])
    func `counts`(count: UInt64, text: String) {
        #expect(HumanText.count(count) == text)
    }
}

@Suite struct `Live page` {
    @Test func `a frame overwrites line by line and clears the rest`() {
        let frame = ScreenFrame.render("one\ntwo\n", footer: "q quits", width: 80, height: 24)
        #expect(frame == "\u{1B}[Hone\u{1B}[K\r\ntwo\u{1B}[K\r\nq quits\u{1B}[K\u{1B}[J")
    }

    @Test func `a page larger than the screen is cut, and the footer says so`() {
        let frame = ScreenFrame.render("1\n2\n3\n4\n", footer: "q quits", width: 80, height: 3)
        #expect(!frame.contains("3\u{1B}[K"))
        #expect(frame.contains("q quits  (2 more lines than the screen has)"))
    }

    @Test func `a cut keeps the escape sequence that ends a colour`() {
        #expect(ScreenFrame.cut("\u{1B}[31mabcdef\u{1B}[0m", to: 3) == "\u{1B}[31mabc\u{1B}[0m")
    }
}
