// The protocols of listeners and target groups, as ELBv2 spells them.

/// ELBv2's ProtocolEnum, as far as Weir has it.
public enum TrafficProtocol: String, Sendable, Hashable, CaseIterable {
    case tcp = "TCP"
    case udp = "UDP"
    case tcpUDP = "TCP_UDP"
    case tls = "TLS"
    case http = "HTTP"
    case https = "HTTPS"

    public var carriesTCP: Bool { self != .udp }
    public var carriesUDP: Bool { self == .udp || self == .tcpUDP }

    /// Network load balancers serve these; the rest belong to application load balancers.
    public var isNetwork: Bool {
        switch self {
        case .tcp, .udp, .tcpUDP, .tls: true
        case .http, .https: false
        }
    }

    /// The load balancers that have listeners and target groups of this protocol.
    public var kind: LoadBalancer.Kind { isNetwork ? .network : .application }

    /// Whether listeners end TLS, or targets are spoken to by it.
    public var usesTLS: Bool { self == .tls || self == .https }
}

/// What a socket speaks: one TCP_UDP listener owns one of each.
public enum Transport: UInt8, Sendable, Hashable, BitwiseCopyable {
    case tcp = 6
    case udp = 17
}
