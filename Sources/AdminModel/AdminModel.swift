// The JSON of the admin API under /v1, shared by server and command line.
//
// Field names are snake_case on the wire (the encoder's and decoder's strategies in `AdminCoding`).
// Times are seconds since 1970; byte counts and flow counts are totals since start unless said otherwise.

import Foundation

package enum AdminCoding {
    package static func encoder(pretty: Bool = false) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting =
            pretty
            ? [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    package static func decoder() -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return decoder
    }
}

/// What every refused request answers with, beside its HTTP status.
package struct ErrorReport: Codable, Sendable, Equatable {
    /// An ELBv2 error code where one exists: `TargetGroupNotFound`, `InvalidTarget`, `ValidationError`, …
    package var code: String
    /// One line for people: the thing, the value, the bound and the next step.
    package var message: String
    /// All problems when there are several, as in a refused configuration.
    package var details: [String]?

    package init(code: String, message: String, details: [String]? = nil) {
        self.code = code
        self.message = message
        self.details = details
    }
}

/// CloudWatch's counters for network load balancers, per transport where CloudWatch has it so.
package struct FlowStatistics: Codable, Sendable, Equatable {
    package var newFlowCountTcp: UInt64 = 0
    package var newFlowCountUdp: UInt64 = 0
    package var activeFlowCountTcp: UInt64 = 0
    package var activeFlowCountUdp: UInt64 = 0
    package var processedBytesTcp: UInt64 = 0
    package var processedBytesUdp: UInt64 = 0
    /// From clients to targets, both transports.
    package var clientBytes: UInt64 = 0
    /// From targets to clients, both transports.
    package var targetBytes: UInt64 = 0
    package var tcpClientResetCount: UInt64 = 0
    package var tcpTargetResetCount: UInt64 = 0
    package var tcpElbResetCount: UInt64 = 0
    package var targetConnectionErrorCount: UInt64 = 0
    package var rejectedFlowCount: UInt64 = 0
    /// New flows routed while too few targets were healthy (fail open).
    package var unhealthyRoutingFlowCount: UInt64 = 0
    package var droppedDatagramCount: UInt64 = 0
    package var clientTlsNegotiationErrorCount: UInt64 = 0
    package var targetTlsNegotiationErrorCount: UInt64 = 0
    /// Requests; nil in network mode.
    package var http: ExchangeStatistics?

    package init() {}

    package var activeFlowCount: UInt64 { activeFlowCountTcp + activeFlowCountUdp }
    package var newFlowCount: UInt64 { newFlowCountTcp + newFlowCountUdp }
    package var processedBytes: UInt64 { processedBytesTcp + processedBytesUdp }
}

package struct TargetDescription: Codable, Sendable, Equatable {
    /// The target's address, as registered.
    package var id: String
    package var port: Int
    package var weight: Int
    package var availabilityZone: String?
    package var health: HealthDescription
    package var statistics: FlowStatistics

    package init(
        id: String, port: Int, weight: Int, availabilityZone: String?, health: HealthDescription,
        statistics: FlowStatistics
    ) {
        self.id = id
        self.port = port
        self.weight = weight
        self.availabilityZone = availabilityZone
        self.health = health
        self.statistics = statistics
    }
}

package struct HealthDescription: Codable, Sendable, Equatable {
    /// An ELBv2 TargetHealthStateEnum value, `unhealthy.draining` included.
    package var state: String
    /// An ELBv2 TargetHealthReasonEnum value; nil when plainly healthy.
    package var reason: String?
    /// A full sentence for people; empty when plainly healthy.
    package var description: String
    /// When the target came into this state, in seconds since 1970.
    package var since: Double
    /// While draining: seconds until the deregistration delay is over.
    package var drainingSecondsLeft: Int?
    /// How long the last probe took, in milliseconds.
    package var lastProbeMilliseconds: Double?
    /// When the last probe ended, in seconds since 1970.
    package var lastProbeAt: Double?

    package init(
        state: String, reason: String?, description: String, since: Double, drainingSecondsLeft: Int? = nil,
        lastProbeMilliseconds: Double? = nil, lastProbeAt: Double? = nil
    ) {
        self.state = state
        self.reason = reason
        self.description = description
        self.since = since
        self.drainingSecondsLeft = drainingSecondsLeft
        self.lastProbeMilliseconds = lastProbeMilliseconds
        self.lastProbeAt = lastProbeAt
    }
}

