// All that a worker needs to route, as one immutable value.
//
// The control plane compiles a snapshot, hands it to every worker's mailbox and waits until each has
// taken it between two turns. A flow keeps the target it was admitted with.

/// What few routes have, behind one reference: a route is copied for every new flow, and each string or array in
/// it would be counted then.
private final class Shared<Value: Sendable>: Sendable {
    let value: Value

    init(_ value: Value) {
        self.value = value
    }
}

/// Where a listener's flows go.
public struct ListenerRoute: Sendable {
    private struct Entrance: Sendable {
        let tls: TLSListenerSettings?
        let proxyProtocol: ProxyProtocolSettings?
        let rules: [PassthroughRoute]
        let accessLogPath: String?
        let application: ApplicationRoute?
    }

    public struct Choice: Sendable {
        /// Index into `RoutingSnapshot.groups`.
        public let groupIndex: Int
        /// The running sum of weights up to and including this choice.
        public let cumulativeWeight: UInt32

        public init(groupIndex: Int, cumulativeWeight: UInt32) {
            self.groupIndex = groupIndex
            self.cumulativeWeight = cumulativeWeight
        }
    }

    public let id: ListenerID
    /// Groups of positive weight, in the order of the configuration.
    public let choices: [Choice]
    public let isStickyByGroup: Bool
    public let tcpIdleTimeoutSeconds: Int
    private let entrance: Shared<Entrance>?

    /// Names the context of a TLS listener; nil where TLS is not ended.
    public var tls: TLSListenerSettings? { entrance?.value.tls }
    /// Whose connections begin with a PROXY protocol header.
    public var proxyProtocol: ProxyProtocolSettings? { entrance?.value.proxyProtocol }
    /// In rising priority; with any, the ClientHello is peeked at before a group is chosen.
    public var rules: [PassthroughRoute] { entrance?.value.rules ?? [] }
    /// Where connections of a TLS listener are logged; nil where they are not.
    public var accessLogPath: String? { entrance?.value.accessLogPath }
    /// Present exactly when the listener is application mode's; `choices` and `rules` are empty then.
    public var application: ApplicationRoute? { entrance?.value.application }

    public init(
        id: ListenerID, choices: [Choice], isStickyByGroup: Bool, tcpIdleTimeoutSeconds: Int,
        tls: TLSListenerSettings? = nil, proxyProtocol: ProxyProtocolSettings? = nil,
        rules: [PassthroughRoute] = [], accessLogPath: String? = nil, application: ApplicationRoute? = nil
    ) {
        self.id = id
        self.choices = choices
        self.isStickyByGroup = isStickyByGroup
        self.tcpIdleTimeoutSeconds = tcpIdleTimeoutSeconds
        let isPlain =
            tls == nil && proxyProtocol == nil && rules.isEmpty && accessLogPath == nil && application == nil
        entrance =
            isPlain
            ? nil
            : Shared(
                Entrance(
                    tls: tls, proxyProtocol: proxyProtocol, rules: rules, accessLogPath: accessLogPath,
                    application: application))
    }
}

/// One target group as a listener sees it: the targets that may get new flows, and the table that spreads over them.
public struct GroupRoute: Sendable {
    private struct Extras: Sendable {
        let tls: TLSTargetRoute?
        let application: ApplicationGroupRoute?
    }

    public let name: String
    /// The eligible targets, in the order in which the table was built.
    public let targets: [TargetNumber]
    public let flowHash: FlowHash
    public let isSticky: Bool
    /// Too few targets are healthy, so that all are eligible.
    public let isFailOpen: Bool
    public let connectTimeoutSeconds: Int
    public let connectAttemptCountMax: Int
    private let extras: Shared<Extras>?

    /// Names the context towards the targets; nil where they get the bytes as they are.
    public var tls: TLSTargetRoute? { extras?.value.tls }
    /// `preserve_client_ip.enabled`
    public let preservesClientIP: Bool
    /// `proxy_protocol_v2.enabled`
    public let sendsProxyProtocol: Bool
    /// Present exactly when the group is application mode's.
    public var application: ApplicationGroupRoute? { extras?.value.application }
    /// What the targets speak; HTTP/1 in network mode, which does not ask.
    public var protocolVersion: ProtocolVersion { application?.protocolVersion ?? .http1 }

    public init(
        name: String, targets: [TargetNumber], flowHash: FlowHash, isSticky: Bool, isFailOpen: Bool = false,
        connectTimeoutSeconds: Int, connectAttemptCountMax: Int, tls: TLSTargetRoute? = nil,
        preservesClientIP: Bool = false, sendsProxyProtocol: Bool = false,
        application: ApplicationGroupRoute? = nil
    ) {
        self.name = name
        self.targets = targets
        self.flowHash = flowHash
        self.isSticky = isSticky
        self.isFailOpen = isFailOpen
        self.connectTimeoutSeconds = connectTimeoutSeconds
        self.connectAttemptCountMax = connectAttemptCountMax
        extras =
            tls == nil && application == nil ? nil : Shared(Extras(tls: tls, application: application))
        self.preservesClientIP = preservesClientIP
        self.sendsProxyProtocol = sendsProxyProtocol
    }
}

public final class RoutingSnapshot: Sendable {
    /// Rises by one with every publication.
    public let version: UInt64
    public let seed: HashSeed
    /// Indexed by `ListenerNumber`; nil where a number is not in use.
    public let listeners: [ListenerRoute?]
    public let groups: [GroupRoute]
    /// Indexed by `TargetNumber`; nil where a number is not in use. Draining targets stay listed.
    public let endpoints: [Endpoint?]
    /// The source addresses towards targets; empty lets the kernel choose.
    public let sourceAddresses: [IPAddress]
    public let stickinessKeys: StickinessKeys
    /// By group: what cookies of application groups name; nil for groups of network mode.
    public let stickyTargets: [StickyTargets?]

