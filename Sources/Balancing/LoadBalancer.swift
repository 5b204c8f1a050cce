// Load balancers, their listeners and what a listener does with a flow.

/// A configured whole: static addresses and the listeners on them.
public struct LoadBalancer: Hashable, Sendable {
    public enum Kind: String, Sendable, Hashable {
        case network
        case application
    }

    public var name: String
    public var kind: Kind
    /// The static listen addresses, IPv4 and IPv6 in any mix; `0.0.0.0` and `::` mean every address.
    public var addresses: [IPAddress]
    /// Binds addresses that this machine does not have yet; see ip(7), IP_FREEBIND.
    public var isFreebind: Bool
    public var attributes: LoadBalancerAttributes
    public var listeners: [Listener]

    public init(
        name: String, kind: Kind = .network, addresses: [IPAddress], isFreebind: Bool = false,
        attributes: LoadBalancerAttributes? = nil, listeners: [Listener] = []
    ) {
        self.name = name
        self.kind = kind
        self.addresses = addresses
        self.isFreebind = isFreebind
        self.attributes = attributes ?? LoadBalancerAttributes(for: kind)
        self.listeners = listeners
    }
}

/// Where clients arrive: one port of one load balancer, on all of its addresses.
public struct Listener: Hashable, Sendable {
    public var port: UInt16
    public var `protocol`: TrafficProtocol
    /// Always a forward action unless the protocol is HTTP or HTTPS.
    public var defaultAction: RuleAction
    public var attributes: ListenerAttributes
    /// Present exactly when the protocol is TLS or HTTPS. What HTTPS listeners negotiate by ALPN is for the load
    /// balancer to say: see `LoadBalancer.tls(of:)`.
    public var tls: TLSListenerSettings?
    /// TCP and TLS: who may send PROXY protocol headers; nil believes nobody.
    public var proxyProtocol: ProxyProtocolSettings?
    /// TCP: which group by the ClientHello, in rising priority.
    public var rules: [PassthroughRule]
    /// HTTP and HTTPS: in rising priority.
    public var applicationRules: [ListenerRule]

    public init(
        port: UInt16, protocol: TrafficProtocol, defaultAction: RuleAction,
        attributes: ListenerAttributes? = nil, tls: TLSListenerSettings? = nil,
        proxyProtocol: ProxyProtocolSettings? = nil, rules: [PassthroughRule] = [],
        applicationRules: [ListenerRule] = []
    ) {
        self.port = port
        self.protocol = `protocol`
        self.defaultAction = defaultAction
        self.attributes = attributes ?? ListenerAttributes(for: `protocol`)
        self.tls = tls
        self.proxyProtocol = proxyProtocol
        self.rules = rules
        self.applicationRules = applicationRules
    }

    /// The forward actions of all rules, and that of the default action last.
    public var actions: [ForwardAction] {
        rules.map(\.action) + (applicationRules.map(\.action) + [defaultAction]).compactMap(\.forward)
    }
}

extension LoadBalancer {
    /// What a context for the listener is made of; nil where TLS is not ended.
    ///
    /// An HTTPS listener offers HTTP/2 and HTTP/1.1 by `routing.http2.enabled`, which is an attribute of the whole.
    public func tls(of listener: Listener) -> TLSListenerSettings? {
        guard var settings = listener.tls else { return nil }
        if listener.protocol == .https {
            settings.alpn = attributes.application.isHTTP2Enabled ? .http2Preferred : .http1Only
        }
        return settings
    }
}

/// Names a listener as people do: `edge:443`. A load balancer has at most one listener per port, as in ELBv2.
public struct ListenerID: Hashable, Sendable, LosslessStringConvertible {
    public let loadBalancer: String
    public let port: UInt16

    public init(loadBalancer: String, port: UInt16) {
        self.loadBalancer = loadBalancer
        self.port = port
    }

    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), colon != text.startIndex else { return nil }
        let digits = text[text.index(after: colon)...]
        // UInt16 would also read "+443".
        guard digits.utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(digits), port > 0
        else { return nil }
        self.init(loadBalancer: String(text[..<colon]), port: port)
    }

    public var description: String { "\(loadBalancer):\(port)" }
}

/// ELBv2's forward action: one or more target groups, each with a weight.
public struct ForwardAction: Hashable, Sendable {
    public struct WeightedTargetGroup: Hashable, Sendable {
        public var targetGroup: String
        /// 0–999; a group of weight 0 gets no flows.
        public var weight: Int

        public init(targetGroup: String, weight: Int = 1) {
            self.targetGroup = targetGroup
            self.weight = weight
        }
    }

    public var targetGroups: [WeightedTargetGroup]
    /// Keeps a client on the group it was given: for good by hashing its address alone on a network load balancer,
    /// for a while by a cookie on an application load balancer.
    public var isStickyByGroup: Bool
    /// 1–604,800; present exactly when an application load balancer keeps clients on their group.
    public var stickinessSeconds: Int?

    public init(
        targetGroups: [WeightedTargetGroup], isStickyByGroup: Bool = false, stickinessSeconds: Int? = nil
    ) {
        self.targetGroups = targetGroups
        self.isStickyByGroup = isStickyByGroup || stickinessSeconds != nil
        self.stickinessSeconds = stickinessSeconds
    }
}