package struct HealthCheckDescription: Codable, Sendable, Equatable {
    package var enabled: Bool
    package var `protocol`: String
    /// `traffic-port` or a number.
    package var port: String
    package var path: String?
    package var matcher: String?
    package var intervalSeconds: Int
    package var timeoutSeconds: Int
    package var healthyThresholdCount: Int
    package var unhealthyThresholdCount: Int

    package init(
        enabled: Bool, protocol: String, port: String, path: String?, matcher: String?, intervalSeconds: Int,
        timeoutSeconds: Int, healthyThresholdCount: Int, unhealthyThresholdCount: Int
    ) {
        self.enabled = enabled
        self.protocol = `protocol`
        self.port = port
        self.path = path
        self.matcher = matcher
        self.intervalSeconds = intervalSeconds
        self.timeoutSeconds = timeoutSeconds
        self.healthyThresholdCount = healthyThresholdCount
        self.unhealthyThresholdCount = unhealthyThresholdCount
    }
}

package struct TargetGroupDescription: Codable, Sendable, Equatable {
    package var name: String
    package var `protocol`: String
    package var port: Int
    /// Of HTTP and HTTPS groups: `HTTP1`, `HTTP2` or `GRPC`.
    package var protocolVersion: String?
    package var healthCheck: HealthCheckDescription
    /// Every attribute under its ELBv2 key.
    package var attributes: [String: String]
    /// The load balancers whose listeners forward here.
    package var loadBalancers: [String]
    package var healthyTargetCount: Int
    package var targetCount: Int
    /// True while too few targets are healthy, so that all of them get flows.
    package var isFailOpen: Bool
    /// Of TLS and HTTPS groups.
    package var tls: TargetTLSDescription?
    /// What targets see as the client: `replaced` (Weir's own address), `preserved`, `proxy-v2` (Weir's own, and
    /// the client's in a header) or `preserved+proxy-v2`.
    package var clientAddress: String?
    package var statistics: FlowStatistics
    package var targets: [TargetDescription]

    package init(
        name: String, protocol: String, port: Int, healthCheck: HealthCheckDescription,
        attributes: [String: String], loadBalancers: [String], healthyTargetCount: Int, targetCount: Int,
        isFailOpen: Bool, statistics: FlowStatistics, targets: [TargetDescription]
    ) {
        self.name = name
        self.protocol = `protocol`
        self.port = port
        self.healthCheck = healthCheck
        self.attributes = attributes
        self.loadBalancers = loadBalancers
        self.healthyTargetCount = healthyTargetCount
        self.targetCount = targetCount
        self.isFailOpen = isFailOpen
        self.statistics = statistics
        self.targets = targets
    }
}

package struct ForwardDescription: Codable, Sendable, Equatable {
    package var targetGroup: String
    package var weight: Int

    package init(targetGroup: String, weight: Int) {
        self.targetGroup = targetGroup
        self.weight = weight
    }
}

package struct ListenerDescription: Codable, Sendable, Equatable {
    /// `LOAD_BALANCER:PORT`.
    package var id: String
    package var loadBalancer: String
    package var port: Int
    package var `protocol`: String
    /// The groups of the default action; empty when that does not forward.
    package var forward: [ForwardDescription]
    package var attributes: [String: String]
    package var statistics: FlowStatistics
    /// Of TLS and HTTPS listeners.
    package var tls: ListenerTLSDescription?
    package var proxyProtocol: ProxyProtocolDescription?
    /// What happens to requests or flows that no rule takes.
    package var defaultAction: ActionDescription?
    /// Of TCP listeners, in rising priority; nil when there is none. Those of application listeners may be thousands:
    /// see `RulesResponse`.
    package var rules: [RuleDescription]?
    /// Without the default action; nil when there is none.
    package var ruleCount: Int?

    package init(
        id: String, loadBalancer: String, port: Int, protocol: String, forward: [ForwardDescription],
        attributes: [String: String], statistics: FlowStatistics
    ) {
        self.id = id
        self.loadBalancer = loadBalancer
        self.port = port
        self.protocol = `protocol`
        self.forward = forward
        self.attributes = attributes
        self.statistics = statistics
    }
}

