// Everything that can go wrong, and what each side is told.
//
// Before the final head went out, a failure becomes a status, or another try where no byte was answered and asking
// twice does no harm. Afterwards the only honest sign is an end before the content's: a reset.

import Balancing
import HTTPCore
import LinuxIO
import Serving

/// Why an exchange has no answer of a target's.
enum ExchangeFailure: UInt8, BitwiseCopyable {
    case none = 0
    case noListener
    case desync
    case incompatibleProtocol
    case noTarget
    case noMemory
    case noDescriptor
    case headTooLarge
    case malformedContent
    case connectFailed
    case connectTimedOut
    case targetClosed
    case targetTimedOut
    case malformedResponse
    case badRedirect
    case badRewrite
    case badHostRewrite
    case requestTimedOut

    /// As ELBv2 answers it.
    var statusCode: Int {
        switch self {
        case .desync, .malformedContent, .badRedirect: 400
        case .requestTimedOut: 408
        case .incompatibleProtocol: 464
        case .headTooLarge: 431
        case .none, .badRewrite, .badHostRewrite: 500
        case .connectFailed, .targetClosed, .malformedResponse: 502
        case .noListener, .noTarget, .noMemory, .noDescriptor: 503
        case .connectTimedOut, .targetTimedOut: 504
        }
    }
}

extension Worker {
    // MARK: - Before the answer

    /// Ends an exchange that has no answer: a page with the status, if the client can still be told.
    mutating func fail(_ exchange: Int, _ failure: ExchangeFailure, at now: Instant) {
        exchanges[exchange].failure = failure
        if exchanges[exchange].phase == .responding || exchanges[exchange].phase == .tunnel {
            abort(exchange, at: now)
        } else {
            answer(exchange, status: failure.statusCode, at: now)
        }
    }

    /// A head that is no request: the connection ends with a status.
    mutating func refuseHead(_ slot: Int, _ fault: HeadFault, at now: Instant) {
        exchangeCounters.add(1, .refusedHeads, listener: connections[slot].listener)
        requestHead.desync = DesyncFinding(fault.desyncReason)
        guard let exchange = makeRefusedExchange(slot, stream: 0, at: now) else {
            closeClient(slot, at: now)
            return
        }
        answer(exchange, status: fault.statusCode, at: now)
    }

    /// An exchange for what is no request, so that it is answered and logged like any other.
    mutating func makeRefusedExchange(_ slot: Int, stream: Int32, at now: Instant) -> Int? {
        requestHead.method = .other
        requestHead.isPersistent = false
        requestHead.expectsContinue = false
        requestHead.framing = .none
        requestHead.version = stream > 0 ? .http2 : .http11
        requestHead.upgrade = .none
        requestHead.byteCount = 0
        guard let exchange = makeExchange(slot, stream: stream, at: now) else { return nil }
        if stream > 0 { connections[slot].http2.setTag(tag(of: exchange), stream: stream) }
        return exchange
    }

    // MARK: - One side breaks

    /// A connection of either side was reset, or its network is gone.
    mutating func connectionBroke(_ slot: Int, at now: Instant) {
        switch (connections[slot].role, connections[slot].phase) {
        case (_, .http2):
            http2Broke(slot, at: now)
        case (.client, _):
            if let exchange = connections[slot].exchange {
                clientBroke(exchange, at: now)
            } else {
                core.counters.add(1, .clientResets, listener: connections[slot].listener)
                closeClient(slot, at: now)
            }
        case (.target, .idle):
            pool.remove(slot, &connections)
            closeTarget(slot, at: now)
        case (.target, .connecting), (.target, .securing):
            connectFailed(slot, at: now)
        case (.target, _):
            if let exchange = connections[slot].exchange {
                targetBroke(exchange, at: now)
            } else {
                closeTarget(slot, at: now)
            }
        }
    }

    /// The client is gone: nobody waits for the answer any more (460 in the log).
    mutating func clientBroke(_ exchange: Int, at now: Instant) {
        core.counters.add(1, .clientResets, listener: exchanges[exchange].listener)
        let client = Int(exchanges[exchange].client)
        clientLeft(exchange, at: now)
        if !connections[client].http2.isOpen { closeClient(client, withReset: true, at: now) }
    }

