// Rules of a TCP listener that choose the target group by the ClientHello, without ending TLS.
//
// A rule applies when each of its conditions does, and a condition when any of its values does. The first rule
// by priority that applies is taken; with none, or without a readable ClientHello, the default action.

/// One condition of a rule.
public enum PassthroughCondition: Hashable, Sendable {
    /// `tls_server_name`: the name that the client asks for (RFC 6066 section 3).
    case serverName([ServerNamePattern])
    /// `tls_alpn`: one of these protocols is among those that the client offers (RFC 7301 section 3.1).
    case alpn([String])

    func matches(_ hello: ClientHello) -> Bool {
        switch self {
        case .serverName(let patterns):
            guard let name = hello.serverName else { return false }
            for pattern in patterns where pattern.matches(name) { return true }
            return false
        case .alpn(let protocols):
            for name in protocols where hello.applicationProtocols.contains(name.utf8.span) { return true }
            return false
        }
    }
}

extension ServerNamePattern {
    /// Whether it is this name, or the wildcard one label above it.
    func matches(_ other: ServerName) -> Bool {
        guard isWildcard else { return name == other }
        guard let start = other.parentStart, name.byteCount == other.byteCount - start else { return false }
        for index in 0..<name.byteCount where name[index] != other[start + index] { return false }
        return true
    }
}

/// A rule as the configuration has it.
public struct PassthroughRule: Hashable, Sendable {
    /// 1–50,000, unique in its listener; the lowest comes first.
    public var priority: Int
    /// One or two, of different kinds.
    public var conditions: [PassthroughCondition]
    public var action: ForwardAction

    public init(priority: Int, conditions: [PassthroughCondition], action: ForwardAction) {
        self.priority = priority
        self.conditions = conditions
        self.action = action
    }
}

/// A rule as a worker follows it.
public struct PassthroughRoute: Sendable {
    public let priority: Int
    public let conditions: [PassthroughCondition]
    public let choices: [ListenerRoute.Choice]
    public let isStickyByGroup: Bool

    public init(
        priority: Int, conditions: [PassthroughCondition], choices: [ListenerRoute.Choice],
        isStickyByGroup: Bool
    ) {
        self.priority = priority
        self.conditions = conditions
        self.choices = choices
        self.isStickyByGroup = isStickyByGroup
    }
}

extension ListenerRoute {
    /// The index in `rules` of the first rule that applies to a ClientHello; nil takes the default action.
    public func rule(for hello: ClientHello) -> Int? {
        for (index, rule) in rules.enumerated() {
            var applies = true
            for condition in rule.conditions where applies { applies = condition.matches(hello) }
            if applies { return index }
        }
        return nil
    }
}
