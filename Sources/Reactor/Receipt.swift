// How a poster learns that every thread has taken a message.

import Synchronization

/// Counts down the threads that still owe an answer, then runs a closure once, on the last one.
public final class Receipt: Sendable {
    private let outstandingCount: Mutex<Int>
    private let onComplete: @Sendable () -> Void

    public init(count: Int, onComplete: @escaping @Sendable () -> Void) {
        precondition(count > 0)
        outstandingCount = Mutex(count)
        self.onComplete = onComplete
    }

    public func acknowledge() {
        let isLast = outstandingCount.withLock { count in
            count -= 1
            return count == 0
        }
        if isLast { onComplete() }
    }
}
