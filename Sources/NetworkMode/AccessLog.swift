// The writer of TLS access logs: one thread that empties the workers' rings, and the door to it.
//
// Best effort, as ELBv2's: traffic never waits for a log. What a ring has no room for is dropped by its worker,
// and what a file does not take is dropped here; both are counted.

import Balancing
import LinuxIO
import Reactor
import Synchronization
import TLSTermination

package final class AccessLog: Sendable {
    fileprivate enum Message: Sendable {
        /// Other files may be wanted than before.
        case configure
        case reopen
        case stop
    }

    /// What the writer and its callers share.
    fileprivate final class Board: Sendable {
        fileprivate struct State {
            var numbers: [AccessLogSource: UInt32] = [:]
            var sources: [AccessLogSource] = []
            /// The files that lines go to.
            var paths: Set<String> = []
            var problems: [String: String] = [:]
            var lostLineCount: UInt64 = 0
        }

        let state = Mutex(State())
    }

    private let board: Board
    private let mailbox: Mailbox<Message>
    private let thread: DataPlaneThread

    /// Starts the thread, with no file yet.
    ///
    /// - Parameter rings: What workers fill; this is their only reader.
    package init(rings: [RecordRing<AccessRecord>]) throws(SystemCallError) {
        let board = Board()
        let mailbox = try Mailbox<Message>()
        let writer = Writer(rings: rings, board: board)
        self.board = board
        self.mailbox = mailbox
        thread = try ReactorThread.start(
            name: "weir-access-log", processor: nil, reactor: try Reactor(mailbox: mailbox), handler: writer)
    }

    /// The number of each listener's log, zero where it has none, in the places where workers that route by
    /// `snapshot` look for them. From here on the snapshot's files are open, and no others.
    package func numbers(for snapshot: RoutingSnapshot) -> [UInt32] {
        let numbers = board.state.withLock { state in
            state.paths = Set(snapshot.listeners.compactMap { $0?.accessLogPath })
            return snapshot.listeners.map { route -> UInt32 in
                guard let route, let path = route.accessLogPath else { return 0 }
                return state.number(
                    of: AccessLogSource(
                        path: path, loadBalancer: route.id.loadBalancer, listener: "\(route.id)"))
            }
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

extension AccessLog.Board.State {
    /// Numbers outlive their listeners: records may come later.
    fileprivate mutating func number(of source: AccessLogSource) -> UInt32 {
        if let known = numbers[source] { return known }
        guard sources.count < Limits.accessLogSourceCountMax else { return 0 }
        sources.append(source)
        numbers[source] = UInt32(sources.count)
        return UInt32(sources.count)
    }
}

/// What runs on the thread.
private struct Writer: ~Copyable, TurnHandler {
    private struct File {
        var descriptor: Descriptor?
        var retriesAt = Instant.distantFuture
        /// Whole lines, at most a chunk of them.
        var pending: [UInt8] = []
        var pendingLineCount: UInt64 = 0
        /// It took nothing for too long; in this turn it is not asked again.
        var isStuck = false
    }

    private let rings: [RecordRing<AccessRecord>]
    private let board: AccessLog.Board
    private let names = TLSNames()
    private var files: [String: File] = [:]
    /// Copied from the board when a record asks for more.
    private var sources: [AccessLogSource] = []
    private var paths: Set<String> = []
    private(set) var isFinished = false

    init(rings: [RecordRing<AccessRecord>], board: AccessLog.Board) {
        self.rings = rings
        self.board = board
    }

    /// No descriptor but the mailbox's is watched.
    mutating func handle(_ token: Token, _ readiness: Readiness, at now: Instant) {}

    mutating func take(_ message: AccessLog.Message, at now: Instant) {
        switch message {
        case .configure:
            // Lines of files that go are written first.
            drain(at: now)
            readBoard()
            for path in Array(files.keys) where !paths.contains(path) { close(path) }
            for path in paths where files[path] == nil { open(path, at: now) }
        case .reopen:
            drain(at: now)
            for path in Array(files.keys) {
                close(path)
                open(path, at: now)
            }
        case .stop:
            drain(at: now)
            for path in Array(files.keys) { close(path) }
            isFinished = true
        }
    }

    mutating func finishTurn(at now: Instant) -> Int? {
        for (path, file) in files where file.descriptor == nil && file.retriesAt <= now {
            open(path, at: now)
        }
        drain(at: now)
        // Without files only flows of before have records, and those are of no use to anybody.
        return files.isEmpty ? nil : Limits.accessLogIntervalMilliseconds
    }

    // MARK: Lines

    private mutating func drain(at now: Instant) {
        let unixNanoseconds = Machine.wallClockNanoseconds()
        for path in Array(files.keys) { files[path]?.isStuck = false }
        for ring in rings {
            _ = ring.drain { record in
                guard let source = source(of: record) else { return }
                if files[source.path] == nil { open(source.path, at: now) }
                let line = AccessLogLine(
                    record, source, certificate: CertificateRegister.entry(record.notes.certificate),
                    names: names, unixNanoseconds: unixNanoseconds, at: now)
                add(line.bytes, to: source.path)
            }
        }
        for path in Array(files.keys) { flush(path) }
    }

    private mutating func readBoard() {
        (sources, paths) = board.state.withLock { ($0.sources, $0.paths) }
    }

    /// Nil when the record's log is off by now.
    private mutating func source(of record: AccessRecord) -> AccessLogSource? {
        guard record.log > 0 else { return nil }
        let index = Int(record.log) - 1
        // Numbers and paths come to the board before workers know of them, but maybe not yet to this thread.
        if index >= sources.count || !paths.contains(sources[index].path) { readBoard() }
        guard index < sources.count, paths.contains(sources[index].path) else { return nil }
        return sources[index]
    }

    private mutating func add(_ line: [UInt8], to path: String) {
        let pendingCount = files[path]?.pending.count ?? 0
        if pendingCount + line.count > Limits.accessLogChunkByteCount { flush(path) }
        files[path]?.pending += line
        files[path]?.pendingLineCount += 1
    }

    private mutating func flush(_ path: String) {
        guard var file = files[path], file.pendingLineCount > 0 else { return }
        var isLost = true
        if let descriptor = file.descriptor, !file.isStuck {
            let errno = descriptor.append(
                file.pending, patienceMilliseconds: Limits.accessLogPatienceMilliseconds)
            isLost = errno != nil
            file.isStuck = isLost
            setProblem(errno.map { "it takes no lines (\($0)), and those are dropped" }, of: path)
        }
        if isLost {
            let count = file.pendingLineCount
            board.state.withLock { $0.lostLineCount += count }
        }
        file.pending.removeAll(keepingCapacity: true)
        file.pendingLineCount = 0
        files[path] = file
    }

    // MARK: Files

    private mutating func open(_ path: String, at now: Instant) {
        guard path != "stdout" else {
            files[path] = File(descriptor: .standardOutput)
            return
        }
        do throws(SystemCallError) {
            files[path] = File(descriptor: try Descriptor.openForAppending(path))
            setProblem(nil, of: path)
        } catch {
            files[path] = File(
                descriptor: nil, retriesAt: now.advanced(bySeconds: Limits.accessLogRetrySeconds))
            setProblem(
                "it cannot be opened (\(error)), and its lines are dropped. Make its directory, writable for "
                    + "whom Weir runs as, and no link in its place; it is tried again every \(Limits.accessLogRetrySeconds) s",
                of: path)
        }
    }

    private mutating func close(_ path: String) {
        flush(path)
        guard let file = files.removeValue(forKey: path) else { return }
        if path != "stdout" { file.descriptor?.close() }
        setProblem(nil, of: path)
    }

    private func setProblem(_ problem: String?, of path: String) {
        board.state.withLock { $0.problems[path] = problem.map { "access log \(path): \($0)." } }
    }
}
