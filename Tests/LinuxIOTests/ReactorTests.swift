// The turn: messages in order, events to their tokens, timeouts, the end.

import Balancing
import LinuxIO
import Reactor
import Synchronization
import Testing

/// Writes down what its turns bring.
private struct Recorder: TurnHandler, ~Copyable {
    enum Message: Sendable {
        case note(Int)
        case stop
    }

    let log: Log
    var isFinished = false

    final class Log: Sendable {
        let notes = Mutex<[Int]>([])
        let tokens = Mutex<[Token]>([])
    }

    mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant) {
        log.tokens.withLock { $0.append(token) }
    }

    mutating func take(_ message: Message, at now: Instant) {
        switch message {
        case .note(let number): log.notes.withLock { $0.append(number) }
        case .stop: isFinished = true
        }
    }

    mutating func finishTurn(at now: Instant) -> Int? { nil }
}

@Suite struct `Turns of a reactor` {
    @Test func `messages of one poster are taken in order, and the last ends the loop`() throws {
        let mailbox = try Mailbox<Recorder.Message>()
        let log = Recorder.Log()
        let thread = try ReactorThread.start(
            name: "recorder", processor: nil, reactor: try Reactor(mailbox: mailbox),
            handler: Recorder(log: log))
        for number in 0..<10_000 { mailbox.post(.note(number)) }
        mailbox.post(.stop)
        thread.join()
        #expect(log.notes.withLock { $0 } == Array(0..<10_000))
    }

    @Test func `an event reaches the handler with the token of its registration`() throws {
        let mailbox = try Mailbox<Recorder.Message>()
        let log = Recorder.Log()
        let reactor = try Reactor(mailbox: mailbox)
        let socket = OwnedDescriptor(try Descriptor.socket(.udp, .v4))
        let token = Token(kind: 3, generation: 77, index: 5)
        #expect(reactor.registrations.add(socket.descriptor, for: .socket, token: token.rawValue) == nil)
        // Writable at once; then the message, which the mailbox's own token brings.
        mailbox.post(.stop)
        var handler = Recorder(log: log)
        #expect(reactor.run(&handler) == nil)
        #expect(log.tokens.withLock { $0 } == [token])
    }

    @Test func `a receipt completes once, with the last acknowledgement`() {
        let completions = Mutex(0)
        let receipt = Receipt(count: 3) { completions.withLock { $0 += 1 } }
        receipt.acknowledge()
        receipt.acknowledge()
        #expect(completions.withLock { $0 } == 0)
        receipt.acknowledge()
        #expect(completions.withLock { $0 } == 1)
    }
}
