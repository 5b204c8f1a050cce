// How a request might desynchronise a balancer and its target, in ELBv2's classes and words.
//
// The class of a reason is fixed. What a class leads to depends on the mode; but a request that Weir cannot read in
// one way only is refused in every mode, for whatever is sent on is written anew from what was understood.

import Balancing

public enum DesyncClass: UInt8, Sendable, BitwiseCopyable, Comparable, CaseIterable {
    case compliant
    case acceptable
    case ambiguous
    case severe

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

    /// As the access log says it.
    public var name: StaticString {
        switch self {
        case .compliant: "Compliant"
        case .acceptable: "Acceptable"
        case .ambiguous: "Ambiguous"
        case .severe: "Severe"
        }
    }
}

public struct DesyncFinding: Hashable, Sendable, BitwiseCopyable {
    public var classification: DesyncClass
    public var reason: Reason

    public static let compliant = DesyncFinding(classification: .compliant, reason: .none)

    public init(classification: DesyncClass, reason: Reason) {
        self.classification = classification
        self.reason = reason
    }

    public init(_ reason: Reason) {
        self.init(classification: reason.classification, reason: reason)
    }

    /// Keeps the worse of two; of two equally bad ones the first.
    public mutating func note(_ reason: Reason) {
        if reason.classification > classification { self = DesyncFinding(reason) }
    }

    /// The reasons of the access log of application load balancers.
    public enum Reason: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        case none
        // Acceptable.
        case getHeadZeroContentLength
        case nonCompliantHeader
        case nonCompliantVersion
        case spaceInURI
        // Ambiguous.
        case ambiguousURI
        case bothTEAndCLPresent
        case duplicateContentLength
        case emptyHeader
        case suspiciousHeader
        case undefinedContentLengthSemantics
        case undefinedTransferEncodingSemantics
        // Severe.
        case badContentLength
        case badHeader
        case badMethod
        case badTransferEncoding
        case badURI
        case badVersion
        case multipleContentLength
        case multipleTransferEncodingChunked
        case suspiciousTEAndCLPresent

        public var classification: DesyncClass {
            switch self {
            case .none: .compliant
            case .getHeadZeroContentLength, .nonCompliantHeader, .nonCompliantVersion, .spaceInURI:
                .acceptable
            case .ambiguousURI, .bothTEAndCLPresent, .duplicateContentLength, .emptyHeader, .suspiciousHeader,
                .undefinedContentLengthSemantics, .undefinedTransferEncodingSemantics:
                .ambiguous
            case .badContentLength, .badHeader, .badMethod, .badTransferEncoding, .badURI, .badVersion,
                .multipleContentLength, .multipleTransferEncodingChunked, .suspiciousTEAndCLPresent:
                .severe
            }
        }

        /// As the access log says it; `-` for none.
        public var name: StaticString {
            switch self {
            case .none: "-"
            case .getHeadZeroContentLength: "GetHeadZeroContentLength"
            case .nonCompliantHeader: "NonCompliantHeader"
            case .nonCompliantVersion: "NonCompliantVersion"
            case .spaceInURI: "SpaceInUri"
            case .ambiguousURI: "AmbiguousUri"
            case .bothTEAndCLPresent: "BothTeClPresent"
            case .duplicateContentLength: "DuplicateContentLength"
            case .emptyHeader: "EmptyHeader"
            case .suspiciousHeader: "SuspiciousHeader"
            case .undefinedContentLengthSemantics: "UndefinedContentLengthSemantics"
            case .undefinedTransferEncodingSemantics: "UndefinedTransferEncodingSemantics"
            case .badContentLength: "BadContentLength"
            case .badHeader: "BadHeader"
            case .badMethod: "BadMethod"
            case .badTransferEncoding: "BadTransferEncoding"
            case .badURI: "BadUri"
            case .badVersion: "BadVersion"
            case .multipleContentLength: "MultipleContentLength"
            case .multipleTransferEncodingChunked: "MultipleTransferEncodingChunked"
            case .suspiciousTEAndCLPresent: "SuspiciousTeClPresent"
            }
        }
    }
}

/// What becomes of a request that was read.
public enum DesyncVerdict: Hashable, Sendable, BitwiseCopyable {
    case forward
    /// Forward, and end the connections of client and target with this exchange.
    case forwardThenClose
    /// Answer 400 and close.
    case refuse
}

/// What `routing.http.desync_mitigation_mode` does with a finding.
///
/// monitor forwards whatever can be forwarded. defensive refuses what is severe and closes both connections after
/// what is ambiguous. strictest forwards compliant requests only.
public func verdict(for finding: DesyncFinding, mode: DesyncMitigationMode) -> DesyncVerdict {
    switch (mode, finding.classification) {
    case (_, .compliant), (.monitor, .acceptable), (.monitor, .ambiguous), (.defensive, .acceptable): .forward
    case (.defensive, .ambiguous): .forwardThenClose
    // A severe head is refused by the parser already, in every mode: it has no one meaning to write anew.
    case (_, .severe), (.strictest, .acceptable), (.strictest, .ambiguous): .refuse
    }
}
