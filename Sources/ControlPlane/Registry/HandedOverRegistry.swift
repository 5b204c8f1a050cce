// What a registry knows that the store does not, on its way to the process that takes over.
//
// JSON, read by another release: what that does not know it ignores, and what it lacks has a meaning.
// Deadlines travel as seconds left, since the two processes count their own time.

import Balancing
import Foundation

package struct HandedOverRegistry: Codable, Sendable {
    /// The secret of all flow hashes, so that sticky clients keep their targets.
    var firstSeed: UInt64
    var secondSeed: UInt64
    /// The definitions themselves, when the state is kept in memory.
    var definitions: Definitions?
    var registrations: [HandedOverRegistration]

    package var seed: HashSeed { HashSeed(first: firstSeed, second: secondSeed) }

    /// Whether a group of the definitions that travel along has `preserve_client_ip.enabled`.
    package var preservesClientIP: Bool {
        (try? storedState())?.preservesClientIP ?? false
    }

    struct Definitions: Codable, Sendable {
        struct Group: Codable, Sendable {
            var name: String
            var definition: StoredTargetGroup
            var targets: [HandedOverTarget]
        }

        struct Balancer: Codable, Sendable {
            var name: String
            var definition: StoredLoadBalancer
        }

        var groups: [Group]
        var loadBalancers: [Balancer]
    }

    /// Nil when the store on disk has the definitions.
    func storedState() throws(StoreError) -> StoredState? {
        guard let definitions else { return nil }
        var state = StoredState()
        do throws(StoredDefinitionError) {
            for group in definitions.groups {
                var targets: [Target] = []
                for target in group.targets { targets.append(try target.target()) }
                state.groups.append(
                    StoredGroup(group: try group.definition.targetGroup(named: group.name), targets: targets))
            }
            for balancer in definitions.loadBalancers {
                state.loadBalancers.append(try balancer.definition.loadBalancer(named: balancer.name))
            }
        } catch {
            throw StoreError(
                description: "what the running process has in memory cannot be taken over: \(error.message). "
                    + "Restart instead of upgrading.")
        }
        return state
    }
}

struct HandedOverTarget: Codable, Sendable {
    var address: String
    var port: UInt16
    var weight: Int
    var availabilityZone: String?

    init(_ target: Target) {
        address = target.id.address.description
        port = target.id.port
        weight = target.weight
        availabilityZone = target.availabilityZone
    }

    func target() throws(StoredDefinitionError) -> Target {
        guard let parsed = IPAddress(address), port > 0, TargetRule.weights.contains(weight),
            TargetRule.objection(to: parsed) == nil
        else { throw StoredDefinitionError(message: "target \"\(address)\" port \(port) is none") }
        return Target(
            id: TargetID(address: parsed, port: port), weight: weight, availabilityZone: availabilityZone)
    }
}

struct HandedOverRegistration: Codable, Sendable {
    /// The sender's number: UDP flows name it.
    var number: UInt32
    var group: String
    var target: HandedOverTarget
    /// Nil while registered.
    var drainingSecondsLeft: Double?
    /// `initial`, `healthy`, `lameDuck` or `unhealthy`.
    var verdict: String
    var failure: ProbeFailure?
    var lastProbeSucceeded: Bool?
    var lastProbeLatencyNanoseconds: UInt64?
    var lastProbeAt: Double?
    var isCutOff: Bool
    var unhealthyDrainingSecondsLeft: Double?
    /// Since when a target takes a growing share; nil for one that does not, or in a release before slow start.
    var slowStartSecondsAgo: Double?
    /// Whether it is to do so once it is healthy; nil as false.
    var isNewcomer: Bool?
    var shownState: String
    var since: Double

    init(_ registration: Registration, in group: String, at now: Instant) {
        number = registration.number.rawValue
        self.group = group
        target = HandedOverTarget(registration.target)
        if case .draining(let deadline) = registration.membership {
            drainingSecondsLeft = Self.seconds(until: deadline, from: now)
        }
        let past = registration.past
        switch past.verdict {
        case .initial: verdict = "initial"
        case .healthy: verdict = "healthy"
        case .lameDuck: verdict = "lameDuck"
        case .unhealthy(let failure):
            verdict = "unhealthy"
            self.failure = failure
        }
        if let probe = past.lastProbe {
            if case .failure(let cause) = probe.outcome {
                lastProbeSucceeded = false
                if failure == nil { failure = cause }
            } else {
                lastProbeSucceeded = true
            }
            lastProbeLatencyNanoseconds = probe.latencyNanoseconds
            lastProbeAt = probe.secondsSince1970
        }
        isCutOff = past.isCutOff
        unhealthyDrainingSecondsLeft = past.unhealthyDrainingUntil.map { Self.seconds(until: $0, from: now) }
        isNewcomer = past.isNewcomer
        slowStartSecondsAgo = past.slowStartBegan.map { Double(now.nanoseconds(since: $0)) / 1e9 }
        shownState = past.shownState.rawValue
        since = past.since
    }

    /// A cause that only the other release knows must not make its target look well.
    private static let unknownFailure = ProbeFailure.unreachable("the process before this one saw it fail")

