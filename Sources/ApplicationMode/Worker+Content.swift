// Requests up, responses down, each as far as both sockets go.
//
// `advance` is called for every event of either side. Each direction first empties what its sink has not taken,
// then reads its source: so a slow reader stops its writer, and no more than one buffer waits in between. Large
// plain content moves by splice(2) and never enters this process.

import Balancing
import HTTPCore
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    enum RelayOutcome {
        /// All bytes at hand are through; the content goes on.
        case more
        case done
        case malformed
    }

    /// Rewrites content from the front of some bytes into the form that its sink wants.
    static func relay(
        _ bytes: Span<UInt8>, from position: inout Int, through lane: inout ContentLane,
        trailers: inout [HeadField], into output: inout OutputBuffer
    ) -> RelayOutcome {
        while true {
            switch lane.reader.next(bytes, from: &position) {
            case .content(let range):
                lane.byteCount &+= UInt64(range.count)
                if lane.form == .chunked {
                    ChunkWriter.appendSize(range.count, to: &output)
                    output.append(bytes, range)
                    ChunkWriter.appendChunkEnd(to: &output)
                } else {
                    output.append(bytes, range)
                }
            case .trailers(let range):
                guard lane.form == .chunked else { continue }
                TrailerSection.read(bytes, range, into: &trailers)
                ChunkWriter.appendEnd(trailers: trailers, bytes, to: &output)
                lane.isDone = true
            case .needMore:
                return .more
            case .end:
                if lane.form == .chunked, !lane.isDone { ChunkWriter.appendEnd(to: &output) }
                lane.isDone = true
                return .done
            case .malformed:
                return .malformed
            }
        }
    }

    /// Moves what can be moved for an exchange, both ways.
    mutating func advance(_ exchange: Int, at now: Instant) {
        let generation = exchanges[exchange].generation
        var budget = Limits.stepsPerPumpMax
        while exchanges[exchange].generation == generation {
            switch exchanges[exchange].phase {
            case .free, .connecting: return
            case .awaitingHead, .responding, .tunnel: break
            }
            let hasMovedUp = pumpUp(exchange, at: now)
            guard exchanges[exchange].generation == generation, exchanges[exchange].phase != .free else {
                return
            }
            let hasMovedDown = pumpDown(exchange, at: now)
            guard exchanges[exchange].generation == generation, exchanges[exchange].phase != .free,
                hasMovedUp || hasMovedDown
            else { return }
            budget -= 1
            if budget == 0 {
                queue(Int(exchanges[exchange].client))
                return
            }
        }
    }

    // MARK: - Up: from the client to the target

    /// Returns whether anything moved. The exchange may be over afterwards.
    private mutating func pumpUp(_ exchange: Int, at now: Instant) -> Bool {
        guard let target = exchanges[exchange].target, exchanges[exchange].phase != .connecting else {
            return false
        }
        guard let hasSentHead = sendReplay(exchange, target, at: now) else {
            targetBroke(exchange, at: now)
            return false
        }
        guard hasSentHead, !exchanges[exchange].up.isDone else { return false }
        switch flush(target, at: now) {
        case true: break
        case false: return false
        case nil:
            targetBroke(exchange, at: now)
            return false
        }
        let client = Int(exchanges[exchange].client)
        if exchanges[exchange].phase == .tunnel
            || isSpliceable(exchange, client, target, exchanges[exchange].up)
        {
            return splice(exchange, isUp: true, from: client, to: target, at: now)
        }
        let filling = fill(client, at: now)
        guard filling.failure == nil else {
            clientBroke(exchange, at: now)
            return false
        }
        guard filling.byteCount > 0 else {
            // The client ends in the middle of its request: nobody can answer that.
            if connections[client].hasEnded { clientBroke(exchange, at: now) }
            return false
        }
        let relayed = relayInput(exchange, isUp: true, from: client, byteCount: filling.byteCount)
        if case .malformed = relayed.outcome {
            fail(exchange, .malformedContent, at: now)
            return false
        }
        guard relayed.isKept, sendOutput(target, at: now) else {
            targetBroke(exchange, at: now)
            return false
        }
        return filling.newByteCount > 0 || relayed.byteCount > 0
    }

    /// Sends the rest of the request's first bytes. Nil when the connection is lost.
    private mutating func sendReplay(_ exchange: Int, _ target: Int, at now: Instant) -> Bool? {
        let replay = exchanges[exchange].replay
        let sentCount = Int(exchanges[exchange].replaySentCount)
        guard sentCount < Int(replay.count) else { return true }
        guard connections[target].mayWrite else { return false }
        guard
            let count = writeCell(
                Int(replay.cellPlusOne) - 1, from: sentCount, byteCount: Int(replay.count) - sentCount,
                to: target)
        else { return nil }
        if count > 0 {
            exchanges[exchange].hasSentBytes = true
            connections[target].lastActivityAt = now
            core.counters.add(count, .clientBytesTCP, target: connections[target].target)
        }
        exchanges[exchange].replaySentCount += UInt32(count)
        guard sentCount + count == Int(replay.count) else { return false }
        exchanges[exchange].sentAt = now
        // Whoever streams a long request cannot ask it back.
        if !exchanges[exchange].isReplayWhole { freeReplay(exchange) }
        return true
    }

    mutating func freeReplay(_ exchange: Int) {
        free(exchanges[exchange].replay)
        exchanges[exchange].replay = Held()
        exchanges[exchange].replaySentCount = 0
    }

    // MARK: - Down: from the target to the client

    private mutating func pumpDown(_ exchange: Int, at now: Instant) -> Bool {
        guard let target = exchanges[exchange].target else { return false }
        let client = Int(exchanges[exchange].client)
        switch flush(client, at: now) {
        case true: break
        case false: return false
        case nil:
            clientBroke(exchange, at: now)
            return false
        }
        switch exchanges[exchange].phase {
        case .free, .connecting: return false
        case .awaitingHead: return readResponseHead(exchange, target, at: now)
        case .tunnel:
            return splice(exchange, isUp: false, from: target, to: client, at: now)
        case .responding: break
        }
        if exchanges[exchange].down.isDone {
            finish(exchange, at: now)
            return true
        }
        if isSpliceable(exchange, target, client, exchanges[exchange].down) {
            return splice(exchange, isUp: false, from: target, to: client, at: now)
        }
        let filling = fill(target, at: now)
        guard filling.failure == nil else {
            targetBroke(exchange, at: now)
            return false
        }
        output.removeAll()
        if filling.byteCount == 0 {
            guard connections[target].hasEnded else { return false }
            guard exchanges[exchange].down.reader.close() else {
                targetBroke(exchange, at: now)
                return false
            }
            if exchanges[exchange].down.form == .chunked { ChunkWriter.appendEnd(to: &output) }
            exchanges[exchange].down.isDone = true
        } else {
            let relayed = relayInput(exchange, isUp: false, from: target, byteCount: filling.byteCount)
            guard relayed.isKept, relayed.outcome != .malformed else {
                targetBroke(exchange, at: now)
                return false
            }
        }
        guard sendOutput(client, at: now) else {
            clientBroke(exchange, at: now)
            return false
        }
        return true
    }

    private struct Relayed {
        var outcome: RelayOutcome
        var byteCount: Int
        /// What is not content is kept for later.
        var isKept: Bool
    }

    /// Rewrites the content at the front of `input` into `output`.
    private mutating func relayInput(
        _ exchange: Int, isUp: Bool, from source: Int, byteCount: Int
    ) -> Relayed {
        var lent = borrowInput()
        defer { giveBack(&lent) }
        let bytes = lent.span.extracting(0..<byteCount)
        var position = 0
        output.removeAll()
        let outcome =
            isUp
            ? Self.relay(
                bytes, from: &position, through: &exchanges[exchange].up, trailers: &trailerFields,
                into: &output)
            : Self.relay(
                bytes, from: &position, through: &exchanges[exchange].down, trailers: &trailerFields,
                into: &output)
        let isKept = keepInput(source, bytes, position..<byteCount)
        return Relayed(outcome: outcome, byteCount: position, isKept: isKept)
    }

    // MARK: - Splice

    /// Content that is long, plain on both sides and goes on as it is.
    private func isSpliceable(_ exchange: Int, _ source: Int, _ sink: Int, _ lane: ContentLane) -> Bool {
        guard lane.form == .raw, lane.pipeByteCount == 0, connections[source].input.isEmpty,
            !connections[source].isSecure, !connections[sink].isSecure
        else { return lane.pipeByteCount > 0 }
        return lane.reader.remainingContentByteCount ?? 0 >= UInt64(Limits.spliceContentByteCountMin)
    }

    /// Moves content from socket to socket through a pipe. In a tunnel there is no end but the source's.
    private mutating func splice(
        _ exchange: Int, isUp: Bool, from source: Int, to sink: Int, at now: Instant
    ) -> Bool {
        var lane = isUp ? exchanges[exchange].up : exchanges[exchange].down
        let outcome = splice(
            &lane, isTunnel: exchanges[exchange].phase == .tunnel, from: source, to: sink, at: now)
        if lane.hasPipe, lane.pipeByteCount == 0 {
            core.pipes.giveBack(lane.pipe)
            lane.hasPipe = false
        }
        if isUp { exchanges[exchange].up = lane } else { exchanges[exchange].down = lane }
        switch outcome {
        case .moved(let hasMoved):
            return hasMoved
        case .sourceBroke:
            if isUp { clientBroke(exchange, at: now) } else { targetBroke(exchange, at: now) }
        case .sinkBroke:
            if isUp { targetBroke(exchange, at: now) } else { clientBroke(exchange, at: now) }
        }
        return false
    }

    private enum SpliceOutcome {
        case moved(Bool)
        case sourceBroke
        case sinkBroke
    }

    private mutating func splice(
        _ lane: inout ContentLane, isTunnel: Bool, from source: Int, to sink: Int, at now: Instant
    ) -> SpliceOutcome {
        var hasMoved = false
        var budget = Limits.stepsPerPumpMax
        while budget > 0 {
            budget -= 1
            if lane.pipeByteCount == 0 {
                let remaining = isTunnel ? UInt64.max : lane.reader.remainingContentByteCount ?? 0
                guard remaining > 0, connections[source].mayRead else { break }
                if !lane.hasPipe {
                    guard let pipe = core.pipes.borrow() else { break }
                    lane.pipe = pipe
                    lane.hasPipe = true
                }
                let byteCountMax = Int(min(remaining, UInt64(Limits.pipeByteCountMax)))
                switch connections[source].socket.splice(to: lane.pipe.writeEnd, byteCountMax: byteCountMax) {
                case .moved(let count):
                    lane.pipeByteCount = UInt32(count)
                    lane.byteCount &+= UInt64(count)
                    if !isTunnel { lane.reader.skip(UInt64(count)) }
                    connections[source].lastActivityAt = now
                    hasMoved = true
                case .wouldBlock:
                    connections[source].mayRead = false
                    return .moved(hasMoved)
                case .endOfStream:
                    connections[source].mayRead = false
                    connections[source].hasEnded = true
                    guard isTunnel else { return .sourceBroke }
                    lane.isDone = true
                    _ = connections[sink].socket.shutdownWrite()
                    return .moved(true)
                case .failed:
                    return .sourceBroke
                }
            }
            guard connections[sink].mayWrite else { break }
            switch lane.pipe.readEnd.splice(
                to: connections[sink].socket, byteCountMax: Int(lane.pipeByteCount))
            {
            case .moved(let count):
                lane.pipeByteCount -= UInt32(min(count, Int(lane.pipeByteCount)))
                connections[sink].lastActivityAt = now
                hasMoved = true
            case .wouldBlock:
                connections[sink].mayWrite = false
                return .moved(hasMoved)
            case .endOfStream, .failed:
                return .sinkBroke
            }
        }
        if !isTunnel, lane.pipeByteCount == 0, lane.reader.isComplete { lane.isDone = true }
        return .moved(hasMoved)
    }

    /// Gives back what a lane holds at the end of its exchange.
    mutating func release(_ lane: ContentLane) {
        guard lane.hasPipe else { return }
        if lane.pipeByteCount > 0 { core.pipes.discard(lane.pipe) } else { core.pipes.giveBack(lane.pipe) }
    }
}
