// The way to a target: a pooled connection, or a new one; and what happens when it does not stand.

import Balancing
import HTTPCore
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    // MARK: - Finding one

    /// Gives an exchange its next target and a connection to it, and sends the request as far as that goes.
    mutating func findTarget(_ exchange: Int, at now: Instant) {
        while true {
            let tried = exchanges[exchange].tried.count
            guard tried == 0 || tried < exchanges[exchange].attemptCountMax,
                let target = chooseTarget(exchange, at: now),
                let endpoint = core.snapshot.endpoint(of: target)
            else {
                // What became of the last attempt, when no target is left.
                let isTimedOut = exchanges[exchange].failure == .connectTimedOut
                fail(
                    exchange, tried == 0 ? .noTarget : isTimedOut ? .connectTimedOut : .connectFailed, at: now
                )
                return
            }
            exchanges[exchange].tried.insert(target)
            exchanges[exchange].targetNumber = target
            if exchanges[exchange].log > 0 { records[exchange].target = endpoint }
            countOutstanding(exchange)
            let group = Int(exchanges[exchange].group)
            if core.snapshot.groups[group].isFailOpen {
                exchangeCounters.add(1, .failOpenRequests, target: target)
            }
            let isShared = core.snapshot.groups[group].protocolVersion != .http1
            if isShared, let connection = sharedConnection(to: target) {
                linkTarget(exchange, to: connection)
                if connections[connection].isReady { submit(exchange, connection, at: now) }
                return
            }
            if !isShared, let connection = takeFromPool(target) {
                linkTarget(exchange, to: connection)
                send(exchange, at: now)
                return
            }
            var start = connect(exchange, to: target, endpoint, at: now)
            if start == .noDescriptor, makeRoom(at: now) {
                start = connect(exchange, to: target, endpoint, at: now)
            }
            switch start {
            case .begun: return
            case .refused:
                noteConnectFailure(exchange, at: now)
            case .noPort:
                // Not the target's fault; another target has ports of its own.
                endOutstanding(exchange, .abandoned, at: now)
            case .noDescriptor:
                core.counters.add(1, .shedDescriptors)
                fail(exchange, .noDescriptor, at: now)
                return
            }
        }
    }

    private enum ConnectStart {
        case begun
        case refused
        case noPort
        case noDescriptor
    }

    private mutating func connect(
        _ exchange: Int, to target: TargetNumber, _ endpoint: Endpoint, at now: Instant
    ) -> ConnectStart {
        guard let slot = connectionSlots.allocate() else { return .noDescriptor }
        let group = Int(exchanges[exchange].group)
        switch core.openTargetSocket(.tcp, to: endpoint, of: target, hasEarlyBytes: true) {
        case .open(let socket, let sourceColumn):
            let generation = (connections[slot].generation &+ 1) & Token.generationMask
            connections[slot] = Connection(
                phase: .connecting, role: .target, sourceColumn: sourceColumn, generation: generation,
                socket: socket, listener: exchanges[exchange].listener, target: target, group: UInt32(group),
                peer: endpoint, startedAt: now, lastActivityAt: now)
            if let context = core.tls.clientContext(of: group) {
                guard let session = context.makeSession(on: socket) else {
                    abandon(slot, socket)
                    return .noDescriptor
                }
                connections[slot].session = session
            }
            let token = Token(kind: Kind.connection, generation: generation, index: slot)
            guard core.epoll.add(socket, for: .socket, token: token.rawValue) == nil else {
                connections[slot].session.free()
                abandon(slot, socket)
                return .noDescriptor
            }
            core.counters.addPort(1, target: target, column: sourceColumn)
            core.counters.add(1, .newTCPFlows, target: target)
            core.counters.add(1, .activeTCPFlows, target: target)
            timers.set(
                slot, to: now.advanced(bySeconds: core.snapshot.groups[group].connectTimeoutSeconds))
            linkTarget(exchange, to: slot)
            if core.snapshot.groups[group].protocolVersion != .http1 {
                connections[slot].isShared = true
                enterSharedPool(slot)
            }
            return .begun
        case .refused:
            connectionSlots.free(slot)
            return .refused
        case .noPort:
            connectionSlots.free(slot)
            return .noPort
        case .noDescriptor:
            connectionSlots.free(slot)
            return .noDescriptor
        }
    }

    /// Closes a connection that waits in the pool, of any target: what idles must not keep out what is asked for.
    private mutating func makeRoom(at now: Instant) -> Bool {
        guard let idle = pool.anyIdle() else { return false }
        pool.remove(idle, &connections)
        closeTarget(idle, at: now)
        return true
    }

    private mutating func abandon(_ slot: Int, _ socket: Descriptor) {
        socket.close()
        connections[slot].phase = .free
        connectionSlots.free(slot)
    }

    // MARK: - The connection

    /// An event of a connection that is being made: it stands.
    mutating func targetConnected(_ slot: Int, at now: Instant) {
        guard connections[slot].mayWrite else { return }
        if connections[slot].isSecure {
            connections[slot].phase = .securing
            secure(slot, at: now)
        } else {
            targetIsOpen(slot, at: now)
        }
    }

    /// Connection and handshake are done: the request goes out.
    mutating func targetIsOpen(_ slot: Int, at now: Instant) {
        if connections[slot].isShared {
            beginHTTP2ToTarget(slot, at: now)
            return
        }
        connections[slot].phase = .busy
        connections[slot].lastActivityAt = now
        guard let exchange = connections[slot].exchange else {
            closeTarget(slot, at: now)
            return
        }
        let client = Int(exchanges[exchange].client)
        send(exchange, at: now)
        if connections[client].exchangePlusOne == 0 { queueNextRequest(client) }
    }

    /// The connection carries the exchange from now on.
    private mutating func send(_ exchange: Int, at now: Instant) {
        guard let slot = exchanges[exchange].target else { return }
        if connections[slot].phase == .connecting { return }
        connections[slot].lastActivityAt = now
        timers.set(slot, to: targetDeadline(slot))
        exchanges[exchange].phase = .awaitingHead
        advance(exchange, at: now)
    }

    /// The attempt failed: another target, or an error for the client. Of a shared connection, for all that wait.
    mutating func connectFailed(_ slot: Int, at now: Instant) {
        let isTimedOut = timersExpired(slot, at: now)
        leaveSharedPool(slot)
        while let exchange = connections[slot].exchange {
            unlinkTarget(exchange)
            noteConnectFailure(exchange, at: now)
            exchanges[exchange].phase = .connecting
            exchanges[exchange].failure = isTimedOut ? .connectTimedOut : .connectFailed
            if exchanges[exchange].tried.count >= exchanges[exchange].attemptCountMax {
                fail(exchange, isTimedOut ? .connectTimedOut : .connectFailed, at: now)
            } else {
                findTarget(exchange, at: now)
            }
        }
        // What never stood leaves no port in TIME_WAIT.
        closeTarget(slot, withReset: true, at: now)
    }

    private func timersExpired(_ slot: Int, at now: Instant) -> Bool {
        let group = Int(connections[slot].group)
        guard group < core.snapshot.groups.count else { return false }
        return connections[slot].startedAt
            .advanced(bySeconds: core.snapshot.groups[group].connectTimeoutSeconds) <= now
    }

    mutating func noteConnectFailure(_ exchange: Int, at now: Instant) {
        let target = exchanges[exchange].targetNumber
        core.counters.add(1, .connectFailures, target: target, listener: exchanges[exchange].listener)
        endOutstanding(exchange, .connectionError, at: now)
    }

    // MARK: - Events and deadlines

    /// An event of a connection that carries an exchange.
    mutating func targetIsReady(_ slot: Int, at now: Instant) {
        guard let exchange = connections[slot].exchange else {
            closeTarget(slot, at: now)
            return
        }
        let client = Int(exchanges[exchange].client)
        let generation = exchanges[exchange].generation
        advance(exchange, at: now)
        // With the exchange over, the client's next request may be there already.
        if exchanges[exchange].phase == .free || exchanges[exchange].generation != generation {
            if connections[client].phase == .http1 { serve(client, at: now) }
        }
    }

    func targetDeadline(_ slot: Int) -> Instant {
        let timeout = idleTimeoutSeconds(of: connections[slot].listener)
        return connections[slot].lastActivityAt.advanced(bySeconds: timeout)
    }

    mutating func targetTimerFired(_ slot: Int, at now: Instant) {
        switch connections[slot].phase {
        case .connecting, .securing:
            connectFailed(slot, at: now)
        case .http2 where !connections[slot].isReady:
            connectFailed(slot, at: now)
        case .idle:
            leavePool(slot, at: now)
        case .http2 where connections[slot].exchangePlusOne == 0 && connections[slot].isRetired:
            // It does not even take what would end it in order.
            http2Broke(slot, at: now)
        case .http2 where connections[slot].exchangePlusOne == 0:
            // Nobody has needed it for long enough.
            leaveSharedPool(slot)
            connections[slot].isRetired = true
            connections[slot].http2.goAway()
            markDirty(slot)
            timers.set(slot, to: now.advanced(bySeconds: Limits.lingerSeconds))
        default:
            // Bytes that move either way keep both sides alive: a long upload is not an idle target.
            var deadline = targetDeadline(slot)
            if let exchange = connections[slot].exchange {
                let client = connections[Int(exchanges[exchange].client)]
                let timeout = idleTimeoutSeconds(of: client.listener)
                deadline = max(deadline, client.lastActivityAt.advanced(bySeconds: timeout))
            }
            guard deadline <= now else {
                timers.set(slot, to: deadline)
                return
            }
            targetTimedOut(slot, at: now)
        }
    }

    mutating func timerFired(_ slot: Int, at now: Instant) {
        if connections[slot].role == .client {
            clientTimerFired(slot, at: now)
        } else {
            targetTimerFired(slot, at: now)
        }
    }

    // MARK: - The pool

    private mutating func takeFromPool(_ target: TargetNumber) -> Int? {
        guard let slot = pool.top(of: target) else { return nil }
        pool.remove(slot, &connections)
        connections[slot].phase = .busy
        connections[slot].isReused = true
        return slot
    }

    /// The exchange is over and the connection good for another.
    mutating func pool(_ slot: Int, at now: Instant) {
        guard !connections[slot].isClosing, connections[slot].input.isEmpty, connections[slot].output.isEmpty,
            !core.isDraining, routing.takesRequests(connections[slot].target),
            core.snapshot.endpoint(of: connections[slot].target) == connections[slot].peer,
            pool.idleCount(of: connections[slot].target) < Limits.pooledConnectionsPerTargetMax,
            // Content that moved by splice, or filled a read, leaves `mayRead` set. What is still there would be
            // taken for the next answer, and if nothing is, the next event would end the connection.
            !connections[slot].mayRead || !hasBytesOrEnd(slot, at: now)
        else {
            closeTarget(slot, at: now)
            return
        }
        connections[slot].exchangePlusOne = 0
        connections[slot].phase = .idle
        connections[slot].lastActivityAt = now
        timers.set(slot, to: now.advanced(bySeconds: Limits.pooledConnectionSeconds))
        pool.insert(slot, &connections)
    }

    /// An idle connection has an event, or is too old: whatever it is, nobody asked for it.
    mutating func leavePool(_ slot: Int, at now: Instant) {
        // Room to write is no news of an idle connection, nor are the tickets of a TLS session.
        let hasNews = connections[slot].mayRead && hasBytesOrEnd(slot, at: now)
        guard
            hasNews || connections[slot].isClosing || targetDeadline(slot) <= now || !timers.isArmed(slot)
        else { return }
        pool.remove(slot, &connections)
        closeTarget(slot, at: now)
    }

    private mutating func hasBytesOrEnd(_ slot: Int, at now: Instant) -> Bool {
        let filling = fill(slot, at: now)
        return filling.byteCount > 0 || filling.failure != nil || connections[slot].hasEnded
    }

    // MARK: - The end

    /// Closes a target's connection that stands in no pool.
    mutating func closeTarget(_ slot: Int, withReset: Bool = false, at now: Instant) {
        let connection = connections[slot]
        connections[slot].exchangePlusOne = 0
        core.counters.add(-1, .activeTCPFlows, target: connection.target)
        if connection.isClosing || withReset {
            core.counters.addPort(-1, target: connection.target, column: connection.sourceColumn)
        } else {
            core.portLingers(of: connection.target, sourceColumn: connection.sourceColumn, at: now)
        }
        dismantle(slot, withReset: withReset)
    }
}
