// Rules, conditions and actions on the admin API, in the shape that the configuration file has for them, and in words.
//
// The same types describe what is and ask for what shall be.

/// A rule of a listener: by the request on application load balancers, by the ClientHello on TCP listeners.
package struct RuleDescription: Codable, Sendable, Equatable {
    /// `LOAD_BALANCER:PORT`.
    package var listener: String
    /// Nil for the default action.
    package var priority: Int?
    /// All of them must apply; empty for the default action.
    package var conditions: [ConditionDescription]
    package var action: ActionDescription
    /// Nil when there is none.
    package var transforms: [TransformDescription]?

    package init(
        listener: String, priority: Int?, conditions: [ConditionDescription], action: ActionDescription,
        transforms: [TransformDescription]? = nil
    ) {
        self.listener = listener
        self.priority = priority
        self.conditions = conditions
        self.action = action
        self.transforms = transforms
    }
}

package struct RulesResponse: Codable, Sendable, Equatable {
    /// In rising priority, the default action last.
    package var rules: [RuleDescription]

    package init(rules: [RuleDescription]) {
        self.rules = rules
    }
}

/// One condition: exactly one of its fields is there.
package struct ConditionDescription: Codable, Sendable, Equatable {
    package struct Values: Codable, Sendable, Equatable {
        /// With `*` and `?` where the kind of condition has wildcards; any of them applies.
        package var values: [String]?
        package var regexValues: [String]?

        package init(values: [String]? = nil, regexValues: [String]? = nil) {
            self.values = values
            self.regexValues = regexValues
        }
    }

    package struct HeaderValues: Codable, Sendable, Equatable {
        package var httpHeaderName: String
        package var values: [String]?
        package var regexValues: [String]?

        package init(httpHeaderName: String, values: [String]? = nil, regexValues: [String]? = nil) {
            self.httpHeaderName = httpHeaderName
            self.values = values
            self.regexValues = regexValues
        }
    }

    package struct QueryValues: Codable, Sendable, Equatable {
        package struct Pair: Codable, Sendable, Equatable {
            /// Nil for any.
            package var key: String?
            package var value: String

            package init(key: String?, value: String) {
                self.key = key
                self.value = value
            }
        }

        package var values: [Pair]

        package init(values: [Pair]) {
            self.values = values
        }
    }

    package var hostHeader: Values?
    package var pathPattern: Values?
    package var httpHeader: HeaderValues?
    package var httpRequestMethod: Values?
    package var queryString: QueryValues?
    package var sourceIp: Values?
    /// Of TCP listeners, as is `tlsAlpn`.
    package var tlsServerName: Values?
    package var tlsAlpn: Values?

    package init() {}
}

package struct StickinessDescription: Codable, Sendable, Equatable {
    package var enabled: Bool
    /// In seconds; nil on network load balancers, where a client keeps its group for good.
    package var duration: Int?

    package init(enabled: Bool, duration: Int? = nil) {
        self.enabled = enabled
        self.duration = duration
    }
}

package struct RedirectDescription: Codable, Sendable, Equatable {
    package var `protocol`: String?
    package var host: String?
    package var port: String?
    package var path: String?
    package var query: String?
    /// `HTTP_301` or `HTTP_302`.
    package var statusCode: String

    package init(
        protocol: String? = nil, host: String? = nil, port: String? = nil, path: String? = nil,
        query: String? = nil, statusCode: String
    ) {
        self.protocol = `protocol`
        self.host = host
        self.port = port
        self.path = path
        self.query = query
        self.statusCode = statusCode
    }
}

package struct FixedResponseDescription: Codable, Sendable, Equatable {
    package var statusCode: String
    package var contentType: String?
    package var messageBody: String?

    package init(statusCode: String, contentType: String? = nil, messageBody: String? = nil) {
        self.statusCode = statusCode
        self.contentType = contentType
        self.messageBody = messageBody
    }
}

/// What is done with a request or a flow.
package struct ActionDescription: Codable, Sendable, Equatable {
    /// `forward`, `redirect` or `fixed_response`: the field of that name is there.
    package var type: String
    package var forward: [ForwardDescription]?
    /// Keeps clients on the group they were given; nil when it does not.
    package var stickiness: StickinessDescription?
    package var redirect: RedirectDescription?
    package var fixedResponse: FixedResponseDescription?

    private init(type: String) {
        self.type = type
    }

    package static func forward(
        _ groups: [ForwardDescription], stickiness: StickinessDescription? = nil
    ) -> ActionDescription {
        var action = ActionDescription(type: "forward")
        action.forward = groups
        action.stickiness = stickiness
        return action
    }

    package static func redirect(_ redirect: RedirectDescription) -> ActionDescription {
        var action = ActionDescription(type: "redirect")
        action.redirect = redirect
        return action
    }

    package static func fixedResponse(_ response: FixedResponseDescription) -> ActionDescription {
        var action = ActionDescription(type: "fixed_response")
        action.fixedResponse = response
        return action
    }
}