package struct LoadBalancerDescription: Codable, Sendable, Equatable {
    package var name: String
    package var type: String
    package var addresses: [String]
    package var attributes: [String: String]
    /// False while a group is below its `dns_failover` minimums: whoever moves addresses or DNS should move them away.
    package var isAvailable: Bool
    package var statistics: FlowStatistics
    package var listeners: [ListenerDescription]

    package init(
        name: String, type: String, addresses: [String], attributes: [String: String], isAvailable: Bool,
        statistics: FlowStatistics, listeners: [ListenerDescription]
    ) {
        self.name = name
        self.type = type
        self.addresses = addresses
        self.attributes = attributes
        self.isAvailable = isAvailable
        self.statistics = statistics
        self.listeners = listeners
    }
}

package struct StatusReport: Codable, Sendable, Equatable {
    package var version: String
    package var uptimeSeconds: Int
    package var workerCount: Int
    package var isDraining: Bool
    /// Things an operator should know: lowered flow limits, port use above half, a full table, …
    package var warnings: [String]
    /// Worker totals under snake_case names: turns, events, stale_events, shed_slab_full, …
    package var counters: [String: UInt64]
    package var loadBalancers: [LoadBalancerDescription]
    package var targetGroups: [TargetGroupDescription]
    /// The certificates in use; nil when nothing speaks TLS.
    package var certificates: [CertificateDescription]?

    package init(
        version: String, uptimeSeconds: Int, workerCount: Int, isDraining: Bool, warnings: [String],
        counters: [String: UInt64], loadBalancers: [LoadBalancerDescription],
        targetGroups: [TargetGroupDescription]
    ) {
        self.version = version
        self.uptimeSeconds = uptimeSeconds
        self.workerCount = workerCount
        self.isDraining = isDraining
        self.warnings = warnings
        self.counters = counters
        self.loadBalancers = loadBalancers
        self.targetGroups = targetGroups
    }
}

package struct TargetSpecification: Codable, Sendable, Equatable {
    package var id: String
    /// Nil takes the group's port.
    package var port: Int?
    /// Nil leaves the weight of a registered target as it is, and gives a new one 1.
    package var weight: Int?
    package var availabilityZone: String?

    package init(id: String, port: Int? = nil, weight: Int? = nil, availabilityZone: String? = nil) {
        self.id = id
        self.port = port
        self.weight = weight
        self.availabilityZone = availabilityZone
    }
}

package struct TargetsRequest: Codable, Sendable, Equatable {
    package var targets: [TargetSpecification]

    package init(targets: [TargetSpecification]) {
        self.targets = targets
    }
}

package struct TargetsResponse: Codable, Sendable, Equatable {
    package var targets: [TargetDescription]

    package init(targets: [TargetDescription]) {
        self.targets = targets
    }
}

package struct FlowDescription: Codable, Sendable, Equatable {
    package var transport: String
    package var listener: String
    package var client: String
    package var targetGroup: String
    package var target: String
    /// `connecting`, `established`, `half-closed`, or for UDP `unanswered`, `answered`.
    package var state: String
    package var ageSeconds: Double
    package var idleSeconds: Double
    package var clientBytes: UInt64
    package var targetBytes: UInt64
    package var worker: Int

    package init(
        transport: String, listener: String, client: String, targetGroup: String, target: String,
        state: String,
        ageSeconds: Double, idleSeconds: Double, clientBytes: UInt64, targetBytes: UInt64, worker: Int
    ) {
        self.transport = transport
        self.listener = listener
        self.client = client
        self.targetGroup = targetGroup
        self.target = target
        self.state = state
        self.ageSeconds = ageSeconds
        self.idleSeconds = idleSeconds
        self.clientBytes = clientBytes
        self.targetBytes = targetBytes
        self.worker = worker
    }
}

