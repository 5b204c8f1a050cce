// The attributes that only application load balancers, their listeners and target groups have, with ELBv2's
// defaults. Their keys and ranges stand with the others in Attributes.swift.

/// `routing.http.desync_mitigation_mode`
public enum DesyncMitigationMode: String, Hashable, Sendable, CaseIterable {
    case monitor
    case defensive
    case strictest
}

/// `routing.http.xff_header_processing.mode`
public enum ForwardedForMode: String, Hashable, Sendable, CaseIterable {
    case append
    case preserve
    case remove
}

public struct ApplicationLoadBalancerAttributes: Hashable, Sendable {
    /// `idle_timeout.timeout_seconds`, 1–4,000: without a byte either way, for clients and for targets.
    public var idleTimeoutSeconds = 60
    /// `client_keep_alive.seconds`, 60–604,800: how old a client's connection may grow.
    public var clientKeepAliveSeconds = 3_600
    public var isConnectionLogEnabled = false
    /// As `accessLogFile`.
    public var connectionLogFile = ""
    public var desyncMitigation = DesyncMitigationMode.defensive
    public var dropsInvalidHeaderFields = false
    public var preservesHostHeader = false
    /// `routing.http.x_amzn_tls_version_and_cipher_suite.enabled`
    public var tellsTLSVersionAndCipherSuite = false
    /// `routing.http.x_amzn_tls_kx.enabled`
    public var tellsTLSKeyExchange = false
    /// `routing.http.xff_client_port.enabled`
    public var tellsClientPort = false
    public var forwardedForMode = ForwardedForMode.append
    /// `routing.http2.enabled`
    public var isHTTP2Enabled = true

    public init() {}

    public var connectionLogPath: String? {
        isConnectionLogEnabled && !connectionLogFile.isEmpty ? connectionLogFile : nil
    }
}

public struct ApplicationListenerAttributes: Hashable, Sendable {
    /// Request fields that Weir adds and the names a listener gives them, in the order of
    /// `RenamedField.allCases`; empty for the usual name.
    public var fieldNames: [RenamedField: String] = [:]
    /// `routing.http.response.server.enabled`
    public var isServerFieldEnabled = true
    /// Response fields that a listener sets, whatever the target said.
    public var responseFields: [InsertedField: String] = [:]

    public init() {}

    /// `routing.http.request.….header_name`
    public enum RenamedField: String, Hashable, Sendable, CaseIterable {
        case mutualTLSSerialNumber = "x_amzn_mtls_clientcert_serial_number"
        case mutualTLSIssuer = "x_amzn_mtls_clientcert_issuer"
        case mutualTLSSubject = "x_amzn_mtls_clientcert_subject"
        case mutualTLSValidity = "x_amzn_mtls_clientcert_validity"
        case mutualTLSLeaf = "x_amzn_mtls_clientcert_leaf"
        case mutualTLSCertificate = "x_amzn_mtls_clientcert"
        case tlsVersion = "x_amzn_tls_version"
        case tlsCipherSuite = "x_amzn_tls_cipher_suite"
    }

    /// `routing.http.response.….header_value`
    public enum InsertedField: String, Hashable, Sendable, CaseIterable {
        case strictTransportSecurity = "strict_transport_security"
        case allowOrigin = "access_control_allow_origin"
        case allowMethods = "access_control_allow_methods"
        case allowHeaders = "access_control_allow_headers"
        case allowCredentials = "access_control_allow_credentials"
        case exposeHeaders = "access_control_expose_headers"
        case maxAge = "access_control_max_age"
        case contentSecurityPolicy = "content_security_policy"
        case contentTypeOptions = "x_content_type_options"
        case frameOptions = "x_frame_options"
    }
}

public struct ApplicationTargetGroupAttributes: Hashable, Sendable {
    public enum StickinessKind: String, Hashable, Sendable, CaseIterable {
        case loadBalancerCookie = "lb_cookie"
        case applicationCookie = "app_cookie"
    }

    public var algorithm = LoadBalancingAlgorithm.roundRobin
    /// `load_balancing.algorithm.anomaly_mitigation`, on or off; only with weighted random.
    public var mitigatesAnomalies = false
    /// `slow_start.duration_seconds`, 30–900, or 0 for off; not with least outstanding requests or weighted random.
    public var slowStartSeconds = 0
    public var stickinessKind = StickinessKind.loadBalancerCookie
    /// `stickiness.lb_cookie.duration_seconds`, 1–604,800.
    public var loadBalancerCookieSeconds = 86_400
    public var applicationCookieName = ""
    /// `stickiness.app_cookie.duration_seconds`, 1–604,800.
    public var applicationCookieSeconds = 86_400
    /// `routing.http2.rst_stream_error_forwarding.enabled`
    public var forwardsStreamErrors = false

    public init() {}
}
