// The ELBv2 attributes that Weir has, under their own keys, with ELBv2's defaults and ranges.
//
// One table per subject is the whole truth: validation, printing and the "did you mean" of the
// configuration all read it, so that a key cannot exist in one place and not in another. A key that only network or
// only application load balancers have is refused, and not shown, on the other kind.

/// Why an attribute was refused, with the bound and the next step for people.
public struct AttributeError: Error, Equatable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// One attribute of `Attributes`: its key, and how its text form is read and written.
public struct AttributeDefinition<Attributes>: Sendable {
    public let key: String
    /// The load balancers that have it, or whose listeners or groups have; nil for both.
    public private(set) var kind: LoadBalancer.Kind?
    public let read: @Sendable (Attributes) -> String
    public let write: @Sendable (inout Attributes, String) throws(AttributeError) -> Void

    init(
        key: String, read: @escaping @Sendable (Attributes) -> String,
        write: @escaping @Sendable (inout Attributes, String) throws(AttributeError) -> Void
    ) {
        self.key = key
        self.read = read
        self.write = write
    }

    /// The same, of one kind of load balancer alone.
    func only(_ kind: LoadBalancer.Kind) -> Self {
        var definition = self
        definition.kind = kind
        return definition
    }

    static func boolean(
        _ key: String, _ path: any WritableKeyPath<Attributes, Bool> & Sendable
    ) -> Self {
        Self(
            key: key,
            read: { $0[keyPath: path] ? "true" : "false" },
            write: { attributes, text throws(AttributeError) in
                guard text == "true" || text == "false" else {
                    throw AttributeError("\(key) is \"\(text)\"; it must be true or false")
                }
                attributes[keyPath: path] = text == "true"
            })
    }

    static func integer(
        _ key: String, _ path: any WritableKeyPath<Attributes, Int> & Sendable, in range: ClosedRange<Int>
    ) -> Self {
        Self(
            key: key,
            read: { String($0[keyPath: path]) },
            write: { attributes, text throws(AttributeError) in
                guard let value = Int(text), range.contains(value) else {
                    throw AttributeError(
                        "\(key) is \"\(text)\"; it must be a whole number from \(range.lowerBound) to \(range.upperBound)"
                    )
                }
                attributes[keyPath: path] = value
            })
    }

    /// A number or "off", which is nil.
    static func optionalInteger(
        _ key: String, _ path: any WritableKeyPath<Attributes, Int?> & Sendable, in range: ClosedRange<Int>
    ) -> Self {
        Self(
            key: key,
            read: { $0[keyPath: path].map(String.init) ?? "off" },
            write: { attributes, text throws(AttributeError) in
                if text == "off" {
                    attributes[keyPath: path] = nil
                    return
                }
                guard let value = Int(text), range.contains(value) else {
                    throw AttributeError(
                        "\(key) is \"\(text)\"; it must be \"off\" or a whole number from \(range.lowerBound) to \(range.upperBound)"
                    )
                }
                attributes[keyPath: path] = value
            })
    }

    /// One of the words of an enumeration.
    static func choice<Choice: RawRepresentable & CaseIterable & Sendable>(
        _ key: String, _ path: any WritableKeyPath<Attributes, Choice> & Sendable
    ) -> Self where Choice.RawValue == String {
        Self(
            key: key,
            read: { $0[keyPath: path].rawValue },
            write: { attributes, text throws(AttributeError) in
                guard let value = Choice(rawValue: text) else {
                    let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
                    throw AttributeError("\(key) is \"\(text.prefix(60))\"; it must be one of \(known)")
                }
                attributes[keyPath: path] = value
            })
    }

    /// A file in the place of ELBv2's bucket: a whole path that ends with `.log`, or `stdout`; empty for none.
    static func logFile(
        _ key: String, _ path: any WritableKeyPath<Attributes, String> & Sendable
    ) -> Self {
        Self(
            key: key, read: { $0[keyPath: path] },
            write: { attributes, text throws(AttributeError) in
                // The ending keeps whoever may change the appliance from having it append to files that
                // programs obey, such as ld.so.preload, or to Weir's own store.
                let isPath =
                    text.hasPrefix("/") && text.hasSuffix(".log") && text.utf8.count < 4_096
                    && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
                guard text.isEmpty || text == "stdout" || isPath else {
                    throw AttributeError(
                        "\(key) is \"\(text.prefix(60))\"; it must be \"stdout\" or the whole path "
                            + "of a file, beginning with \"/\" and ending with \".log\"")
                }
                attributes[keyPath: path] = text
            })
    }

