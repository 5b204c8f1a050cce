// Connections of HTTP/2, to clients and to targets: bytes become events, and what exchanges say becomes frames.
//
// Events only note what came: content is held with its exchange, heads are decided on, and every exchange that has
// news is touched. When the bytes are read, the touched ones advance. Frames go out once, at the end of the turn,
// so that the answers of many streams leave together. Content is consumed, and its window opened, only when it has
// gone on to the other side: a slow reader stops its writer across both connections.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker {
    // MARK: - Beginning

    /// A client's connection speaks HTTP/2: it said so by ALPN or with its first bytes.
    mutating func beginHTTP2(_ slot: Int, at now: Instant) {
        guard let session = HTTP2Session(asServerIn: http2Pool, at: now) else {
            closeClient(slot, withReset: true, at: now)
            return
        }
        connections[slot].http2 = session
        connections[slot].phase = .http2
        connections[slot].headStartedAt = Instant(nanoseconds: 0)
        markDirty(slot)
        if core.isDraining { sayFarewell(slot, at: now) }
        serveHTTP2(slot, at: now)
    }

    /// There are frames to send at the end of the turn.
    mutating func markDirty(_ slot: Int) {
        guard !connections[slot].isDirty else { return }
        connections[slot].isDirty = true
        dirty.append(
            Token(kind: Kind.connection, generation: connections[slot].generation, index: slot))
    }

    // MARK: - Bytes in

    /// Reads what the other side of an HTTP/2 connection has sent.
    mutating func serveHTTP2(_ slot: Int, at now: Instant) {
        let generation = connections[slot].generation
        var budget = Limits.stepsPerPumpMax
        while connections[slot].generation == generation, connections[slot].phase == .http2 {
            // Who does not take the answers gets no more of them.
            if !connections[slot].isBroken {
                guard let isFlushed = flush(slot, at: now) else {
                    writingFailed(slot, at: now)
                    return
                }
                let http2 = connections[slot].http2
                if isFlushed, http2.wantsToSend || http2.wantsToClose { markDirty(slot) }
            }
            let filling = fill(slot, at: now)
            guard filling.failure == nil else {
                http2Broke(slot, at: now)
                return
            }
            guard filling.byteCount > 0 else {
                if connections[slot].hasEnded || connections[slot].isBroken { http2Broke(slot, at: now) }
                return
            }
            let isHealthy = receive(slot, byteCount: filling.byteCount, at: now)
            markDirty(slot)
            if isHealthy, connections[slot].hasSettings, !connections[slot].isReady {
                submitWaiting(slot, at: now)
            }
            advanceTouched(at: now)
            guard connections[slot].generation == generation, connections[slot].phase == .http2 else {
                return
            }
            guard isHealthy else {
                if connections[slot].role == .client {
                    exchangeCounters.add(1, .http2Abuses, listener: connections[slot].listener)
                }
                // The reason is told before the end.
                sendFrames(slot, at: now)
                if connections[slot].generation == generation, connections[slot].phase == .http2 {
                    http2Broke(slot, isInOrder: true, at: now)
                }
                return
            }
            budget -= 1
            guard budget > 0 else {
                queue(slot)
                return
            }
        }
    }

    /// Gives the front of `input` to the session and notes what it found. False when the session is over.
    private mutating func receive(_ slot: Int, byteCount: Int, at now: Instant) -> Bool {
        guard var inbox = http2Inbox.take() else { return false }
        let isHealthy = receive(slot, byteCount: byteCount, into: &inbox, at: now)
        http2Inbox = consume inbox
        return isHealthy
    }

    private mutating func receive(
        _ slot: Int, byteCount: Int, into inbox: inout HTTP2Inbox, at now: Instant
    ) -> Bool {
        var lent = borrowInput()
        defer { giveBack(&lent) }
        var start = 0
        while true {
            let bytes = lent.span.extracting(start..<byteCount)
            let reception = connections[slot].http2.receive(bytes, into: &inbox, at: now)
            for index in 0..<inbox.events.count {
                note(inbox.events[index], slot, bytes, &inbox, at: now)
            }
            switch reception {
            case .complete: return true
            case .paused(let count): start += count
            case .failed: return false
            }
        }
    }

    private mutating func note(
        _ event: HTTP2Event, _ slot: Int, _ bytes: Span<UInt8>, _ inbox: inout HTTP2Inbox, at now: Instant
    ) {
        switch event {
        case .request(let stream, let head, let endsStream):
            inbox.takeRequestHead(head, into: &requestHead)
            noteRequest(slot, stream, inbox.fieldBytes.span, endsStream: endsStream, at: now)
        case .refusal(let stream, let reason, _):
            exchangeCounters.add(1, .refusedHeads, listener: connections[slot].listener)
            noteRefusal(slot, stream, reason, at: now)
        case .malformed:
            exchangeCounters.add(1, .refusedHeads, listener: connections[slot].listener)
        case .response(let stream, let head, let endsStream):
            guard let exchange = exchange(slot, stream) else { return }
            inbox.takeResponseHead(head, into: &responseHead)
            noteResponse(exchange, inbox.fieldBytes.span, endsStream: endsStream, at: now)
        case .content(let stream, let range):
            guard let exchange = exchange(slot, stream) else {
                connections[slot].http2.consumed(stream: stream, byteCount: Int(range.count))
                return
            }
            noteContent(exchange, slot, stream, bytes.extracting(range.range), at: now)
        case .trailers(let stream, let section):
            guard let exchange = exchange(slot, stream) else { return }
            noteTrailers(exchange, slot, section, inbox)
            noteSourceEnd(exchange, slot)
        case .endOfStream(let stream):
            guard let exchange = exchange(slot, stream) else { return }
            noteSourceEnd(exchange, slot)
        case .reset(let stream, let reset):
            guard let exchange = exchange(slot, stream) else { return }
            streamWasReset(exchange, slot, reset, at: now)
        case .writable(let stream):
            if let exchange = exchange(slot, stream) { touch(exchange) }
        case .closed:
            // A stream less: a connection that was full takes another.
            if connections[slot].role == .target, !connections[slot].isPooled { shareAgain(slot, at: now) }
        case .settings:
            guard connections[slot].role == .target else { return }
            connections[slot].hasSettings = true
            if connections[slot].isReady, !connections[slot].isPooled { shareAgain(slot, at: now) }
        case .goAway:
            // What was not looked at comes as resets.
            if connections[slot].role == .target { leaveSharedPool(slot) }
        }
    }

    /// The exchange of a stream; nil when it is over on our side.
    ///
    /// By the number that was noted with the stream; but a stream may have ended with the very bytes whose events
    /// are looked at, and then its exchange is searched among those of the connection.
    private func exchange(_ slot: Int, _ stream: Int32) -> Int? {
        if let tag = connections[slot].http2.tag(stream: stream) {
            guard tag > 0 else { return nil }
            let exchange = Int(truncatingIfNeeded: tag & 0xFFFF_FFFF)
            let generation = UInt32(truncatingIfNeeded: tag >> 32)
            let isCurrent = exchanges[exchange].generation == generation && exchanges[exchange].phase != .free
            return isCurrent ? exchange : nil
        }
        let isClient = connections[slot].role == .client
        var next = connections[slot].exchangePlusOne
        while next > 0 {
            let exchange = exchanges[Int(next) - 1]
            if (isClient ? exchange.clientStream : exchange.targetStream) == stream { return Int(next) - 1 }
            next = isClient ? exchange.nextOfClientPlusOne : exchange.nextOfTargetPlusOne
        }
        return nil
    }

    func tag(of exchange: Int) -> UInt64 {
        UInt64(exchanges[exchange].generation) << 32 | UInt64(exchange)
    }

    // MARK: - Touched exchanges

    func isCurrent(_ touched: Touched) -> Bool {
        exchanges[touched.exchange].generation == touched.generation
            && exchanges[touched.exchange].phase != .free
    }

    /// The exchange has news, for when the bytes at hand are read.
    mutating func touch(_ exchange: Int) {
        guard !exchanges[exchange].isTouched else { return }
        exchanges[exchange].isTouched = true
        touched.append(Touched(exchange: exchange, generation: exchanges[exchange].generation))
    }

    /// Goes on with exchanges that the last turn had no time for.
    mutating func runPostponed(at now: Instant) {
        guard !postponed.isEmpty else { return }
        for item in postponed where isCurrent(item) { touch(item.exchange) }
        postponed.removeAll(keepingCapacity: true)
        advanceTouched(at: now)
    }

    mutating func advanceTouched(at now: Instant) {
        while !touched.isEmpty {
            swap(&touched, &touchedInWork)
            for index in 0..<touchedInWork.count {
                let item = touchedInWork[index]
                guard isCurrent(item) else { continue }
                exchanges[item.exchange].isTouched = false
                if exchanges[item.exchange].phase == .connecting {
                    // Its request has just come. One that waits for a connection is told by that.
                    if exchanges[item.exchange].targetPlusOne == 0 { findTarget(item.exchange, at: now) }
                } else {
                    advance(item.exchange, at: now)
                }
            }
            touchedInWork.removeAll(keepingCapacity: true)
        }
    }

    // MARK: - A client's streams

    private mutating func noteRequest(
        _ slot: Int, _ stream: Int32, _ fieldBytes: Span<UInt8>, endsStream: Bool, at now: Instant
    ) {
        // It may have been reset by the bytes behind it.
        guard connections[slot].http2.isOpen(stream: stream) else { return }
        guard let exchange = makeExchange(slot, stream: stream, at: now) else {
            core.counters.add(1, .shedSlabFull)
            connections[slot].http2.reset(stream: stream, code: .refusedStream)
            return
        }
        connections[slot].http2.setTag(tag(of: exchange), stream: stream)
        exchangeCounters.add(1, .http2Requests, listener: exchanges[exchange].listener)
        exchanges[exchange].up.hasSourceEnded = endsStream
        let decision = decide(exchange, fieldBytes, at: now)
        if case .forward = decision {
            touch(exchange)
        } else {
            connections[slot].http2.discardContent(stream: stream)
            follow(decision, exchange, at: now)
        }
    }

    private mutating func noteRefusal(_ slot: Int, _ stream: Int32, _ reason: HTTP2Refusal, at now: Instant) {
        requestHead.desync = .compliant
        guard let exchange = makeRefusedExchange(slot, stream: stream, at: now) else {
            connections[slot].http2.reset(stream: stream, code: .refusedStream)
            return
        }
        connections[slot].http2.discardContent(stream: stream)
        answer(exchange, status: reason.statusCode, at: now)
    }

    private mutating func noteContent(
        _ exchange: Int, _ slot: Int, _ stream: Int32, _ content: Span<UInt8>, at now: Instant
    ) {
        connections[slot].lastActivityAt = now
        let isClient = connections[slot].role == .client
        guard let kept = keep(content, behind: exchanges[exchange][isUp: isClient].held) else {
            if isClient {
                fail(exchange, .noMemory, at: now)
            } else {
                targetBroke(exchange, at: now)
            }
            return
        }
        exchanges[exchange][isUp: isClient].held = kept
        touch(exchange)
    }

    private mutating func noteSourceEnd(_ exchange: Int, _ slot: Int) {
        exchanges[exchange][isUp: connections[slot].role == .client].hasSourceEnded = true
        touch(exchange)
    }

    /// Adds bytes to a cell, or begins one; nil when there is no room.
    private mutating func keep(_ bytes: Span<UInt8>, behind held: Held) -> Held? {
        guard held.cellPlusOne > 0 else {
            guard let cell = cells.keep(bytes) else { return nil }
            return Held(cellPlusOne: UInt32(cell) + 1, offset: 0, count: UInt32(bytes.count))
        }
        var held = held
        let cell = Int(held.cellPlusOne) - 1
        // A window's worth always fits, but perhaps only where bytes stood that have gone on.
        if Int(held.offset + held.count) + bytes.count > cells.cellByteCount {
            cells.moveToFront(cell: cell, offset: Int(held.offset), byteCount: Int(held.count))
            held.offset = 0
        }
        guard cells.append(bytes, to: cell, holding: Int(held.offset + held.count)) else { return nil }
        held.count += UInt32(bytes.count)
        return held
    }

    /// Trailers wait as lines of HTTP/1 until the content before them is through.
    private mutating func noteTrailers(
        _ exchange: Int, _ slot: Int, _ section: Int, _ inbox: borrowing HTTP2Inbox
    ) {
        var lines: [UInt8] = []
        let fields = inbox.trailerSections[section]
        let bytes = inbox.fieldBytes.span
        for field in fields where !field.isHopByHop {
            for index in field.name.range { lines.append(bytes[index]) }
            lines.append(UInt8(ascii: ":"))
            for index in field.value.range { lines.append(bytes[index]) }
            lines.append(UInt8(ascii: "\r"))
            lines.append(UInt8(ascii: "\n"))
        }
        guard !lines.isEmpty, let cell = cells.keep(lines.span) else { return }
        exchanges[exchange][isUp: connections[slot].role == .client].trailers = Held(
            cellPlusOne: UInt32(cell) + 1, offset: 0, count: UInt32(lines.count))
    }

    /// Takes held content for the other side, at most `room` bytes, and lets the sender send as much again.
    ///
    /// - Parameter source: Nil when its connection is gone, and what is held is the rest.
    mutating func relayHeld(_ exchange: Int, isUp: Bool, from source: Int?, room: Int) -> Relayed {
        let lane = exchanges[exchange][isUp: isUp]
        let stream = isUp ? exchanges[exchange].clientStream : exchanges[exchange].targetStream
        let count = min(Int(lane.held.count), room)
        if count > 0 {
            let cell = Int(lane.held.cellPlusOne) - 1
            cells.copy(cell: cell, offset: Int(lane.held.offset), byteCount: count, into: &input)
            var rest = lane.held
            rest.offset += UInt32(count)
            rest.count -= UInt32(count)
            if rest.count == 0 {
                free(lane.held)
                rest = Held()
            }
            exchanges[exchange][isUp: isUp].held = rest
            var lent = borrowInput()
            defer { giveBack(&lent) }
            guard relay(exchange, isUp: isUp, lent.span.extracting(0..<count)) == count else {
                return .malformed
            }
            if let source {
                connections[source].http2.consumed(stream: stream, byteCount: count)
                markDirty(source)
            }
        }
        let rest = exchanges[exchange][isUp: isUp]
        guard rest.held.isEmpty, rest.hasSourceEnded, !rest.isDone else {
            return count > 0 ? .relayed(hasMoved: true) : .nothing
        }
        return endHeldLane(exchange, isUp: isUp) ? .relayed(hasMoved: true) : .malformed
    }

    /// All content of an HTTP/2 stream is through: its end, and its trailers.
    private mutating func endHeldLane(_ exchange: Int, isUp: Bool) -> Bool {
        let trailers = exchanges[exchange][isUp: isUp].trailers
        guard trailers.count > 0 else { return endLane(exchange, isUp: isUp) }
        guard exchanges[exchange][isUp: isUp].reader.close() else { return false }
        let count = Int(trailers.count)
        cells.copy(cell: Int(trailers.cellPlusOne) - 1, offset: 0, byteCount: count, into: &input)
        free(trailers)
        var lent = borrowInput()
        defer { giveBack(&lent) }
        let bytes = lent.span.extracting(0..<count)
        TrailerSection.read(bytes, 0..<count, into: &trailerFields)
        var hasBlock = false
        switch exchanges[exchange][isUp: isUp].form {
        case .raw: break
        case .chunked: ChunkWriter.appendEnd(trailers: trailerFields, bytes, to: &output)
        case .frames:
            trailerBlock.beginTrailers()
            for index in trailerFields.indices { trailerBlock.append(trailerFields[index], of: bytes) }
            hasBlock = trailerBlock.count > 0
        }
        exchanges[exchange][isUp: isUp].trailers = Held()
        exchanges[exchange][isUp: isUp].hasTrailerBlock = hasBlock
        exchanges[exchange][isUp: isUp].isDone = true
        return true
    }

    // MARK: - Bytes out

    /// Content in `output` becomes frames of a stream, with its end if this is it.
    mutating func sendFrames(_ slot: Int, _ stream: Int32, endsStream: Bool, hasTrailers: Bool) {
        if output.count > 0 {
            var sending = OutputBuffer(capacity: 0)
            swap(&sending, &output)
            // There is room for all of it: no more was taken from the source.
            _ = connections[slot].http2.write(
                sending.storage.span.extracting(0..<sending.count), stream: stream)
            swap(&sending, &output)
        }
        if hasTrailers {
            if !connections[slot].http2.submitTrailers(trailerBlock, stream: stream) {
                connections[slot].http2.reset(stream: stream, code: .internalError)
            }
        } else if endsStream {
            connections[slot].http2.finish(stream: stream)
        }
        markDirty(slot)
    }

    /// Sends the frames that exchanges have made in this turn.
    mutating func sendDirty(at now: Instant) {
        // A timer or a connection that failed may have touched exchanges too.
        advanceTouched(at: now)
        while !dirty.isEmpty {
            swap(&dirty, &dirtyInWork)
            for index in 0..<dirtyInWork.count {
                let token = dirtyInWork[index]
                let slot = token.index
                guard connections[slot].generation == token.generation, connections[slot].phase == .http2
                else { continue }
                connections[slot].isDirty = false
                sendFrames(slot, at: now)
            }
            dirtyInWork.removeAll(keepingCapacity: true)
            // Room in a session's queues lets exchanges go on, and they make frames again.
            advanceTouched(at: now)
        }
    }

    private mutating func sendFrames(_ slot: Int, at now: Instant) {
        let generation = connections[slot].generation
        guard var inbox = http2Inbox.take() else { return }
        var isHealthy = true
        while isHealthy, connections[slot].output.isEmpty, !connections[slot].isBroken,
            connections[slot].http2.wantsToSend
        {
            var sending = OutputBuffer(capacity: 0)
            swap(&sending, &output)
            sending.removeAll()
            _ = connections[slot].http2.nextOutput(into: &sending, inbox: &inbox)
            let hasOutput = sending.count > 0
            swap(&sending, &output)
            if hasOutput { isHealthy = sendOutput(slot, at: now) }
            let noBytes: [UInt8] = []
            for index in 0..<inbox.events.count {
                note(inbox.events[index], slot, noBytes.span, &inbox, at: now)
            }
            guard hasOutput else { break }
        }
        http2Inbox = consume inbox
        guard connections[slot].generation == generation, connections[slot].phase == .http2 else { return }
        let isOver =
            connections[slot].http2.wantsToClose && !connections[slot].http2.wantsToSend
            && connections[slot].output.isEmpty
        if !isHealthy {
            writingFailed(slot, at: now)
        } else if isOver {
            http2Ended(slot, at: now)
        }
    }

    /// The other side takes no more. A target may have answered before it closed, so that its side is read to the
    /// end.
    private mutating func writingFailed(_ slot: Int, at now: Instant) {
        guard connections[slot].role == .target, !connections[slot].isBroken else {
            http2Broke(slot, at: now)
            return
        }
        breakWriting(slot)
        queue(slot)
    }

    /// Nothing can be written any more; the next read that finds nothing tells the end.
    mutating func breakWriting(_ slot: Int) {
        connections[slot].isBroken = true
        connections[slot].isClosing = true
        connections[slot].mayRead = true
        leaveSharedPool(slot)
    }

    // MARK: - The end

    /// All streams are done and one side wanted no more of them.
    private mutating func http2Ended(_ slot: Int, at now: Instant) {
        http2Broke(slot, isInOrder: true, at: now)
    }

    /// The connection is lost, and with it every exchange on it.
    ///
    /// - Parameter isInOrder: The other side was told why, and is to read it.
    mutating func http2Broke(_ slot: Int, isInOrder: Bool = false, at now: Instant) {
        switch connections[slot].role {
        case .client:
            while let exchange = connections[slot].exchange { clientLeft(exchange, at: now) }
            guard isInOrder else { return closeClient(slot, at: now) }
            // Bytes that nobody will read turn a close into a reset, which would destroy what was told.
            connections[slot].http2.free()
            beginLingering(slot, at: now)
        case .target:
            guard connections[slot].isReady else { return connectFailed(slot, at: now) }
            leaveSharedPool(slot)
            if connections[slot].exchangePlusOne > 0, !isInOrder {
                core.counters.add(
                    1, .targetResets, target: connections[slot].target, listener: connections[slot].listener)
            }
            while let exchange = connections[slot].exchange {
                unlinkTarget(exchange)
                if exchanges[exchange].phase == .responding, exchanges[exchange].down.hasSourceEnded {
                    // All of its answer is here, and goes on to a client that takes its time.
                    touch(exchange)
                } else {
                    // A connection that others used before may have been closed by the target meanwhile.
                    targetBroke(exchange, isReused: connections[slot].isReused, at: now)
                }
            }
            closeTarget(slot, at: now)
        }
    }
}

/// An exchange that has news.
struct Touched: BitwiseCopyable {
    var exchange: Int
    var generation: UInt32
}
