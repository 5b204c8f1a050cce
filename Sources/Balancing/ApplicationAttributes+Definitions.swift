// The keys and ranges of the attributes that only application load balancers, their listeners and groups have, and what
// of them contradicts.
//
// Source: the attribute keys of the ELBv2 API and "HTTP header modification" in the user guide for Application Load
// Balancers.

// MARK: - Load balancers

extension LoadBalancerAttributes {
    public static let connectionLogEnabledKey = "connection_logs.file.enabled"
    public static let connectionLogPathKey = "connection_logs.file.path"

    static let applicationDefinitions = only(
        .application,
        [
            .integer("idle_timeout.timeout_seconds", \.application.idleTimeoutSeconds, in: 1...4_000),
            .integer("client_keep_alive.seconds", \.application.clientKeepAliveSeconds, in: 60...604_800),
            .boolean(connectionLogEnabledKey, \.application.isConnectionLogEnabled),
            .logFile(connectionLogPathKey, \.application.connectionLogFile),
            .choice("routing.http.desync_mitigation_mode", \.application.desyncMitigation),
            .boolean(
                "routing.http.drop_invalid_header_fields.enabled", \.application.dropsInvalidHeaderFields),
            .boolean("routing.http.preserve_host_header.enabled", \.application.preservesHostHeader),
            .boolean(
                "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
                \.application.tellsTLSVersionAndCipherSuite),
            .boolean("routing.http.x_amzn_tls_kx.enabled", \.application.tellsTLSKeyExchange),
            .boolean("routing.http.xff_client_port.enabled", \.application.tellsClientPort),
            .choice("routing.http.xff_header_processing.mode", \.application.forwardedForMode),
            .boolean("routing.http2.enabled", \.application.isHTTP2Enabled),
        ])
}

// MARK: - Listeners

extension ListenerAttributes {
    static let applicationDefinitions = only(
        .application,
        ApplicationListenerAttributes.RenamedField.allCases.map(renamed)
            + [.boolean("routing.http.response.server.enabled", \.application.isServerFieldEnabled)]
            + ApplicationListenerAttributes.InsertedField.allCases.map(inserted))

    private static func renamed(
        _ field: ApplicationListenerAttributes.RenamedField
    ) -> AttributeDefinition<Self> {
        let key = "routing.http.request.\(field.rawValue).header_name"
        return AttributeDefinition(
            key: key, read: { $0.application.fieldNames[field] ?? "" },
            write: { attributes, text throws(AttributeError) in
                guard text.isEmpty || HeaderFieldText.isName(text) else {
                    throw AttributeError(
                        "\(key) is \"\(text.prefix(60))\"; it must be 1 to \(HeaderFieldText.nameLengthMax) letters, "
                            + "digits, \"-\" or \"_\", or empty for the usual name")
                }
                guard !HeaderFieldText.framing.contains(text.lowercased()) else {
                    throw AttributeError(
                        "\(key) is \"\(text)\", by which a message is framed or routed: choose another name")
                }
                attributes.application.fieldNames[field] = text.isEmpty ? nil : text
            })
    }

    private static func inserted(
        _ field: ApplicationListenerAttributes.InsertedField
    ) -> AttributeDefinition<Self> {
        let key = "routing.http.response.\(field.rawValue).header_value"
        return AttributeDefinition(
            key: key, read: { $0.application.responseFields[field] ?? "" },
            write: { attributes, text throws(AttributeError) in
                guard text.isEmpty || field.allows(text) else {
                    throw AttributeError(
                        "\(key) is \"\(text.prefix(60))\"; it must be \(field.range), or empty for none")
                }
                attributes.application.responseFields[field] = text.isEmpty ? nil : text
            })
    }
}

extension ApplicationListenerAttributes.InsertedField {
    fileprivate func allows(_ text: String) -> Bool {
        guard HeaderFieldText.isValue(text) else { return false }
        switch self {
        case .allowCredentials: return text == "true"
        case .maxAge:
            return text.utf8.allSatisfy { (0x30...0x39).contains($0) }
                && Int(text).map { (0...86_400).contains($0) } ?? false
        case .contentTypeOptions: return text == "nosniff"
        case .frameOptions:
            return text == "DENY" || text == "SAMEORIGIN" || text.hasPrefix("ALLOW-FROM ")
        case .strictTransportSecurity, .allowOrigin, .allowMethods, .allowHeaders, .exposeHeaders,
            .contentSecurityPolicy:
            return true
        }
    }

    fileprivate var range: String {
        switch self {
        case .allowCredentials: "\"true\""
        case .maxAge: "a whole number from 0 to 86400"
        case .contentTypeOptions: "\"nosniff\""
        case .frameOptions: "DENY, SAMEORIGIN or \"ALLOW-FROM URI\""
        case .strictTransportSecurity, .allowOrigin, .allowMethods, .allowHeaders, .exposeHeaders,
            .contentSecurityPolicy:
            "1 to \(HeaderFieldText.valueLengthMax) printable ASCII characters, not beginning or ending with a space"
        }
    }
}

/// What a listener may call a field, and what it may put into one.
private enum HeaderFieldText {
    static let nameLengthMax = 40
    static let valueLengthMax = 1_024

    /// Fields that another one must not be renamed to: a target would frame or route the request by them.
    static let framing: Set<String> = [
        "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding",
        "upgrade",
    ]

    static func isName(_ text: String) -> Bool {
        (1...nameLengthMax).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default:
                    false
                }
            }
    }

    static func isValue(_ text: String) -> Bool {
        (1...valueLengthMax).contains(text.utf8.count) && text.utf8.allSatisfy { (0x20...0x7E).contains($0) }
            && text.first != " " && text.last != " "
    }
}

