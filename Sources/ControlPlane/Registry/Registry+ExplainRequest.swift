// "Which rule would this request take, and why?", answered by what the workers match with.

import AdminModel
import Balancing
import HTTPCore

extension Registry {
    /// So many rules that do not apply are told one by one; of more only the number.
    private static let shownLookCountMax = 32

    func explainApplication(
        _ request: ExplainedRequest, listener: Listener, number: ListenerNumber, client: Endpoint,
        into answer: inout ExplainResponse
    ) {
        guard let application = published.snapshot.route(of: number)?.application else { return }
        answer.steps.append(
            "It asks for \(request.method) \(request.target) of host \(request.host)"
                + (request.isHostGiven ? "." : ", the listen address, since no host is given."))
        let rules = CompiledRules(application.rules)
        let explanation = rules.explain(request.head, request.bytes.span, client: client.address)
        tell(explanation, into: &answer)

        let route = rules.routes[explanation.index]
        answer.rule = route.priority.map(String.init) ?? "default"
        explainTransforms(rules.transforms(at: explanation.index), of: request, into: &answer)
        switch route.action {
        case .forward(let choices, let seconds):
            explainForward(choices, stickinessSeconds: seconds, into: &answer)
        case .redirect(let action):
            let place = RedirectWriter.Context(isSecure: listener.protocol == .https, port: listener.port)
            var location: [UInt8] = []
            switch RedirectWriter.append(
                action, for: request.head, request.bytes.span, in: place, to: &location)
            {
            case .written:
                answer.answer = "\(action.statusCode) \(String(decoding: location, as: UTF8.self))"
                answer.steps.append("The client is redirected.")
            case .invalidHost, .invalidTarget:
                answer.answer = "400"
                answer.steps.append(
                    "The redirect needs a host or path that the request does not properly have.")
            }
        case .fixedResponse(let response):
            answer.answer =
                "\(response.statusCode)" + (response.contentType.isEmpty ? "" : " \(response.contentType)")
            answer.steps.append(
                "The client is answered by Weir itself, with \(response.messageBody.utf8.count) bytes.")
        }
    }

    private func tell(_ explanation: RuleExplanation, into answer: inout ExplainResponse) {
        let passedOver = explanation.looks.filter { !$0.applies }
        for look in passedOver.prefix(Self.shownLookCountMax) {
            let unmet = look.conditions.filter { !$0.isMet }.map(\.sentence)
            answer.steps.append(
                "Rule \(look.priority ?? 0) does not apply: \(unmet.joined(separator: "; ")).")
        }
        if passedOver.count > Self.shownLookCountMax {
            answer.steps.append("\(passedOver.count - Self.shownLookCountMax) more rules do not apply.")
        }
        guard let taken = explanation.looks.last, taken.applies else {
            answer.steps.append(
                explanation.looks.isEmpty
                    ? "The listener has no rules: its default action is taken."
                    : "No rule applies, so the default action is taken.")
            return
        }
        let conditions = taken.conditions.map(\.sentence).joined(separator: "; ")
        answer.steps.append("Rule \(taken.priority ?? 0) applies: \(conditions).")
    }

    private func explainTransforms(
        _ transforms: CompiledTransforms?, of request: ExplainedRequest, into answer: inout ExplainResponse
    ) {
        guard let transforms else { return }
        var scratch = RuleScratch()
        var host: [UInt8] = []
        let hostOutcome = transforms.rewriteHost(
            request.head, request.bytes.span, scratch: &scratch, to: &host)
        var target: [UInt8] = []
        let targetOutcome = transforms.rewriteTarget(
            request.head, request.bytes.span, scratch: &scratch, to: &target)
        for (name, outcome, text) in [("host", hostOutcome, host), ("URL", targetOutcome, target)] {
            switch outcome {
            case .unchanged: break
            case .rewritten:
                answer.steps.append("The \(name) becomes \(String(decoding: text, as: UTF8.self)).")
            case .failed:
                answer.steps.append("The \(name) would become no valid one, so the client is answered 500.")
            }
        }
    }

    private func explainForward(
        _ choices: [ListenerRoute.Choice], stickinessSeconds: Int?, into answer: inout ExplainResponse
    ) {
        let snapshot = published.snapshot
        guard let total = choices.last?.cumulativeWeight else {
            answer.steps.append("The action has no group of positive weight, so the client is answered 503.")
            return
        }
        var before: UInt32 = 0
        var shares: [String] = []
        for choice in choices {
            let name = snapshot.groups[choice.groupIndex].name
            shares.append("\"\(name)\" \(choice.cumulativeWeight - before) of \(total)")
            before = choice.cumulativeWeight
        }
        if choices.count == 1 {
            answer.targetGroup = snapshot.groups[choices[0].groupIndex].name
            answer.steps.append("The request is forwarded to target group \"\(answer.targetGroup ?? "")\".")
        } else {
            answer.steps.append(
                "The request is forwarded to one of the groups by weight (\(shares.joined(separator: ", ")))"
                    + (stickinessSeconds.map { "; a client keeps its group for \($0) s." } ?? "."))
        }
        var targets: [String] = []
        for choice in choices {
            let group = snapshot.groups[choice.groupIndex]
            explainEligibility(group, of: "requests", into: &answer)
            if let application = group.application { explain(application, named: group.name, into: &answer) }
            for target in group.targets {
                if let endpoint = snapshot.endpoints[Int(target.rawValue)] {
                    targets.append(endpoint.description)
                }
            }
        }
        if targets.isEmpty {
            answer.steps.append("No target may get requests, so the client is answered 503.")
        } else if targets.count == 1 {
            answer.target = targets[0]
        } else {
            answer.targets = targets
        }
    }

    private func explain(
        _ group: ApplicationGroupRoute, named name: String, into answer: inout ExplainResponse
    ) {
        var text = "\"\(name)\" chooses by \(group.algorithm.rawValue)"
        if group.mitigatesAnomalies { text += " with anomaly mitigation" }
        switch group.stickiness {
        case nil: break
        case .loadBalancerCookie(let seconds):
            text += "; a client that shows Weir's cookie keeps its target for \(seconds) s"
        case .applicationCookie(let cookie, let seconds):
            text += "; a client with the cookie \(cookie) keeps its target for \(seconds) s"
        }
        answer.steps.append("\(text).")
        let now = clock.now()
        let startingCount = group.startedAt.count { start in
            start.map { $0.advanced(bySeconds: group.slowStartSeconds) > now } ?? false
        }
        if startingCount > 0 {
            answer.steps.append(
                "\(startingCount) of its targets are starting slowly, over \(group.slowStartSeconds) s.")
        }
    }
}
