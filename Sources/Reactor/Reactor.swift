// The loop of every data-plane thread: wait, dispatch, timers, mailbox, over again.
//
// A turn is deterministic given its events, messages and time: whoever handles it shares nothing with
// other threads. One epoll, one registration per descriptor for its whole life.

import Balancing
import LinuxIO

/// What a thread does with the events of its turns. A worker of network mode is one, the prober another.
public protocol TurnHandler: ~Copyable, SendableMetatype {
    associatedtype Message: Sendable

    /// An event of a descriptor that the handler registered.
    mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant)

    mutating func take(_ message: Message, at now: Instant)

    /// Runs due timers and work that a budget left over; returns how many milliseconds the next turn may
    /// wait for events, nil for as long as none comes.
    mutating func finishTurn(at now: Instant) -> Int?

    /// True ends the loop after this turn.
    var isFinished: Bool { get }
}

public struct Reactor<Message: Sendable>: ~Copyable {
    /// Kind 0 is the mailbox's; handlers use 1–15.
    private static var mailboxToken: Token { Token(kind: 0, generation: 0, index: 0) }

    private let epoll: Epoll
    private let mailbox: Mailbox<Message>

    public init(mailbox: Mailbox<Message>) throws(SystemCallError) {
        let epoll = try Epoll(eventCountMax: Limits.eventsPerTurnMax)
        // Level-triggered: a message posted while the mailbox is emptied is seen in the next turn.
        if let errno = epoll.handle.add(
            mailbox.wakeup.descriptor, for: .readable, token: Self.mailboxToken.rawValue)
        {
            throw SystemCallError("epoll_ctl", errno)
        }
        self.epoll = epoll
        self.mailbox = mailbox
    }

    /// Where handlers register their descriptors.
    public var registrations: EpollHandle { epoll.handle }

    /// Turns until the handler is finished. Ends with the errno only if epoll itself fails.
    public func run<Handler: TurnHandler & ~Copyable>(
        _ handler: inout Handler
    ) -> Errno? where Handler.Message == Message {
        var waitMilliseconds: Int? = 0
        while !handler.isFinished {
            let timeout = waitMilliseconds.map { Int32(clamping: max(0, $0)) } ?? -1
            let eventCount: Int
            switch epoll.wait(timeoutMilliseconds: timeout) {
            case .success(let count): eventCount = count
            // Injected or out of memory: nothing was reported, so nothing is lost by waiting again.
            case .failure(let errno) where errno.isExhaustion: eventCount = 0
            case .failure(let errno): return errno
            }
            let now = Instant.now
            var hasMail = false
            for index in 0..<eventCount {
                let event = epoll.event(at: index)
                let token = Token(rawValue: event.token)
                if token == Self.mailboxToken {
                    hasMail = true
                } else {
                    handler.handle(token, event.readiness, at: now)
                }
            }
            if hasMail {
                for message in mailbox.take() { handler.take(message, at: now) }
            }
            waitMilliseconds = handler.finishTurn(at: now)
        }
        return nil
    }
}
