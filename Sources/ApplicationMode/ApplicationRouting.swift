// What application mode's workers route by, compiled once for each snapshot and shared by all of them.
//
// The control plane's thread compiles, before the snapshot is published; workers find the result by the snapshot's
// version. So a thousand rules cost a worker nothing but a reference.

import Balancing
import HTTPCore
import Synchronization

/// One listener, with its rules compiled.
final class ListenerRouting: Sendable {
    let id: ListenerID
    let route: ApplicationRoute
    let rules: CompiledRules
    /// What targets are told of clients' TLS; nil for nothing.
    let tlsFields: TLSFieldPlan?
    let mutualAuthentication: MutualAuthentication

    init(_ id: ListenerID, _ route: ApplicationRoute, mutualAuthentication: MutualAuthentication) {
        self.id = id
        self.route = route
        self.mutualAuthentication = mutualAuthentication
        rules = CompiledRules(route.rules)
        tlsFields = TLSFieldPlan(
            route.loadBalancerAttributes, route.listenerAttributes, mutualAuthentication: mutualAuthentication
        )
    }

    var attributes: ApplicationLoadBalancerAttributes { route.loadBalancerAttributes }
}

final class ApplicationRouting: Sendable {
    let version: UInt64
    /// Indexed by `ListenerNumber`; nil where a number is not application mode's.
    private let listeners: [ListenerRouting?]
    /// Indexed by `TargetNumber`.
    private let isEligible: [Bool]

    static let empty = ApplicationRouting(.empty)

    /// - Parameter last: Whose compiled rules are taken over for listeners that have not changed.
    init(_ snapshot: RoutingSnapshot, reusing last: ApplicationRouting? = nil) {
        version = snapshot.version
        listeners = snapshot.listeners.enumerated().map { index, route in
            guard let route, let application = route.application else { return nil }
            let known = last.flatMap { $0.listener(ListenerNumber(UInt32(index))) }
            let mutualAuthentication = route.tls?.mutualAuthentication ?? .off
            if let known, known.route === application, known.id == route.id,
                known.mutualAuthentication == mutualAuthentication
            {
                return known
            }
            return ListenerRouting(
                route.id, application, mutualAuthentication: mutualAuthentication)
        }
        var isEligible = [Bool](repeating: false, count: snapshot.endpoints.count)
        for group in snapshot.groups where group.application != nil {
            for target in group.targets where Int(target.rawValue) < isEligible.count {
                isEligible[Int(target.rawValue)] = true
            }
        }
        self.isEligible = isEligible
    }

    /// Whether the target gets new requests: it does not while it drains or is unhealthy.
    func takesRequests(_ target: TargetNumber) -> Bool {
        let number = Int(target.rawValue)
        return number < isEligible.count && isEligible[number]
    }

    func listener(_ number: ListenerNumber) -> ListenerRouting? {
        let index = Int(number.rawValue)
        return index < listeners.count ? listeners[index] : nil
    }
}

/// Where workers find what belongs to a snapshot that they were just told of.
final class RoutingShelf: Sendable {
    private let routings = Mutex<[UInt64: ApplicationRouting]>([:])

    /// Puts a routing where workers find it. Versions rise, and older ones than the newest two are of no use.
    func put(_ routing: ApplicationRouting) {
        routings.withLock { routings in
            routings[routing.version] = routing
            for version in routings.keys.sorted().dropLast(2) { routings[version] = nil }
        }
    }

    /// The routing of a snapshot; compiled here and now if nobody has done it.
    func routing(for snapshot: RoutingSnapshot) -> ApplicationRouting {
        let (found, last) = routings.withLock { routings in
            (routings[snapshot.version], routings.values.max { $0.version < $1.version })
        }
        if let found { return found }
        let made = ApplicationRouting(snapshot, reusing: last)
        put(made)
        return made
    }
}