    /// An attribute of which Weir has one value so far.
    static func fixed(_ key: String, _ only: String, because reason: String) -> Self {
        Self(
            key: key,
            read: { _ in only },
            write: { _, text throws(AttributeError) in
                guard text == only else {
                    throw AttributeError("\(key) is \"\(text)\"; only \"\(only)\" is supported: \(reason)")
                }
            })
    }
}

/// A set of attributes that can be read and written by ELBv2 key.
public protocol AttributeSet: Sendable {
    static var definitions: [AttributeDefinition<Self>] { get }
    /// The kind of load balancer that the subject is, or belongs to.
    var kind: LoadBalancer.Kind { get }
    /// Who has the attributes of a kind, for people: `application load balancers`.
    static func owners(of kind: LoadBalancer.Kind) -> String
}

extension AttributeSet {
    /// The definitions that apply to this subject.
    private var ownDefinitions: [AttributeDefinition<Self>] {
        Self.definitions.filter { $0.kind == nil || $0.kind == kind }
    }

    /// Marks definitions as those of one kind alone.
    static func only(
        _ kind: LoadBalancer.Kind, _ definitions: [AttributeDefinition<Self>]
    ) -> [AttributeDefinition<Self>] {
        definitions.map { $0.only(kind) }
    }

    /// The keys that this subject has, in the order of the definitions.
    public var keys: [String] { ownDefinitions.map(\.key) }

    /// Every attribute as key and text, in the order of the definitions.
    public var values: [(key: String, value: String)] {
        ownDefinitions.map { ($0.key, $0.read(self)) }
    }

    /// Whether a key is one that the other kind of load balancer has, and this subject has not.
    public func isForeign(_ key: String) -> Bool {
        !keys.contains(key) && Self.definitions.contains { $0.key == key }
    }

    /// Sets one attribute from its text form.
    public mutating func set(_ key: String, to text: String) throws(AttributeError) {
        if let definition = ownDefinitions.first(where: { $0.key == key }) {
            try definition.write(&self, text)
            return
        }
        guard let other = Self.definitions.first(where: { $0.key == key })?.kind else {
            throw AttributeError("unknown attribute \"\(key)\"")
        }
        throw AttributeError(
            "\(key) is an attribute of \(Self.owners(of: other)), and this is one of "
                + "\(Self.owners(of: kind)): leave it out")
    }
}

// MARK: - Target groups

public struct TargetGroupAttributes: AttributeSet, Hashable {
    public enum CrossZone: String, Sendable, CaseIterable {
        case enabled = "true"
        case disabled = "false"
        case inherited = "use_load_balancer_configuration"
    }

    public var deregistrationDelaySeconds = 300
    public var terminatesConnectionsOnDeregistration = false
    public var isSticky = false
    /// Targets see the client's address, by IP_TRANSPARENT. Off for every protocol, unlike in ELBv2: targets
    /// must route their answers back through Weir; see `weir network`.
    public var preservesClientIP = false
    /// Each connection, and each UDP flow on its first datagram, begins with a PROXY protocol v2 header.
    public var sendsProxyProtocol = false
    public var crossZone = CrossZone.inherited
    public var minimumHealthyCountForFailover: Int? = 1
    public var minimumHealthyPercentageForFailover: Int?
    public var minimumHealthyCountForRouting = 1
    public var minimumHealthyPercentageForRouting: Int?
    public var terminatesConnectionsWhenUnhealthy = true
    public var unhealthyDrainingIntervalSeconds = 0
    /// Of HTTP and HTTPS groups.
    public var application = ApplicationTargetGroupAttributes()
    public let kind: LoadBalancer.Kind

    /// ELBv2's defaults; a group that carries UDP ends its flows at deregistration unless told otherwise.
    ///
    /// An application group always ends them when the delay is over, and never because a target is unhealthy.
    public init(for protocol: TrafficProtocol) {
        kind = `protocol`.kind
        terminatesConnectionsOnDeregistration = `protocol`.carriesUDP || !`protocol`.isNetwork
        terminatesConnectionsWhenUnhealthy = `protocol`.isNetwork
    }

    public static func owners(of kind: LoadBalancer.Kind) -> String {
        switch kind {
        case .network: "TCP, UDP, TCP_UDP and TLS target groups"
        case .application: "HTTP and HTTPS target groups"
        }
    }

