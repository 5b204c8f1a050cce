// The life of a UDP flow: a client's first datagram makes it, silence or the target's end ends it.
//
// Each flow has a socket connected to its target, so the kernel brings answers and ICMP errors to the
// right flow. Answers leave through the listener's socket, from the very address the client sent to.
// The table is bounded. When it is full, the oldest flow whose client never came back after an answer
// gives way: a flood of spoofed sources recycles its own flows and no live one.

import Balancing
import LinuxIO
import Serving

extension Worker {
    // MARK: - From clients

    /// Receives waiting datagrams, some batches at most; the level-triggered event reports the rest again.
    mutating func receivePending(from position: Int, _ readiness: Readiness, at now: Instant) {
        let listener = core.listeners[position]
        // Unconnected sockets report no ICMP errors; whatever is pending must go, or the event spins.
        if readiness.hasError { _ = listener.socket.takeError() }
        for _ in 0..<Limits.datagramBatchesPerTurnMax {
            guard
                case .moved(let count) = batch.receive(
                    from: listener.socket, countMax: Limits.datagramsPerBatch)
            else { return }
            var first = 0
            while first < count {
                let datagram = batch[first]
                var end = first + 1
                while end < count, batch[end].peer == datagram.peer, batch[end].local == datagram.local {
                    end += 1
                }
                if let client = datagram.peer {
                    let address = datagram.local?.address ?? listener.binding.endpoint.address
                    let key = FlowKey(
                        client: client,
                        local: Endpoint(address: address, port: listener.binding.endpoint.port),
                        transport: .udp)
                    forward(first..<end, of: key, from: position, at: now)
                }
                first = end
            }
            if count < Limits.datagramsPerBatch { return }
        }
    }

    private mutating func forward(_ range: Range<Int>, of key: FlowKey, from position: Int, at now: Instant) {
        let hash = SipHash.hash(key, seed: core.snapshot.seed)
        guard let slot = findDatagramFlow(key, hash) ?? admitDatagramFlow(key, hash, position, at: now) else {
            core.counters.add(
                datagramCount(range), .droppedDatagrams, listener: core.listeners[position].binding.number)
            return
        }
        datagramFlows[slot].lastActivityAt = now
        if datagramFlows[slot].isAnswered, !datagramFlows[slot].isAssured {
            datagramFlows[slot].isAssured = true
            unassured.remove(slot, in: &datagramFlows)
        }
        let sent =
            datagramFlows[slot].owesProxyHeader
            ? sendBehindProxyHeader(range, slot)
            : sendRuns(of: range, on: datagramFlows[slot].socket, to: nil, from: nil)
        datagramFlows[slot].clientByteCount &+= UInt64(sent.byteCount)
        let flow = datagramFlows[slot]
        core.counters.add(sent.byteCount, .clientBytesUDP, target: flow.target, listener: flow.listener)
        core.counters.add(sent.datagramCount, .clientDatagrams, target: flow.target, listener: flow.listener)
        if sent.droppedCount > 0 {
            core.counters.add(
                sent.droppedCount, .droppedDatagrams, target: flow.target, listener: flow.listener)
        }
        if sent.isRefused { targetRefused(slot, at: now) }
    }

    private func findDatagramFlow(_ key: FlowKey, _ hash: UInt64) -> Int? {
        datagramTable.slot(hash: hash) { datagramFlows[$0].key == key }
    }

