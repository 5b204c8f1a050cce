// Health check settings of a target group, with ELBv2's names and defaults.
//
// UDP probes are Weir's own: a payload and the answer that proves the service alive.

public struct HealthCheck: Hashable, Sendable {
    public enum ProbeProtocol: String, Sendable, Hashable {
        case tcp = "TCP"
        case http = "HTTP"
        case udp = "UDP"
        case https = "HTTPS"
        /// Weir's own: the handshake is the probe.
        case tls = "TLS"

        /// Whether a path is asked for and a status code judged.
        public var isHTTP: Bool { self == .http || self == .https }
        public var usesTLS: Bool { self == .https || self == .tls }
    }

    public enum Port: Hashable, Sendable {
        case trafficPort
        case number(UInt16)
    }

    /// False makes every target of the group count as healthy.
    public var isEnabled: Bool
    public var `protocol`: ProbeProtocol
    public var port: Port
    /// 1–300; ELBv2 begins at 5.
    public var intervalSeconds: Int
    /// 1–120 and below the interval; ELBv2 begins at 2.
    public var timeoutSeconds: Int
    /// 2–10 probes in a row.
    public var healthyThresholdCount: Int
    /// 2–10 probes in a row.
    public var unhealthyThresholdCount: Int
    /// For HTTP, begins with "/", at most 1,024 characters.
    public var path: String
    /// For HTTP: which status codes count as success; with `protocolVersion` GRPC, which gRPC status codes.
    public var matcher: StatusMatcher
    /// For HTTP: what is spoken; that of the target group, and HTTP1 for groups of network load balancers.
    public var protocolVersion: ProtocolVersion
    /// For UDP: what to send and what must come back.
    public var datagram: DatagramProbe?
    /// For HTTP: how an otherwise successful answer says that the target wants no new flows.
    public var lameDuck: LameDuck?
    /// Present exactly when the protocol is HTTPS or TLS.
    public var tls: TLSTargetSettings?

    public init(
        isEnabled: Bool = true, protocol: ProbeProtocol = .tcp, port: Port = .trafficPort,
        intervalSeconds: Int = 30, timeoutSeconds: Int? = nil, healthyThresholdCount: Int = 5,
        unhealthyThresholdCount: Int = 2, path: String = "/", matcher: StatusMatcher = .default,
        protocolVersion: ProtocolVersion = .http1, datagram: DatagramProbe? = nil, lameDuck: LameDuck? = nil,
        tls: TLSTargetSettings? = nil
    ) {
        self.isEnabled = isEnabled
        self.protocol = `protocol`
        self.port = port
        self.intervalSeconds = intervalSeconds
        self.timeoutSeconds = timeoutSeconds ?? Self.defaultTimeoutSeconds(for: `protocol`)
        self.healthyThresholdCount = healthyThresholdCount
        self.unhealthyThresholdCount = unhealthyThresholdCount
        self.path = path
        self.matcher = matcher
        self.protocolVersion = protocolVersion
        self.datagram = datagram
        self.lameDuck = lameDuck
        self.tls = tls
    }

    /// ELBv2's defaults for a target group that says nothing of its checks.
    ///
    /// HTTPS groups too are checked by HTTP, as in ELBv2. A gRPC path that no service has answers 12, UNIMPLEMENTED.
    public init(forGroupOf protocol: TrafficProtocol, version: ProtocolVersion? = nil) {
        guard !`protocol`.isNetwork else {
            self.init()
            return
        }
        let isGRPC = version == .grpc
        self.init(
            protocol: .http, timeoutSeconds: 5, path: isGRPC ? "/AWS.ALB/healthcheck" : "/",
            matcher: isGRPC ? .grpcDefault : .applicationDefault, protocolVersion: version ?? .http1)
    }

    /// ELBv2 on network load balancers: 10 s for TCP and HTTPS, 6 s for HTTP. What ELBv2 lacks takes the
    /// timeout of its kin: UDP that of HTTP, TLS that of TCP.
    public static func defaultTimeoutSeconds(for protocol: ProbeProtocol) -> Int {
        switch `protocol` {
        case .tcp, .https, .tls: 10
        case .http, .udp: 6
        }
    }
}

/// A set of HTTP or gRPC status codes, written as ELBv2's matcher: `200`, `200-299`, `200,301-302`.
public struct StatusMatcher: Hashable, Sendable, LosslessStringConvertible {
    public let ranges: [ClosedRange<Int>]

    /// ELBv2's default for network load balancers.
    public static let `default` = StatusMatcher(ranges: [200...399])

    /// ELBv2's default for application load balancers.
    public static let applicationDefault = StatusMatcher(ranges: [200...200])
    /// The same for gRPC: 12, UNIMPLEMENTED.
    public static let grpcDefault = StatusMatcher(ranges: [12...12])

    /// Of groups of network load balancers.
    public static let networkCodes = 200...599
    /// Of groups of application load balancers.
    public static let applicationCodes = 200...499
    /// Of gRPC groups.
    public static let grpcCodes = 0...99

    private init(ranges: [ClosedRange<Int>]) {
        self.ranges = ranges
    }

    public init?(_ text: String) {
        self.init(text, in: Self.networkCodes)
    }

    /// Nil unless `text` is a comma-separated list of codes and rising ranges within `codes`.
    public init?(_ text: String, in codes: ClosedRange<Int>) {
        var ranges: [ClosedRange<Int>] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let bounds = part.split(separator: "-", omittingEmptySubsequences: false)
                .map { bound in bound.utf8.allSatisfy { (48...57).contains($0) } ? Int(bound) : nil }
            guard (1...2).contains(bounds.count), let first = bounds[0], let last = bounds[bounds.count - 1],
                first <= last, codes.contains(first), codes.contains(last)
            else { return nil }
            ranges.append(first...last)
        }
        guard !ranges.isEmpty else { return nil }
        self.ranges = ranges
    }

    public func matches(_ code: Int) -> Bool {
        ranges.contains { $0.contains(code) }
    }

    public var description: String {
        ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }
}

/// A UDP probe: without an expected answer it would prove nothing, so there is always one.
public struct DatagramProbe: Hashable, Sendable {
    public enum Expectation: Hashable, Sendable {
        /// The answer contains these bytes; never empty.
        case contains([UInt8])
        /// The answer begins with these bytes; never empty.
        case prefix([UInt8])
        /// A DNS response to our query id, whatever its rcode (RFC 1035 section 4.1.1).
        case dnsResponse
        /// An NTP server answer that echoes our transmit timestamp (RFC 5905 section 7.3).
        case ntpResponse
    }

    /// At most 1,024 bytes. For the DNS and NTP presets the prober fills in the query id or timestamp.
    public var payload: [UInt8]
    public var expectation: Expectation

    public init(payload: [UInt8], expectation: Expectation) {
        self.payload = payload
        self.expectation = expectation
    }
}

/// The sign by which a healthy target asks for no new flows.
public struct LameDuck: Hashable, Sendable {
    /// A header name, compared without case.
    public var headerName: String?
    /// With a header name: the value it must have, compared without case; nil means any value.
    public var headerValue: String?
    /// Bytes anywhere in the first 64 KiB of the body.
    public var bodyToken: String?

    public init(headerName: String? = nil, headerValue: String? = nil, bodyToken: String? = nil) {
        self.headerName = headerName
        self.headerValue = headerValue
        self.bodyToken = bodyToken
    }
}
