// What a TLS listener negotiates by ALPN (RFC 7301), under ELBv2's names.
//
// Source: "ALPN policies" in the ELB user guide for Network Load Balancers.

/// The order in which a listener prefers the application protocols that a client offers.
///
/// Without a protocol in common the connection goes on without ALPN.
public enum ALPNPolicy: String, Sendable, Hashable, CaseIterable {
    case http1Only = "HTTP1Only"
    case http2Only = "HTTP2Only"
    case http2Optional = "HTTP2Optional"
    case http2Preferred = "HTTP2Preferred"
    case none = "None"

    /// Protocol ids, most preferred first.
    public var protocols: [String] {
        switch self {
        case .http1Only: ["http/1.1", "http/1.0"]
        case .http2Only: ["h2"]
        case .http2Optional: ["http/1.1", "http/1.0", "h2"]
        case .http2Preferred: ["h2", "http/1.1", "http/1.0"]
        case .none: []
        }
    }
}