package struct FlowsResponse: Codable, Sendable, Equatable {
    package var flows: [FlowDescription]
    /// How many live flows were left out because of the request's limit.
    package var omittedCount: Int

    package init(flows: [FlowDescription], omittedCount: Int) {
        self.flows = flows
        self.omittedCount = omittedCount
    }
}

/// Where a flow would go, and why, step by step.
package struct ExplainResponse: Codable, Sendable, Equatable {
    package var listener: String
    package var client: String
    /// The priority of the rule that is followed, or `default`; nil where there are no rules.
    package var rule: String?
    /// What the client is answered without any target: a redirect or a fixed response.
    package var answer: String?
    package var targetGroup: String?
    package var target: String?
    /// Of application listeners: every target that the request may go to, when there are several.
    package var targets: [String]?
    /// One sentence per decision, in order.
    package var steps: [String]

    package init(listener: String, client: String, targetGroup: String?, target: String?, steps: [String]) {
        self.listener = listener
        self.client = client
        self.targetGroup = targetGroup
        self.target = target
        self.steps = steps
    }
}

/// One difference between the running state and a configuration.
package struct ChangeDescription: Codable, Sendable, Equatable {
    /// `create`, `modify`, `delete`, `register`, `deregister`.
    package var action: String
    /// For instance `target group "web"`, `listener edge:80`, `target 10.0.0.1:80 of "web"`.
    package var subject: String
    /// For `modify`: what changes, from which value to which.
    package var details: [String]

    package init(action: String, subject: String, details: [String] = []) {
        self.action = action
        self.subject = subject
        self.details = details
    }
}

package struct ApplyRequest: Codable, Sendable, Equatable {
    /// The YAML text of the configuration file.
    package var configuration: String
    package var dryRun: Bool
    package var prune: Bool

    package init(configuration: String, dryRun: Bool, prune: Bool) {
        self.configuration = configuration
        self.dryRun = dryRun
        self.prune = prune
    }
}

package struct ApplyResponse: Codable, Sendable, Equatable {
    package var changes: [ChangeDescription]
    package var isApplied: Bool
    /// Settings of the file that take effect only at the next start: workers, admin, state, run_as, …
    package var warnings: [String]

    package init(changes: [ChangeDescription], isApplied: Bool, warnings: [String] = []) {
        self.changes = changes
        self.isApplied = isApplied
        self.warnings = warnings
    }
}

/// Asks the appliance to hand over to a new process.
package struct UpgradeRequest: Codable, Sendable, Equatable {
    /// The absolute path of the new binary; nil takes the file that the appliance was started from.
    package var binary: String?
    /// How long the new process may take until it is ready, 1 to 300; nil is 30.
    package var timeoutSeconds: Int?

    package init(binary: String? = nil, timeoutSeconds: Int? = nil) {
        self.binary = binary
        self.timeoutSeconds = timeoutSeconds
    }
}

/// What came of an upgrade.
package struct UpgradeResponse: Codable, Sendable, Equatable {
    /// The process that serves from now on, and its version.
    package var processId: Int
    package var version: String
    /// The process that has handed over, and the TCP flows that it goes on with.
    package var formerProcessId: Int
    package var remainingFlowCount: Int
    /// UDP flows that went over with their sockets.
    package var handedOverFlowCount: Int

    package init(
        processId: Int, version: String, formerProcessId: Int, remainingFlowCount: Int,
        handedOverFlowCount: Int
    ) {
        self.processId = processId
        self.version = version
        self.formerProcessId = formerProcessId
        self.remainingFlowCount = remainingFlowCount
        self.handedOverFlowCount = handedOverFlowCount
    }
}