    public static let definitions: [AttributeDefinition<Self>] =
        [
            .integer("deregistration_delay.timeout_seconds", \.deregistrationDelaySeconds, in: 0...3600),
            AttributeDefinition.boolean(
                "deregistration_delay.connection_termination.enabled",
                \.terminatesConnectionsOnDeregistration
            ).only(.network),
            .boolean("stickiness.enabled", \.isSticky),
            AttributeDefinition.fixed(
                "stickiness.type", "source_ip",
                because: "cookies belong to application load balancers"
            ).only(.network),
            AttributeDefinition.boolean("preserve_client_ip.enabled", \.preservesClientIP).only(.network),
            AttributeDefinition.boolean("proxy_protocol_v2.enabled", \.sendsProxyProtocol).only(.network),
            AttributeDefinition(
                key: "load_balancing.cross_zone.enabled",
                read: { $0.crossZone.rawValue },
                write: { attributes, text throws(AttributeError) in
                    guard let value = CrossZone(rawValue: text) else {
                        throw AttributeError(
                            "load_balancing.cross_zone.enabled is \"\(text)\"; it must be true, false or use_load_balancer_configuration"
                        )
                    }
                    attributes.crossZone = value
                }),
            .optionalInteger(
                "target_group_health.dns_failover.minimum_healthy_targets.count",
                \.minimumHealthyCountForFailover, in: 1...Limits.targetCountMax),
            .optionalInteger(
                "target_group_health.dns_failover.minimum_healthy_targets.percentage",
                \.minimumHealthyPercentageForFailover, in: 1...100),
            .integer(
                "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
                \.minimumHealthyCountForRouting, in: 1...Limits.targetCountMax),
            .optionalInteger(
                "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
                \.minimumHealthyPercentageForRouting, in: 1...100),
            AttributeDefinition.boolean(
                "target_health_state.unhealthy.connection_termination.enabled",
                \.terminatesConnectionsWhenUnhealthy
            ).only(.network),
            AttributeDefinition.integer(
                "target_health_state.unhealthy.draining_interval_seconds",
                \.unhealthyDrainingIntervalSeconds, in: 0...360_000
            ).only(.network),
        ] + applicationDefinitions
}

// MARK: - Load balancers and listeners

public struct LoadBalancerAttributes: AttributeSet, Hashable {
    /// Off by default on network load balancers, and always on on application load balancers, as in ELBv2.
    public var isCrossZone = false
    public var isAccessLogEnabled = false
    /// A file in the place of ELBv2's bucket: a whole path that ends with `.log`, or `stdout`; empty for none.
    public var accessLogFile = ""
    /// Of application load balancers.
    public var application = ApplicationLoadBalancerAttributes()
    public let kind: LoadBalancer.Kind

    /// ELBv2's defaults.
    public init(for kind: LoadBalancer.Kind = .network) {
        self.kind = kind
        isCrossZone = kind == .application
    }

    public static func owners(of kind: LoadBalancer.Kind) -> String { "\(kind.rawValue) load balancers" }

    /// Where the access log goes, of TLS listeners or of requests; nil when it goes nowhere.
    public var accessLogPath: String? {
        isAccessLogEnabled && !accessLogFile.isEmpty ? accessLogFile : nil
    }

    public static let accessLogEnabledKey = "access_logs.file.enabled"
    public static let accessLogPathKey = "access_logs.file.path"

    public static let definitions: [AttributeDefinition<Self>] =
        [
            AttributeDefinition.boolean("load_balancing.cross_zone.enabled", \.isCrossZone).only(.network),
            AttributeDefinition.fixed(
                "load_balancing.cross_zone.enabled", "true",
                because:
                    "an application load balancer always spreads over all zones; a target group may say otherwise"
            ).only(.application),
            .boolean(accessLogEnabledKey, \.isAccessLogEnabled),
            .logFile(accessLogPathKey, \.accessLogFile),
        ] + applicationDefinitions
}

public struct ListenerAttributes: AttributeSet, Hashable {
    /// 60–6,000 seconds without a byte either way, then both sides are reset.
    public var tcpIdleTimeoutSeconds = 350
    /// Of HTTP and HTTPS listeners.
    public var application = ApplicationListenerAttributes()
    public let kind: LoadBalancer.Kind

    public init(for protocol: TrafficProtocol = .tcp) {
        kind = `protocol`.kind
    }

    public static func owners(of kind: LoadBalancer.Kind) -> String {
        switch kind {
        case .network: "TCP, UDP, TCP_UDP and TLS listeners"
        case .application: "HTTP and HTTPS listeners"
        }
    }

    public static let definitions: [AttributeDefinition<Self>] =
        only(.network, [.integer("tcp.idle_timeout.seconds", \.tcpIdleTimeoutSeconds, in: 60...6000)])
        + applicationDefinitions
}
