// What a request carries along beside itself.

import Hummingbird
import Logging
import NIOCore

struct AdminRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// Whom failures are counted for.
    var peer: String { PeerName.of(channel) }
}
