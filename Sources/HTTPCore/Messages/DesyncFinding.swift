// How a request might desynchronise a balancer and its target, in ELBv2's classes and words.

public enum DesyncClass: UInt8, Sendable, BitwiseCopyable, Comparable {
    case compliant
    case acceptable
    case ambiguous
    case severe

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

public struct DesyncFinding: Sendable, BitwiseCopyable {
    public var classification: DesyncClass
    public var reason: Reason

    public static let compliant = DesyncFinding(classification: .compliant, reason: .none)

    public init(classification: DesyncClass, reason: Reason) {
        self.classification = classification
        self.reason = reason
    }

    public enum Reason: UInt8, Sendable, BitwiseCopyable {
        case none
    }
}