/// One transform: exactly one of its fields is there.
package struct TransformDescription: Codable, Sendable, Equatable {
    package struct Rewrites: Codable, Sendable, Equatable {
        package struct Rewrite: Codable, Sendable, Equatable {
            package var regex: String
            package var replace: String

            package init(regex: String, replace: String) {
                self.regex = regex
                self.replace = replace
            }
        }

        package var rewrites: [Rewrite]

        package init(rewrites: [Rewrite]) {
            self.rewrites = rewrites
        }
    }

    package var hostHeaderRewrite: Rewrites?
    package var urlRewrite: Rewrites?

    package init(hostHeaderRewrite: Rewrites? = nil, urlRewrite: Rewrites? = nil) {
        self.hostHeaderRewrite = hostHeaderRewrite
        self.urlRewrite = urlRewrite
    }
}

// MARK: - In words

extension RuleDescription {
    /// `host a.example.com and path /img/*`, or `any request` for the default action.
    package var conditionText: String {
        conditions.isEmpty ? "otherwise" : conditions.map(\.text).joined(separator: " and ")
    }

    /// The action, and what is rewritten before it.
    package var actionText: String {
        ((transforms ?? []).map(\.text) + [action.text]).joined(separator: ", ")
    }

    package var text: String { "\(conditionText): \(actionText)" }
}

extension ConditionDescription {
    /// `path /img/* or /css/*`.
    package var text: String {
        if let values = hostHeader { return "host \(values.text)" }
        if let values = pathPattern { return "path \(values.text)" }
        if let header = httpHeader {
            let values = Values(values: header.values, regexValues: header.regexValues)
            return "header \(header.httpHeaderName): \(values.text)"
        }
        if let values = httpRequestMethod { return "method \(values.text)" }
        if let query = queryString {
            let pairs = query.values.map { pair in (pair.key.map { "\($0)=" } ?? "") + pair.value }
            return "query \(pairs.joined(separator: " or "))"
        }
        if let values = sourceIp { return "client in \(values.text)" }
        if let values = tlsServerName { return "server name \(values.text)" }
        if let values = tlsAlpn { return "ALPN \(values.text)" }
        return "nothing"
    }
}

extension ConditionDescription.Values {
    /// Regular expressions stand behind a tilde.
    fileprivate var text: String {
        ((values ?? []) + (regexValues ?? []).map { "~\($0)" }).joined(separator: " or ")
    }
}

extension ActionDescription {
    /// `forward to web 90, canary 10 (sticky 3600 s)`, `redirect 301 https://#{host}:443/new`, `answer 503`.
    package var text: String {
        if let redirect { return redirect.text }
        if let response = fixedResponse {
            let type = response.contentType.map { $0.isEmpty ? "" : " \($0)" } ?? ""
            return "answer \(response.statusCode)\(type)"
        }
        let groups = forward ?? []
        let names =
            groups.count == 1
            ? groups.map(\.targetGroup) : groups.map { "\($0.targetGroup) \($0.weight)" }
        let sticky: String
        if let stickiness, stickiness.enabled {
            sticky = stickiness.duration.map { " (sticky \($0) s)" } ?? " (sticky)"
        } else {
            sticky = ""
        }
        return "forward to \(names.joined(separator: ", "))\(sticky)"
    }
}

extension RedirectDescription {
    fileprivate var text: String {
        let code = statusCode.replacing("HTTP_", with: "")
        let query = query ?? "#{query}"
        return "redirect \(code) \((self.protocol ?? "#{protocol}").lowercased())://\(host ?? "#{host}"):"
            + "\(port ?? "#{port}")\(path ?? "/#{path}")\(query.isEmpty ? "" : "?\(query)")"
    }
}

extension TransformDescription {
    /// `rewrite URL ^/old(.*)$ → /new$1`.
    package var text: String {
        let host = (hostHeaderRewrite?.rewrites ?? []).map { "rewrite host \($0.regex) → \($0.replace)" }
        let url = (urlRewrite?.rewrites ?? []).map { "rewrite URL \($0.regex) → \($0.replace)" }
        return (host + url).joined(separator: ", ")
    }
}
