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
        trailers: inout [HeadField], block: inout HTTP2FieldBlock, into output: inout OutputBuffer
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
                guard lane.form != .raw else { continue }
                TrailerSection.read(bytes, range, into: &trailers)
                if lane.form == .frames {
                    block.beginTrailers()
                    for index in trailers.indices { block.append(trailers[index], of: bytes) }
                    lane.hasTrailerBlock = block.count > 0
                    continue
                }
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
        guard !connections[target].isBroken else { return false }
        let isHTTP2 = connections[target].http2.isOpen
        guard
            let hasSentHead = isHTTP2
                ? sendReplayContent(exchange, target) : sendReplay(exchange, target, at: now)
        else { return writingFailed(exchange, target, at: now) }
        guard hasSentHead else { return false }
        let client = Int(exchanges[exchange].client)
        // Also when all has been read: the target may not have taken the last of it.
        guard let room = roomToSend(target, stream: exchanges[exchange].targetStream, at: now) else {
            return writingFailed(exchange, target, at: now)
        }
        guard room > 0 else { return false }
        if exchanges[exchange].up.isDone {
            return exchanges[exchange].phase == .tunnel && passEnd(exchange, isUp: true, to: target)
        }
        if isSpliceable(exchange, client, target, exchanges[exchange].up), lendPipe(to: exchange, isUp: true)
        {
            return splice(exchange, isUp: true, from: client, to: target, at: now)
        }
        switch relay(exchange, isUp: true, from: client, room: room, at: now) {
        case .nothing:
            return false
        case .sourceBroke:
            clientBroke(exchange, at: now)
            return false
        case .malformed:
            fail(exchange, .malformedContent, at: now)
            return false
        case .noMemory:
            fail(exchange, .noMemory, at: now)
            return false
        case .relayed(let hasMoved):
            guard
                send(
                    to: target, stream: exchanges[exchange].targetStream,
                    endsStream: exchanges[exchange].up.isDone && isHTTP2,
                    hasTrailers: exchanges[exchange].up.hasTrailerBlock, at: now)
            else { return writingFailed(exchange, target, at: now) }
            return hasMoved
        }
    }

    /// The target takes no more. One of HTTP/1 may have answered before it closed, so that its side is read to the
    /// end.
    private mutating func writingFailed(_ exchange: Int, _ target: Int, at now: Instant) -> Bool {
        guard !connections[target].http2.isOpen else {
            targetBroke(exchange, at: now)
            return false
        }
        connections[target].isBroken = true
        connections[target].isClosing = true
        connections[target].mayRead = true
        return true
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
        guard let room = roomToSend(client, stream: exchanges[exchange].clientStream, at: now) else {
            clientBroke(exchange, at: now)
            return false
        }
        guard room > 0 else { return false }
        switch exchanges[exchange].phase {
        case .free, .connecting: return false
        case .awaitingHead:
            // A head of HTTP/2 comes as an event.
            return connections[target].http2.isOpen ? false : readResponseHead(exchange, target, at: now)
        case .tunnel where exchanges[exchange].down.isDone:
            let hasPassedEnd = passEnd(exchange, isUp: false, to: client)
            guard exchanges[exchange].up.hasPassedEnd else { return hasPassedEnd }
            finish(exchange, at: now)
            return true
        case .responding where exchanges[exchange].down.isDone:
            finish(exchange, at: now)
            return true
        case .tunnel, .responding: break
        }
        if isSpliceable(exchange, target, client, exchanges[exchange].down),
            lendPipe(to: exchange, isUp: false)
        {
            return splice(exchange, isUp: false, from: target, to: client, at: now)
        }
        switch relay(exchange, isUp: false, from: target, room: room, at: now) {
        case .nothing:
            return false
        case .sourceBroke, .malformed, .noMemory:
            targetBroke(exchange, at: now)
            return false
        case .relayed(let hasMoved):
            guard
                send(
                    to: client, stream: exchanges[exchange].clientStream,
                    endsStream: exchanges[exchange].down.isDone,
                    hasTrailers: exchanges[exchange].down.hasTrailerBlock, at: now)
            else {
                clientBroke(exchange, at: now)
                return false
            }
            return hasMoved
        }
    }

    /// In a tunnel one side may end before the other.
    private mutating func passEnd(_ exchange: Int, isUp: Bool, to sink: Int) -> Bool {
        if isUp {
            guard !exchanges[exchange].up.hasPassedEnd else { return false }
            exchanges[exchange].up.hasPassedEnd = true
        } else {
            guard !exchanges[exchange].down.hasPassedEnd else { return false }
            exchanges[exchange].down.hasPassedEnd = true
        }
        if connections[sink].isSecure { _ = connections[sink].session.shutdown() }
        _ = connections[sink].socket.shutdownWrite()
        return true
    }

    // MARK: - One step

    /// How many bytes one side takes now; zero while it has not taken what came before, nil when it is lost.
    private mutating func roomToSend(_ slot: Int, stream: Int32, at now: Instant) -> Int? {
        if connections[slot].http2.isOpen { return connections[slot].http2.roomToWrite(stream: stream) }
        switch flush(slot, at: now) {
        case true: return Limits.exchangeInputByteCountMax
        case false: return 0
        case nil: return nil
        }
    }

    enum Relayed {
        /// The source has nothing now.
        case nothing
        case sourceBroke
        case malformed
        case noMemory
        /// `output` has it.
        case relayed(hasMoved: Bool)
    }

    /// Takes content from a side and rewrites it into `output`, as much as the other has room for.
    private mutating func relay(
        _ exchange: Int, isUp: Bool, from source: Int, room: Int, at now: Instant
    ) -> Relayed {
        output.removeAll()
        if connections[source].http2.isOpen {
            return relayHeld(exchange, isUp: isUp, from: source, room: room)
        }
        let filling = fill(source, at: now)
        guard filling.failure == nil else { return .sourceBroke }
        guard filling.byteCount > 0 else {
            guard connections[source].hasEnded else { return .nothing }
            // What ends with its connection is whole only if that ended in order.
            guard !connections[source].isBroken else { return .sourceBroke }
            return endLane(exchange, isUp: isUp) ? .relayed(hasMoved: true) : .sourceBroke
        }
        var lent = borrowInput()
        defer { giveBack(&lent) }
        let bytes = lent.span.extracting(0..<filling.byteCount)
        guard let position = relay(exchange, isUp: isUp, bytes.extracting(0..<min(room, bytes.count))) else {
            return .malformed
        }
        guard keepInput(source, bytes, position..<bytes.count) else { return .noMemory }
        let hasMoved = filling.newByteCount > 0 || position > 0
        // A part of a trailer section, and the end behind it.
        guard hasMoved || !connections[source].hasEnded else { return .sourceBroke }
        return .relayed(hasMoved: hasMoved)
    }

    /// Rewrites some bytes into `output`; returns how many were used, nil when they are no content.
    mutating func relay(_ exchange: Int, isUp: Bool, _ bytes: Span<UInt8>) -> Int? {
        var position = 0
        let outcome =
            isUp
            ? Self.relay(
                bytes, from: &position, through: &exchanges[exchange].up, trailers: &trailerFields,
                block: &trailerBlock, into: &output)
            : Self.relay(
                bytes, from: &position, through: &exchanges[exchange].down, trailers: &trailerFields,
                block: &trailerBlock, into: &output)
        return outcome == .malformed ? nil : position
    }

    /// The source has ended. False when its content was not whole.
    mutating func endLane(_ exchange: Int, isUp: Bool) -> Bool {
        let isWhole =
            isUp ? exchanges[exchange].up.reader.close() : exchanges[exchange].down.reader.close()
        guard isWhole else { return false }
        let form = isUp ? exchanges[exchange].up.form : exchanges[exchange].down.form
        if form == .chunked { ChunkWriter.appendEnd(to: &output) }
        if isUp { exchanges[exchange].up.isDone = true } else { exchanges[exchange].down.isDone = true }
        return true
    }

    /// Sends `output`, and the end if this is it. False when the side is lost.
    private mutating func send(
        to slot: Int, stream: Int32, endsStream: Bool, hasTrailers: Bool, at now: Instant
    ) -> Bool {
        if connections[slot].http2.isOpen {
            sendFrames(slot, stream, endsStream: endsStream, hasTrailers: hasTrailers)
            return true
        }
        guard sendOutput(slot, at: now) else { return false }
        return true
    }

    // MARK: - Splice

    /// Content that is long, plain on both sides and goes on as it is.
    private func isSpliceable(_ exchange: Int, _ source: Int, _ sink: Int, _ lane: ContentLane) -> Bool {
        guard lane.form == .raw, lane.pipeByteCount == 0, connections[source].input.isEmpty,
            !connections[source].isSecure, !connections[sink].isSecure, !connections[source].http2.isOpen
        else { return lane.pipeByteCount > 0 }
        if exchanges[exchange].phase == .tunnel { return !lane.isDone }
        return lane.reader.remainingContentByteCount ?? 0 >= UInt64(Limits.spliceContentByteCountMin)
    }

    /// Sees to it that a lane has a pipe. False when there is none to be had, and its content is copied.
    private mutating func lendPipe(to exchange: Int, isUp: Bool) -> Bool {
        guard !(isUp ? exchanges[exchange].up.hasPipe : exchanges[exchange].down.hasPipe) else { return true }
        guard let pipe = core.pipes.borrow() else { return false }
        if isUp {
            exchanges[exchange].up.pipe = pipe
            exchanges[exchange].up.hasPipe = true
        } else {
            exchanges[exchange].down.pipe = pipe
            exchanges[exchange].down.hasPipe = true
        }
        return true
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
        free(lane.held)
        free(lane.trailers)
        guard lane.hasPipe else { return }
        if lane.pipeByteCount > 0 { core.pipes.discard(lane.pipe) } else { core.pipes.giveBack(lane.pipe) }
    }
}
