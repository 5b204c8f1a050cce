// The answer: the target's, or one of Weir's own.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker {
    // MARK: - The target's

    /// Reads the head of the target's answer and sends it on. Returns whether anything moved.
    mutating func readResponseHead(_ exchange: Int, _ target: Int, at now: Instant) -> Bool {
        let filling = fill(target, at: now)
        guard filling.failure == nil else {
            targetBroke(exchange, at: now)
            return false
        }
        guard filling.byteCount > 0 else {
            if connections[target].hasEnded { targetBroke(exchange, at: now) }
            return false
        }
        let step = readAnswer(exchange, target, byteCount: filling.byteCount, at: now)
        switch step {
        case .waits:
            if connections[target].hasEnded { targetBroke(exchange, at: now) }
            // The end may be there already, of which no event tells any more.
            return connections[target].mayRead
        case .malformed:
            fail(exchange, .malformedResponse, at: now)
            return false
        case .broken:
            targetBroke(exchange, at: now)
            return false
        case .ignored:
            return true
        case .written(let isSwitching):
            let client = Int(exchanges[exchange].client)
            if isSwitching { exchanges[exchange].phase = .tunnel }
            // A segment less for both kernels: 2 of the 35 µs that a closing connection costs.
            let isLast =
                exchanges[exchange].down.isDone && exchanges[exchange].up.isDone
                && exchanges[exchange].clientStream == 0 && !exchanges[exchange].isClientPersistent
            guard sendOutput(client, isLast: isLast, at: now) else {
                clientBroke(exchange, at: now)
                return false
            }
            return true
        }
    }

    private enum AnswerStep {
        case waits
        case malformed
        /// What came cannot be kept, or its content is broken.
        case broken
        /// An interim response that the client would not understand.
        case ignored
        /// `output` has what goes to the client.
        case written(isSwitching: Bool)
    }

    /// Reads the head at the front of `input`, and writes it with what came of its content.
    private mutating func readAnswer(
        _ exchange: Int, _ target: Int, byteCount: Int, at now: Instant
    ) -> AnswerStep {
        var lent = borrowInput()
        defer { giveBack(&lent) }
        let bytes = lent.span.extracting(0..<byteCount)
        switch ResponseParser.parse(bytes, answering: exchanges[exchange].method, into: &responseHead) {
        case .needMore:
            return keepInput(target, bytes, 0..<byteCount) ? .waits : .broken
        case .refused:
            return .malformed
        case .complete:
            break
        }
        if exchanges[exchange].answeredAt.nanoseconds == 0 { exchanges[exchange].answeredAt = now }
        output.removeAll()
        if responseHead.statusCode == 101 { return switchProtocols(exchange, bytes, at: now) }
        if responseHead.isInterim { return writeInterim(exchange, target, bytes) }
        writeHead(exchange, bytes, at: now)
        if exchanges[exchange].down.form == .frames {
            // Of no content at all nothing more comes that would tell its end.
            if exchanges[exchange].down.reader.isComplete { exchanges[exchange].down.isDone = true }
            // The head is read once more to become frames, in the same memory.
            let headByteCount = responseHead.byteCount
            guard submitHead(exchange) else { return .broken }
            output.removeAll()
            return keepInput(target, bytes, headByteCount..<bytes.count) ? .ignored : .broken
        }
        guard let used = relay(exchange, isUp: false, bytes.extracting(responseHead.byteCount..<bytes.count)),
            !output.hasOverflowed,
            keepInput(target, bytes, responseHead.byteCount + used..<bytes.count)
        else {
            // The head has not gone out yet, so that the client can still be told.
            exchanges[exchange].phase = .awaitingHead
            return .malformed
        }
        return .written(isSwitching: false)
    }

    /// 100 Continue, 103 Early Hints and their like: to whom can understand them.
    private mutating func writeInterim(
        _ exchange: Int, _ target: Int, _ bytes: Span<UInt8>
    ) -> AnswerStep {
        exchanges[exchange].interimCount &+= 1
        guard exchanges[exchange].interimCount <= Limits.interimResponseCountMax else { return .malformed }
        guard keepInput(target, bytes, responseHead.byteCount..<bytes.count) else { return .broken }
        guard exchanges[exchange].version != .http10 else { return .ignored }
        if exchanges[exchange].clientStream > 0 {
            let client = Int(exchanges[exchange].client)
            headBlock.beginResponse(statusCode: responseHead.statusCode)
            for index in responseHead.fields.indices {
                headBlock.append(responseHead.fields[index], of: bytes)
            }
            _ = connections[client].http2.submitResponse(
                headBlock, stream: exchanges[exchange].clientStream, endsStream: false, isInterim: true)
            markDirty(client)
            return .ignored
        }
        ForwardedResponse.writeInterim(responseHead, bytes, into: &output)
        return .written(isSwitching: false)
    }

    /// Writes the final head in `responseHead` as the client is to see it, in the form of HTTP/1.
    mutating func writeHead(_ exchange: Int, _ bytes: Span<UInt8>, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        let statusCode = responseHead.statusCode
        // An early answer does not end the request: what follows would be taken for what is missing.
        if exchanges[exchange].replaySentCount >= exchanges[exchange].replay.count { freeReplay(exchange) }
        exchanges[exchange].phase = .responding
        exchanges[exchange].statusCode = UInt16(statusCode)
        exchanges[exchange].targetStatusCode = UInt16(statusCode)
        exchanges[exchange].isTargetPersistent =
            exchanges[exchange].isTargetPersistent && responseHead.isPersistent
        exchanges[exchange].down.reader = BodyReader(responseHead.framing)
        switch responseHead.framing {
        case .none where exchanges[exchange].clientStream > 0:
            exchanges[exchange].down.form = .frames
            exchanges[exchange].down.isDone = true
        case _ where exchanges[exchange].clientStream > 0:
            exchanges[exchange].down.form = .frames
        case .chunked, .untilClose, .streamed:
            // HTTP/1.0 knows the end of such content by the end of the connection alone.
            let isChunkable = exchanges[exchange].version != .http10
            exchanges[exchange].down.form = isChunkable ? .chunked : .raw
            if !isChunkable { exchanges[exchange].isClientPersistent = false }
        case .none, .counted:
            exchanges[exchange].down.form = .raw
        }
        if core.isDraining || connectionIsOld(client, at: now) || !exchanges[exchange].up.isDone {
            exchanges[exchange].isClientPersistent = false
        }
        countTargetStatus(exchange, statusCode)
        ForwardedResponse.write(
            responseHead, bytes,
            facts: ResponseFacts(
                isChunked: exchanges[exchange].down.form == .chunked,
                isPersistent: exchanges[exchange].isClientPersistent,
                clientVersion: exchanges[exchange].version,
                attributes: routing.listener(exchanges[exchange].listener)?.route.listenerAttributes),
            into: &output)
        writeCookies(exchange, bytes)
        output.append("\r\n")
        if exchanges[exchange].log > 0 { noteAnswer(exchange, byteCount: output.count, at: now) }
    }

    /// The head in `output` becomes frames of the client's stream, with its end if there is no content.
    /// False when it is none that can be sent.
    mutating func submitHead(_ exchange: Int) -> Bool {
        let client = Int(exchanges[exchange].client)
        let stream = exchanges[exchange].clientStream
        var written = OutputBuffer(capacity: 0)
        swap(&written, &output)
        defer { swap(&written, &output) }
        let bytes = written.storage.span.extracting(0..<written.count)
        // What Weir wrote is always a head, unless it was too long for the buffer.
        guard !written.hasOverflowed,
            case .complete = ResponseParser.parse(
                bytes, answering: exchanges[exchange].method, into: &responseHead)
        else { return false }
        headBlock.beginResponse(statusCode: responseHead.statusCode)
        for index in responseHead.fields.indices { headBlock.append(responseHead.fields[index], of: bytes) }
        let content = bytes.extracting(responseHead.byteCount..<bytes.count)
        let endsStream = exchanges[exchange].down.isDone && content.count == 0
        guard connections[client].http2.submitResponse(headBlock, stream: stream, endsStream: endsStream)
        else { return false }
        if content.count > 0 {
            // Of Weir's own answers, and small.
            _ = connections[client].http2.write(content, stream: stream)
            connections[client].http2.finish(stream: stream)
        }
        markDirty(client)
        return true
    }

    /// The cookies by which the client comes back to its group and its target.
    private mutating func writeCookies(_ exchange: Int, _ bytes: Span<UInt8>) {
        let group = Int(exchanges[exchange].group)
        guard exchanges[exchange].setsTargetCookie || exchanges[exchange].setsGroupCookie,
            group < core.snapshot.groups.count
        else { return }
        if exchanges[exchange].setsGroupCookie,
            let content = core.snapshot.stickyContent(groupIndex: group, unixSeconds: date.unixSeconds)
        {
            writeCookie(.group, content)
        }
        guard exchanges[exchange].setsTargetCookie,
            let endpoint = core.snapshot.endpoint(of: exchanges[exchange].targetNumber),
            let content = core.snapshot.stickyContent(
                target: endpoint, groupIndex: group, unixSeconds: date.unixSeconds)
        else { return }
        switch core.snapshot.groups[group].application?.stickiness {
        case .loadBalancerCookie: writeCookie(.target, content)
        case .applicationCookie(let name, _):
            // It begins with the application's own, and from then on every answer renews it: with the target that
            // gave the answer, which is another one when the former is gone.
            if exchanges[exchange].isBoundByApplicationCookie || responseHead.setsCookie(named: name, bytes) {
                writeCookie(.application, content)
            }
        case nil: break
        }
    }

    private mutating func writeCookie(_ cookie: StickinessCookie, _ content: StickinessCookie.Content) {
        for isCrossOrigin in [false, true] where !isCrossOrigin || cookie.crossOriginName != nil {
            var value: [UInt8] = []
            swap(&value, &text)
            value.removeAll(keepingCapacity: true)
            cookie.appendSetCookie(
                content, isCrossOrigin: isCrossOrigin, keys: core.snapshot.stickinessKeys, to: &value)
            output.append("Set-Cookie: ")
            output.append(value.span)
            output.append("\r\n")
            swap(&value, &text)
        }
    }

    /// 101: from here on the bytes are not HTTP any more.
    private mutating func switchProtocols(
        _ exchange: Int, _ bytes: Span<UInt8>, at now: Instant
    ) -> AnswerStep {
        guard exchanges[exchange].upgrade == .webSocket, exchanges[exchange].up.isDone else {
            return .malformed
        }
        freeReplay(exchange)
        exchanges[exchange].statusCode = 101
        exchanges[exchange].targetStatusCode = 101
        exchanges[exchange].isClientPersistent = false
        exchanges[exchange].isTargetPersistent = false
        exchanges[exchange].up = ContentLane(reader: BodyReader(.untilClose))
        exchanges[exchange].down = ContentLane(reader: BodyReader(.untilClose))
        exchangeCounters.add(1, .webSockets, listener: exchanges[exchange].listener)
        ForwardedResponse.writeInterim(responseHead, bytes, into: &output)
        if exchanges[exchange].log > 0 { noteAnswer(exchange, byteCount: output.count, at: now) }
        output.append(bytes, responseHead.byteCount..<bytes.count)
        return .written(isSwitching: true)
    }

    func connectionIsOld(_ client: Int, at now: Instant) -> Bool {
        guard let attributes = routing.listener(connections[client].listener)?.attributes else { return true }
        return connections[client].startedAt.advanced(bySeconds: attributes.clientKeepAliveSeconds) <= now
    }

    // MARK: - The end of an exchange

    /// The answer is with the client, or on its way there.
    mutating func finish(_ exchange: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        let isClean = exchanges[exchange].up.isDone
        leaveTarget(
            exchange, isClean: isClean && exchanges[exchange].isTargetPersistent, isAnswered: true, at: now)
        let isPersistent = exchanges[exchange].isClientPersistent && isClean
        let stream = exchanges[exchange].clientStream
        end(exchange, at: now)
        if stream > 0 {
            // The rest of a request that was answered early is dropped as it comes.
            if !isClean { connections[client].http2.discardContent(stream: stream) }
            retireIfOld(client, at: now)
        } else if isPersistent {
            connections[client].lastActivityAt = now
            // Its head went out before draining began, and promised to go on.
            if core.isDraining { armClient(client, at: now) }
        } else {
            leave(client, isClean: isClean, at: now)
        }
    }

    /// A connection of HTTP/2 that is old, or of a worker that drains, takes no more streams.
    private mutating func retireIfOld(_ client: Int, at now: Instant) {
        if core.isDraining || connectionIsOld(client, at: now) { sayFarewell(client, at: now) }
    }

    /// Asks a client of HTTP/2 to begin no more streams, and a moment later, when those on the wire have come, takes
    /// no more: none of them is lost.
    mutating func sayFarewell(_ client: Int, at now: Instant) {
        guard connections[client].farewell == .none else { return }
        connections[client].farewell = .announced
        connections[client].http2.announceShutdown()
        markDirty(client)
        timers.set(client, to: now.advanced(bySeconds: Limits.http2FarewellSeconds))
    }

    /// The client gets no further answer on its connection.
    mutating func leave(_ client: Int, isClean: Bool, at now: Instant) {
        // Bytes that nobody will read turn a close into a reset, which would destroy the answer under way.
        if isClean, connections[client].input.isEmpty, connections[client].output.isEmpty,
            !connections[client].mayRead
        {
            closeClient(client, at: now)
        } else {
            beginLingering(client, at: now)
        }
    }

    /// The exchange is over; it has left its target, and its client's connection is the caller's.
    mutating func end(_ exchange: Int, at now: Instant) {
        let isServerError = exchanges[exchange].targetStatusCode >= 500
        let outcome: ExchangeOutcome =
            exchanges[exchange].targetStatusCode == 0
            ? .abandoned : isServerError ? .serverError : .answered
        endOutstanding(exchange, outcome, at: now)
        countEnd(exchange)
        if exchanges[exchange].log > 0 { writeRecord(exchange, at: now) }
        free(exchanges[exchange].replay)
        if exchanges[exchange].up.held.count > 0 {
            // What nobody wants any more leaves room for what others send on the same connection.
            connections[Int(exchanges[exchange].client)].http2.consumed(
                stream: exchanges[exchange].clientStream, byteCount: Int(exchanges[exchange].up.held.count))
        }
        release(exchanges[exchange].up)
        release(exchanges[exchange].down)
        unlinkClient(exchange)
        exchangeTimers.cancel(exchange)
        exchanges[exchange].phase = .free
        exchangeSlots.free(exchange)
    }

    // MARK: - Weir's own

    mutating func respond(_ exchange: Int, with response: FixedResponse, at now: Instant) {
        output.removeAll()
        beginOwnAnswer(exchange, response.statusCode, at: now)
        if !response.contentType.isEmpty {
            output.append("Content-Type: ")
            output.append(response.contentType)
            output.append("\r\n")
        }
        // RFC 9110 section 8.6: a 204 has no content, and does not say how long it is.
        let hasContent = response.statusCode != 204
        endOwnHead(exchange, contentByteCount: hasContent ? response.messageBody.utf8.count : nil)
        if hasContent, !exchanges[exchange].isHead { output.append(response.messageBody) }
        sendOwnAnswer(exchange, response.statusCode, at: now)
    }

    mutating func redirect(_ exchange: Int, _ action: RedirectAction, at now: Instant) {
        output.removeAll()
        beginOwnAnswer(exchange, action.statusCode, at: now)
        output.append("Location: ")
        var location: [UInt8] = []
        swap(&location, &text)
        output.append(location.span)
        swap(&location, &text)
        output.append("\r\n")
        endOwnHead(exchange, contentByteCount: 0)
        sendOwnAnswer(exchange, action.statusCode, at: now)
    }

    /// Answers with a page that says what the status means.
    mutating func answer(_ exchange: Int, status: Int, at now: Instant) {
        output.removeAll()
        beginOwnAnswer(exchange, status, at: now)
        output.append("Content-Type: text/html\r\n")
        endOwnHead(exchange, contentByteCount: OwnAnswer.pageByteCount(of: status))
        if !exchanges[exchange].isHead { OwnAnswer.appendPage(status, to: &output) }
        sendOwnAnswer(exchange, status, at: now)
    }

    private mutating func beginOwnAnswer(_ exchange: Int, _ status: Int, at now: Instant) {
        if core.isDraining { exchanges[exchange].isClientPersistent = false }
        if !exchanges[exchange].up.isDone { exchanges[exchange].isClientPersistent = false }
        advanceDate(to: now)
        OwnAnswer.begin(status, date: date, into: &output)
    }

    private mutating func endOwnHead(_ exchange: Int, contentByteCount: Int?) {
        if let contentByteCount {
            output.append("Content-Length: ")
            output.append(decimal: UInt64(contentByteCount))
            output.append("\r\n")
        }
        output.append(
            exchanges[exchange].isClientPersistent
                ? (exchanges[exchange].version == .http10 ? "Connection: keep-alive\r\n\r\n" : "\r\n")
                : "Connection: close\r\n\r\n")
    }

    private mutating func sendOwnAnswer(_ exchange: Int, _ status: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        exchanges[exchange].statusCode = UInt16(status)
        exchanges[exchange].answeredAt = now
        countOwnStatus(exchange, status)
        if exchanges[exchange].log > 0 { noteAnswer(exchange, byteCount: output.count, at: now) }
        leaveTarget(exchange, isClean: false, at: now)
        let isPersistent = exchanges[exchange].isClientPersistent
        if exchanges[exchange].clientStream > 0 {
            exchanges[exchange].down.isDone = true
            connections[client].http2.discardContent(stream: exchanges[exchange].clientStream)
            let isSent = submitHead(exchange)
            let stream = exchanges[exchange].clientStream
            end(exchange, at: now)
            if !isSent {
                connections[client].http2.reset(stream: stream, code: .internalError)
                markDirty(client)
            }
            retireIfOld(client, at: now)
            return
        }
        let isSent = sendOutput(client, at: now)
        end(exchange, at: now)
        if !isSent {
            closeClient(client, withReset: true, at: now)
        } else if isPersistent {
            connections[client].lastActivityAt = now
            queueNextRequest(client)
        } else {
            leave(client, isClean: false, at: now)
        }
    }

    /// A request that has come already raises no event: where the end of an exchange is not seen by `serve`, the
    /// next turn looks for it.
    mutating func queueNextRequest(_ client: Int) {
        guard connections[client].phase == .http1 else { return }
        if !connections[client].input.isEmpty || connections[client].mayRead { queue(client) }
    }
}
