// The single writer of truth.

import AdminModel
import Balancing
import Logging

package actor Registry {
    package init() {}

    // MARK: Reading

    package func status() async -> StatusReport { fatalError("unwritten") }
    package func loadBalancers() async -> [LoadBalancerDescription] { fatalError("unwritten") }
    package func loadBalancer(named name: String) async throws(ControlError) -> LoadBalancerDescription { fatalError("unwritten") }
    package func listener(_ id: String) async throws(ControlError) -> ListenerDescription { fatalError("unwritten") }
    package func targetGroups() async -> [TargetGroupDescription] { fatalError("unwritten") }
    package func targetGroup(named name: String) async throws(ControlError) -> TargetGroupDescription { fatalError("unwritten") }
    package func flows(countMax: Int) async -> FlowsResponse { fatalError("unwritten") }
    /// `client` is `ADDRESS` or `ADDRESS:PORT`; without a port, port 0 is hashed and the answer says so.
    package func explain(listener: String, client: String) async throws(ControlError) -> ExplainResponse { fatalError("unwritten") }

    // MARK: Changing

    /// Registers targets, or updates weight and zone of registered ones; brings draining ones back.
    ///
    /// Returns after the store has them and every worker routes by them.
    package func register(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse { fatalError("unwritten") }
    /// Starts draining. Returns when not one new flow can reach the targets any more.
    package func deregister(_ request: TargetsRequest, in group: String) async throws(ControlError) -> TargetsResponse { fatalError("unwritten") }
    package func apply(_ request: ApplyRequest) async throws(ControlError) -> ApplyResponse { fatalError("unwritten") }
}
