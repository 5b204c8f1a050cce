// Load balancers, their listeners and what a listener does with a flow.

/// A configured whole: static addresses and the listeners on them.
package struct LoadBalancer: Hashable, Sendable {
    package enum Kind: String, Sendable, Hashable {
        case network
        case application
    }

    package var name: String
    package var kind: Kind
    /// The static listen addresses, IPv4 and IPv6 in any mix; `0.0.0.0` and `::` mean every address.
    package var addresses: [IPAddress]
    /// Binds addresses that this machine does not have yet; see ip(7), IP_FREEBIND.
    package var isFreebind: Bool
    package var attributes: LoadBalancerAttributes
    package var listeners: [Listener]

    package init(
        name: String, kind: Kind = .network, addresses: [IPAddress], isFreebind: Bool = false,
        attributes: LoadBalancerAttributes = LoadBalancerAttributes(), listeners: [Listener] = []
    ) {
        self.name = name
        self.kind = kind
        self.addresses = addresses
        self.isFreebind = isFreebind
        self.attributes = attributes
        self.listeners = listeners
    }
}

/// Where clients arrive: one port of one load balancer, on all of its addresses.
package struct Listener: Hashable, Sendable {
    package var port: UInt16
    package var `protocol`: TrafficProtocol
    package var defaultAction: ForwardAction
    package var attributes: ListenerAttributes

    package init(
        port: UInt16, protocol: TrafficProtocol, defaultAction: ForwardAction,
        attributes: ListenerAttributes = ListenerAttributes()
    ) {
        self.port = port
        self.protocol = `protocol`
        self.defaultAction = defaultAction
        self.attributes = attributes
    }
}

/// Names a listener as people do: `edge:443`. A load balancer has at most one listener per port, as in ELBv2.
package struct ListenerID: Hashable, Sendable, LosslessStringConvertible {
    package let loadBalancer: String
    package let port: UInt16

    package init(loadBalancer: String, port: UInt16) {
        self.loadBalancer = loadBalancer
        self.port = port
    }

    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), colon != text.startIndex else { return nil }
        let digits = text[text.index(after: colon)...]
        // UInt16 would also read "+443".
        guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(digits), port > 0
        else { return nil }
        self.init(loadBalancer: String(text[..<colon]), port: port)
    }

    package var description: String { "\(loadBalancer):\(port)" }
}

/// ELBv2's forward action: one or more target groups, each with a weight.
package struct ForwardAction: Hashable, Sendable {
    package struct WeightedTargetGroup: Hashable, Sendable {
        package var targetGroup: String
        /// 0–999; a group of weight 0 gets no flows.
        package var weight: Int

        package init(targetGroup: String, weight: Int = 1) {
            self.targetGroup = targetGroup
            self.weight = weight
        }
    }

    package var targetGroups: [WeightedTargetGroup]
    /// Keeps a client on the group it was given, by hashing its address alone.
    package var isStickyByGroup: Bool

    package init(targetGroups: [WeightedTargetGroup], isStickyByGroup: Bool = false) {
        self.targetGroups = targetGroups
        self.isStickyByGroup = isStickyByGroup
    }
}
