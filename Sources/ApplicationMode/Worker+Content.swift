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
            if hasMovedUp || hasMovedDown { exchanges[exchange].lastMovedAt = now }
            guard exchanges[exchange].generation == generation, exchanges[exchange].phase != .free,
                hasMovedUp || hasMovedDown
            else { return }
            budget -= 1
            if budget == 0 {
                if exchanges[exchange].clientStream > 0 {
                    postponed.append(Touched(exchange: exchange, generation: generation))
                } else {
                    queue(Int(exchanges[exchange].client))
                }
                return
            }
        }
    }

    // MARK: - Up: from the client to the target

    /// Returns whether anything moved. The exchange may be over afterwards.
    private mutating func pumpUp(_ exchange: Int, at now: Instant) -> Bool {
        guard let target = exchanges[exchange].target, exchanges[exchange].phase != .connecting,
            !connections[target].isBroken
        else { return false }
        let stream = exchanges[exchange].targetStream
        let isHTTP2 = connections[target].http2.isOpen
        guard
            let hasSentHead = isHTTP2
                ? sendReplayContent(exchange, target) : sendReplay(exchange, target, at: now)
        else { return writingFailed(target) }
        guard hasSentHead else { return false }
        let client = Int(exchanges[exchange].client)
        guard let room = roomToSend(target, stream: stream, at: now) else { return writingFailed(target) }
        guard room > 0, !exchanges[exchange].up.isDone else { return false }
        if exchanges[exchange].phase == .tunnel {
            return pumpTunnel(exchange, isUp: true, from: client, to: target, at: now)
        }
        if isSpliceable(client, target, exchanges[exchange].up), lendPipe(to: exchange, isUp: true) {
            return splice(exchange, isUp: true, from: client, to: target, at: now)
        }
        switch relay(exchange, isUp: true, from: client, room: room, at: now) {
        case .nothing:
            return false
        case .sourceBroke:
            // The client ends in the middle of its request: nobody can answer that.
            clientBroke(exchange, at: now)
            return false
        case .malformed:
            fail(exchange, .malformedContent, at: now)
            return false
        case .noMemory:
            fail(exchange, .noMemory, at: now)
            return false
        case .relayed(let hasMoved):
            let lane = exchanges[exchange].up
            guard
                send(
                    to: target, stream: stream, endsStream: lane.isDone, hasTrailers: lane.hasTrailerBlock,
                    at: now)
            else { return writingFailed(target) }
            if connections[client].hasEnded, !lane.isDone, !hasMoved {
                clientBroke(exchange, at: now)
                return false
            }
            return hasMoved
        }
    }

    /// The target takes no more. It may have answered before it closed, so that its side is read to the end.
    private mutating func writingFailed(_ target: Int) -> Bool {
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
        guard let target = exchanges[exchange].target else { return pumpRest(exchange, at: now) }
        let client = Int(exchanges[exchange].client)
        guard let room = roomToSend(client, stream: exchanges[exchange].clientStream, at: now) else {
            clientBroke(exchange, at: now)
            return false
        }
        // Before its head and after its end a stream of HTTP/2 has no room, and needs none.
        let isStreaming = exchanges[exchange].phase == .responding && !exchanges[exchange].down.isDone
        guard room > 0 || exchanges[exchange].clientStream > 0 && !isStreaming else { return false }
        switch exchanges[exchange].phase {
        case .free, .connecting: return false
        case .awaitingHead:
            // A head of HTTP/2 comes as an event.
            return connections[target].http2.isOpen ? false : readResponseHead(exchange, target, at: now)
        case .tunnel:
            guard !exchanges[exchange].down.isDone else {
                guard exchanges[exchange].up.isDone, connections[target].output.isEmpty else { return false }
                finish(exchange, at: now)
                return true
            }
            return pumpTunnel(exchange, isUp: false, from: target, to: client, at: now)
        case .responding where exchanges[exchange].down.isDone:
            finish(exchange, at: now)
            return true
        case .responding: break
        }
        if isSpliceable(target, client, exchanges[exchange].down), lendPipe(to: exchange, isUp: false) {
            return splice(exchange, isUp: false, from: target, to: client, at: now)
        }
        switch relay(exchange, isUp: false, from: target, room: room, at: now) {
        case .nothing:
            return false
        case .sourceBroke, .malformed, .noMemory:
            targetBroke(exchange, at: now)
            return false
        case .relayed(let hasMoved):
            let lane = exchanges[exchange].down
            // Trailers that have begun are waited for, but not for ever.
            guard hasMoved || lane.isDone || !connections[target].hasEnded else {
                targetBroke(exchange, at: now)
                return false
            }
            guard
                send(
                    to: client, stream: exchanges[exchange].clientStream, endsStream: lane.isDone,
                    hasTrailers: lane.hasTrailerBlock, at: now)
            else {
                clientBroke(exchange, at: now)
                return false
            }
            return hasMoved || lane.isDone
        }
    }

    /// Sends on what a target of HTTP/2 has left whose connection is gone; only clients of HTTP/2 have such.
    private mutating func pumpRest(_ exchange: Int, at now: Instant) -> Bool {
        guard exchanges[exchange].phase == .responding, exchanges[exchange].down.hasSourceEnded else {
            return false
        }
        guard !exchanges[exchange].down.isDone else {
            finish(exchange, at: now)
            return true
        }
        let client = Int(exchanges[exchange].client)
        let stream = exchanges[exchange].clientStream
        let room = connections[client].http2.roomToWrite(stream: stream)
        guard room > 0 else { return false }
        output.removeAll()
        guard case .relayed(let hasMoved) = relayHeld(exchange, isUp: false, from: nil, room: room) else {
            abort(exchange, at: now)
            return false
        }
        let lane = exchanges[exchange].down
        sendFrames(client, stream, endsStream: lane.isDone, hasTrailers: lane.hasTrailerBlock)
        return hasMoved
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
            guard !connections[source].isBroken, endLane(exchange, isUp: isUp) else { return .sourceBroke }
            return .relayed(hasMoved: true)
        }
        var lent = borrowInput()
        defer { giveBack(&lent) }
        let bytes = lent.span.extracting(0..<filling.byteCount)
        guard let position = relay(exchange, isUp: isUp, bytes.extracting(0..<min(room, bytes.count))) else {
            return .malformed
        }
        guard keepInput(source, bytes, position..<bytes.count) else { return .noMemory }
        return .relayed(hasMoved: filling.newByteCount > 0 || position > 0)
    }

    /// Rewrites some bytes into `output`; returns how many were used, nil when they are no content.
    mutating func relay(_ exchange: Int, isUp: Bool, _ bytes: Span<UInt8>) -> Int? {
        var position = 0
        let outcome = Self.relay(
            bytes, from: &position, through: &exchanges[exchange][isUp: isUp], trailers: &trailerFields,
            block: &trailerBlock, into: &output)
        return outcome == .malformed ? nil : position
    }

    /// The source has ended. False when its content was not whole.
    mutating func endLane(_ exchange: Int, isUp: Bool) -> Bool {
        guard exchanges[exchange][isUp: isUp].reader.close() else { return false }
        if exchanges[exchange][isUp: isUp].form == .chunked { ChunkWriter.appendEnd(to: &output) }
        exchanges[exchange][isUp: isUp].isDone = true
        return true
    }

    /// Sends `output`, and with HTTP/2 the end if this is it. False when the side is lost.
    private mutating func send(
        to slot: Int, stream: Int32, endsStream: Bool, hasTrailers: Bool, at now: Instant
    ) -> Bool {
        guard connections[slot].http2.isOpen else { return sendOutput(slot, at: now) }
        sendFrames(slot, stream, endsStream: endsStream, hasTrailers: hasTrailers)
        return true
    }

    // MARK: - Tunnels

    /// Moves bytes one way through a tunnel: by splice, or through memory where one side is encrypted, where bytes
    /// came along with a head, or where there is no pipe.
    private mutating func pumpTunnel(
        _ exchange: Int, isUp: Bool, from source: Int, to sink: Int, at now: Instant
    ) -> Bool {
        let hasPipeBytes = exchanges[exchange][isUp: isUp].pipeByteCount > 0
        let isPlain = !connections[source].isSecure && !connections[sink].isSecure
        if hasPipeBytes || (isPlain && connections[source].input.isEmpty && connections[source].mayRead),
            lendPipe(to: exchange, isUp: isUp)
        {
            return splice(exchange, isUp: isUp, from: source, to: sink, at: now)
        }
        let filling = fill(source, at: now)
        guard filling.failure == nil else {
            if isUp { clientBroke(exchange, at: now) } else { targetBroke(exchange, at: now) }
            return false
        }
        guard filling.byteCount > 0 else {
            guard connections[source].hasEnded else { return false }
            exchanges[exchange][isUp: isUp].isDone = true
            endWriting(sink)
            return true
        }
        appendInput(filling.byteCount)
        exchanges[exchange][isUp: isUp].byteCount &+= UInt64(filling.byteCount)
        guard sendOutput(sink, at: now) else {
            if isUp { targetBroke(exchange, at: now) } else { clientBroke(exchange, at: now) }
            return false
        }
        return true
    }

    /// Makes `output` of what stands at the front of `input`.
    private mutating func appendInput(_ byteCount: Int) {
        var lent = borrowInput()
        defer { giveBack(&lent) }
        output.removeAll()
        output.append(lent.span.extracting(0..<byteCount))
    }

    /// Passes on that nothing more will come.
    private mutating func endWriting(_ sink: Int) {
        if connections[sink].isSecure { _ = connections[sink].session.shutdown() }
        _ = connections[sink].socket.shutdownWrite()
    }

    // MARK: - Splice

    /// Content that is long, plain on both sides and goes on as it is.
    private func isSpliceable(_ source: Int, _ sink: Int, _ lane: ContentLane) -> Bool {
        guard lane.form == .raw, lane.pipeByteCount == 0, connections[source].input.isEmpty,
            !connections[source].isSecure, !connections[sink].isSecure, !connections[source].http2.isOpen
        else { return lane.pipeByteCount > 0 }
        return lane.reader.remainingContentByteCount ?? 0 >= UInt64(Limits.spliceContentByteCountMin)
    }

    /// Sees to it that a lane has a pipe. False when there is none to be had, and its content is copied.
    private mutating func lendPipe(to exchange: Int, isUp: Bool) -> Bool {
        guard !exchanges[exchange][isUp: isUp].hasPipe else { return true }
        guard let pipe = core.pipes.borrow() else { return false }
        exchanges[exchange][isUp: isUp].pipe = pipe
        exchanges[exchange][isUp: isUp].hasPipe = true
        return true
    }

    /// Moves content from socket to socket through a pipe. In a tunnel there is no end but the source's.
    private mutating func splice(
        _ exchange: Int, isUp: Bool, from source: Int, to sink: Int, at now: Instant
    ) -> Bool {
        var lane = exchanges[exchange][isUp: isUp]
        let outcome = splice(
            &lane, isTunnel: exchanges[exchange].phase == .tunnel, from: source, to: sink, at: now)
        if lane.hasPipe, lane.pipeByteCount == 0 {
            core.pipes.giveBack(lane.pipe)
            lane.hasPipe = false
        }
        exchanges[exchange][isUp: isUp] = lane
        switch outcome {
        case .moved(let hasMoved):
            return hasMoved
        case .sourceBroke:
            if isUp { clientBroke(exchange, at: now) } else { targetBroke(exchange, at: now) }
        case .sinkBroke:
            if isUp { return writingFailed(sink) }
            clientBroke(exchange, at: now)
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
                    endWriting(sink)
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
