// What the routes need of the registry, so that their tests need no store and no data plane.

import AdminModel
import ControlPlane

/// The registry as the admin API sees it. See `Registry` for what each call promises.
package protocol RegistryAccess: Sendable {
    func status() async -> StatusReport
    func loadBalancers() async -> [LoadBalancerDescription]
    func loadBalancer(named name: String) async throws(ControlError) -> LoadBalancerDescription
    func listener(_ id: String) async throws(ControlError) -> ListenerDescription
    func targetGroups() async -> [TargetGroupDescription]
    func targetGroup(named name: String) async throws(ControlError) -> TargetGroupDescription
    func flows(countMax: Int) async throws(ControlError) -> FlowsResponse
    func explain(_ request: ExplainRequest) async throws(ControlError) -> ExplainResponse
    func rules(of listener: String) async throws(ControlError) -> RulesResponse
    func rule(_ priority: String, of listener: String) async throws(ControlError) -> RuleDescription
    func register(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse
    func deregister(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse
    func createListener(
        _ request: ListenerRequest, of loadBalancer: String
    ) async throws(ControlError) -> ListenerDescription
    func modifyListener(
        _ id: String, _ request: ListenerRequest
    ) async throws(ControlError) -> ListenerDescription
    func deleteListener(_ id: String) async throws(ControlError) -> ListenerDescription
    func createRule(_ request: RuleRequest, of listener: String) async throws(ControlError) -> RuleDescription
    func modifyRule(
        _ priority: String, _ request: RuleRequest, of listener: String
    ) async throws(ControlError) -> RuleDescription
    func deleteRule(_ priority: String, of listener: String) async throws(ControlError) -> RulesResponse
    func setRulePriorities(
        _ request: RulePrioritiesRequest, of listener: String
    ) async throws(ControlError) -> RulesResponse
    func certificates() async -> CertificatesResponse
    func reloadCertificates() async throws(ControlError) -> CertificatesReloadResponse
    func apply(_ request: ApplyRequest) async throws(ControlError) -> ApplyResponse
}

extension Registry: RegistryAccess {}