    /// Makes a flow, unless nothing is left to make it of; the shed is counted by its cause.
    private mutating func admitDatagramFlow(
        _ key: FlowKey, _ hash: UInt64, _ position: Int, at now: Instant
    ) -> Int? {
        let number = core.listeners[position].binding.number
        guard !core.isDraining else { return nil }
        if core.census.count(.udp) >= core.settings.udpFlowCountMax, !recycleOldest() {
            core.counters.add(1, .shedFlowTableFull)
            core.counters.add(1, .rejectedFlows, listener: number)
            return nil
        }
        guard let slot = datagramSlots.allocate() else { return nil }
        let generation = (datagramFlows[slot].generation &+ 1) & Token.generationMask
        datagramFlows[slot] = UDPFlow(
            generation: generation, key: key, hash: hash, listener: number, listenerPosition: position,
            target: TargetNumber(0), startedAt: now, lastActivityAt: now)
        guard openTowardsNextTarget(slot), datagramTable.insert(hash: hash, slot: slot) else {
            if datagramFlows[slot].socket.isOpen { leaveDatagramTarget(slot) }
            datagramSlots.free(slot)
            core.counters.add(1, .rejectedFlows, listener: number)
            return nil
        }
        datagramFlows[slot].isLive = true
        unassured.append(slot, in: &datagramFlows)
        core.counters.add(1, .newUDPFlows, listener: number)
        core.counters.add(1, .activeUDPFlows, listener: number)
        core.census.change(.udp, by: 1, worker: core.index)
        datagramTimers.set(slot, to: now.advanced(bySeconds: core.settings.udpIdleTimeoutSeconds))
        return slot
    }

    /// Ends the oldest unassured flow of this worker, if there is one other than `slot`.
    private mutating func recycleOldest(sparing slot: Int? = nil) -> Bool {
        guard unassured.oldestPlusOne > 0 else { return false }
        let oldest = Int(unassured.oldestPlusOne - 1)
        guard oldest != slot else { return false }
        core.counters.add(1, .recycledFlows)
        endDatagramFlow(oldest)
        return true
    }

    // MARK: - Towards a target

    /// Connects a socket to the next target for the flow; false when there is none or no descriptor.
    private mutating func openTowardsNextTarget(_ slot: Int) -> Bool {
        while true {
            let flow = datagramFlows[slot]
            guard flow.tried.count == 0 || flow.tried.count < flow.attemptCountMax,
                let selection = core.snapshot.select(
                    listener: flow.listener, key: flow.key, excluding: flow.tried)
            else {
                if flow.tried.count == 0 { core.counters.add(1, .shedNoTarget) }
                return false
            }
            datagramFlows[slot].attemptCountMax = UInt8(
                clamping: core.snapshot.groups[selection.groupIndex].connectAttemptCountMax)
            datagramFlows[slot].tried.insert(selection.target)
            switch openDatagramSocket(for: slot, to: selection) {
            case .open(let socket, _):
                let token = Token(kind: Kind.datagramFlow, generation: flow.generation, index: slot)
                guard core.epoll.add(socket, for: .readable, token: token.rawValue) == nil else {
                    socket.close()
                    core.counters.add(1, .shedDescriptors)
                    return false
                }
                datagramFlows[slot].socket = socket
                datagramFlows[slot].target = selection.target
                datagramFlows[slot].owesProxyHeader =
                    core.snapshot.groups[selection.groupIndex].sendsProxyProtocol
                core.counters.add(1, .newUDPFlows, target: selection.target)
                if core.snapshot.groups[selection.groupIndex].isFailOpen {
                    core.counters.add(1, .failOpenFlows, target: selection.target, listener: flow.listener)
                }
                core.counters.add(1, .activeUDPFlows, target: selection.target)
                return true
            case .refused:
                core.counters.add(1, .connectFailures, target: selection.target, listener: flow.listener)
            case .noPort:
                continue
            case .noDescriptor:
                core.counters.add(1, .shedDescriptors)
                return false
            }
        }
    }

    /// A socket, for which another flow, unassured, gives way when descriptors are out.
    private mutating func openDatagramSocket(for slot: Int, to selection: Selection) -> TargetSocket {
        let preserves = core.snapshot.groups[selection.groupIndex].preservesClientIP
        let client = preserves ? datagramFlows[slot].key.client : nil
        let socket = core.openTargetSocket(.udp, to: selection.endpoint, of: selection.target, as: client)
        guard case .noDescriptor = socket, recycleOldest(sparing: slot) else { return socket }
        return core.openTargetSocket(.udp, to: selection.endpoint, of: selection.target, as: client)
    }

