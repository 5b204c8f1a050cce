// Any bytes as bodies of changes: refused in words, or taken by a registry that stays whole.
//
// An input is several bodies one after the other, so that later ones meet what earlier ones made.
#if DEBUG

import AdminModel
import Balancing
import Foundation
import Logging

@testable import AdminServer
@testable import ControlPlane

enum AdminBodiesSubject {
    /// Stands between two bodies; it never occurs in JSON.
    private static let separator: UInt8 = 0x1E

    static func run(_ bytes: [UInt8]) async {
        let bodies = bytes.split(separator: separator, maxSplits: 7, omittingEmptySubsequences: true)
        guard let registry = await makeRegistry() else { preconditionFailure("a registry starts") }
        for body in bodies {
            guard let kind = body.first else { continue }
            await change(registry, kind: kind, body: Array(body.dropFirst()))
            await read(registry)
        }
    }

    private static func makeRegistry() async -> Registry? {
        var logger = Logger(label: "fuzz")
        logger.logLevel = .critical
        guard let store = try? Store(.memory) else { return nil }
        return try? await Registry.start(
            Registry.Parts(
                workers: SilentWorkers(), probes: SilentProbes(), store: store,
                randomSeed: HashSeed(first: 1, second: 2), logger: logger, tableSlotCount: 251),
            configuration: nil)
    }

    private static func change(_ registry: Registry, kind: UInt8, body: [UInt8]) async {
        do {
            switch kind {
            case UInt8(ascii: "a"):
                _ = try await registry.apply(JSONBody.decode(ApplyRequest.self, from: body))
            case UInt8(ascii: "y"):
                // A configuration without its JSON, so that YAML is mutated as YAML.
                let text = String(decoding: body, as: UTF8.self)
                _ = try await registry.apply(ApplyRequest(configuration: text, dryRun: false, prune: true))
            case UInt8(ascii: "d"):
                let request = try JSONBody.decode(TargetsRequest.self, from: body)
                _ = try await registry.deregister(request, in: "web")
            case UInt8(ascii: "r"):
                let request = try JSONBody.decode(RuleRequest.self, from: body)
                _ = try await registry.createRule(request, of: "site:80")
            case UInt8(ascii: "m"):
                let request = try JSONBody.decode(RuleRequest.self, from: body)
                _ = try await registry.modifyRule("10", request, of: "site:80")
            case UInt8(ascii: "p"):
                let request = try JSONBody.decode(RulePrioritiesRequest.self, from: body)
                _ = try await registry.setRulePriorities(request, of: "site:80")
            case UInt8(ascii: "l"):
                let request = try JSONBody.decode(ListenerRequest.self, from: body)
                _ = try await registry.createListener(request, of: "site")
            case UInt8(ascii: "c"):
                let request = try JSONBody.decode(ListenerRequest.self, from: body)
                _ = try await registry.modifyListener("site:80", request)
            default:
                let request = try JSONBody.decode(TargetsRequest.self, from: body)
                _ = try await registry.register(request, in: "web")
            }
        } catch let refusal as RequestRefusal {
            precondition(refusal.status.code == 400 && refusal.report.message.hasSuffix("."))
        } catch let error as ControlError {
            precondition(error.kind != .failed && error.kind != .unavailable, error.message)
            precondition(!error.message.isEmpty && !error.message.contains(where: \.isNewline), "one line")
        } catch {
            preconditionFailure("an error without a status: \(error)")
        }
    }

    /// Everything can be shown, and what is shown can be sent.
    private static func read(_ registry: Registry) async {
        let status = await registry.status()
        precondition((try? AdminCoding.encoder().encode(status)) != nil)
        _ = StatusMetrics.text(for: status)
        for loadBalancer in status.loadBalancers {
            for listener in loadBalancer.listeners {
                let answer = try? await registry.explain(
                    ExplainRequest(listener: listener.id, client: "192.0.2.9:4000"))
                precondition(answer != nil)
                let rules = try? await registry.rules(of: listener.id).rules
                precondition(rules?.last?.priority == nil && rules?.count == (listener.ruleCount ?? 0) + 1)
                precondition(rules?.allSatisfy { !$0.text.isEmpty } == true)
            }
        }
        for group in status.targetGroups {
            let found = try? await registry.targetGroup(named: group.name)
            precondition(found?.targets == group.targets)
            precondition(Set(group.targets.map { "\($0.id) \($0.port)" }).count == group.targets.count)
        }
    }
}

/// Workers that agree to everything and have no flows.
private struct SilentWorkers: WorkerControl {
    let workerCount = 1
    let warnings: [String] = []

    func prepare(_ bindings: [ListenerBinding]) throws(BindingErrors) -> ListenerTicket {
        ListenerTicket(rawValue: 1)
    }
    func abandon(_ ticket: ListenerTicket) {}
    func publish(_ snapshot: RoutingSnapshot, listeners ticket: ListenerTicket?) async {}
    func evict(_ target: TargetNumber, _ eviction: FlowEviction) async {}
    func counters(targets: [TargetNumber], listeners: [ListenerNumber]) -> CounterReport { CounterReport() }
    func flows(countMax: Int) async -> (flows: [FlowRecord], omittedCount: Int)? { ([], 0) }
    func drain() async {}
}

private struct SilentProbes: ProbeControl {
    let reports = AsyncStream<ProbeReport> { $0.finish() }

    func restore(_ verdicts: [TargetNumber: HealthVerdict]) {}
    func update(_ targets: [ProbeTarget]) {}
}
#endif