    /// The same for an exchange whose connection may have others, or is closed by the caller.
    mutating func clientLeft(_ exchange: Int, at now: Instant) {
        if exchanges[exchange].statusCode == 0 {
            exchanges[exchange].statusCode = 460
            countOwnStatus(exchange, 460)
        }
        leaveTarget(exchange, isClean: false, at: now)
        end(exchange, at: now)
    }

    /// The target's connection or stream ended or broke before its answer was whole.
    ///
    /// - Parameters:
    ///   - isUnprocessed: The target says that it has not looked at the request.
    ///   - isReused: Others used the connection before; by default, whether the one that it is linked to is.
    mutating func targetBroke(
        _ exchange: Int, isUnprocessed: Bool = false, isReused: Bool? = nil, at now: Instant
    ) {
        let isReused =
            isUnprocessed
            || (isReused ?? exchanges[exchange].target.map { connections[$0].isReused } ?? false)
        // Of a connection that others share, whoever finds it broken counts it, once.
        let isAlone = exchanges[exchange].target.map { !connections[$0].isShared } ?? false
        leaveTarget(exchange, isClean: false, at: now)
        let (target, listener) = (exchanges[exchange].targetNumber, exchanges[exchange].listener)
        guard exchanges[exchange].phase == .awaitingHead || exchanges[exchange].phase == .connecting else {
            if isAlone { core.counters.add(1, .targetResets, target: target, listener: listener) }
            abort(exchange, at: now)
            return
        }
        if isReused, isRepeatable(exchange, isUnprocessed: isUnprocessed) {
            // It waited in the pool and was closed meanwhile. That is no failure of the target: it gets the
            // request again, on another connection.
            repeatRequest(exchange, at: now)
            return
        }
        if isAlone { core.counters.add(1, .targetResets, target: target, listener: listener) }
        endOutstanding(exchange, .connectionError, at: now)
        fail(exchange, .targetClosed, at: now)
    }

    /// Whether the request may be sent once more: it is whole, nothing was answered, and it either never left or
    /// does no harm twice (RFC 9110 section 9.2.2).
    private func isRepeatable(_ exchange: Int, isUnprocessed: Bool) -> Bool {
        // A client's content that came by HTTP/2 is still here as long as none of it has gone on.
        let isWhole =
            exchanges[exchange].isReplayWhole
            || exchanges[exchange].clientStream > 0 && exchanges[exchange].up.byteCount == 0
        guard exchanges[exchange].replay.count > 0, isWhole,
            exchanges[exchange].answeredAt.nanoseconds == 0,
            exchanges[exchange].repeatCount < Limits.requestRepeatCountMax
        else { return false }
        if isUnprocessed { return true }
        return switch exchanges[exchange].method {
        case .get, .head, .options, .put, .delete, .trace: true
        case .post, .patch, .connect, .other: !exchanges[exchange].hasSentBytes
        }
    }

    private mutating func repeatRequest(_ exchange: Int, at now: Instant) {
        exchangeCounters.add(1, .repeatedRequests, target: exchanges[exchange].targetNumber)
        exchanges[exchange].repeatCount += 1
        exchanges[exchange].phase = .connecting
        endOutstanding(exchange, .abandoned, at: now)
        exchanges[exchange].replaySentCount = 0
        // The same target is welcome again: forget that it was tried.
        exchanges[exchange].tried = TriedTargets()
        // Other pooled connections of the same age are probably closed as well.
        while let idle = pool.top(of: exchanges[exchange].targetNumber) {
            pool.remove(idle, &connections)
            closeTarget(idle, at: now)
        }
        // Events of HTTP/2 are handled while the memory is lent that a request is written in.
        if exchanges[exchange].clientStream > 0 { touch(exchange) } else { findTarget(exchange, at: now) }
    }

    /// The answer cannot be finished: both sides are cut off, so that nobody takes it for whole.
    mutating func abort(_ exchange: Int, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        let stream = exchanges[exchange].clientStream
        leaveTarget(exchange, isClean: false, at: now)
        if stream == 0 { core.counters.add(1, .balancerResets, listener: exchanges[exchange].listener) }
        end(exchange, at: now)
        if connections[client].http2.isOpen {
            connections[client].http2.reset(stream: stream, code: .internalError)
            markDirty(client)
        } else {
            closeClient(client, withReset: true, at: now)
        }
    }

    // MARK: - Nothing moves