    /// The target answered with ICMP port unreachable: a sign of ill health, and another target for the flow.
    private mutating func targetRefused(_ slot: Int, at now: Instant) {
        let target = datagramFlows[slot].target
        core.counters.add(1, .connectFailures, target: target, listener: datagramFlows[slot].listener)
        let reportedAt = refusalReportedAt[target.rawValue]
        if reportedAt.map({ $0.advanced(bySeconds: 1) <= now }) ?? true {
            refusalReportedAt[target.rawValue] = now
            core.onTrafficRefused(target)
        }
        leaveDatagramTarget(slot)
        datagramFlows[slot].isAnswered = false
        datagramFlows[slot].isCoalescing = false
        if !openTowardsNextTarget(slot) { endDatagramFlow(slot) }
    }

    // MARK: - From targets

    mutating func datagramFlowIsReady(_ slot: Int, _ readiness: Readiness, at now: Instant) {
        if readiness.hasError, let errno = datagramFlows[slot].socket.takeError(), errno != .messageTooLong {
            targetRefused(slot, at: now)
            return
        }
        let flow = datagramFlows[slot]
        switch batch.receive(from: flow.socket, countMax: Limits.datagramsPerBatch) {
        case .moved(let count):
            let listener = core.listeners[flow.listenerPosition]
            let sent = sendRuns(
                of: 0..<count, on: listener.socket, to: flow.key.client,
                from: listener.isWildcard ? flow.key.local : nil)
            datagramFlows[slot].isAnswered = true
            datagramFlows[slot].lastActivityAt = now
            datagramFlows[slot].targetByteCount &+= UInt64(sent.byteCount)
            if count > 1, !flow.isCoalescing { coalesce(slot) }
            core.counters.add(sent.byteCount, .targetBytesUDP, target: flow.target, listener: flow.listener)
            core.counters.add(
                sent.datagramCount, .targetDatagrams, target: flow.target, listener: flow.listener)
            if sent.droppedCount > 0 {
                core.counters.add(
                    sent.droppedCount, .droppedDatagrams, target: flow.target, listener: flow.listener)
            }
        case .failed(let errno) where !errno.isExhaustion && errno != .messageTooLong:
            targetRefused(slot, at: now)
        case .failed, .wouldBlock, .endOfStream:
            break
        }
    }

    /// Asks the kernel to join what the target sends, once it has sent several datagrams at a time: a flow of
    /// one question never pays for the call.
    private mutating func coalesce(_ slot: Int) {
        datagramFlows[slot].isCoalescing = true
        datagramFlows[slot].socket.set(.datagramCoalescing)
    }

    // MARK: - Sending

    private struct SendResult {
        var byteCount = 0
        var datagramCount = 0
        var droppedCount = 0
        var isRefused = false
    }

    /// Sends datagrams of a flow whose target has not yet heard on whose behalf it comes: the header goes into the
    /// first one that has room for it, and one that has none is dropped.
    private mutating func sendBehindProxyHeader(_ range: Range<Int>, _ slot: Int) -> SendResult {
        var result = SendResult()
        var rest = range
        while datagramFlows[slot].owesProxyHeader, let index = rest.first {
            let byteCount = batch[index].firstByteCount
            let headerByteCount = writeProxyHeader(ofDatagramFlow: slot)
            if headerByteCount + byteCount <= Limits.datagramByteCountMax {
                batch.copyFirst(of: index, into: scratch, at: headerByteCount)
                let outcome = datagramFlows[slot].socket.send(
                    from: scratch, at: 0, byteCount: headerByteCount + byteCount)
                if case .moved = outcome { datagramFlows[slot].owesProxyHeader = false }
                if case .failed(.connectionRefused) = outcome { result.isRefused = true }
            }
            if datagramFlows[slot].owesProxyHeader {
                result.droppedCount += 1
            } else {
                result.byteCount += byteCount
                result.datagramCount += 1
            }
            if !batch.removeFirst(of: index) { rest = rest.dropFirst() }
        }
        guard !rest.isEmpty else { return result }
        let sent = sendRuns(of: rest, on: datagramFlows[slot].socket, to: nil, from: nil)
        result.byteCount += sent.byteCount
        result.datagramCount += sent.datagramCount
        result.droppedCount += sent.droppedCount
        result.isRefused = result.isRefused || sent.isRefused
        return result
    }

