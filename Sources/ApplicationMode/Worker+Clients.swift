// Clients: from accept to the head of a request, and the end of their connections.

import Balancing
import HTTPCore
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    // MARK: - Accept

    mutating func acceptSome(from position: Int, at now: Instant) {
        let countMax = core.expectedAcceptCount(from: position)
        let count = acceptPending(from: position, countMax: countMax, at: now)
        core.noteAccepted(count, of: countMax, from: position)
    }

    @discardableResult
    package mutating func acceptPending(from position: Int, countMax: Int, at now: Instant) -> Int {
        var count = 0
        while count < countMax {
            switch core.acceptNext(from: position, at: now) {
            case .connection(let socket, let client):
                count += 1
                let local = core.localEndpoint(of: socket, through: position)
                let listener = core.listeners[position].binding.number
                admit(socket, from: client, arrivedAt: local, through: listener, at: now)
            case .again:
                count += 1
            case .none:
                return count
            }
        }
        return count
    }

    private mutating func admit(
        _ socket: Descriptor, from client: Endpoint, arrivedAt local: Endpoint,
        through listener: ListenerNumber,
        at now: Instant
    ) {
        guard core.census.count(.tcp) < core.settings.tcpFlowCountMax, let slot = connectionSlots.allocate()
        else {
            core.shed(socket, .shedSlabFull, listener: listener)
            return
        }
        let generation = (connections[slot].generation &+ 1) & Token.generationMask
        connections[slot] = Connection(
            phase: .http1, role: .client, generation: generation, socket: socket, listener: listener,
            peer: client, local: local, startedAt: now, lastActivityAt: now)
        let context = core.tls.serverContext(of: listener)
        if let context {
            guard handshakeCount < core.settings.handshakeCountMax,
                let session = context.makeSession(on: socket)
            else {
                connections[slot].phase = .free
                connectionSlots.free(slot)
                core.shed(socket, .shedHandshakes, listener: listener)
                return
            }
            connections[slot].session = session
            connections[slot].phase = .securing
            handshakeCount += 1
        }
        let token = Token(kind: Kind.connection, generation: generation, index: slot)
        guard core.epoll.add(socket, for: .socket, token: token.rawValue) == nil else {
            if context != nil { handshakeCount -= 1 }
            connections[slot].session.free()
            connections[slot].phase = .free
            connectionSlots.free(slot)
            core.shed(socket, .shedDescriptors, listener: listener)
            return
        }
        core.census.change(.tcp, by: 1, worker: core.index)
        core.counters.add(1, .newTCPFlows, listener: listener)
        core.counters.add(1, .activeTCPFlows, listener: listener)
        connections[slot].mayWrite = true
        timers.set(
            slot,
            to: now.advanced(
                bySeconds: context != nil
                    ? core.settings.handshakeTimeoutSeconds : idleTimeoutSeconds(of: listener)))
        guard context == nil else { return }
        logConnection(slot, at: now)
        // The first bytes have mostly come by now: reading at once saves a turn.
        connections[slot].mayRead = true
        serve(slot, at: now)
    }

    // MARK: - TLS

    /// A step of a handshake, with a client or with a target.
    mutating func secure(_ slot: Int, at now: Instant) {
        switch connections[slot].session.handshake() {
        case .wantRead, .wantWrite:
            return
        case .failed(let failure):
            if connections[slot].role == .client {
                core.counters.add(1, .clientHandshakeFailures, listener: connections[slot].listener)
                closeClient(slot, failure: failure, at: now)
            } else {
                core.counters.add(1, .targetHandshakeFailures, target: connections[slot].target)
                connectFailed(slot, at: now)
            }
        case .done:
            // A session reads ahead: what its socket was ready for says nothing any more.
            connections[slot].mayRead = true
            connections[slot].mayWrite = true
            if connections[slot].role == .client {
                handshakeCount -= 1
                connections[slot].phase = .http1
                logConnection(slot, at: now)
                armClient(slot, at: now)
                if connections[slot].session.speaks("h2") {
                    beginHTTP2(slot, at: now)
                } else {
                    serve(slot, at: now)
                }
            } else if isShared(slot), !connections[slot].session.speaks("h2") {
                // It would read the requests of many as one of HTTP/1.
                core.counters.add(1, .targetHandshakeFailures, target: connections[slot].target)
                connectFailed(slot, at: now)
            } else {
                targetIsOpen(slot, at: now)
            }
        }
    }

    // MARK: - Requests over HTTP/1

    /// Goes on with a client's connection: with the exchange under way, or with the next head.
    mutating func serve(_ slot: Int, at now: Instant) {
        var budget = Limits.exchangesPerTurnMax
        while connections[slot].phase == .http1 {
            if let exchange = connections[slot].exchange {
                advance(exchange, at: now)
                guard connections[slot].phase == .http1 else { return }
                guard connections[slot].exchangePlusOne == 0 else {
                    // Still the same one: it waits for a socket.
                    if connections[slot].isClosing { noteClientEnd(slot, at: now) }
                    return
                }
            }
            guard budget > 0 else {
                queue(slot)
                return
            }
            budget -= 1
            guard readHead(slot, at: now) else { return }
        }
    }

    /// The client has sent its end while it is owed an answer. Nobody keeps half a connection open for one, so
    /// that it is gone, and the target need not go on (ELBv2's 460); but requests before the end are answered.
    private mutating func noteClientEnd(_ slot: Int, at now: Instant) {
        guard let exchange = connections[slot].exchange, exchanges[exchange].up.isDone,
            connections[slot].mayRead || connections[slot].hasEnded, connections[slot].input.isEmpty
        else { return }
        switch exchanges[exchange].phase {
        case .connecting, .awaitingHead: break
        case .free, .responding, .tunnel: return
        }
        let filling = fill(slot, at: now)
        guard filling.failure == nil else {
            clientBroke(exchange, at: now)
            return
        }
        guard filling.byteCount > 0 else {
            if connections[slot].hasEnded { clientBroke(exchange, at: now) }
            return
        }
        var lent = borrowInput()
        let isKept = keepInput(slot, lent.span, 0..<filling.byteCount)
        giveBack(&lent)
        if !isKept { clientBroke(exchange, at: now) }
    }

    /// Reads the head of the next request; true when an exchange began or was over at once.
    private mutating func readHead(_ slot: Int, at now: Instant) -> Bool {
        // What the socket has not taken of the last answer goes first, and bounds what is read.
        switch flush(slot, at: now) {
        case true: break
        case false: return false
        case nil:
            closeClient(slot, at: now)
            return false
        }
        let filling = fill(slot, at: now)
        guard filling.failure == nil else {
            connectionBroke(slot, at: now)
            return false
        }
        guard filling.byteCount > 0 else {
            if connections[slot].hasEnded { closeClient(slot, at: now) }
            return false
        }
        if connections[slot].headStartedAt.nanoseconds == 0 { connections[slot].headStartedAt = now }
        switch readRequest(slot, byteCount: filling.byteCount, at: now) {
        case .http2:
            beginHTTP2(slot, at: now)
            return false
        case .waits:
            if connections[slot].hasEnded {
                closeClient(slot, at: now)
            } else {
                // The first byte of a head starts its own deadline.
                armClient(slot, at: now)
            }
            // The end may be there already, of which no event tells any more.
            return connections[slot].mayRead
        case .lost:
            closeClient(slot, withReset: true, at: now)
            return false
        case .refused(let fault):
            refuseHead(slot, fault, at: now)
            return false
        case .exchange(let exchange, let decision):
            follow(decision, exchange, at: now)
            return true
        }
    }

    private enum HeadStep {
        case exchange(Int, Decision)
        case waits
        /// The client speaks HTTP/2 and knows that Weir does.
        case http2
        /// No memory to go on with.
        case lost
        case refused(HeadFault)
    }

    /// Makes an exchange of the head at the front of `input`, if it is whole, and decides what becomes of it.
    private mutating func readRequest(_ slot: Int, byteCount: Int, at now: Instant) -> HeadStep {
        var lent = borrowInput()
        defer { giveBack(&lent) }
        let bytes = lent.span.extracting(0..<byteCount)
        if connections[slot].requestCount == 0, !connections[slot].isSecure {
            switch ConnectionPreface.match(bytes) {
            case .partial:
                return keepInput(slot, bytes, 0..<byteCount) ? .waits : .lost
            case .yes where isHTTP2Enabled(slot):
                return keepInput(slot, bytes, 0..<byteCount) ? .http2 : .lost
            case .yes, .no: break
            }
        }
        switch RequestParser.parse(bytes, into: &requestHead, limits: .standard) {
        case .needMore:
            return keepInput(slot, bytes, 0..<byteCount) ? .waits : .lost
        case .refused(let fault):
            return .refused(fault)
        case .complete:
            guard let exchange = makeExchange(slot, at: now) else {
                core.counters.add(1, .shedSlabFull)
                return .lost
            }
            return .exchange(exchange, decide(exchange, bytes, at: now))
        }
    }

    // MARK: - Deadlines

    func idleTimeoutSeconds(of listener: ListenerNumber) -> Int {
        routing.listener(listener)?.attributes.idleTimeoutSeconds ?? 60
    }

    private func isHTTP2Enabled(_ slot: Int) -> Bool {
        routing.listener(connections[slot].listener)?.attributes.isHTTP2Enabled ?? false
    }

    /// Sets the client's next deadline, from what it is waited for.
    mutating func armClient(_ slot: Int, at now: Instant) {
        timers.set(slot, to: clientDeadline(slot))
    }

    /// A head has to be whole an idle timeout after its first byte, however slowly it trickles; everything else may
    /// take as long as something moves.
    private func clientDeadline(_ slot: Int) -> Instant {
        let connection = connections[slot]
        let timeout = idleTimeoutSeconds(of: connection.listener)
        switch connection.phase {
        case .lingering: return connection.lastActivityAt.advanced(bySeconds: Limits.lingerSeconds)
        case .http2 where connection.farewell == .announced: return Instant(nanoseconds: 0)
        case .http2 where connection.farewell == .said && connection.exchangePlusOne == 0:
            return connection.lastActivityAt.advanced(bySeconds: min(timeout, Limits.lingerSeconds))
        case .http1 where connection.exchangePlusOne == 0 && connection.headStartedAt.nanoseconds > 0:
            return connection.headStartedAt.advanced(bySeconds: timeout)
        case .http1 where connection.exchangePlusOne == 0 && core.isDraining:
            return connection.lastActivityAt.advanced(bySeconds: min(timeout, Limits.drainedIdleSeconds))
        default: return connection.lastActivityAt.advanced(bySeconds: timeout)
        }
    }

    mutating func clientTimerFired(_ slot: Int, at now: Instant) {
        if connections[slot].phase == .securing {
            core.counters.add(1, .clientHandshakeFailures, listener: connections[slot].listener)
            closeClient(slot, at: now)
            return
        }
        let deadline = clientDeadline(slot)
        guard deadline <= now else {
            timers.set(slot, to: deadline)
            return
        }
        clientTimedOut(slot, at: now)
    }

    // MARK: - The end

    /// Ends a client's connection in order: after what was sent, and without a reset that would overtake it.
    mutating func linger(_ slot: Int, at now: Instant) {
        switch flush(slot, at: now) {
        case false: return
        case nil:
            closeClient(slot, at: now)
            return
        case true: break
        }
        if !connections[slot].closesFirst {
            connections[slot].closesFirst = true
            if connections[slot].isSecure { _ = connections[slot].session.shutdown() }
            guard connections[slot].socket.shutdownWrite() == nil else {
                closeClient(slot, at: now)
                return
            }
        }
        var budget = Limits.stepsPerPumpMax
        while connections[slot].mayRead, budget > 0 {
            budget -= 1
            let filling = fill(slot, at: connections[slot].lastActivityAt)
            if filling.failure != nil { break }
        }
        if connections[slot].hasEnded || connections[slot].isClosing && !connections[slot].mayRead {
            closeClient(slot, at: now)
        } else if connections[slot].mayRead {
            queue(slot)
        }
    }

    mutating func beginLingering(_ slot: Int, at now: Instant) {
        free(connections[slot].input)
        connections[slot].input = Held()
        connections[slot].phase = .lingering
        connections[slot].lastActivityAt = now
        timers.set(slot, to: now.advanced(bySeconds: Limits.lingerSeconds))
        linger(slot, at: now)
    }

    /// Closes a client's connection that has no exchange.
    ///
    /// - Parameter failure: What its handshake failed by, if that is not over.
    mutating func closeClient(
        _ slot: Int, withReset: Bool = false, failure: TLSFailure = .endedEarly, at now: Instant
    ) {
        let connection = connections[slot]
        assert(connection.role == .client && connection.exchangePlusOne == 0)
        if connection.phase == .securing {
            handshakeCount -= 1
            logConnection(slot, failure: failure, at: now)
        }
        core.counters.add(-1, .activeTCPFlows, listener: connection.listener)
        core.census.change(.tcp, by: -1, worker: core.index)
        dismantle(slot, withReset: withReset)
    }

    /// Gives back all that a connection of either side owns.
    mutating func dismantle(_ slot: Int, withReset: Bool) {
        free(connections[slot].input)
        free(connections[slot].output)
        freeTLSFields(slot)
        connections[slot].http2.free()
        if connections[slot].isSecure {
            if !withReset { _ = connections[slot].session.shutdown() }
            connections[slot].session.free()
        }
        if withReset { connections[slot].socket.closeWithReset() } else { connections[slot].socket.close() }
        timers.cancel(slot)
        connections[slot].phase = .free
        connections[slot].isQueued = false
        connectionSlots.free(slot)
    }
}
