// A registry with one of everything, whose changes are recorded and whose refusals are chosen by name.

import AdminModel
import AdminServer
import ControlPlane
import Synchronization

final class StubRegistry: RegistryAccess {
    private let recorded = Mutex<[String]>([])
    let report: StatusReport

    init(report: StatusReport = Sample.status) {
        self.report = report
    }

    /// What was asked of the registry, in order.
    var calls: [String] { recorded.withLock { $0 } }

    func status() async -> StatusReport { report }
    func loadBalancers() async -> [LoadBalancerDescription] { report.loadBalancers }
    func targetGroups() async -> [TargetGroupDescription] { report.targetGroups }

    func loadBalancer(named name: String) async throws(ControlError) -> LoadBalancerDescription {
        guard let found = report.loadBalancers.first(where: { $0.name == name }) else {
            throw ControlError(
                kind: .notFound, code: "LoadBalancerNotFound", message: "no load balancer \"\(name)\".")
        }
        return found
    }

    func listener(_ id: String) async throws(ControlError) -> ListenerDescription {
        guard let found = report.loadBalancers.flatMap(\.listeners).first(where: { $0.id == id }) else {
            throw ControlError(kind: .notFound, code: "ListenerNotFound", message: "no listener \"\(id)\".")
        }
        return found
    }

    func targetGroup(named name: String) async throws(ControlError) -> TargetGroupDescription {
        guard let found = report.targetGroups.first(where: { $0.name == name }) else {
            throw ControlError(
                kind: .notFound, code: "TargetGroupNotFound", message: "no target group \"\(name)\".")
        }
        return found
    }

    func flows(countMax: Int) async throws(ControlError) -> FlowsResponse {
        let flows = Sample.flows
        return FlowsResponse(
            flows: Array(flows.prefix(countMax)), omittedCount: max(flows.count - countMax, 0))
    }

    func explain(_ request: ExplainRequest) async throws(ControlError) -> ExplainResponse {
        let description = try await listener(request.listener)
        recorded.withLock { $0.append("explain \(request)") }
        return ExplainResponse(
            listener: description.id, client: request.client, targetGroup: "web", target: "10.0.1.11:8080",
            steps: ["Listener edge:80 forwards to \"web\".", "2 of 3 targets are healthy."])
    }

    func register(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse {
        try await change("register", request, in: group)
    }

    func deregister(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse
    {
        try await change("deregister", request, in: group)
    }

    func rules(of listener: String) async throws(ControlError) -> RulesResponse {
        RulesResponse(rules: Sample.rules)
    }

    func rule(_ priority: String, of listener: String) async throws(ControlError) -> RuleDescription {
        guard let rule = Sample.rules.first(where: { $0.priority.map(String.init) == priority }) else {
            throw ControlError(kind: .notFound, code: "RuleNotFound", message: "no rule \"\(priority)\".")
        }
        return rule
    }

    func createListener(
        _ request: ListenerRequest, of loadBalancer: String
    ) async throws(ControlError) -> ListenerDescription {
        record("create listener of \(loadBalancer): \(request)")
        return Sample.listener
    }

    func modifyListener(
        _ id: String, _ request: ListenerRequest
    ) async throws(ControlError) -> ListenerDescription {
        record("modify listener \(id): \(request)")
        return try await listener(id)
    }

    func deleteListener(_ id: String) async throws(ControlError) -> ListenerDescription {
        record("delete listener \(id)")
        return try await listener(id)
    }

    func createRule(
        _ request: RuleRequest, of listener: String
    ) async throws(ControlError) -> RuleDescription {
        record("create rule of \(listener): \(request)")
        return Sample.rules[0]
    }

    func modifyRule(
        _ priority: String, _ request: RuleRequest, of listener: String
    ) async throws(ControlError) -> RuleDescription {
        record("modify rule \(priority) of \(listener): \(request)")
        return Sample.rules[0]
    }

    func deleteRule(_ priority: String, of listener: String) async throws(ControlError) -> RulesResponse {
        record("delete rule \(priority) of \(listener)")
        return RulesResponse(rules: [])
    }

    func setRulePriorities(
        _ request: RulePrioritiesRequest, of listener: String
    ) async throws(ControlError) -> RulesResponse {
        record("set priorities of \(listener): \(request)")
        return RulesResponse(rules: Sample.rules)
    }

    func certificates() async -> CertificatesResponse {
        CertificatesResponse(certificates: report.certificates ?? [])
    }

    func reloadCertificates() async throws(ControlError) -> CertificatesReloadResponse {
        recorded.withLock { $0.append("reload certificates") }
        return CertificatesReloadResponse(
            reloadedCount: 1, refused: ["listener edge:443: bad"], certificates: report.certificates ?? [])
    }

    func apply(_ request: ApplyRequest) async throws(ControlError) -> ApplyResponse {
        record(
            "apply dryRun=\(request.dryRun) prune=\(request.prune) bytes=\(request.configuration.utf8.count)")
        return ApplyResponse(changes: Sample.changes, isApplied: !request.dryRun, warnings: [])
    }

    private func change(
        _ verb: String, _ request: TargetsRequest, in group: String
    ) async throws(ControlError) -> TargetsResponse {
        switch group {
        case "missing":
            throw ControlError(
                kind: .notFound, code: "TargetGroupNotFound", message: "no target group \"missing\".")
        case "invalid":
            throw ControlError(
                kind: .invalid, code: "InvalidTarget", message: "two targets are wrong.",
                details: ["one", "two"])
        case "hanging":
            // Longer than any test waits, as a worker that has stopped taking messages would.
            try? await Task.sleep(for: .seconds(600))
            throw ControlError(kind: .failed, code: "InternalFailure", message: "it came back.")
        case "conflict":
            throw ControlError(kind: .conflict, code: "ResourceInUse", message: "in use.")
        case "failed":
            throw ControlError(kind: .failed, code: "InternalFailure", message: "the store is full.")
        default:
            record(
                "\(verb) \(group) "
                    + request.targets.map { "\($0.id):\($0.port ?? 0)" }.joined(separator: " ")
            )
            return TargetsResponse(targets: Sample.webTargets)
        }
    }

    private func record(_ call: String) {
        recorded.withLock { $0.append(call) }
    }
}
