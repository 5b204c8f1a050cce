// The registry with an end to all waiting: a request is answered in bounded time, whatever a worker does.
//
// Changes wait for every worker, and for each other. When that takes too long the client is told so, while the
// change goes on: taking back what some workers already route by would be worse than a late confirmation.

import AdminModel
import ControlPlane

struct BoundedRegistry<Access: RegistryAccess>: RegistryAccess {
    private let registry: Access
    private let seconds: Int

    init(_ registry: Access, seconds: Int) {
        self.registry = registry
        self.seconds = seconds
    }

    // What these read is in the registry: none of them waits for a change or a worker.

    func status() async -> StatusReport { await registry.status() }
    func loadBalancers() async -> [LoadBalancerDescription] { await registry.loadBalancers() }
    func certificates() async -> CertificatesResponse { await registry.certificates() }
    func targetGroups() async -> [TargetGroupDescription] { await registry.targetGroups() }

    func loadBalancer(named name: String) async throws(ControlError) -> LoadBalancerDescription {
        try await registry.loadBalancer(named: name)
    }

    func listener(_ id: String) async throws(ControlError) -> ListenerDescription {
        try await registry.listener(id)
    }

    func targetGroup(named name: String) async throws(ControlError) -> TargetGroupDescription {
        try await registry.targetGroup(named: name)
    }

    func explain(_ request: ExplainRequest) async throws(ControlError) -> ExplainResponse {
        try await registry.explain(request)
    }

    func rules(of listener: String) async throws(ControlError) -> RulesResponse {
        try await registry.rules(of: listener)
    }

    func rule(_ priority: String, of listener: String) async throws(ControlError) -> RuleDescription {
        try await registry.rule(priority, of: listener)
    }

    // These wait for workers.

    func flows(countMax: Int) async throws(ControlError) -> FlowsResponse {
        try await bounded("The list of flows did not come within \(seconds) s. Try again.") {
            [registry] () async throws(ControlError) in try await registry.flows(countMax: countMax)
        }
    }

    func register(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.register(request, in: group)
        }
    }

    func deregister(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse
    {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.deregister(request, in: group)
        }
    }

    func apply(_ request: ApplyRequest) async throws(ControlError) -> ApplyResponse {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.apply(request)
        }
    }

    func reloadCertificates() async throws(ControlError) -> CertificatesReloadResponse {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.reloadCertificates()
        }
    }

    func createListener(
        _ request: ListenerRequest, of loadBalancer: String
    ) async throws(ControlError) -> ListenerDescription {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.createListener(request, of: loadBalancer)
        }
    }

    func modifyListener(
        _ id: String, _ request: ListenerRequest
    ) async throws(ControlError) -> ListenerDescription {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.modifyListener(id, request)
        }
    }

    func deleteListener(_ id: String) async throws(ControlError) -> ListenerDescription {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.deleteListener(id)
        }
    }

    func createRule(
        _ request: RuleRequest, of listener: String
    ) async throws(ControlError) -> RuleDescription {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.createRule(request, of: listener)
        }
    }

    func modifyRule(
        _ priority: String, _ request: RuleRequest, of listener: String
    ) async throws(ControlError) -> RuleDescription {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.modifyRule(priority, request, of: listener)
        }
    }

    func deleteRule(_ priority: String, of listener: String) async throws(ControlError) -> RulesResponse {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.deleteRule(priority, of: listener)
        }
    }

    func setRulePriorities(
        _ request: RulePrioritiesRequest, of listener: String
    ) async throws(ControlError) -> RulesResponse {
        try await bounded(changeIsLate) { [registry] () async throws(ControlError) in
            try await registry.setRulePriorities(request, of: listener)
        }
    }

    private var changeIsLate: String {
        "The change is not confirmed after \(seconds) s and may still happen: an earlier change or a worker "
            + "holds it up. Look at weir status before asking again."
    }

    private func bounded<Answer: Sendable>(
        _ message: String, _ work: @escaping @Sendable () async throws(ControlError) -> Answer
    ) async throws(ControlError) -> Answer {
        let (answers, continuation) = AsyncStream.makeStream(of: Result<Answer, ControlError>.self)
        // Not a child of this task, which could not end before it.
        Task {
            do throws(ControlError) {
                continuation.yield(.success(try await work()))
            } catch {
                continuation.yield(.failure(error))
            }
            continuation.finish()
        }
        let seconds = seconds
        let first = await withTaskGroup(of: Result<Answer, ControlError>?.self) { group in
            group.addTask {
                for await answer in answers { return answer }
                return nil
            }
            group.addTask {
                try? await Task.sleep(for: .seconds(seconds))
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
        guard let first else {
            throw ControlError(kind: .unavailable, code: "ServiceUnavailable", message: message)
        }
        return try first.get()
    }
}
