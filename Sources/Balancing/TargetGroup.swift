// Target groups and their targets.

/// Where flows go: targets that serve the same thing, checked the same way.
package struct TargetGroup: Hashable, Sendable {
    package var name: String
    package var `protocol`: TrafficProtocol
    /// The port of targets that name none, 1–65535.
    package var port: UInt16
    package var healthCheck: HealthCheck
    package var attributes: TargetGroupAttributes
    /// How long one connection attempt to a target may take, in seconds, 1–60.
    package var connectTimeoutSeconds: Int
    /// How many targets a flow tries before its client sees a reset, 1–8.
    package var connectAttemptCountMax: Int

    package init(
        name: String, protocol: TrafficProtocol, port: UInt16, healthCheck: HealthCheck,
        attributes: TargetGroupAttributes, connectTimeoutSeconds: Int = 5, connectAttemptCountMax: Int = 3
    ) {
        self.name = name
        self.protocol = `protocol`
        self.port = port
        self.healthCheck = healthCheck
        self.attributes = attributes
        self.connectTimeoutSeconds = connectTimeoutSeconds
        self.connectAttemptCountMax = connectAttemptCountMax
    }
}

/// Names a target within its group: the same address may serve on several ports.
package struct TargetID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let address: IPAddress
    package let port: UInt16

    package init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    package var endpoint: Endpoint { Endpoint(address: address, port: port) }
    package var description: String { endpoint.description }

    package static func < (left: TargetID, right: TargetID) -> Bool {
        (left.address.family.rawValue, left.address.high, left.address.low, left.port)
            < (right.address.family.rawValue, right.address.high, right.address.low, right.port)
    }
}

/// One server of a group.
package struct Target: Hashable, Sendable {
    package var id: TargetID
    /// 0–999, relative to the other targets of the group; 0 takes no new flows.
    package var weight: Int
    package var availabilityZone: String?

    package init(id: TargetID, weight: Int = 1, availabilityZone: String? = nil) {
        self.id = id
        self.weight = weight
        self.availabilityZone = availabilityZone
    }
}

/// The dense index of one registration, for tables and counters of the data plane.
///
/// A number is not given to another registration while a flow of the old one lives.
package struct TargetNumber: Hashable, Sendable, BitwiseCopyable {
    package let rawValue: UInt32

    package init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }
}

/// The dense index of one listener, for tables and counters of the data plane.
package struct ListenerNumber: Hashable, Sendable, BitwiseCopyable {
    package let rawValue: UInt32

    package init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }
}