    enum CodingKeys: String, CodingKey {
        case number, group, target, drainingSecondsLeft, verdict, failure, lastProbeSucceeded
        case lastProbeLatencyNanoseconds, lastProbeAt, isCutOff, unhealthyDrainingSecondsLeft, shownState,
            since, slowStartSecondsAgo, isNewcomer
    }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        number = try values.decode(UInt32.self, forKey: .number)
        group = try values.decode(String.self, forKey: .group)
        target = try values.decode(HandedOverTarget.self, forKey: .target)
        drainingSecondsLeft = try values.decodeIfPresent(Double.self, forKey: .drainingSecondsLeft)
        verdict = try values.decode(String.self, forKey: .verdict)
        failure = try? values.decodeIfPresent(ProbeFailure.self, forKey: .failure)
        lastProbeSucceeded = try values.decodeIfPresent(Bool.self, forKey: .lastProbeSucceeded)
        lastProbeLatencyNanoseconds = try values.decodeIfPresent(
            UInt64.self, forKey: .lastProbeLatencyNanoseconds)
        lastProbeAt = try values.decodeIfPresent(Double.self, forKey: .lastProbeAt)
        isCutOff = try values.decodeIfPresent(Bool.self, forKey: .isCutOff) ?? false
        unhealthyDrainingSecondsLeft = try values.decodeIfPresent(
            Double.self, forKey: .unhealthyDrainingSecondsLeft)
        isNewcomer = try values.decodeIfPresent(Bool.self, forKey: .isNewcomer)
        slowStartSecondsAgo = try values.decodeIfPresent(Double.self, forKey: .slowStartSecondsAgo)
        shownState = try values.decode(String.self, forKey: .shownState)
        since = try values.decode(Double.self, forKey: .since)
    }

    func past(at now: Instant) -> Registration.Past {
        let cause = failure ?? Self.unknownFailure
        let restored: HealthVerdict =
            switch verdict {
            case "healthy": .healthy
            case "lameDuck": .lameDuck
            case "unhealthy": .unhealthy(cause)
            default: .initial
            }
        var lastProbe: Registration.LastProbe?
        if let lastProbeSucceeded, let lastProbeAt {
            let success: ProbeOutcome = restored == .lameDuck ? .lameDuck : .success
            lastProbe = Registration.LastProbe(
                outcome: lastProbeSucceeded ? success : .failure(cause),
                latencyNanoseconds: lastProbeLatencyNanoseconds ?? 0, secondsSince1970: lastProbeAt)
        }
        return Registration.Past(
            verdict: restored, lastProbe: lastProbe, isCutOff: isCutOff,
            unhealthyDrainingUntil: unhealthyDrainingSecondsLeft.map { Self.instant($0, after: now) },
            slowStartBegan: slowStartSecondsAgo.map { Self.instant($0, before: now) },
            isNewcomer: isNewcomer ?? false,
            shownState: TargetHealthState(rawValue: shownState) ?? .initial, since: since)
    }

    func drainingUntil(at now: Instant) -> Instant? {
        drainingSecondsLeft.map { Self.instant($0, after: now) }
    }

    private static func seconds(until deadline: Instant, from now: Instant) -> Double {
        Double(deadline.nanoseconds(since: now)) / 1e9
    }

    private static func instant(_ seconds: Double, before now: Instant) -> Instant {
        let nanoseconds = UInt64(min(max(seconds, 0), 3_600) * 1e9)
        return Instant(nanoseconds: now.nanoseconds - min(nanoseconds, now.nanoseconds))
    }

    /// Bounded by the longest deregistration delay: the number is another process's.
    private static func instant(_ seconds: Double, after now: Instant) -> Instant {
        now.advanced(byMilliseconds: Int(min(max(seconds, 0), 3_600) * 1_000))
    }
}

extension RegistryState {
    /// What is known of each target, for the process that takes over.
    func handedOver(at now: Instant) -> [HandedOverRegistration] {
        groups.flatMap { group in
            group.registrations.map { HandedOverRegistration($0, in: group.group.name, at: now) }
        }
    }

    /// Gives targets the past that another process knew, and brings back those that drain.
    ///
    /// Returns where each number of that process is now.
    mutating func restore(
        _ past: HandedOverRegistry, at now: Instant, secondsSince1970: Double
    ) -> [UInt32: TargetNumber] {
        var numbers: [UInt32: TargetNumber] = [:]
        for old in past.registrations {
            guard let position = groupPosition(named: old.group),
                let target = try? old.target.target()
            else { continue }
            if self[group: position].position(of: target.id) == nil, old.drainingSecondsLeft != nil {
                _ = insertTarget(target, group: position, at: now, secondsSince1970: secondsSince1970)
            }
            guard let index = self[group: position].position(of: target.id) else { continue }
            if let deadline = old.drainingUntil(at: now) {
                self[group: position][index].deregister(until: deadline)
            }
            self[group: position][index].restore(old.past(at: now))
            numbers[old.number] = self[group: position][index].number
        }
        return numbers
    }
}
