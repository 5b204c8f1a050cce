// Target groups and their targets.

/// Where flows go: targets that serve the same thing, checked the same way.
public struct TargetGroup: Hashable, Sendable {
    public var name: String
    public var `protocol`: TrafficProtocol
    /// The port of targets that name none, 1–65535.
    public var port: UInt16
    public var healthCheck: HealthCheck
    public var attributes: TargetGroupAttributes
    /// Present exactly when the protocol is HTTP or HTTPS.
    public var protocolVersion: ProtocolVersion?
    /// Present exactly when the protocol is TLS or HTTPS.
    public var tls: TLSTargetSettings?
    /// How long one connection attempt to a target may take, in seconds, 1–60.
    public var connectTimeoutSeconds: Int
    /// How many targets a flow tries before its client sees a reset, 1–8.
    public var connectAttemptCountMax: Int

    public init(
        name: String, protocol: TrafficProtocol, port: UInt16, healthCheck: HealthCheck,
        attributes: TargetGroupAttributes, protocolVersion: ProtocolVersion? = nil,
        tls: TLSTargetSettings? = nil,
        connectTimeoutSeconds: Int = 5, connectAttemptCountMax: Int = 3
    ) {
        self.name = name
        self.protocol = `protocol`
        self.port = port
        self.healthCheck = healthCheck
        self.attributes = attributes
        self.protocolVersion = `protocol`.isNetwork ? nil : protocolVersion ?? .http1
        self.tls = tls
        self.connectTimeoutSeconds = connectTimeoutSeconds
        self.connectAttemptCountMax = connectAttemptCountMax
    }
}

extension TargetGroup {
    /// Its targets are asked by HTTP/2, gRPC included.
    public var speaksHTTP2ToTargets: Bool {
        switch protocolVersion {
        case nil, .http1: false
        case .http2, .grpc: true
        }
    }

    /// The status codes that the matcher of the group's health check may name.
    public var statusCodes: ClosedRange<Int> {
        switch protocolVersion {
        case nil: StatusMatcher.networkCodes
        case .http1, .http2: StatusMatcher.applicationCodes
        case .grpc: StatusMatcher.grpcCodes
        }
    }
}

/// Names a target within its group: the same address may serve on several ports.
public struct TargetID: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let address: IPAddress
    public let port: UInt16

    public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    public var endpoint: Endpoint { Endpoint(address: address, port: port) }
    public var description: String { endpoint.description }

    public static func < (left: TargetID, right: TargetID) -> Bool {
        (left.address.family.rawValue, left.address.high, left.address.low, left.port)
            < (right.address.family.rawValue, right.address.high, right.address.low, right.port)
    }
}

/// One server of a group.
public struct Target: Hashable, Sendable {
    public var id: TargetID
    /// 0–999, relative to the other targets of the group; 0 takes no new flows.
    public var weight: Int
    public var availabilityZone: String?

    public init(id: TargetID, weight: Int = 1, availabilityZone: String? = nil) {
        self.id = id
        self.weight = weight
        self.availabilityZone = availabilityZone
    }
}

/// The dense index of one registration, for tables and counters of the data plane.
///
/// A number is not given to another registration while a flow of the old one lives.
public struct TargetNumber: Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt32

    public init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }
}

/// The dense index of one listener, for tables and counters of the data plane.
public struct ListenerNumber: Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt32

    public init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }
}
