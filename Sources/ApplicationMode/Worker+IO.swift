// Bytes between sockets and scratch memory, plain or through TLS, and what waits in between.
//
// Reads go to the front of `input`, behind what was held; writes come from `output`, or straight from `input`.
// What a socket does not take is held in a cell, and whoever feeds that socket stops until it is gone: there is
// never more than one buffer of bytes in Weir for each direction of an exchange.

import Balancing
import HTTPCore
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    /// What `input` has at its front.
    struct Filling: BitwiseCopyable {
        var byteCount = 0
        /// Of these, how many were not there before.
        var newByteCount = 0
        var failure: Errno?
    }

    /// Puts at the front of `input` what is held of a connection and what its socket has.
    ///
    /// - Parameter byteCountMax: Reads no further; what is held counts.
    mutating func fill(
        _ slot: Int, byteCountMax: Int = Limits.exchangeInputByteCountMax, at now: Instant
    ) -> Filling {
        var filling = Filling()
        let held = connections[slot].input
        if !held.isEmpty {
            cells.copy(
                cell: Int(held.cellPlusOne) - 1, offset: Int(held.offset), byteCount: Int(held.count),
                into: &input)
            free(held)
            connections[slot].input = Held()
            filling.byteCount = Int(held.count)
        }
        reading: while connections[slot].mayRead, filling.byteCount < byteCountMax {
            let room = byteCountMax - filling.byteCount
            switch Self.receive(into: &input, at: filling.byteCount, room, from: &connections[slot]) {
            case .moved(0):
                // What came was no data, as much of it as one turn may read.
                queue(slot)
                break reading
            case .moved(let count):
                filling.byteCount += count
                filling.newByteCount += count
                // A plain socket that gave less is empty, and the next byte or the end raises an edge.
                if count < room, !connections[slot].isSecure, !connections[slot].isClosing {
                    connections[slot].mayRead = false
                }
                if !connections[slot].isSecure { break reading }
            case .wouldBlock:
                connections[slot].mayRead = false
            case .endOfStream:
                connections[slot].mayRead = false
                connections[slot].hasEnded = true
            case .failed(let errno):
                connections[slot].mayRead = false
                filling.failure = errno
            }
        }
        if filling.newByteCount > 0 { connections[slot].lastActivityAt = now }
        return filling
    }

    /// Keeps what `input` has from `position` on for the next `fill`. False without a cell to keep it in.
    mutating func keepInput(_ slot: Int, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard !range.isEmpty else { return true }
        guard let cell = cells.keep(bytes.extracting(range)) else { return false }
        connections[slot].input = Held(
            cellPlusOne: UInt32(cell) + 1, offset: 0, count: UInt32(range.count))
        return true
    }

    /// Keeps `output` as a whole in a cell; nil when there is none.
    mutating func keepOutput() -> Int? {
        var kept = OutputBuffer(capacity: 0)
        swap(&kept, &output)
        defer { swap(&kept, &output) }
        return cells.keep(kept.storage.span.extracting(0..<kept.count))
    }

    /// Sends all of `output`, or holds what the socket does not take. False when the connection is lost.
    ///
    /// - Parameter isLast: The connection's end follows at once, and may leave in the same segment.
    mutating func sendOutput(_ slot: Int, isLast: Bool = false, at now: Instant) -> Bool {
        var sending = OutputBuffer(capacity: 0)
        swap(&sending, &output)
        defer { swap(&sending, &output) }
        return send(slot, sending.storage.span.extracting(0..<sending.count), isLast: isLast, at: now)
    }

    /// The same for any bytes.
    private mutating func send(_ slot: Int, _ bytes: Span<UInt8>, isLast: Bool, at now: Instant) -> Bool {
        var sentCount = 0
        if connections[slot].output.isEmpty {
            guard let count = Self.write(bytes, isLast: isLast, to: &connections[slot]) else { return false }
            sentCount = count
        }
        if sentCount > 0 { connections[slot].lastActivityAt = now }
        guard sentCount < bytes.count else { return true }
        return Self.hold(bytes.extracting(sentCount..<bytes.count), of: &connections[slot], in: &cells)
    }

    /// Sends what is held. True when nothing is held any more; nil when the connection is lost.
    mutating func flush(_ slot: Int, at now: Instant) -> Bool? {
        let held = connections[slot].output
        guard !held.isEmpty else { return true }
        guard connections[slot].mayWrite else { return false }
        let cell = Int(held.cellPlusOne) - 1
        guard
            let count = writeCell(cell, from: Int(held.offset), byteCount: Int(held.count), to: slot)
        else { return nil }
        if count > 0 { connections[slot].lastActivityAt = now }
        guard count == Int(held.count) else {
            connections[slot].output.offset += UInt32(count)
            connections[slot].output.count -= UInt32(count)
            return false
        }
        free(held)
        connections[slot].output = Held()
        return true
    }

    /// Holds bytes behind those that wait already. False when there is no room for them.
    private static func hold(_ bytes: Span<UInt8>, of connection: inout Connection, in cells: inout Stash)
        -> Bool
    {
        guard connection.output.isEmpty else {
            let end = Int(connection.output.offset + connection.output.count)
            guard cells.append(bytes, to: Int(connection.output.cellPlusOne) - 1, holding: end) else {
                return false
            }
            connection.output.count += UInt32(bytes.count)
            return true
        }
        guard let cell = cells.keep(bytes) else { return false }
        connection.output = Held(cellPlusOne: UInt32(cell) + 1, offset: 0, count: UInt32(bytes.count))
        return true
    }

    /// Writes what a cell holds; see `write`.
    mutating func writeCell(_ cell: Int, from offset: Int, byteCount: Int, to slot: Int) -> Int? {
        var connection = connections[slot]
        let count = cells.withBytes(cell: cell, offset: offset, byteCount: byteCount) { bytes in
            Self.write(bytes, to: &connection)
        }
        connections[slot] = connection
        return count
    }

    /// Lends the scratch memory that `fill` reads into, for as long as the worker itself is changed by what it
    /// holds: a span of one of its properties would forbid that. Give it back with `giveBack`.
    mutating func borrowInput() -> [UInt8] {
        var lent: [UInt8] = []
        swap(&lent, &input)
        return lent
    }

    mutating func giveBack(_ lent: inout [UInt8]) {
        swap(&lent, &input)
    }

    mutating func free(_ held: Held) {
        if held.cellPlusOne > 0 {
            cells.free(cell: Int(held.cellPlusOne) - 1, havingHeld: held.byteCountMax)
        }
    }

    // MARK: - One call

    private static func receive(
        into bytes: inout [UInt8], at offset: Int, _ byteCountMax: Int, from connection: inout Connection
    ) -> IOOutcome {
        guard connection.session.isOpen else {
            return connection.socket.receive(into: &bytes, at: offset, byteCountMax: byteCountMax)
        }
        switch connection.session.read(into: &bytes, at: offset, byteCountMax: byteCountMax) {
        case .moved(let count): return .moved(count)
        case .wantRead, .wantWrite: return .wouldBlock
        case .endOfStream: return .endOfStream
        case .failed(.connection(let errno)): return .failed(errno)
        // A peer that ends without close_notify: HTTP's own framing says whether anything is missing.
        case .failed(.endedEarly): return .endOfStream
        case .failed: return .failed(.connectionReset)
        }
    }

    /// How many bytes the socket took; fewer than given, and it may not be written to. Nil when the connection is lost.
    private static func write(
        _ bytes: Span<UInt8>, isLast: Bool = false, to connection: inout Connection
    ) -> Int? {
        var sentCount = 0
        while connection.mayWrite, sentCount < bytes.count {
            let rest = bytes.extracting(sentCount..<bytes.count)
            let outcome: IOOutcome
            if connection.session.isOpen {
                switch connection.session.write(from: rest) {
                case .moved(let count): outcome = count > 0 ? .moved(count) : .wouldBlock
                case .wantRead, .wantWrite, .endOfStream: outcome = .wouldBlock
                case .failed(.connection(let errno)): outcome = .failed(errno)
                case .failed: outcome = .failed(.connectionReset)
                }
            } else {
                outcome = isLast ? connection.socket.sendMore(rest) : connection.socket.send(rest)
            }
            switch outcome {
            case .moved(let count):
                sentCount += count
                // Less than all: the socket's buffer is full, and room in it raises an edge.
                if count < rest.count, !connection.session.isOpen { connection.mayWrite = false }
            case .wouldBlock: connection.mayWrite = false
            case .endOfStream, .failed: return nil
            }
        }
        return sentCount
    }
}
