// The writer of a mode's access logs: one thread that takes the workers' records, and the door to it.
//
// Best effort, as ELBv2's: traffic never waits for a log. What a worker has no room for it drops, and what a file
// does not take is dropped here; both are counted. What a record is and how it reads is the mode's; see
// AccessLogFeed.

import Balancing
import LinuxIO
import Reactor
import Synchronization

/// The records of a mode's workers, and the lines they become.
package protocol AccessLogFeed: ~Copyable {
    /// Takes what the workers have left and adds a line for each record whose log is on. The writer's thread only.
    mutating func drain(into files: inout AccessLogFiles, at now: Instant)
}

package final class AccessLog: Sendable {
    fileprivate enum Message: Sendable {
        /// Other files may be wanted than before.
        case configure
        case reopen
        case stop
    }

    private let board: AccessLogBoard
    private let mailbox: Mailbox<Message>
    private let thread: DataPlaneThread

    /// Starts the thread, with no file yet.
    ///
    /// - Parameters:
    ///   - threadName: At most 15 bytes.
    ///   - feed: What workers fill; this is their only reader.
    package init<Feed: AccessLogFeed & ~Copyable>(
        threadName: String, feed: consuming sending Feed
    ) throws(SystemCallError) {
        let board = AccessLogBoard()
        let mailbox = try Mailbox<Message>()
        let writer = Writer(feed: feed, files: AccessLogFiles(board: board))
        self.board = board
        self.mailbox = mailbox
        thread = try ReactorThread.start(
            name: threadName, processor: nil, reactor: try Reactor(mailbox: mailbox), handler: writer)
    }

    /// The numbers that records are to carry for these sources, zero where there is none. From here on the files
    /// of these sources are open, and no others.
    package func numbers(of sources: [AccessLogSource?]) -> [UInt32] {
        let numbers = board.state.withLock { state in
            state.paths = Set(sources.compactMap { $0?.path })
            return sources.map { source in source.map { state.number(of: $0) } ?? 0 }
        }
        mailbox.post(.configure)
        return numbers
    }

    /// Opens every file again by its name, as rotation wants it: the old one is complete soon after.
    package func reopen() { mailbox.post(.reopen) }

    /// One line for each file that does not take what it should.
    package var warnings: [String] {
        board.state.withLock { $0.problems.sorted { $0.key < $1.key }.map(\.value) }
    }

    /// Lines that a file did not take. What workers dropped is theirs to count.
    package var lostLineCount: UInt64 { board.state.withLock { $0.lostLineCount } }

    /// Writes what the workers have left and ends the thread. Call once, after the workers have stopped.
    package func stop() {
        mailbox.post(.stop)
        thread.join()
    }
}

/// What runs on the thread.
private struct Writer<Feed: AccessLogFeed & ~Copyable>: ~Copyable, TurnHandler {
    private var feed: Feed
    private var files: AccessLogFiles
    private(set) var isFinished = false

    init(feed: consuming Feed, files: consuming AccessLogFiles) {
        self.feed = feed
        self.files = files
    }

    /// No descriptor but the mailbox's is watched.
    mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant) {}

    mutating func take(_ message: AccessLog.Message, at now: Instant) {
        // Lines of files that go are written first.
        drain(at: now)
        switch message {
        case .configure:
            files.configure(at: now)
        case .reopen:
            files.reopen(at: now)
        case .stop:
            files.closeAll()
            isFinished = true
        }
    }

    mutating func finishTurn(at now: Instant) -> Int? {
        files.retry(at: now)
        drain(at: now)
        // Without files only flows of before have records, and those are of no use to anybody.
        return files.isEmpty ? nil : Limits.accessLogIntervalMilliseconds
    }

    private mutating func drain(at now: Instant) {
        files.beginRound()
        feed.drain(into: &files, at: now)
        files.endRound()
    }
}
