// The registry of a process that another takes over from, and of the one that does.
//
//   giving   none ── beginUpgrade ──> handingOver ── finishUpgrade ──> handedOver (drains, then ends)
//                        ▲                 │
//                        └── abandonUpgrade
//   taking   takingOver ── takeOver ──> none
//
// In every phase but `none` changes are refused: two processes know the truth, and it must be one truth.

import AdminModel
import Balancing
import Logging

package enum UpgradePhase: Sendable, Equatable {
    case none
    case handingOver
    case handedOver
    case takingOver
}

extension Registry {
    func refuseDuringUpgrade() throws(ControlError) {
        switch upgrade {
        case .none: return
        case .handingOver, .takingOver:
            throw ControlError(
                kind: .conflict, code: "OperationNotPermitted",
                message: "an upgrade is in progress; nothing was changed. Repeat the command in a moment.")
        case .handedOver:
            throw ControlError(
                kind: .conflict, code: "OperationNotPermitted",
                message: "this process has handed over to its successor and only ends its flows; nothing was "
                    + "changed. Repeat the command, and the successor answers.")
        }
    }

    // MARK: Giving

    /// Refuses changes from here on, lets go of the store, and tells what the store does not know.
    ///
    /// End with `abandonUpgrade` or `finishUpgrade`.
    package func beginUpgrade() async throws(ControlError) -> HandedOverRegistry {
        await takeTurn()
        defer { changes.finish() }
        try refuseDuringUpgrade()
        guard !isDraining else {
            throw ControlError(
                kind: .conflict, code: "OperationNotPermitted",
                message: "the appliance is draining and about to end. Start the new binary with \"weir run\"."
            )
        }
        upgrade = .handingOver
        do throws(StoreError) {
            try store.release()
        } catch {
            upgrade = .none
            throw ControlError(kind: .failed, code: "InternalFailure", message: error.description)
        }
        var definitions: HandedOverRegistry.Definitions?
        if case .memory = store.location {
            definitions = HandedOverRegistry.Definitions(
                groups: stored.groups.map {
                    .init(
                        name: $0.group.name, definition: StoredTargetGroup($0.group),
                        targets: $0.targets.map { HandedOverTarget($0) })
                },
                loadBalancers: stored.loadBalancers.map {
                    .init(name: $0.name, definition: StoredLoadBalancer($0))
                })
        }
        return HandedOverRegistry(
            firstSeed: compiler.seed.first, secondSeed: compiler.seed.second, definitions: definitions,
            registrations: state.handedOver(at: clock.now()))
    }

    /// The successor does not start: changes are taken again.
    ///
    /// What it may have written to the store is overwritten: this process serves, so its state is the truth.
    package func abandonUpgrade() async {
        await takeTurn()
        defer { changes.finish() }
        guard upgrade == .handingOver else { return }
        upgrade = .none
        do throws(StoreError) {
            try store.reopen()
            let found = try await store.load()
            if found != stored { try await store.save(stored, replacing: found) }
        } catch {
            logger.error(
                "the store cannot be used after the failed upgrade; changes are refused until a restart",
                metadata: ["cause": "\(error)"])
        }
    }

    /// The successor serves: no more probes, and what lives here only ends.
    package func finishUpgrade() async {
        await takeTurn()
        defer { changes.finish() }
        upgrade = .handedOver
        isDraining = true
        probes.update([])
    }

    package var isHandedOver: Bool { upgrade == .handedOver }

    /// A shutdown has begun.
    package var isEnding: Bool { isDraining }

    // MARK: Taking

    /// Notes what the flows to come will be numbered by, and gives the prober its verdicts.
    func prepareTakeOver(of candidate: RegistryState, numbers: [UInt32: TargetNumber]) {
        upgrade = .takingOver
        inheritedNumbers = numbers
        var verdicts: [TargetNumber: HealthVerdict] = [:]
        for group in candidate.groups {
            for registration in group.registrations {
                verdicts[registration.number] = registration.past.verdict
            }
        }
        probes.restore(verdicts)
    }

    /// This process serves: changes are taken, and deadlines kept.
    package func takeOver() async {
        await takeTurn()
        defer { changes.finish() }
        upgrade = .none
        inheritedNumbers = [:]
        logger.info("took over")
        await settleDeadlines()
        if state.isWaitingForDeadline { deadlineContinuation.yield() }
    }
}