    private func datagramCount(_ range: Range<Int>) -> Int {
        range.reduce(0) { $0 + batch[$1].count }
    }

    /// Sends part of the batch on, joined into runs; what cannot be sent is dropped, as datagrams are.
    private func sendRuns(
        of range: Range<Int>, on socket: Descriptor, to: Endpoint?, from: Endpoint?
    ) -> SendResult {
        var builder = RunBuilder()
        for index in range { builder.add(batch[index], at: index, to: batch) }
        builder.close(batch)
        var result = SendResult()
        var position = 0
        var hasRetried = false
        while position < builder.runs {
            switch batch.send(runs: position..<builder.runs, on: socket, to: to, from: from) {
            case .moved(let count):
                for sent in position..<position + count { countRun(sent, in: &result) }
                position += count
            case .failed(.connectionRefused) where !hasRetried:
                // The error of an earlier datagram, told now and thereby taken: this one was not sent.
                result.isRefused = true
                hasRetried = true
            case .failed(.messageTooLong) where !hasRetried && batch.run(at: position).segmentByteCount == 0:
                // As above, but news of a narrow path (RFC 1191), which the kernel now knows.
                hasRetried = true
            case .failed(let errno)
            where batch.run(at: position).segmentByteCount > 0
                && (errno == .invalidArgument || errno == .inputOutput || errno == .messageTooLong):
                // A path whose MTU is below the segment size, or a device that cannot checksum segments.
                if case .moved = batch.sendSingly(run: position, on: socket, to: to, from: from) {
                    countRun(position, in: &result)
                } else {
                    dropRun(position, in: &result)
                }
                position += 1
            case .failed(.connectionRefused):
                result.isRefused = true
                dropRun(position, in: &result)
                position += 1
            case .failed, .wouldBlock, .endOfStream:
                dropRun(position, in: &result)
                position += 1
            }
        }
        return result
    }

    private func countRun(_ position: Int, in result: inout SendResult) {
        let run = batch.run(at: position)
        for index in run.first..<run.first + run.count {
            result.byteCount += batch[index].byteCount
            result.datagramCount += batch[index].count
        }
    }

    private func dropRun(_ position: Int, in result: inout SendResult) {
        let run = batch.run(at: position)
        result.droppedCount += datagramCount(run.first..<run.first + run.count)
    }

    // MARK: - Time and end

    mutating func datagramTimerFired(_ slot: Int, at now: Instant) {
        guard datagramFlows[slot].isLive else { return }
        let deadline = datagramFlows[slot].lastActivityAt.advanced(
            bySeconds: core.settings.udpIdleTimeoutSeconds)
        if deadline <= now {
            endDatagramFlow(slot)
        } else {
            datagramTimers.set(slot, to: deadline)
        }
    }

    mutating func endDatagramFlow(_ slot: Int) {
        let flow = datagramFlows[slot]
        assert(flow.isLive)
        if flow.socket.isOpen { leaveDatagramTarget(slot) }
        if !flow.isAssured { unassured.remove(slot, in: &datagramFlows) }
        datagramTable.remove(hash: flow.hash, slot: slot)
        datagramTimers.cancel(slot)
        core.counters.add(-1, .activeUDPFlows, listener: flow.listener)
        core.census.change(.udp, by: -1, worker: core.index)
        datagramFlows[slot].isLive = false
        datagramSlots.free(slot)
    }

    private mutating func leaveDatagramTarget(_ slot: Int) {
        datagramFlows[slot].socket.close()
        datagramFlows[slot].socket = .none
        core.counters.add(-1, .activeUDPFlows, target: datagramFlows[slot].target)
    }
}
