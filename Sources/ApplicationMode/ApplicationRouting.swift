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

    init(_ id: ListenerID, _ route: ApplicationRoute, mutualAuthentication: MutualAuthentication) {
        self.id = id
        self.route = route
        rules = CompiledRules(route.rules)
        tlsFields = TLSFieldPlan(
            route.loadBalancerAttributes, route.listenerAttributes, mutualAuthentication: mutualAuthentication)
    }

    var attributes: ApplicationLoadBalancerAttributes { route.loadBalancerAttributes }
}

final class ApplicationRouting: Sendable {
    let version: UInt64
    /// Indexed by `ListenerNumber`; nil where a number is not application mode's.
    private let listeners: [ListenerRouting?]

    static let empty = ApplicationRouting(.empty)

    init(_ snapshot: RoutingSnapshot) {
        version = snapshot.version
        listeners = snapshot.listeners.map { route in
            route.flatMap { route in
                route.application.map {
                    ListenerRouting(
                        route.id, $0, mutualAuthentication: route.tls?.mutualAuthentication ?? .off)
                }
            }
        }
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
        if let found = routings.withLock({ $0[snapshot.version] }) { return found }
        let made = ApplicationRouting(snapshot)
        put(made)
        return made
    }
}
