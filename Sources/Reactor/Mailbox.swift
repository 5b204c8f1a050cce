// The one door into a data-plane thread.
//
// The lock is held for an append or a swap, never while a message is handled; the owner takes it only
// after the wakeup descriptor said that something is there.

import Balancing
import LinuxIO
import Synchronization

/// Messages for one reactor, in the order of posting.
public final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    let wakeup: Wakeup

    public init() throws(SystemCallError) {
        wakeup = try Wakeup()
    }

    /// Adds a message and wakes the owner. Any thread.
    public func post(_ message: Message) {
        let isFirst = messages.withLock { messages in
            messages.append(message)
            return messages.count == 1
        }
        if isFirst { wakeup.signal() }
    }

    /// Takes all messages. Owner only.
    func take() -> [Message] {
        // Cleared before the swap: a message posted in between signals again.
        wakeup.clear()
        return messages.withLock { messages in
            let taken = messages
            messages = []
            return taken
        }
    }
}
