// A registry with recorders around it, and short words for what tests do with it.

import AdminModel
import Balancing
import Testing

@testable import ControlPlane

struct RegistryFixture {
    let registry: Registry
    let workers: WorkerRecorder
    let probes: ProbeRecorder
    let time: VirtualClock
    let store: Store

    /// One listener on port 80 that forwards to group `web`.
    static func web(
        check: String = "interval: 10, timeout: 5", attributes: String = "", targets: String? = nil,
        more: String = ""
    ) -> String {
        """
        target_groups:
          - name: web
            protocol: TCP
            port: 80
            health_check: { \(check) }
            attributes: { \(attributes) }
            \(targets.map { "targets: [\($0)]" } ?? "")
        load_balancers:
          - name: edge
            type: network
            addresses: [192.0.2.1]
            listeners:
              - { port: 80, protocol: TCP, default_action: { type: forward, target_group: web } }
        \(more)
        """
    }

    init(
        _ yaml: String? = RegistryFixture.web(), store: Store? = nil,
        workers: WorkerRecorder = WorkerRecorder(),
        certificates: CertificateRecorder? = nil, features: DataPlaneFeatures = .all,
        seed: HashSeed = HashSeed(first: 1, second: 2), tableSlotCount: Int = 251,
        past: HandedOverRegistry? = nil
    ) async throws {
        let configuration = try yaml.map { text in try Configuration.parse(text) }
        self.workers = workers
        probes = ProbeRecorder()
        time = VirtualClock()
        self.store = try store ?? Store(.memory)
        registry = try await Registry.start(
            Registry.Parts(
                workers: workers, probes: probes, certificates: certificates, features: features,
                store: self.store,
                settings: configuration?.settings ?? ApplianceSettings(), randomSeed: seed, clock: time.clock,
                version: "test", tableSlotCount: tableSlotCount),
            configuration: configuration, past: past)
    }

    @discardableResult
    func register(_ ids: String..., weight: Int? = nil, in group: String = "web") async throws
        -> [TargetDescription]
    {
        try await registry.register(Self.request(ids, weight: weight), in: group).targets
    }

    @discardableResult
    func deregister(_ ids: String..., in group: String = "web") async throws -> [TargetDescription] {
        try await registry.deregister(Self.request(ids), in: group).targets
    }

    static func request(_ ids: [String], weight: Int? = nil) -> TargetsRequest {
        TargetsRequest(targets: ids.map { TargetSpecification(id: $0, weight: weight) })
    }

    func apply(_ yaml: String, prune: Bool = false, dryRun: Bool = false) async throws -> ApplyResponse {
        try await registry.apply(ApplyRequest(configuration: yaml, dryRun: dryRun, prune: prune))
    }

    /// The number under which the prober knows a target.
    func number(_ endpoint: String) throws -> TargetNumber {
        try #require(probes.targets.first { $0.endpoint.description == endpoint }?.number)
    }

    func report(
        _ endpoint: String, _ verdict: HealthVerdict, outcome: ProbeOutcome? = nil
    ) async throws {
        await registry.observe([Self.report(try number(endpoint), verdict, outcome: outcome)])
    }

    static func report(
        _ number: TargetNumber, _ verdict: HealthVerdict, outcome: ProbeOutcome? = nil
    ) -> ProbeReport {
        let implied: ProbeOutcome =
            switch verdict {
            case .initial, .healthy: .success
            case .lameDuck: .lameDuck
            case .unhealthy(let failure): .failure(failure)
            }
        return ProbeReport(
            number: number, outcome: outcome ?? implied, latencyNanoseconds: 2_000_000, verdict: verdict,
            isTransition: true)
    }

    func target(_ endpoint: String, in group: String = "web") async throws -> TargetDescription? {
        try await registry.targetGroup(named: group).targets.first { "\($0.id):\($0.port)" == endpoint }
    }

    /// `state reason`, or nil when the target is not in the list.
    func health(_ endpoint: String, in group: String = "web") async throws -> String? {
        try await target(endpoint, in: group).map { target in
            [target.health.state, target.health.reason].compactMap { $0 }.joined(separator: " ")
        }
    }
}

extension Registry {
    /// A flow of which nothing but the client is known.
    func explain(listener: String, client: String) async throws(ControlError) -> ExplainResponse {
        try await explain(ExplainRequest(listener: listener, client: client))
    }
}

/// The refusal of `change`, or nil when it went through.
func refusal(_ change: () async throws -> some Any) async -> ControlError? {
    do {
        _ = try await change()
        return nil
    } catch {
        return error as? ControlError
    }
}
