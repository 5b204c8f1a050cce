// The life of a probe: startProbe → probeIsReady → receive → finish. Whatever happens, `finish` or
// `abandonProbe` closes the socket, frees the slot and ends the timeout, once.

import Balancing
import LinuxIO

/// A probe in flight.
struct RunningProbe: Sendable {
    let connection: ProbeConnection
    /// Changed in place only: a copy held meanwhile would copy the answer with every piece of it.
    var exchange: ProbeExchange
    var isConnecting = true
    var unsent: ArraySlice<UInt8> = []
}

/// What stays the same during a probe.
struct ProbeConnection: Sendable, BitwiseCopyable {
    let token: Token
    /// Whose probe it is.
    let entry: Int
    let endpoint: Endpoint
    let transport: Transport
    /// Owned: closed when the probe ends.
    let socket: Descriptor
    let startedAt: Instant
}

extension ProberLoop {
    private static let receivesPerTurnMax = 16
    private static let streamReceiveByteCountMax = 16 << 10

    // MARK: Start

    mutating func startProbe(of entry: Int) {
        // The schedule runs no more probes than there are slots, and only of targets it was given.
        guard let target = targets[entry]?.target, let slot = probeSlots.allocate() else {
            schedule.finish(entry)
            return
        }
        let startedAt = Instant.now
        let transport: Transport = target.check.protocol == .udp ? .udp : .tcp
        let socket: Descriptor
        do {
            socket = try Descriptor.socket(transport, target.endpoint.address.family)
        } catch {
            probeSlots.free(slot)
            schedule.finish(entry)
            report(.failure(.balancerFault(error.description)), of: entry, latencyNanoseconds: 0)
            return
        }
        generation = (generation + 1) & Token.generationMask
        let connection = ProbeConnection(
            token: Token(kind: Kind.probe, generation: generation, index: slot), entry: entry,
            endpoint: target.endpoint, transport: transport, socket: socket, startedAt: startedAt)
        probes[slot] = RunningProbe(
            connection: connection,
            exchange: ProbeExchange(probing: target.endpoint, with: target.check, using: &generator))
        targets[entry]?.probeSlot = slot
        timeouts.set(slot, to: startedAt.advanced(bySeconds: target.check.timeoutSeconds))
        connect(slot)
    }

    private mutating func connect(_ slot: Int) {
        guard let probe = probes[slot]?.connection else { return }
        let result = probe.socket.connect(to: probe.endpoint)
        if let result, result != .inProgress {
            step(slot, ProbeExchange.Event(result, isOpening: true))
            return
        }
        // Registered after connect: an unconnected stream socket would report a hangup.
        if let errno = epoll.add(probe.socket, for: .socket, token: probe.token.rawValue) {
            step(slot, .failed(.balancerFault(errno.description)))
            return
        }
        if result == nil { isConnected(slot) }
    }

    private mutating func isConnected(_ slot: Int) {
        guard let probe = probes[slot]?.connection else { return }
        // A connection to a local port on which nothing listens can meet itself, when the kernel happens to
        // choose that port as its own end (simultaneous open; RFC 9293 section 3.5).
        if probe.transport == .tcp, probe.socket.localEndpoint() == probe.endpoint {
            step(slot, .failed(.connectionRefused))
            return
        }
        probes[slot]?.isConnecting = false
        step(slot, .connected)
    }

    // MARK: Events

    mutating func probeIsReady(_ slot: Int, _ readiness: Readiness) {
        guard let socket = probes[slot]?.connection.socket else { return }
        if probes[slot]?.isConnecting == true {
            if let errno = socket.takeError() {
                step(slot, ProbeExchange.Event(errno))
                return
            }
            guard readiness.isWritable else { return }
            isConnected(slot)
        }
        if readiness.isWritable { sendUnsent(slot) }
        if readiness.isReadable || readiness.isClosing || readiness.hasError { receive(slot) }
    }

    mutating func probeTimedOut(_ slot: Int) {
        step(slot, .timedOut)
    }

    /// Goes on with probes that had more to read than a turn allows.
    mutating func readOn() {
        guard !unread.isEmpty else { return }
        let tokens = unread
        unread = []
        for token in tokens where isCurrent(token) { receive(token.index) }
    }

    private mutating func sendUnsent(_ slot: Int) {
        guard let socket = probes[slot]?.connection.socket, let unsent = probes[slot]?.unsent, !unsent.isEmpty
        else { return }
        switch socket.send(unsent) {
        case .moved(let count): probes[slot]?.unsent.removeFirst(count)
        case .wouldBlock, .endOfStream: break
        case .failed(let errno): step(slot, ProbeExchange.Event(errno))
        }
    }

    /// Reads until nothing is left, the probe is decided or its budget is spent.
    private mutating func receive(_ slot: Int) {
        guard let probe = probes[slot]?.connection else { return }
        let isDatagram = probe.transport == .udp
        let byteCountMax = isDatagram ? Limits.datagramByteCountMax : Self.streamReceiveByteCountMax
        for _ in 0..<Self.receivesPerTurnMax {
            var bytes: [UInt8] = []
            switch probe.socket.receive(byteCountMax: byteCountMax, into: &bytes) {
            case .moved:
                step(slot, .received(bytes[...]))
            case .endOfStream:
                // On a datagram socket this is an empty datagram, not an end.
                step(slot, isDatagram ? .received([]) : .closed)
            case .wouldBlock:
                return
            case .failed(let errno) where errno.isExhaustion:
                step(slot, .failed(.balancerFault(errno.description)))
            case .failed(let errno):
                step(slot, ProbeExchange.Event(errno))
            }
            guard isCurrent(probe.token) else { return }
        }
        unread.append(probe.token)
    }

    private mutating func step(_ slot: Int, _ event: ProbeExchange.Event) {
        guard let action = probes[slot]?.exchange.on(event) else { return }
        switch action {
        case .wait:
            break
        case .send(let bytes):
            probes[slot]?.unsent = bytes[...]
            sendUnsent(slot)
        case .finish(let outcome):
            finish(slot, outcome)
        }
    }

    // MARK: End

    private mutating func finish(_ slot: Int, _ outcome: ProbeOutcome) {
        guard let probe = release(slot) else { return }
        schedule.finish(probe.entry)
        report(
            outcome, of: probe.entry, latencyNanoseconds: Instant.now.nanoseconds(since: probe.startedAt))
    }

    /// Ends the probe of a target that leaves, if one runs, without a word. The schedule is told by the caller.
    mutating func abandonProbe(of entry: Int) {
        if let slot = targets[entry]?.probeSlot { _ = release(slot) }
    }

    private mutating func release(_ slot: Int) -> ProbeConnection? {
        guard let probe = probes[slot]?.connection else { return nil }
        probe.socket.close()
        timeouts.cancel(slot)
        probes[slot] = nil
        probeSlots.free(slot)
        targets[probe.entry]?.probeSlot = nil
        return probe
    }
}
