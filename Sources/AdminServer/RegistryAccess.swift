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
    func explain(listener: String, client: String) async throws(ControlError) -> ExplainResponse
    func register(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse
    func deregister(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse
    func apply(_ request: ApplyRequest) async throws(ControlError) -> ApplyResponse
}

extension Registry: RegistryAccess {}
