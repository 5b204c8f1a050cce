// What a request carries along beside itself.

import Hummingbird
import Logging
import NIOCore

struct AdminRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// Closes the connection unless the body is whole by then; nil without a body.
    var bodyDeadline: Scheduled<Void>?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// The client's address without its port; one name for all clients of a Unix socket.
    var peer: String {
        channel.remoteAddress?.ipAddress ?? "the Unix socket"
    }
}