    public init(
        version: UInt64, seed: HashSeed, listeners: [ListenerRoute?], groups: [GroupRoute],
        endpoints: [Endpoint?], sourceAddresses: [IPAddress]
    ) {
        self.version = version
        self.seed = seed
        self.listeners = listeners
        self.groups = groups
        self.endpoints = endpoints
        self.sourceAddresses = sourceAddresses
        let keys = StickinessKeys(seed: seed)
        stickinessKeys = keys
        stickyTargets = groups.map { group in
            group.application == nil ? nil : StickyTargets(of: group, endpoints: endpoints, keys: keys)
        }
    }

    public static let empty = RoutingSnapshot(
        version: 0, seed: HashSeed(first: 0, second: 0), listeners: [], groups: [], endpoints: [],
        sourceAddresses: [])
}

/// The targets that a flow has already tried in vain.
public struct TriedTargets: Sendable, BitwiseCopyable {
    private var numbers: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32) = (
        .max, .max, .max, .max, .max, .max, .max, .max
    )
    public private(set) var count: UInt8 = 0

    public init() {}

    public mutating func insert(_ target: TargetNumber) {
        let number = target.rawValue
        switch count {
        case 0: numbers.0 = number
        case 1: numbers.1 = number
        case 2: numbers.2 = number
        case 3: numbers.3 = number
        case 4: numbers.4 = number
        case 5: numbers.5 = number
        case 6: numbers.6 = number
        case 7: numbers.7 = number
        default: return
        }
        count += 1
    }

    public func contains(_ target: TargetNumber) -> Bool {
        let number = target.rawValue
        return numbers.0 == number || numbers.1 == number || numbers.2 == number || numbers.3 == number
            || numbers.4 == number || numbers.5 == number || numbers.6 == number || numbers.7 == number
    }
}

/// The answer to "where would this flow go, and why?".
public struct Selection: Sendable, Equatable {
    public let target: TargetNumber
    public let endpoint: Endpoint
    public let groupIndex: Int
    /// The slot of the group's table that the key fell on.
    public let tableSlot: Int
}

extension RoutingSnapshot {
    /// The route of a listener; nil when its number is not in use.
    public func route(of listener: ListenerNumber) -> ListenerRoute? {
        let number = Int(listener.rawValue)
        return number < listeners.count ? listeners[number] : nil
    }

    /// Where a target is; nil when its number is not in use.
    public func endpoint(of target: TargetNumber) -> Endpoint? {
        let number = Int(target.rawValue)
        return number < endpoints.count ? endpoints[number] : nil
    }

    /// Chooses the target of a new flow: first the group by weight, then the target by the group's table.
    ///
    /// A group whose every eligible target was tried, or that has none, yields nil. Constant time but for
    /// a walk along the table when the first choice was already tried.
    ///
    /// - Parameter rule: The rule of the listener that applies; see `ListenerRoute.rule(forServerName:…)`.
    public func select(
        listener: ListenerNumber, rule: Int? = nil, key: FlowKey,
        excluding tried: TriedTargets = TriedTargets()
    ) -> Selection? {
        guard let route = route(of: listener), let groupIndex = chooseGroup(of: route, rule: rule, key: key)
        else { return nil }
        let group = groups[groupIndex]
        guard !group.targets.isEmpty else { return nil }
        let hash =
            group.isSticky
            ? SipHash.hash(key.client.address, seed: seed)
            : SipHash.hash(key, seed: seed)
        let slot = group.flowHash.slot(for: hash)
        guard
            let position = group.flowHash.firstPosition(
                from: slot,
                where: { position in
                    tried.count == 0 || !tried.contains(group.targets[position])
                })
        else { return nil }
        let target = group.targets[position]
        guard let endpoint = endpoint(of: target) else { return nil }
        return Selection(target: target, endpoint: endpoint, groupIndex: groupIndex, tableSlot: slot)
    }

    /// The group by weight. Its hash has a seed of its own: with the table's, group and target would correlate.
    ///
    /// - Parameter rule: A rule that the route no longer has, since a snapshot came between, has no group.
    public func chooseGroup(of route: ListenerRoute, rule: Int? = nil, key: FlowKey) -> Int? {
        guard let rule else {
            return chooseGroup(among: route.choices, isSticky: route.isStickyByGroup, key: key)
        }
        guard route.rules.indices.contains(rule) else { return nil }
        return chooseGroup(
            among: route.rules[rule].choices, isSticky: route.rules[rule].isStickyByGroup, key: key)
    }

    private func chooseGroup(among choices: [ListenerRoute.Choice], isSticky: Bool, key: FlowKey) -> Int? {
        guard let total = choices.last?.cumulativeWeight, total > 0 else { return nil }
        if choices.count == 1 { return choices[0].groupIndex }
        let groupSeed = HashSeed(first: seed.first ^ 0x5745_4952, second: ~seed.second)
        let hash =
            isSticky
            ? SipHash.hash(key.client.address, seed: groupSeed)
            : SipHash.hash(key, seed: groupSeed)
        let point = UInt32(truncatingIfNeeded: hash.multipliedFullWidth(by: UInt64(total)).high)
        return choices.first { point < $0.cumulativeWeight }?.groupIndex
    }
}