    mutating func clientTimedOut(_ slot: Int, at now: Instant) {
        if connections[slot].phase == .http2 {
            http2ClientTimedOut(slot, at: now)
            return
        }
        guard let exchange = connections[slot].exchange else {
            if connections[slot].phase == .http1, connections[slot].headStartedAt.nanoseconds > 0 {
                timeOutHead(slot, at: now)
            } else {
                // Without a reset: the kernel goes on with what a slow client has not taken of its answer.
                closeClient(slot, at: now)
            }
            return
        }
        // The target may be working on it, or still sending: its own deadline counts that.
        if let target = exchanges[exchange].target, targetDeadline(target) > now {
            timers.set(slot, to: targetDeadline(target))
            return
        }
        // The timer that fired is gone, and the connection may stay.
        defer { if connections[slot].phase == .http1 { armClient(slot, at: now) } }
        if exchanges[exchange].phase == .connecting {
            noteConnectFailure(exchange, at: now)
            fail(exchange, .connectTimedOut, at: now)
        } else if exchanges[exchange].phase == .awaitingHead, exchanges[exchange].up.isDone {
            fail(exchange, .targetTimedOut, at: now)
        } else if exchanges[exchange].phase == .awaitingHead {
            fail(exchange, .requestTimedOut, at: now)
        } else {
            abort(exchange, at: now)
        }
    }

    private mutating func http2ClientTimedOut(_ slot: Int, at now: Instant) {
        let isIdle = connections[slot].exchangePlusOne == 0
        switch connections[slot].farewell {
        case .none where !isIdle:
            // Its exchanges have deadlines of their own.
            timers.set(slot, to: now.advanced(bySeconds: idleTimeoutSeconds(of: connections[slot].listener)))
        case .said where isIdle:
            // It takes neither the end nor what was sent before.
            http2Broke(slot, at: now)
        case .none, .announced, .said:
            // Nobody has asked for anything for long enough, or all that was on the wire has come.
            if connections[slot].farewell != .said {
                connections[slot].farewell = .said
                connections[slot].http2.goAway()
                markDirty(slot)
            }
            connections[slot].lastActivityAt = now
            timers.set(slot, to: now.advanced(bySeconds: Limits.lingerSeconds))
        }
    }

    private mutating func timeOutHead(_ slot: Int, at now: Instant) {
        requestHead.desync = .compliant
        guard let exchange = makeRefusedExchange(slot, stream: 0, at: now) else {
            closeClient(slot, at: now)
            return
        }
        fail(exchange, .requestTimedOut, at: now)
    }

    /// Nothing moved for an exchange of HTTP/2 for too long, whatever its connections carry besides.
    mutating func exchangeTimerFired(_ exchange: Int, at now: Instant) {
        let timeout = idleTimeoutSeconds(of: exchanges[exchange].listener)
        let deadline = exchanges[exchange].lastMovedAt.advanced(bySeconds: timeout)
        guard deadline <= now else {
            exchangeTimers.set(exchange, to: deadline)
            return
        }
        switch exchanges[exchange].phase {
        case .free: return
        case .responding, .tunnel: abort(exchange, at: now)
        case .connecting: fail(exchange, .connectTimedOut, at: now)
        case .awaitingHead:
            // The connection may have died without a sign, and would swallow the next request as well.
            if exchanges[exchange].up.isDone, let target = exchanges[exchange].target {
                connections[target].isRetired = true
            }
            endOutstanding(exchange, .connectionError, at: now)
            fail(exchange, exchanges[exchange].up.isDone ? .targetTimedOut : .requestTimedOut, at: now)
        }
    }

    /// No byte came from a target for too long.
    mutating func targetTimedOut(_ slot: Int, at now: Instant) {
        if connections[slot].phase == .http2 {
            // Its exchanges have deadlines of their own.
            timers.set(slot, to: now.advanced(bySeconds: idleTimeoutSeconds(of: connections[slot].listener)))
            return
        }
        guard let exchange = connections[slot].exchange else {
            closeTarget(slot, at: now)
            return
        }
        guard exchanges[exchange].phase == .awaitingHead else {
            abort(exchange, at: now)
            return
        }
        endOutstanding(exchange, .connectionError, at: now)
        leaveTarget(exchange, isClean: false, at: now)
        fail(exchange, exchanges[exchange].up.isDone ? .targetTimedOut : .requestTimedOut, at: now)
    }
}
