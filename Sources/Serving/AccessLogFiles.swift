// The files of an access log: opened, opened again, retried, and written to in chunks of whole lines.
//
// Best effort, as ELBv2's: what a file does not take is dropped and counted.

import Balancing
import LinuxIO
import Synchronization

/// What a log's lines say of their listener, and where they go.
package struct AccessLogSource: Hashable, Sendable {
    /// A file, or `stdout`.
    package let path: String
    package let loadBalancer: String
    /// Such as `edge:443`.
    package let listener: String

    package init(path: String, loadBalancer: String, listener: String) {
        self.path = path
        self.loadBalancer = loadBalancer
        self.listener = listener
    }
}

/// What the writer and its callers share.
final class AccessLogBoard: Sendable {
    struct State {
        var numbers: [AccessLogSource: UInt32] = [:]
        var sources: [AccessLogSource] = []
        /// The files that lines go to.
        var paths: Set<String> = []
        var problems: [String: String] = [:]
        var lostLineCount: UInt64 = 0

        /// Numbers outlive their listeners: records may come later.
        mutating func number(of source: AccessLogSource) -> UInt32 {
            if let known = numbers[source] { return known }
            guard sources.count < Limits.accessLogSourceCountMax else { return 0 }
            sources.append(source)
            numbers[source] = UInt32(sources.count)
            return UInt32(sources.count)
        }
    }

    let state = Mutex(State())
}

/// Where a mode's records put their lines. Only the writer's thread has it.
package struct AccessLogFiles: ~Copyable {
    private struct File {
        var descriptor: Descriptor?
        var retriesAt = Instant.distantFuture
        /// Whole lines, at most a chunk of them.
        var pending: [UInt8] = []
        var pendingLineCount: UInt64 = 0
        /// It took nothing for too long; in this turn it is not asked again.
        var isStuck = false
    }

    private let board: AccessLogBoard
    private var files: [String: File] = [:]
    /// Copied from the board when a record asks for more.
    private var sources: [AccessLogSource] = []
    private var paths: Set<String> = []

    init(board: AccessLogBoard) {
        self.board = board
    }

    // MARK: - Lines

    /// Whose line it is that a record with this number becomes; nil when that log is off by now.
    package mutating func source(of number: UInt32) -> AccessLogSource? {
        guard number > 0 else { return nil }
        let index = Int(number) - 1
        // Numbers and paths come to the board before workers know of them, but maybe not yet to this thread.
        if index >= sources.count || !paths.contains(sources[index].path) { readBoard() }
        guard index < sources.count, paths.contains(sources[index].path) else { return nil }
        return sources[index]
    }

    /// Adds a whole line, with its end, to the file of its source.
    package mutating func add(_ line: [UInt8], of source: AccessLogSource, at now: Instant) {
        let path = source.path
        if files[path] == nil { open(path, at: now) }
        let pendingCount = files[path]?.pending.count ?? 0
        if pendingCount + line.count > Limits.accessLogChunkByteCount { flush(path) }
        files[path]?.pending += line
        files[path]?.pendingLineCount += 1
    }

    /// A file that took nothing is asked again from here on.
    mutating func beginRound() {
        for path in Array(files.keys) { files[path]?.isStuck = false }
    }

    mutating func endRound() {
        for path in Array(files.keys) { flush(path) }
    }

    private mutating func readBoard() {
        (sources, paths) = board.state.withLock { ($0.sources, $0.paths) }
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

    // MARK: - Files

    var isEmpty: Bool { files.isEmpty }

    /// Opens the files that the board asks for, and closes the others.
    mutating func configure(at now: Instant) {
        readBoard()
        for path in Array(files.keys) where !paths.contains(path) { close(path) }
        for path in paths where files[path] == nil { open(path, at: now) }
    }

    mutating func reopen(at now: Instant) {
        for path in Array(files.keys) {
            close(path)
            open(path, at: now)
        }
    }

    /// Tries again what could not be opened, when it is time.
    mutating func retry(at now: Instant) {
        for (path, file) in files where file.descriptor == nil && file.retriesAt <= now {
            open(path, at: now)
        }
    }

    mutating func closeAll() {
        for path in Array(files.keys) { close(path) }
    }

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
