// The life of a probe: startProbe → probeIsReady → receive → finish. Whatever happens, `release` closes the
// socket, frees the slot and ends the timeout, once.

import Balancing
import HTTPCore
import LinuxIO
import TLSTermination

/// A probe in flight.
struct RunningProbe {
    enum Stage {
        case connecting
        case handshaking
        case conversing
        /// Its outcome is told; the target is to see a proper end.
        case parting
    }

    let connection: ProbeConnection
    /// Changed in place only: a copy held meanwhile would copy the answer with every piece of it.
    var exchange: ProbeExchange
    var stage = Stage.connecting
    var unsent: ArraySlice<UInt8> = []
    /// Open from the handshake of an HTTPS or TLS check on; freed before the socket is closed.
    var session = TLSSession.none
    /// Open while an HTTP/2 or gRPC check converses; freed with the probe.
    var http2 = HTTP2Session.none
}

/// What stays the same during a probe.
struct ProbeConnection: Sendable, BitwiseCopyable {
    let token: Token
    /// Whose probe it is.
    let entry: Int
    let endpoint: Endpoint
    let transport: Transport
    let sendsProxyHeader: Bool
    /// Owned: closed when the probe ends.
    let socket: Descriptor
    let startedAt: Instant
}

extension ProberLoop {
    static let receivesPerTurnMax = 16
    static let streamReceiveByteCountMax = 16 << 10

    /// What ELBv2 sends as well: a header without addresses, since no client stands behind a probe.
    private static let proxyHeader = [UInt8](capacity: ProxyHeaderWriter.plainByteCountMax) { output in
        var writer = ProxyHeaderWriter(localTo: &output)
        writer.finish(isChecksummed: true, to: &output)
    }

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
            endpoint: target.endpoint, transport: transport, sendsProxyHeader: target.sendsProxyHeader,
            socket: socket, startedAt: startedAt)
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
        probes[slot]?.stage = .conversing
        if probe.transport == .tcp, probe.sendsProxyHeader {
            // An empty send buffer takes a few bytes whole.
            if case .failed(let errno) = probe.socket.send(Self.proxyHeader[...]) {
                step(slot, ProbeExchange.Event(errno))
                return
            }
        }
        step(slot, .connected)
    }

    // MARK: Events

    mutating func probeIsReady(_ slot: Int, _ readiness: Readiness) {
        guard let connection = probes[slot]?.connection, let stage = probes[slot]?.stage else { return }
        switch stage {
        case .connecting:
            if let errno = connection.socket.takeError() {
                step(slot, ProbeExchange.Event(errno))
                return
            }
            guard readiness.isWritable else { return }
            isConnected(slot)
        case .handshaking:
            continueHandshake(slot)
        case .conversing, .parting:
            break
        }
        if readiness.isWritable, isCurrent(connection.token) { sendUnsent(slot) }
        let hasNews = readiness.isReadable || readiness.isClosing || readiness.hasError
        if hasNews, isCurrent(connection.token) { receive(slot) }
    }

    mutating func probeTimedOut(_ slot: Int) {
        if probes[slot]?.stage == .parting { end(slot) } else { step(slot, .timedOut) }
    }

    /// Goes on with probes that had more to read than a turn allows.
    mutating func readOn() {
        guard !unread.isEmpty else { return }
        let tokens = unread
        unread = []
        for token in tokens where isCurrent(token) { receive(token.index) }
    }

    mutating func sendUnsent(_ slot: Int) {
        guard probes[slot]?.stage == .conversing, let socket = probes[slot]?.connection.socket,
            let unsent = probes[slot]?.unsent, !unsent.isEmpty
        else { return }
        guard probes[slot]?.session.isOpen == false else {
            sendSecured(slot)
            return
        }
        switch socket.send(unsent) {
        case .moved(let count): probes[slot]?.unsent.removeFirst(count)
        case .wouldBlock, .endOfStream: break
        case .failed(let errno): step(slot, ProbeExchange.Event(errno))
        }
    }

    /// Reads until nothing is left, the probe is decided or its budget is spent.
    mutating func receive(_ slot: Int) {
        switch probes[slot]?.stage {
        case nil, .connecting, .handshaking: break
        case .conversing where probes[slot]?.session.isOpen == true: receiveSecured(slot)
        case .conversing: receivePlain(slot)
        case .parting: receiveRest(slot)
        }
    }

    private mutating func receivePlain(_ slot: Int) {
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

    mutating func step(_ slot: Int, _ event: ProbeExchange.Event) {
        if case .received(let bytes) = event, probes[slot]?.http2.isOpen == true {
            // Bytes count as an answer that begins, and the session says what they mean.
            _ = probes[slot]?.exchange.on(event)
            receiveHTTP2(slot, bytes, at: .now)
            return
        }
        guard let action = probes[slot]?.exchange.on(event) else { return }
        switch action {
        case .wait:
            break
        case .ask(let question):
            askHTTP2(slot, question, at: .now)
        case .handshake:
            beginTLS(slot)
        case .send(let bytes):
            let unsent = isLedByHeader(slot) ? Self.proxyHeader[...] + bytes : bytes[...]
            probes[slot]?.unsent = unsent
            sendUnsent(slot)
        case .endSending:
            // What cannot be sent now will fail to be read, too.
            _ = probes[slot]?.session.shutdown()
        case .finish(let outcome):
            finish(slot, outcome)
        }
    }

    /// A datagram carries the header itself, as the first of a client's flow does.
    private func isLedByHeader(_ slot: Int) -> Bool {
        guard let probe = probes[slot]?.connection else { return false }
        return probe.transport == .udp && probe.sendsProxyHeader
    }

    // MARK: End

    private mutating func finish(_ slot: Int, _ outcome: ProbeOutcome) {
        guard let probe = probes[slot]?.connection else { return }
        let latency = Instant.now.nanoseconds(since: probe.startedAt)
        if probes[slot]?.session.isOpen == true { part(slot, after: outcome) } else { end(slot) }
        report(outcome, of: probe.entry, latencyNanoseconds: latency)
    }

    /// Ends a probe whose outcome is told, or is about to be.
    mutating func end(_ slot: Int) {
        guard let probe = release(slot) else { return }
        schedule.finish(probe.entry)
    }

    /// Ends the probe of a target that leaves, if one runs, without a word. The schedule is told by the caller.
    mutating func abandonProbe(of entry: Int) {
        if let slot = targets[entry]?.probeSlot { _ = release(slot) }
    }

    private mutating func release(_ slot: Int) -> ProbeConnection? {
        guard let probe = probes[slot]?.connection else { return nil }
        probes[slot]?.http2.free()
        probes[slot]?.session.free()
        probe.socket.close()
        timeouts.cancel(slot)
        probes[slot] = nil
        probeSlots.free(slot)
        targets[probe.entry]?.probeSlot = nil
        return probe
    }
}
