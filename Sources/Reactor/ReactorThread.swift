// A reactor and its handler on a thread of their own.

import LinuxIO
import Synchronization

public enum ReactorThread {
    /// Starts a thread that turns `reactor` for `handler` until the handler is finished.
    ///
    /// - Parameters:
    ///   - processor: Pins the thread; nil leaves it to the scheduler.
    ///   - onStart: Runs first on the new thread; tests enter it into their fault plans.
    public static func start<Handler: TurnHandler & ~Copyable>(
        name: String, processor: Int?, reactor: consuming sending Reactor<Handler.Message>,
        handler: consuming sending Handler, onStart: @escaping @Sendable () -> Void = {}
    ) throws(SystemCallError) -> DataPlaneThread {
        let parcel = Parcel(reactor: reactor, handler: handler)
        return try DataPlaneThread(name: name, processor: processor) {
            onStart()
            if let errno = parcel.run() {
                preconditionFailure("epoll_wait failed on thread \(name): \(errno)")
            }
        }
    }
}

/// Carries reactor and handler to their thread: noncopyable values cannot be captured by its closure.
private final class Parcel<Handler: TurnHandler & ~Copyable>: Sendable {
    private struct Contents: ~Copyable {
        let reactor: Reactor<Handler.Message>
        var handler: Handler
    }

    /// Locked by the thread for as long as it runs; no other thread asks.
    private let contents: Mutex<Contents>

    init(reactor: consuming sending Reactor<Handler.Message>, handler: consuming sending Handler) {
        contents = Mutex(Contents(reactor: reactor, handler: handler))
    }

    func run() -> Errno? {
        contents.withLock { contents in contents.reactor.run(&contents.handler) }
    }
}
