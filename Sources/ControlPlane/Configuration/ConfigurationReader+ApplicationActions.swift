// What an application listener does with a request: forward, redirect, or a fixed response.

import Balancing
import HTTPCore
import Yams

extension ConfigurationReader {
    static let actionExample = "{ type: forward, target_group: NAME }"
    static let stickinessDurations = 1...604_800

    private enum ActionType: String, CaseIterable {
        case forward, redirect
        case fixedResponse = "fixed_response"
        /// Terraform's spelling of the value; its block is fixed_response.
        case fixedResponseOfTerraform = "fixed-response"
    }

    mutating func readDefaultAction(
        of listener: Scope, listener place: RedirectWriter.Context?
    ) -> RuleAction? {
        guard listener.fields["default_action"] != nil else {
            note(
                "default_action", of: listener, "is missing. Give default_action: \(Self.actionExample).")
            return nil
        }
        guard let node = value("default_action", of: listener) else { return nil }
        let action = readApplicationAction(
            node, subject: listener.subject, prefix: "\(listener.prefix)default_action.",
            path: listener.path(to: "default_action"))
        for fault in action.map({ RuleFault.check($0, listener: place) }) ?? [] {
            note(
                at: node.position, path: listener.path(to: "default_action"), subject: listener.subject,
                "default_action: \(fault.message)")
        }
        return action
    }

    /// One action: its type, and the block or the keys of that type alone.
    mutating func readApplicationAction(
        _ node: Node, subject: String, prefix: String, path: String
    ) -> RuleAction? {
        guard
            let scope = scope(
                of: node, subject: subject, prefix: prefix, path: path,
                keys: ["type", "target_group", "forward", "stickiness", "redirect", "fixed_response"],
                unavailable: [
                    "authenticate_cognito": "Let the targets authenticate.",
                    "authenticate_oidc": "Let the targets authenticate.",
                    "target_group_arn": "Groups are named: target_group: NAME.",
                ]),
            let text = requiredText("type", of: scope, "Give forward, redirect or fixed_response.")
        else { return nil }
        guard let type = ActionType(rawValue: text) else {
            note(
                "type", of: scope,
                "is \"\(Self.shortened(text))\"; it must be forward, redirect or fixed_response.")
            return nil
        }
        switch type {
        case .forward:
            guard isAlone(["target_group", "forward", "stickiness"], of: scope, type: "forward") else {
                return nil
            }
            let hadProblems = problems.count
            let seconds = readStickinessDuration(scope)
            let action = readForwardAction(scope, isSticky: false, stickinessSeconds: seconds)
            return problems.count == hadProblems ? action.map(RuleAction.forward) : nil
        case .redirect:
            guard isAlone(["redirect"], of: scope, type: "redirect") else { return nil }
            return readRedirect(scope).map(RuleAction.redirect)
        case .fixedResponse, .fixedResponseOfTerraform:
            guard isAlone(["fixed_response"], of: scope, type: "fixed_response") else { return nil }
            return readFixedResponse(scope).map(RuleAction.fixedResponse)
        }
    }

    /// Notes the keys that belong to actions of another type.
    private mutating func isAlone(_ keys: [String], of scope: Scope, type: String) -> Bool {
        var isAlone = true
        for key in scope.fields.keys.sorted() where key != "type" && !keys.contains(key) {
            note(
                key, of: scope,
                "does not belong to an action of type \(type). Leave it out, or change the type.")
            isAlone = false
        }
        return isAlone
    }

    /// Nil when clients are not kept on their group.
    private mutating func readStickinessDuration(_ scope: Scope) -> Int? {
        guard let fields = child("stickiness", of: scope, keys: ["enabled", "duration"]) else { return nil }
        let seconds = integer("duration", of: fields, in: Self.stickinessDurations, unit: " s")
        guard boolean("enabled", of: fields) ?? false else { return nil }
        if fields.fields["duration"] == nil {
            note(
                "duration", of: fields,
                "is missing. Give the seconds for which a client keeps its group, "
                    + "\(Self.stickinessDurations.lowerBound) to \(Self.stickinessDurations.upperBound).")
        }
        return seconds
    }

    // MARK: Redirects

    private enum RedirectStatus: String, CaseIterable {
        case permanent = "HTTP_301"
        case found = "HTTP_302"
    }

    private mutating func readRedirect(_ scope: Scope) -> RedirectAction? {
        guard scope.fields["redirect"] != nil else {
            note(
                "redirect", of: scope, "is missing. Give redirect: { path: \"/new\", status_code: HTTP_301 }."
            )
            return nil
        }
        guard
            let fields = child(
                "redirect", of: scope, keys: ["protocol", "host", "port", "path", "query", "status_code"])
        else { return nil }
        if fields.fields["status_code"] == nil {
            note("status_code", of: fields, "is missing. Give HTTP_301 or HTTP_302.")
        }
        let status = choice("status_code", of: fields, as: RedirectStatus.self)
        var action = RedirectAction(statusCode: status == .permanent ? 301 : 302)
        if let text = text("protocol", of: fields) { action.protocol = text }
        if let text = text("host", of: fields) { action.host = text }
        if let text = text("port", of: fields) { action.port = text }
        if let text = text("path", of: fields) { action.path = text }
        if let text = text("query", of: fields) { action.query = text }
        return status == nil ? nil : action
    }

    // MARK: Fixed responses

    private mutating func readFixedResponse(_ scope: Scope) -> FixedResponse? {
        guard scope.fields["fixed_response"] != nil else {
            note(
                "fixed_response", of: scope,
                "is missing. Give fixed_response: { status_code: \"503\", content_type: text/plain, "
                    + "message_body: TEXT }.")
            return nil
        }
        guard
            let fields = child(
                "fixed_response", of: scope, keys: ["status_code", "content_type", "message_body"])
        else { return nil }
        if fields.fields["status_code"] == nil {
            note("status_code", of: fields, "is missing. Give a status code of 200 to 599.")
        }
        let code = integer("status_code", of: fields, in: 200...599)
        let type = text("content_type", of: fields)
        let body = text("message_body", of: fields)
        return code.map { FixedResponse(statusCode: $0, contentType: type ?? "", messageBody: body ?? "") }
    }
}
