// The life of a TCP flow, in order: accept, choose and connect, pump, end. Where TLS comes in, on either
// side, the steps are in Worker+TLS.swift.
//
// Every registration is edge-triggered and made once. What a socket is ready for is remembered in the
// flow's two transfers; an event only updates that and pumps. Traps met here:
// - EAGAIN of splice means "socket empty" and "pipe full" alike. We splice in only when the pipe is
//   empty, so it means the former.
// - A pipe can hold more than its nominal size. The splice length is capped instead.
// - A FIN may not overtake bytes in the pipe: `Transfer` finishes only with nothing held.

import Balancing
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    // MARK: - Accept

    /// Takes as many queued connections as there probably are, and starts a flow for each.
    mutating func acceptSome(from position: Int, at now: Instant) {
        let countMax = core.expectedAcceptCount(from: position)
        let count = acceptPending(from: position, countMax: countMax, at: now)
        core.noteAccepted(count, of: countMax, from: position)
    }

    /// Takes queued connections, at most `countMax`, and starts a flow for each. Returns how many there were.
    package mutating func acceptPending(from position: Int, countMax: Int, at now: Instant) -> Int {
        var count = 0
        while count < countMax {
            switch core.acceptNext(from: position, at: now) {
            case .connection(let client, let endpoint):
                admit(client, from: endpoint, through: position, at: now)
            case .again: break
            case .none: return count
            }
            count += 1
        }
        return count
    }

    /// Makes a flow of an accepted connection, or sheds it with a reset.
    private mutating func admit(
        _ client: Descriptor, from clientEndpoint: Endpoint, through position: Int, at now: Instant
    ) {
        let number = core.listeners[position].binding.number
        guard core.census.count(.tcp) < core.settings.tcpFlowCountMax, let slot = flowSlots.allocate() else {
            core.shed(client, .shedSlabFull, listener: number)
            return
        }
        let local = core.localEndpoint(of: client, through: position)
        let generation = (flows[slot].generation &+ 1) & Token.generationMask
        let route = core.snapshot.route(of: number)
        flows[slot] = TCPFlow(
            phase: .connecting, generation: generation, client: client,
            key: FlowKey(client: clientEndpoint, local: local, transport: .tcp), listener: number,
            targetNumber: TargetNumber(0),
            idleTimeoutSeconds: UInt32(clamping: route?.tcpIdleTimeoutSeconds ?? 350),
            startedAt: now, lastActivityAt: now)
        let greeting = route.map { self.greeting(of: clientEndpoint, through: number, $0) } ?? []
        if !greeting.isEmpty {
            greet(slot, greeting, at: now)
            return
        }
        // The first bytes have mostly come by now; with them in hand the connect saves a packet.
        flows[slot].up.transfer.sourceBecameReadable()
        let isGone = pump(slot, isUp: true, at: now) != nil
        guard !isGone, connectNext(slot, at: now) else {
            release(flows[slot].up)
            flowTimers.cancel(slot)
            flows[slot].phase = .free
            flowSlots.free(slot)
            client.closeWithReset()
            countUnadmitted(by: number, isGone: isGone)
            return
        }
        countNew(slot)
        watchClient(slot, at: now)
    }

    mutating func countNew(_ slot: Int) {
        core.counters.add(1, .newTCPFlows, listener: flows[slot].listener)
        core.counters.add(1, .activeTCPFlows, listener: flows[slot].listener)
    }

    /// Counts a connection that reached no target: its client was gone already, or there was none to be had.
    func countUnadmitted(by listener: ListenerNumber, isGone: Bool) {
        core.counters.add(1, isGone ? .newTCPFlows : .rejectedFlows, listener: listener)
        if isGone { core.counters.add(1, .clientResets, listener: listener) }
    }

    /// Registers the client's socket for its life. Without memory for that in the kernel the flow ends here.
    mutating func watchClient(_ slot: Int, at now: Instant) {
        core.census.change(.tcp, by: 1, worker: core.index)
        let token = Token(kind: Kind.client, generation: flows[slot].generation, index: slot)
        guard core.epoll.add(flows[slot].client, for: .socket, token: token.rawValue) != nil else { return }
        core.counters.add(1, .shedDescriptors)
        end(slot, .balancerReset, at: now)
    }

    // MARK: - Choose and connect

    /// Starts a connection to the next target for the flow; false when no further target is to be had.
    ///
    /// The first call admits the flow to its target; later ones move it after a failed attempt.
    mutating func connectNext(_ slot: Int, at now: Instant) -> Bool {
        while true {
            let flow = flows[slot]
            guard flow.tried.count == 0 || flow.tried.count < flow.attemptCountMax,
                let selection = core.snapshot.select(
                    listener: flow.listener, rule: flow.rule, key: flow.key, excluding: flow.tried)
            else {
                if flow.tried.count == 0 { core.counters.add(1, .shedNoTarget) }
                return false
            }
            let group = core.snapshot.groups[selection.groupIndex]
            flows[slot].attemptCountMax = UInt8(clamping: group.connectAttemptCountMax)
            flows[slot].tried.insert(selection.target)
            flows[slot].targetNumber = selection.target
            let hasEarlyBytes = flow.up.transfer.heldByteCount > 0
            let client = group.preservesClientIP ? flow.key.client : nil
            let socket = core.openTargetSocket(
                .tcp, to: selection.endpoint, of: selection.target, as: client, hasEarlyBytes: hasEarlyBytes)
            switch socket {
            case .open(let target, let sourceColumn):
                let token = Token(kind: Kind.target, generation: flow.generation, index: slot)
                guard core.epoll.add(target, for: .socket, token: token.rawValue) == nil else {
                    target.close()
                    core.counters.add(1, .shedDescriptors)
                    return false
                }
                if let context = core.tls.clientContext(of: selection.groupIndex) {
                    guard let session = context.makeSession(on: target) else {
                        target.close()
                        core.counters.add(1, .shedDescriptors)
                        return false
                    }
                    flows[slot].targetSession = session
                    flows[slot].neverSplice()
                }
                flows[slot].sendsProxyHeader = group.sendsProxyProtocol
                flows[slot].target = target
                flows[slot].sourceColumn = sourceColumn
                flowTimers.set(slot, to: now.advanced(bySeconds: group.connectTimeoutSeconds))
                core.counters.add(1, .newTCPFlows, target: selection.target)
                if group.isFailOpen {
                    core.counters.add(1, .failOpenFlows, target: selection.target, listener: flow.listener)
                }
                core.counters.add(1, .activeTCPFlows, target: selection.target)
                core.counters.addPort(1, target: selection.target, column: sourceColumn)
                return true
            case .refused:
                core.counters.add(1, .connectFailures, target: selection.target, listener: flow.listener)
            case .noPort:
                // Not the target's fault; another target has ports of its own.
                continue
            case .noDescriptor:
                core.counters.add(1, .shedDescriptors)
                return false
            }
        }
    }

    /// The attempt failed, or its target leaves: another target, or a reset for the client.
    mutating func connectFailed(_ slot: Int, at now: Instant) {
        let target = flows[slot].targetNumber
        core.counters.add(1, .connectFailures, target: target, listener: flows[slot].listener)
        leaveTarget(slot)
        flows[slot].targetSession.free()
        flows[slot].target.close()
        flows[slot].target = .none
        flows[slot].phase = .connecting
        let hasNext = connectNext(slot, at: now)
        if !hasNext { end(slot, .balancerReset, at: now) }
    }

    // MARK: - Readiness

    mutating func clientIsReady(_ slot: Int, _ readiness: Readiness, at now: Instant) {
        if readiness.hasError, flows[slot].client.takeError() != nil {
            if flows[slot].phase == .greeting {
                greetingBroke(slot, at: now)
            } else {
                end(slot, .clientReset, at: now)
            }
            return
        }
        if flows[slot].phase == .greeting {
            // What is already there counts as the first news of the transfers, whichever way it goes on.
            flows[slot].down.transfer.noteSink(readiness)
            goOnGreeting(slot, isClosing: readiness.isClosing, at: now)
            return
        }
        if flows[slot].clientSession.isOpen {
            flows[slot].noteSecureClient()
        } else {
            flows[slot].up.transfer.noteSource(readiness)
            flows[slot].down.transfer.noteSink(readiness)
        }
        guard flows[slot].phase == .established else { return }
        pumpBoth(slot, at: now)
    }

    mutating func targetIsReady(_ slot: Int, _ readiness: Readiness, at now: Instant) {
        if flows[slot].phase != .established {
            if readiness.hasErrorOrHangup {
                connectFailed(slot, at: now)
                return
            }
        } else if readiness.hasError, flows[slot].target.takeError() != nil {
            // A hangup alone is the ordinary end of both halves, on which no error waits to be asked for.
            end(slot, .targetReset, at: now)
            return
        }
        if flows[slot].phase == .connecting {
            guard readiness.isWritable else { return }
            if flows[slot].sourceColumn == TargetSocket.clientColumn {
                core.counters.add(1, .preservedConnections)
            }
            if flows[slot].sendsProxyHeader, !sendProxyHeader(slot) {
                connectFailed(slot, at: now)
                return
            }
            if flows[slot].targetSession.isOpen {
                flows[slot].phase = .securing
            } else {
                establish(slot, at: now)
            }
        }
        if flows[slot].targetSession.isOpen {
            if flows[slot].phase == .securing { secure(slot, at: now) }
            guard flows[slot].phase == .established else { return }
            flows[slot].noteSecureTarget()
        } else {
            flows[slot].down.transfer.noteSource(readiness)
            flows[slot].up.transfer.noteSink(readiness)
        }
        pumpBoth(slot, at: now)
    }

    mutating func establish(_ slot: Int, at now: Instant) {
        flows[slot].phase = .established
        flows[slot].lastActivityAt = now
        let firstLook = min(Int(flows[slot].idleTimeoutSeconds), KeepAlive.idleSeconds)
        flowTimers.set(slot, to: now.advanced(bySeconds: firstLook))
    }

    mutating func runQueuedFlows(at now: Instant) {
        guard !runQueue.isEmpty else { return }
        swap(&runQueue, &runQueueInWork)
        for position in 0..<runQueueInWork.count {
            let token = runQueueInWork[position]
            let slot = token.index
            guard flows[slot].generation == token.generation, flows[slot].phase != .free else { continue }
            flows[slot].isQueued = false
            guard flows[slot].phase == .established else { continue }
            pumpBoth(slot, at: now)
        }
        runQueueInWork.removeAll(keepingCapacity: true)
    }

    // MARK: - Pump

    private mutating func pumpBoth(_ slot: Int, at now: Instant) {
        if let ending = pump(slot, isUp: true, at: now) ?? pump(slot, isUp: false, at: now) {
            end(slot, ending, at: now)
        } else if flows[slot].up.transfer.isDone, flows[slot].down.transfer.isDone {
            end(slot, .finished, at: now)
        }
    }

    /// Moves bytes one way until there is nothing to do or the budget is used; returns why the flow must end,
    /// if it must.
    mutating func pump(_ slot: Int, isUp: Bool, at now: Instant) -> FlowEnding? {
        var lane = isUp ? flows[slot].up : flows[slot].down
        let source = isUp ? flows[slot].client : flows[slot].target
        let sink = isUp ? flows[slot].target : flows[slot].client
        let byteCountBefore = lane.transfer.byteCount
        let hasSecureSource = isUp ? flows[slot].clientSession.isOpen : flows[slot].targetSession.isOpen
        let hasSecureSink = isUp ? flows[slot].targetSession.isOpen : flows[slot].clientSession.isOpen
        let receiveByteCountMax =
            flows[slot].phase != .established
            ? Limits.earlyByteCountMax
            : hasSecureSink || hasSecureSource ? Limits.encryptedByteCountMax : Limits.copyByteCountMax
        var scratchOffset = 0
        var ending: FlowEnding?
        var stepCount = 0
        steps: while ending == nil {
            let step = lane.transfer.nextStep
            if step == .wait || step == .done { break }
            guard stepCount < Limits.stepsPerPumpMax else {
                queue(slot)
                break
            }
            stepCount += 1
            switch step {
            case .receive where hasSecureSource:
                let (outcome, isDrained) = decrypt(slot, isUp: isUp, byteCountMax: receiveByteCountMax)
                switch outcome {
                case .moved(0):
                    // Records without data came, and more may wait: let other flows have their turn.
                    queue(slot)
                    break steps
                case .moved(let count):
                    lane.transfer.didReceiveDecrypted(count, isDrained: isDrained)
                    scratchOffset = 0
                case .wantRead, .wantWrite: lane.transfer.sourceWouldBlock()
                case .endOfStream: lane.transfer.sourceDidEnd()
                case .failed(.endedEarly):
                    lane.isCutShort = true
                    lane.transfer.sourceDidEnd()
                case .failed(let failure):
                    if isUp { noteClientFailure(failure, slot) }
                    ending = isUp ? .clientReset : .targetReset
                }
            case .receive:
                switch source.receive(into: scratch, byteCountMax: receiveByteCountMax) {
                case .moved(let count):
                    lane.transfer.didReceive(count, of: receiveByteCountMax)
                    scratchOffset = 0
                case .wouldBlock: lane.transfer.sourceWouldBlock()
                case .endOfStream: lane.transfer.sourceDidEnd()
                case .failed(let errno) where errno.isExhaustion:
                    stall(slot, at: now)
                    break steps
                case .failed: ending = isUp ? .clientReset : .targetReset
                }
            case .spliceIn:
                guard let pipe = lane.pipe ?? core.pipes.borrow() else {
                    lane.transfer.copyInstead()
                    continue
                }
                lane.pipe = pipe
                switch source.splice(to: pipe.writeEnd, byteCountMax: Limits.pipeByteCountMax) {
                case .moved(let count): lane.transfer.didSpliceIn(count)
                case .wouldBlock: lane.transfer.sourceWouldBlock()
                case .endOfStream: lane.transfer.sourceDidEnd()
                case .failed(let errno) where errno.isExhaustion: lane.transfer.copyInstead()
                case .failed: ending = isUp ? .clientReset : .targetReset
                }
            case .send, .spliceOut:
                if isUp, lane.transfer.byteCount > 0 || hasSecureSink { sendPromptly(slot) }
                let outcome =
                    hasSecureSink
                    ? encrypt(slot, lane, scratchOffset, isUp: isUp) : send(lane, scratchOffset, to: sink)
                switch outcome {
                case .moved(let count):
                    lane.transfer.didSend(count)
                    lane.stashOffset += UInt32(count)
                    scratchOffset += count
                    // At once: what is read next is in scratch memory again.
                    if lane.transfer.heldByteCount == 0 { emptyStash(&lane) }
                case .wouldBlock, .endOfStream: lane.transfer.sinkWouldBlock()
                case .failed(let errno) where errno.isExhaustion:
                    stall(slot, at: now)
                    break steps
                case .failed: ending = isUp ? .targetReset : .clientReset
                }
            case .finish:
                if hasSecureSink, !lane.isCutShort {
                    switch isUp ? flows[slot].targetSession.shutdown() : flows[slot].clientSession.shutdown()
                    {
                    case .done: break
                    case .wantRead, .wantWrite:
                        lane.transfer.sinkWouldBlock()
                        continue
                    case .failed: ending = isUp ? .targetReset : .clientReset
                    }
                }
                let isLast = isUp ? flows[slot].down.transfer.isDone : flows[slot].up.transfer.isDone
                if isUp, !flows[slot].down.transfer.hasSourceEnded { flows[slot].closesTargetFirst = true }
                // After the other direction's end the closes that follow say the same as a shutdown.
                if !isLast, sink.shutdownWrite() != nil {
                    // Not connected any more: the sink was reset and its event is on its way.
                    ending = isUp ? .targetReset : .clientReset
                }
                lane.transfer.didFinish()
            case .wait, .done:
                break steps
            }
        }
        settle(&lane, scratchOffset)
        if isUp { flows[slot].up = lane } else { flows[slot].down = lane }
        let movedCount = Int(truncatingIfNeeded: lane.transfer.byteCount &- byteCountBefore)
        if movedCount > 0 {
            core.counters.add(
                movedCount, isUp ? .clientBytesTCP : .targetBytesTCP, target: flows[slot].targetNumber,
                listener: flows[slot].listener)
            flows[slot].lastActivityAt = now
        }
        return ending
    }

    /// Turns Nagle's algorithm off towards the target before a second write: it never holds back a first one,
    /// so that a flow of one request never pays for the call. The client side inherits it from the listener.
    private mutating func sendPromptly(_ slot: Int) {
        guard !flows[slot].isPrompt else { return }
        flows[slot].isPrompt = true
        flows[slot].target.set(.noDelay)
    }

    /// Sends held bytes from wherever they are: the pipe, the stash, or this pump's scratch memory.
    private func send(_ lane: Lane, _ scratchOffset: Int, to sink: Descriptor) -> IOOutcome {
        let heldCount = Int(lane.transfer.heldByteCount)
        if lane.transfer.method == .splice, let pipe = lane.pipe {
            return pipe.readEnd.splice(to: sink, byteCountMax: heldCount)
        }
        if lane.stashCellPlusOne > 0 {
            return stash.send(
                cell: Int(lane.stashCellPlusOne - 1), offset: Int(lane.stashOffset), byteCount: heldCount,
                to: sink)
        }
        return sink.send(from: scratch, at: scratchOffset, byteCount: heldCount)
    }

    /// Leaves nothing in memory that another flow will use: held bytes go to the stash, an empty pipe to
    /// the pool.
    private mutating func settle(_ lane: inout Lane, _ scratchOffset: Int) {
        let heldCount = Int(lane.transfer.heldByteCount)
        if heldCount == 0 {
            if let pipe = lane.pipe {
                core.pipes.giveBack(pipe)
                lane.pipe = nil
            }
        } else if lane.transfer.method == .copy, lane.stashCellPlusOne == 0 {
            // There are as many cells as directions, so one is free.
            guard let cell = stash.keep(scratch, at: scratchOffset, byteCount: heldCount) else {
                preconditionFailure("the stash has a cell for every direction of every flow")
            }
            lane.stashCellPlusOne = UInt32(cell + 1)
            lane.stashOffset = 0
        }
    }

    private mutating func emptyStash(_ lane: inout Lane) {
        guard lane.stashCellPlusOne > 0 else { return }
        stash.free(cell: Int(lane.stashCellPlusOne - 1))
        lane.stashCellPlusOne = 0
    }

    private mutating func queue(_ slot: Int) {
        guard !flows[slot].isQueued else { return }
        flows[slot].isQueued = true
        runQueue.append(Token(kind: Kind.client, generation: flows[slot].generation, index: slot))
    }

    /// The kernel has no memory for this socket now. No event will tell when it has: the timer asks.
    private mutating func stall(_ slot: Int, at now: Instant) {
        flows[slot].isStalled = true
        flowTimers.set(slot, to: now.advanced(byMilliseconds: 100))
    }

    // MARK: - Time

    mutating func flowTimerFired(_ slot: Int, at now: Instant) {
        guard flows[slot].phase != .free else { return }
        switch flows[slot].phase {
        case .greeting:
            greetingTimedOut(slot, at: now)
            return
        case .connecting where flows[slot].sourceColumn == TargetSocket.clientColumn:
            // Most likely the answer went to the client instead of here: `Workers.clientAddressWarnings` says so.
            core.counters.add(1, .preservedTimeouts)
            connectFailed(slot, at: now)
            return
        case .connecting, .securing:
            connectFailed(slot, at: now)
            return
        case .established, .free: break
        }
        let idleDeadline = flows[slot].lastActivityAt.advanced(
            bySeconds: Int(flows[slot].idleTimeoutSeconds))
        if idleDeadline <= now {
            end(slot, .balancerReset, at: now)
            return
        }
        keepAlive(slot)
        flowTimers.set(slot, to: idleDeadline)
        if flows[slot].isStalled {
            flows[slot].isStalled = false
            pumpBoth(slot, at: now)
        }
    }

    /// Turns keepalive on towards the target when a flow has lived for a minute: most have ended by then and
    /// never paid for it. The client side inherits it from the listener.
    private mutating func keepAlive(_ slot: Int) {
        guard !flows[slot].isKeptAlive else { return }
        flows[slot].isKeptAlive = true
        KeepAlive.turnOn(on: flows[slot].target)
    }

    // MARK: - End

    /// Closes both sides as `ending` says and frees the slot. Events still in this turn's batch find another
    /// generation.
    mutating func end(_ slot: Int, _ ending: FlowEnding, at now: Instant) {
        let flow = flows[slot]
        assert(flow.phase != .free)
        // A flow counts as new, and as active, once it has said what it had to.
        if flow.phase == .greeting {
            greetingCount -= 1
        } else {
            core.counters.add(-1, .activeTCPFlows, listener: flow.listener)
        }
        if flow.accessLog > 0 { logAccess(slot, at: now) }
        if flow.isSecure {
            // Before the descriptors close, which the sessions use.
            flows[slot].clientSession.free()
            flows[slot].targetSession.free()
        }
        switch ending {
        case .finished:
            flow.client.close()
            flow.target.close()
            if flow.closesTargetFirst {
                core.portLingers(of: flow.targetNumber, sourceColumn: flow.sourceColumn, at: now)
            }
        case .handshakeFailed:
            flow.client.close()
        case .clientReset:
            count(.clientResets, of: flow)
            flow.client.close()
            if flow.target.isOpen { flow.target.closeWithReset() }
        case .targetReset:
            count(.targetResets, of: flow)
            flow.client.closeWithReset()
            flow.target.close()
        case .balancerReset:
            if flow.phase != .greeting { count(.balancerResets, of: flow) }
            flow.client.closeWithReset()
            if flow.target.isOpen { flow.target.closeWithReset() }
        }
        if flow.target.isOpen { leaveTarget(slot) }
        release(flow.up)
        release(flow.down)
        flowTimers.cancel(slot)
        core.census.change(.tcp, by: -1, worker: core.index)
        flows[slot].phase = .free
        flows[slot].isQueued = false
        flowSlots.free(slot)
    }

    private func count(_ counter: FlowCounter, of flow: TCPFlow) {
        core.counters.add(1, counter, listener: flow.listener)
        if flow.hasTarget { core.counters.add(1, counter, target: flow.targetNumber) }
    }

    /// The flow no longer counts for its target.
    private func leaveTarget(_ slot: Int) {
        let flow = flows[slot]
        core.counters.add(-1, .activeTCPFlows, target: flow.targetNumber)
        core.counters.addPort(-1, target: flow.targetNumber, column: flow.sourceColumn)
    }

    private mutating func release(_ lane: Lane) {
        var lane = lane
        emptyStash(&lane)
        guard let pipe = lane.pipe else { return }
        if lane.transfer.heldByteCount > 0 {
            // It still holds bytes of this flow, which no other may see.
            core.pipes.discard(pipe)
        } else {
            core.pipes.giveBack(pipe)
        }
    }
}

// What a socket is ready for: it is the source of one direction and the sink of the other.
extension Transfer {
    fileprivate mutating func noteSource(_ readiness: Readiness) {
        if readiness.isUrgent { sourceHasUrgentData() }
        if readiness.isClosing {
            sourceIsClosing()
        } else if readiness.isReadable {
            sourceBecameReadable()
        }
    }

    fileprivate mutating func noteSink(_ readiness: Readiness) {
        if readiness.isWritable { sinkBecameWritable() }
    }
}
