// Rules of an application listener: which request goes where, in ELBv2's terms.
//
// A rule applies when each of its conditions does, and a condition when any of its values does. The applying rule
// of the lowest priority number is taken; with none, the listener's default action. HTTPCore compiles and matches.

/// Values of one condition: patterns with `*` (any characters) and `?` (one character), and regular expressions.
///
/// At most 128 characters each. A condition has values of one of the two sorts, as in ELBv2.
public struct TextPatterns: Hashable, Sendable {
    public var wildcards: [String]
    public var regularExpressions: [String]

    public init(wildcards: [String] = [], regularExpressions: [String] = []) {
        self.wildcards = wildcards
        self.regularExpressions = regularExpressions
    }

    public var valueCount: Int { wildcards.count + regularExpressions.count }
}

/// One value of a `query_string` condition; without a key, the value may belong to any.
public struct QueryPattern: Hashable, Sendable {
    public var key: String?
    public var value: String

    public init(key: String? = nil, value: String) {
        self.key = key
        self.value = value
    }
}

public enum RuleCondition: Hashable, Sendable {
    /// Case does not matter; see `TextPatterns`.
    case hostHeader(TextPatterns)
    /// Case matters; the path alone, without the query.
    case pathPattern(TextPatterns)
    /// Case matters in neither the name nor the values.
    case httpHeader(name: String, TextPatterns)
    /// Case matters, and there are no wildcards.
    case httpRequestMethod([String])
    /// Case does not matter; wildcards are allowed in keys and values.
    case queryString([QueryPattern])
    /// The address of the connection, not one of X-Forwarded-For.
    case sourceIP([IPPrefix])
}

/// ELBv2's redirect action.
///
/// A host may hold `#{host}`; a path `#{host}`, `#{port}` and `#{path}` (without its leading slash); a query these,
/// `#{protocol}` and `#{query}`.
public struct RedirectAction: Hashable, Sendable {
    /// HTTP, HTTPS or `#{protocol}`.
    public var `protocol`: String
    public var host: String
    /// 1–65535 or `#{port}`.
    public var port: String
    /// Begins with a slash.
    public var path: String
    /// Without a leading question mark.
    public var query: String
    /// 301 or 302.
    public var statusCode: Int

    public init(
        protocol: String = "#{protocol}", host: String = "#{host}", port: String = "#{port}",
        path: String = "/#{path}", query: String = "#{query}", statusCode: Int
    ) {
        self.protocol = `protocol`
        self.host = host
        self.port = port
        self.path = path
        self.query = query
        self.statusCode = statusCode
    }
}

/// ELBv2's fixed-response action.
public struct FixedResponse: Hashable, Sendable {
    /// 200–599, of the classes 2XX, 4XX and 5XX.
    public var statusCode: Int
    /// text/plain, text/css, text/html, application/javascript or application/json; empty for none.
    public var contentType: String
    /// At most 1,024 bytes.
    public var messageBody: String

    public init(statusCode: Int, contentType: String = "", messageBody: String = "") {
        self.statusCode = statusCode
        self.contentType = contentType
        self.messageBody = messageBody
    }
}

/// What a listener does with a request that its rule or nothing else wanted.
public enum RuleAction: Hashable, Sendable {
    case forward(ForwardAction)
    case redirect(RedirectAction)
    case fixedResponse(FixedResponse)

    /// Nil for an action that answers by itself.
    public var forward: ForwardAction? {
        if case .forward(let action) = self { action } else { nil }
    }
}

/// One `regex` and its `replace` text, in which `$1` … `$9` stand for what the groups matched.
public struct Rewrite: Hashable, Sendable {
    public var regularExpression: String
    public var replacement: String

    public init(regularExpression: String, replacement: String) {
        self.regularExpression = regularExpression
        self.replacement = replacement
    }
}

/// What a rule changes in a request before it is forwarded. Matching saw the request as it came.
public enum RuleTransform: Hashable, Sendable {
    case hostHeaderRewrite(Rewrite)
    /// Path and query together.
    case urlRewrite(Rewrite)
}

/// A rule as the configuration has it.
public struct ListenerRule: Hashable, Sendable {
    /// 1–50,000, unique in its listener; the lowest comes first.
    public var priority: Int
    public var conditions: [RuleCondition]
    public var action: RuleAction
    /// At most one of each kind.
    public var transforms: [RuleTransform]

    public init(
        priority: Int, conditions: [RuleCondition], action: RuleAction, transforms: [RuleTransform] = []
    ) {
        self.priority = priority
        self.conditions = conditions
        self.action = action
        self.transforms = transforms
    }
}
