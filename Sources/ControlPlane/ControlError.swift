// What the registry refuses, for machines (kind and ELBv2 code) and for people (the message).

package struct ControlError: Error, Sendable, Equatable {
    package enum Kind: Sendable {
        /// The thing named does not exist.
        case notFound
        /// A value is out of its bounds or does not fit.
        case invalid
        /// The change contradicts what exists.
        case conflict
        /// Ours: the store or a socket failed.
        case failed
        /// Ours: something that must answer does not, for the time being.
        case unavailable
    }

    package let kind: Kind
    /// An ELBv2 error code where one exists.
    package let code: String
    /// The thing, the value, the bound and the next step, in one line.
    package let message: String
    package let details: [String]

    package init(kind: Kind, code: String, message: String, details: [String] = []) {
        self.kind = kind
        self.code = code
        self.message = message
        self.details = details
    }
}
