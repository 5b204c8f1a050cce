// How an exchange ended, as far as it says something about its target.

public enum ExchangeOutcome: UInt8, Sendable, BitwiseCopyable {
    /// The target answered with a status below 500.
    case answered
    /// The target answered with a status of 500 or more.
    case serverError
    /// The target refused or broke the connection, did not come to terms on TLS, or did not answer in time.
    case connectionError
    /// The client or Weir gave up, which says nothing about the target.
    case abandoned
}
