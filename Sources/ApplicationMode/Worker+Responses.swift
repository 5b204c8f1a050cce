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
        switch ResponseParser.parse(
            input.span.extracting(0..<filling.byteCount), answering: exchanges[exchange].method,
            into: &responseHead, limits: .standard)
        {
        case .needMore:
            if connections[target].hasEnded || !keepInput(target, 0..<filling.byteCount) {
                targetBroke(exchange, at: now)
            }
            return false
        case .refused:
            fail(exchange, .malformedResponse, at: now)
            return false
        case .complete:
            if exchanges[exchange].answeredAt.nanoseconds == 0 { exchanges[exchange].answeredAt = now }
            if responseHead.statusCode == 101 { return switchProtocols(exchange, target, filling, at: now) }
            if responseHead.isInterim { return passInterim(exchange, target, filling, at: now) }
            passHead(exchange, target, filling, at: now)
            return true
        }
    }

    /// 100 Continue, 103 Early Hints and their like: to whom can understand them.
    private mutating func passInterim(
        _ exchange: Int, _ target: Int, _ filling: Filling, at now: Instant
    ) -> Bool {
        let client = Int(exchanges[exchange].client)
        exchanges[exchange].interimCount &+= 1
        guard exchanges[exchange].interimCount <= Limits.interimResponseCountMax else {
            fail(exchange, .malformedResponse, at: now)
            return false
        }
        if exchanges[exchange].version != .http10 {
            output.removeAll()
            ForwardedResponse.writeInterim(
                responseHead, input.span.extracting(0..<filling.byteCount), into: &output)
            guard sendOutput(client, at: now) else {
                clientBroke(exchange, at: now)
                return false
            }
        }
        guard keepInput(target, responseHead.byteCount..<filling.byteCount) else {
            targetBroke(exchange, at: now)
            return false
        }
        return true
    }

    private mutating func passHead(_ exchange: Int, _ target: Int, _ filling: Filling, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        let statusCode = responseHead.statusCode
        freeReplay(exchange)
        exchanges[exchange].phase = .responding
        exchanges[exchange].statusCode = UInt16(statusCode)
        exchanges[exchange].targetStatusCode = UInt16(statusCode)
        exchanges[exchange].isTargetPersistent = exchanges[exchange].isTargetPersistent && responseHead.isPersistent
        exchanges[exchange].down.reader = BodyReader(responseHead.framing)
        let isChunkable = exchanges[exchange].version != .http10
        switch responseHead.framing {
        case .chunked, .untilClose, .streamed:
            exchanges[exchange].down.form = isChunkable ? .chunked : .raw
            // HTTP/1.0 knows the end of such content by the end of the connection alone.
            if !isChunkable { exchanges[exchange].isClientPersistent = false }
        case .none, .counted:
            exchanges[exchange].down.form = .raw
        }
        if core.isDraining || connectionIsOld(client, at: now) || !exchanges[exchange].up.isDone {
            exchanges[exchange].isClientPersistent = false
        }
        countTargetStatus(exchange, statusCode)
        output.removeAll()
        writeResponseHead(exchange, filling.byteCount, at: now)
        var position = responseHead.byteCount
        let outcome = Self.relay(
            input.span.extracting(0..<filling.byteCount), from: &position, through: &exchanges[exchange].down,
            trailers: &trailerFields, into: &output)
        guard sendOutput(client, at: now) else {
            clientBroke(exchange, at: now)
            return
        }
        guard case .malformed = outcome else {
            if !keepInput(target, position..<filling.byteCount) { targetBroke(exchange, at: now) }
            return
        }
        targetBroke(exchange, at: now)
    }

    private mutating func writeResponseHead(_ exchange: Int, _ byteCount: Int, at now: Instant) {
        let listener = routing.listener(exchanges[exchange].listener)
        ForwardedResponse.write(
            responseHead, input.span.extracting(0..<byteCount),
            facts: ResponseFacts(
                isChunked: exchanges[exchange].down.form == .chunked,
                isPersistent: exchanges[exchange].isClientPersistent,
                clientVersion: exchanges[exchange].version,
                attributes: listener?.route.listenerAttributes),
            into: &output
        )
        output.append("\r\n")
    }

    func connectionIsOld(_ client: Int, at now: Instant) -> Bool {
        guard let attributes = routing.listener(connections[client].listener)?.attributes else { return true }
        return connections[client].startedAt.advanced(bySeconds: attributes.clientKeepAliveSeconds) <= now
    }

    /// 101: from here on the bytes are not HTTP any more.
    private mutating func switchProtocols(
        _ exchange: Int, _ target: Int, _ filling: Filling, at now: Instant
    ) -> Bool {
        guard exchanges[exchange].upgrade == .webSocket, exchanges[exchange].up.isDone else {
            fail(exchange, .malformedResponse, at: now)
            return false
        }
        let client = Int(exchanges[exchange].client)
        freeReplay(exchange)
        exchanges[exchange].statusCode = 101
        exchanges[exchange].targetStatusCode = 101
        exchanges[exchange].isClientPersistent = false
        exchanges[exchange].isTargetPersistent = false
        exchangeCounters.add(1, .webSockets, listener: exchanges[exchange].listener)
        output.removeAll()
        ForwardedResponse.writeInterim(
            responseHead, input.span.extracting(0..<filling.byteCount), into: &output)
        output.append(input.span, responseHead.byteCount..<filling.byteCount)
        exchanges[exchange].phase = .tunnel
        exchanges[exchange].up = ContentLane()
        exchanges[exchange].down = ContentLane()
        guard sendOutput(client, at: now) else {
            clientBroke(exchange, at: now)
            return false
        }
        return true
    }

    // MARK: - The end of an exchange

    /// The answer is with the client, or on its way there.
    mutating func finish(_ exchange: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        let isClean = exchanges[exchange].up.isDone
        if let target = exchanges[exchange].target {
            if exchanges[exchange].isTargetPersistent, isClean, !connections[target].hasEnded {
                exchanges[exchange].targetPlusOne = 0
                pool(target, at: now)
            } else {
                detachAndClose(target, at: now)
            }
        }
        let isPersistent = exchanges[exchange].isClientPersistent && isClean
        end(exchange, at: now)
        if isPersistent {
            connections[client].lastActivityAt = now
            return
        }
        leave(client, isClean: isClean, at: now)
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

    /// The exchange is over; its connections are the caller's.
    mutating func end(_ exchange: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        let isServerError = exchanges[exchange].targetStatusCode >= 500
        let outcome: ExchangeOutcome =
            exchanges[exchange].targetStatusCode == 0 ? .abandoned : isServerError ? .serverError : .answered
        endOutstanding(exchange, outcome, at: now)
        countEnd(exchange)
        free(exchanges[exchange].replay)
        release(exchanges[exchange].up)
        release(exchanges[exchange].down)
        exchanges[exchange].phase = .free
        exchangeSlots.free(exchange)
        connections[client].exchangePlusOne = 0
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
        endOwnHead(exchange, contentByteCount: response.messageBody.utf8.count)
        if !exchanges[exchange].isHead { output.append(response.messageBody) }
        sendOwnAnswer(exchange, response.statusCode, at: now)
    }

    mutating func redirect(_ exchange: Int, _ action: RedirectAction, input byteCount: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        output.removeAll()
        beginOwnAnswer(exchange, action.statusCode, at: now)
        output.append("Location: ")
        text.removeAll(keepingCapacity: true)
        guard
            case .written = RedirectWriter.append(
                action, for: requestHead, input.span.extracting(0..<byteCount),
                in: RedirectWriter.Context(
                    isSecure: connections[client].isSecure, port: connections[client].local.port),
                to: &text)
        else {
            fail(exchange, .badRedirect, at: now)
            return
        }
        output.append(text.span)
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
        // Content that came with the request is read off; more of it than this is not worth reading.
        if !exchanges[exchange].up.reader.isComplete { exchanges[exchange].isClientPersistent = false }
        advanceDate(to: now)
        OwnAnswer.begin(status, date: date.bytes.span, into: &output)
    }

    private mutating func endOwnHead(_ exchange: Int, contentByteCount: Int) {
        output.append("Content-Length: ")
        output.append(decimal: UInt64(contentByteCount))
        output.append(
            exchanges[exchange].isClientPersistent
                ? (exchanges[exchange].version == .http10 ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\n\r\n")
                : "\r\nConnection: close\r\n\r\n")
    }

    private mutating func sendOwnAnswer(_ exchange: Int, _ status: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        exchanges[exchange].statusCode = UInt16(status)
        exchanges[exchange].answeredAt = now
        countOwnStatus(exchange, status)
        if let target = exchanges[exchange].target { detachAndClose(target, at: now) }
        let isPersistent = exchanges[exchange].isClientPersistent
        let isSent = sendOutput(client, at: now)
        end(exchange, at: now)
        guard isSent else {
            closeClient(client, withReset: true, at: now)
            return
        }
        if isPersistent {
            connections[client].lastActivityAt = now
        } else {
            leave(client, isClean: false, at: now)
        }
    }
}
