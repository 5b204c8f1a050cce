// Every bound of the admin server. What happens at a bound stands beside it.

import Balancing
import NIOCore

package enum AdminLimits {
    /// Further connections wait in the accept queue.
    package static let connectionCountMax = 128

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

    /// A body that is not whole by then closes the connection, however steadily it drips.
    static let bodyDeadline = TimeAmount.seconds(20)
    /// A connection without a request, or whose request head stalls, is closed.
    static let idleTimeout = TimeAmount.seconds(30)

    /// After a hand-over, connections without a request are closed after this long.
    static let handOverGrace = TimeAmount.seconds(1)

    /// Wrong tokens in a row that one peer may send before it has to wait …
    package static let authenticationFailureCountMax = 10
    /// … and how long each of them takes to be forgotten.
    package static let authenticationRefillSeconds = 3
    /// Peers whose failures are remembered one by one; further ones share one allowance.
    package static let trackedPeerCountMax = 1_024
}
