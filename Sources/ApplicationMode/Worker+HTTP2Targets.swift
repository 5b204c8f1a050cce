// Targets of HTTP/2 and gRPC: one connection carries many exchanges, and is in the shared pool while it takes more.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker {
    // MARK: - The shared pool

    /// Whether the connection is one that several exchanges may share.
    func isShared(_ slot: Int) -> Bool { connections[slot].isShared }

    /// A connection of HTTP/2 to the target that takes one more exchange, established or on its way.
    func sharedConnection(to target: TargetNumber) -> Int? {
        guard let slot = sharedPool.top(of: target) else { return nil }
        if connections[slot].isReady { return slot }
        // On one that is on its way no more are to wait than the target will take.
        let known = Int(streamCountsMax[Int(target.rawValue)])
        let countMax = known > 0 ? known : Limits.http2ConcurrentStreamsMax
        return Int(connections[slot].requestCount) < countMax ? slot : nil
    }

    /// The connection takes further exchanges.
    mutating func enterSharedPool(_ slot: Int) {
        guard !connections[slot].isPooled else { return }
        connections[slot].isPooled = true
        sharedPool.insert(slot, &connections)
    }

    mutating func leaveSharedPool(_ slot: Int) {
        guard connections[slot].isPooled else { return }
        connections[slot].isPooled = false
        sharedPool.remove(slot, &connections)
    }

    /// A stream has ended: there is room for another, or the connection has done its work.
    mutating func shareAgain(_ slot: Int, at now: Instant) {
        // Before its settings have come, others may wait for it.
        guard connections[slot].isReady else { return }
        guard !connections[slot].isRetired, !connections[slot].http2.wantsToClose,
            !connections[slot].isClosing, routing.takesRequests(connections[slot].target),
            core.snapshot.endpoint(of: connections[slot].target) == connections[slot].peer
        else {
            leaveSharedPool(slot)
            // The end of the turn sends what is left and closes it once nothing is under way.
            if connections[slot].exchangePlusOne == 0 { connections[slot].http2.goAway() }
            markDirty(slot)
            return
        }
        // It is full, or the target has said that it takes no more.
        if connections[slot].http2.availableStreamCount > 0 {
            enterSharedPool(slot)
        } else {
            leaveSharedPool(slot)
        }
        if connections[slot].exchangePlusOne == 0 {
            connections[slot].lastActivityAt = now
            timers.set(slot, to: now.advanced(bySeconds: Limits.pooledConnectionSeconds))
        }
    }

    // MARK: - Requests

    /// The connection stands: begins its session. What waits for it is sent when the target's settings have come,
    /// which say how many requests it takes: those beyond would come back, and some could not be sent twice. Until
    /// then the connection may fail as one that is being made.
    mutating func beginHTTP2ToTarget(_ slot: Int, at now: Instant) {
        guard let session = HTTP2Session(asClientIn: http2Pool, at: now) else {
            connectFailed(slot, at: now)
            return
        }
        connections[slot].http2 = session
        connections[slot].phase = .http2
        connections[slot].mayRead = true
        markDirty(slot)
        serveHTTP2(slot, at: now)
    }

    /// The target's first settings have come: sends what waited for them.
    mutating func submitWaiting(_ slot: Int, at now: Instant) {
        connections[slot].isReady = true
        streamCountsMax[Int(connections[slot].target.rawValue)] = UInt16(
            clamping: connections[slot].http2.availableStreamCount)
        timers.set(slot, to: targetDeadline(slot))
        // The first to come is the last of the list.
        var next = connections[slot].exchangePlusOne
        while next > 0, case let following = exchanges[Int(next) - 1].nextOfTargetPlusOne, following > 0 {
            next = following
        }
        while next > 0 {
            let exchange = Int(next) - 1
            next = exchanges[exchange].previousOfTargetPlusOne
            submit(exchange, slot, at: now)
        }
        if connections[slot].exchangePlusOne == 0 { shareAgain(slot, at: now) }
    }

    /// Opens a stream for the exchange on a connection that stands.
    mutating func submit(_ exchange: Int, _ slot: Int, at now: Instant) {
        guard connections[slot].http2.availableStreamCount > 0, let stream = submitRequest(exchange, slot)
        else {
            // It is full, or ends: another one, or a new one.
            leaveSharedPool(slot)
            unlinkTarget(exchange)
            endOutstanding(exchange, .abandoned, at: now)
            exchanges[exchange].tried = TriedTargets()
            exchanges[exchange].refusedStreamCount &+= 1
            if exchanges[exchange].refusedStreamCount > Limits.refusedStreamCountMax {
                fail(exchange, .targetClosed, at: now)
            } else {
                touch(exchange)
            }
            return
        }
        exchanges[exchange].targetStream = stream
        exchanges[exchange].phase = .awaitingHead
        exchanges[exchange].sentAt = now
        exchanges[exchange].hasSentBytes = true
        exchanges[exchange].replaySentCount = exchanges[exchange].replayHeadCount
        connections[slot].lastActivityAt = now
        if connections[slot].http2.availableStreamCount == 0 { leaveSharedPool(slot) }
        markDirty(slot)
        touch(exchange)
    }

    /// Reads the request in `replay` once more and opens a stream with it.
    private mutating func submitRequest(_ exchange: Int, _ slot: Int) -> Int32? {
        let replay = exchanges[exchange].replay
        let count = Int(exchanges[exchange].replayHeadCount)
        cells.copy(cell: Int(replay.cellPlusOne) - 1, offset: 0, byteCount: count, into: &input)
        var lent = borrowInput()
        defer { giveBack(&lent) }
        let bytes = lent.span.extracting(0..<count)
        guard case .complete = RequestParser.parse(bytes, into: &requestHead) else { return nil }
        let path = ByteRange(
            requestHead.path
                .lowerBound..<(requestHead.hasQuery
                ? requestHead.query.upperBound : requestHead.path.upperBound))
        headBlock.beginRequest(
            method: bytes.extracting(requestHead.methodBytes.range), isSecure: connections[slot].isSecure,
            authority: bytes.extracting(requestHead.authority.range), path: bytes.extracting(path.range))
        for index in requestHead.fields.indices { headBlock.append(requestHead.fields[index], of: bytes) }
        let group = Int(exchanges[exchange].group)
        if group < core.snapshot.groups.count,
            core.snapshot.groups[group].protocolVersion == .grpc
        {
            // The protocol of gRPC wants it, and servers look for it.
            headBlock.append("te", value: "trailers")
        }
        return connections[slot].http2.submitRequest(
            headBlock, endsStream: exchanges[exchange].up.isDone && replay.count == UInt32(count),
            tag: tag(of: exchange))
    }

    /// Sends what `replay` holds behind its head, as content. Nil when that cannot be.
    mutating func sendReplayContent(_ exchange: Int, _ slot: Int) -> Bool? {
        let replay = exchanges[exchange].replay
        let sentCount = Int(exchanges[exchange].replaySentCount)
        let stream = exchanges[exchange].targetStream
        guard stream > 0 else { return false }
        guard sentCount < Int(replay.count) else { return true }
        let room = connections[slot].http2.roomToWrite(stream: stream)
        let count = min(room, Int(replay.count) - sentCount)
        guard count > 0 else { return false }
        let session = connections[slot].http2
        let cell = Int(replay.cellPlusOne) - 1
        _ = cells.withBytes(cell: cell, offset: sentCount, byteCount: count) { bytes in
            session.write(bytes, stream: stream)
        }
        markDirty(slot)
        exchanges[exchange].replaySentCount += UInt32(count)
        guard sentCount + count == Int(replay.count) else { return false }
        if exchanges[exchange].up.isDone { connections[slot].http2.finish(stream: stream) }
        if !exchanges[exchange].isReplayWhole { freeReplay(exchange) }
        return true
    }

    // MARK: - Answers

    /// The head of the target's answer is in `responseHead`.
    mutating func noteResponse(
        _ exchange: Int, _ fieldBytes: Span<UInt8>, endsStream: Bool, at now: Instant
    ) {
        guard exchanges[exchange].phase == .awaitingHead else { return }
        if exchanges[exchange].answeredAt.nanoseconds == 0 { exchanges[exchange].answeredAt = now }
        output.removeAll()
        if responseHead.isInterim {
            exchanges[exchange].interimCount &+= 1
            guard exchanges[exchange].interimCount <= Limits.interimResponseCountMax,
                responseHead.statusCode != 101
            else {
                // HTTP/2 has no 101; RFC 9113 section 8.6.
                fail(exchange, .malformedResponse, at: now)
                return
            }
            headBlock.beginResponse(statusCode: responseHead.statusCode)
            for index in responseHead.fields.indices {
                headBlock.append(responseHead.fields[index], of: fieldBytes)
            }
            let client = Int(exchanges[exchange].client)
            _ = connections[client].http2.submitResponse(
                headBlock, stream: exchanges[exchange].clientStream, endsStream: false, isInterim: true)
            markDirty(client)
            return
        }
        // It works: should it be found closed, that need not be the target's fault.
        if let target = exchanges[exchange].target { connections[target].isReused = true }
        exchanges[exchange].down.hasSourceEnded = endsStream
        writeHead(exchange, fieldBytes, at: now)
        if endsStream { exchanges[exchange].down.isDone = true }
        guard submitHead(exchange) else { return abort(exchange, at: now) }
        touch(exchange)
    }

    /// A stream ended before its time.
    mutating func streamWasReset(_ exchange: Int, _ slot: Int, _ reset: HTTP2Reset, at now: Instant) {
        if connections[slot].role == .client {
            // Resets are counted of connections, and this one goes on.
            clientLeft(exchange, at: now)
            return
        }
        // A target may leave the rest of a request that it has answered already, with whatever code.
        if exchanges[exchange].down.hasSourceEnded { return touch(exchange) }
        targetBroke(exchange, isUnprocessed: reset.isUnprocessed, isReused: false, at: now)
    }
}
