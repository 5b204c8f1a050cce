// Every bound of the admin server. What happens at a bound stands beside it.

import Balancing
import NIOCore

package enum AdminLimits {
    /// One more makes the longest waiting connection of the busiest peer give way; see `ConnectionCensus`.
    package static let connectionCountMax = 128
    /// Beyond this many, which may be busy all at once, further ones wait in the accept queue.
    static let acceptedConnectionCountMax = connectionCountMax + 32

    /// A larger request body is answered with 413. A configuration travels as one JSON string.
    package static let applyByteCountMax = Limits.configurationByteCountMax
    package static let requestByteCountMax = 64 << 10

    /// A larger request head closes the connection.
    package static let headerByteCountMax = 16 << 10
    package static let headerCountMax = 64

    /// Deeper JSON is answered with 400 before the decoder, which recurses, sees it.
    package static let jsonDepthMax = 16

    /// One request names at most this many targets.
    package static let targetsPerRequestMax = 1_000

    package static let flowCountDefault = 100
    package static let flowCountMax = 10_000

    /// A connection without a request, or whose request head is not whole by then, is closed.
    static let idleTimeout = TimeAmount.seconds(30)

    /// After a hand-over, connections without a request are closed after this long.
    static let handOverGrace = TimeAmount.seconds(1)

    /// How long one connection may take over one thing; tests shorten it.
    package struct Deadlines: Sendable {
        /// A body that is not whole by then is answered with 408, however steadily it drips.
        package var body = TimeAmount.seconds(20)
        /// A client that has not taken an answer by then is cut off.
        package var answer = TimeAmount.seconds(30)
        /// How long a client may go on sending after its last answer.
        package var lingering = TimeAmount.seconds(2)
        /// A change, or a list of flows, that takes longer is answered with 503; a change still happens.
        package var workSeconds = 30

        package init() {}
    }

    /// Shorter tokens could be guessed over the network; they are refused at start.
    package static let tokenByteCountMin = 16

    /// Wrong tokens in a row that one peer may send before further ones are answered with 429 …
    package static let authenticationFailureCountMax = 10
    /// … and how long each of them takes to be forgotten.
    package static let authenticationRefillSeconds = 3
    /// Peers whose failures are remembered one by one; further ones share one allowance.
    package static let trackedPeerCountMax = 1_024
}