// MARK: - Target groups

extension TargetGroupAttributes {
    static let stickinessDurations = 1...604_800
    static let slowStartKey = "slow_start.duration_seconds"

    static let applicationDefinitions = only(
        .application,
        [
            .choice("load_balancing.algorithm.type", \.application.algorithm),
            AttributeDefinition(
                key: "load_balancing.algorithm.anomaly_mitigation",
                read: { $0.application.mitigatesAnomalies ? "on" : "off" },
                write: { attributes, text throws(AttributeError) in
                    guard text == "on" || text == "off" else {
                        throw AttributeError(
                            "load_balancing.algorithm.anomaly_mitigation is \"\(text.prefix(60))\"; it must be on or off"
                        )
                    }
                    attributes.application.mitigatesAnomalies = text == "on"
                }),
            AttributeDefinition(
                key: slowStartKey, read: { String($0.application.slowStartSeconds) },
                write: { attributes, text throws(AttributeError) in
                    guard let seconds = Int(text), seconds == 0 || (30...900).contains(seconds) else {
                        throw AttributeError(
                            "\(slowStartKey) is \"\(text.prefix(60))\"; it must be a whole number from 30 to 900, or 0 for "
                                + "none")
                    }
                    attributes.application.slowStartSeconds = seconds
                }),
            AttributeDefinition(
                key: "stickiness.type", read: { $0.application.stickinessKind.rawValue },
                write: { attributes, text throws(AttributeError) in
                    guard let kind = ApplicationTargetGroupAttributes.StickinessKind(rawValue: text) else {
                        throw AttributeError(
                            "stickiness.type is \"\(text.prefix(60))\"; it must be lb_cookie or app_cookie"
                                + (text == "source_ip" ? ": source_ip belongs to network load balancers" : "")
                        )
                    }
                    attributes.application.stickinessKind = kind
                }),
            .integer(
                "stickiness.lb_cookie.duration_seconds", \.application.loadBalancerCookieSeconds,
                in: stickinessDurations),
            AttributeDefinition(
                key: "stickiness.app_cookie.cookie_name", read: { $0.application.applicationCookieName },
                write: { attributes, text throws(AttributeError) in
                    guard text.isEmpty || CookieName.isValid(text) else {
                        throw AttributeError(
                            "stickiness.app_cookie.cookie_name is \"\(text.prefix(60))\"; it must be 1 to "
                                + "\(CookieName.lengthMax) letters, digits or any of \(CookieName.marks)")
                    }
                    guard !text.hasPrefix(CookieName.reserved) else {
                        throw AttributeError(
                            "stickiness.app_cookie.cookie_name is \"\(text.prefix(60))\"; names that begin with "
                                + "\(CookieName.reserved) are the load balancer's own. Choose the target's own cookie"
                        )
                    }
                    attributes.application.applicationCookieName = text
                }),
            .integer(
                "stickiness.app_cookie.duration_seconds", \.application.applicationCookieSeconds,
                in: stickinessDurations),
            .boolean(
                "routing.http2.rst_stream_error_forwarding.enabled", \.application.forwardsStreamErrors),
        ])

    /// What contradicts among the attributes, each by the key that is to change and a sentence that begins with it.
    public var contradictions: [(key: String, message: String)] {
        guard kind == .application else { return [] }
        var found: [(key: String, message: String)] = []
        let algorithm = application.algorithm.rawValue
        if application.slowStartSeconds > 0, application.algorithm != .roundRobin {
            found.append(
                (
                    Self.slowStartKey,
                    "\(Self.slowStartKey) is \(application.slowStartSeconds), but the algorithm is \(algorithm), which "
                        + "has no slow start. Set load_balancing.algorithm.type: round_robin, or leave slow start out"
                ))
        }
        if application.mitigatesAnomalies, application.algorithm != .weightedRandom {
            let key = "load_balancing.algorithm.anomaly_mitigation"
            found.append(
                (
                    key,
                    "\(key) is on, but the algorithm is \(algorithm). Set load_balancing.algorithm.type: "
                        + "weighted_random, or turn it off"
                ))
        }
        if isSticky, application.stickinessKind == .applicationCookie,
            application.applicationCookieName.isEmpty
        {
            found.append(
                (
                    "stickiness.type",
                    "stickiness.type is app_cookie, but nothing names the cookie. Give "
                        + "stickiness.app_cookie.cookie_name"
                ))
        }
        return found
    }

    /// How an application group keeps a client on its target; nil when it does not.
    public var applicationStickiness: ApplicationStickiness? {
        guard kind == .application, isSticky else { return nil }
        return switch application.stickinessKind {
        case .loadBalancerCookie:
            .loadBalancerCookie(durationSeconds: application.loadBalancerCookieSeconds)
        case .applicationCookie:
            .applicationCookie(
                name: application.applicationCookieName, durationSeconds: application.applicationCookieSeconds
            )
        }
    }
}

/// A cookie name: a token (RFC 6265 section 4.1.1, RFC 9110 section 5.6.2).
private enum CookieName {
    static let lengthMax = 256
    static let marks = "!#$%&'*+-.^_`|~"
    /// AWSALB, AWSALBCORS, AWSALBAPP, AWSALBTG and what may come.
    static let reserved = "AWSALB"

    static func isValid(_ text: String) -> Bool {
        (1...lengthMax).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                    || marks.utf8.contains(byte)
            }
    }
}
