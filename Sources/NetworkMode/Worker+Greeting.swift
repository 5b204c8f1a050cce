// What is awaited from a client before its flow finds a target: a PROXY protocol header from a trusted peer, a look
// at the ClientHello where rules go by it, the TLS handshake where TLS ends here.
//
// All of it within one deadline and within one bound on how many are under way. Header and hello are peeked at, so
// that not a byte too many is taken: what follows a header is the next step's, and a hello is the target's.

import Balancing
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    /// What the listener wants to hear from this client first; empty sends the flow on at once.
    func greeting(
        of client: Endpoint, through listener: ListenerNumber, _ route: ListenerRoute
    ) -> Greeting {
        var greeting: Greeting = []
        if let proxyProtocol = route.proxyProtocol, proxyProtocol.expectsHeader(from: client.address) {
            greeting.insert(.proxyHeader)
        }
        if core.tls.serverContext(of: listener) != nil {
            greeting.insert(.handshake)
        } else if !route.rules.isEmpty {
            greeting.insert(.clientHello)
        }
        return greeting
    }

    /// Begins to listen to a new flow's client, or sheds it when as many as allowed are being listened to.
    mutating func greet(_ slot: Int, _ greeting: Greeting, at now: Instant) {
        let flow = flows[slot]
        guard greetingCount < core.settings.handshakeCountMax else {
            flows[slot].phase = .free
            flowSlots.free(slot)
            core.shed(flow.client, .shedHandshakes, listener: flow.listener)
            return
        }
        flows[slot].phase = .greeting
        flows[slot].greeting = greeting
        greetingCount += 1
        if greeting.contains(.handshake) { beginAccessNotes(slot) }
        flowTimers.set(slot, to: now.advanced(bySeconds: core.settings.handshakeTimeoutSeconds))
        // The first event comes at once if the client has said something already.
        watchClient(slot, at: now)
    }

    private enum Step {
        case done
        /// An event will tell when there is more.
        case wait
        case failed
    }

    /// Takes what the client has said as far as it goes; with everything said, the flow goes to a target.
    ///
    /// - Parameter isClosing: The client has ended its side, so what is not there will not come.
    mutating func goOnGreeting(_ slot: Int, isClosing: Bool, at now: Instant) {
        while !flows[slot].greeting.isEmpty {
            let next: Greeting
            var step: Step
            if flows[slot].greeting.contains(.proxyHeader) {
                next = .proxyHeader
                step = takeProxyHeader(slot)
            } else if flows[slot].greeting.contains(.clientHello) {
                next = .clientHello
                step = lookAtClientHello(slot)
                // Whatever it speaks, it is not TLS, and the default action's target may know it.
                if case .wait = step, isClosing { step = .done }
            } else {
                next = .handshake
                step = shakeHands(slot, at: now)
            }
            switch step {
            case .done:
                flows[slot].greeting.remove(next)
            case .wait where isClosing && next == .proxyHeader, .failed:
                greetingFailed(slot, at: now)
                return
            case .wait:
                return
            }
        }
        depart(slot, isClosing: isClosing, at: now)
    }

    /// The greeting is over: to a target, with the bytes that came behind it.
    ///
    /// - Parameter isClosing: The client's end was told of already, and no event will tell again.
    private mutating func depart(_ slot: Int, isClosing: Bool, at now: Instant) {
        if isClosing {
            flows[slot].up.transfer.sourceIsClosing()
        } else {
            flows[slot].up.transfer.sourceBecameReadable()
        }
        let isGone = pump(slot, isUp: true, at: now) != nil
        if !isGone, connectNext(slot, at: now) {
            greetingCount -= 1
            flows[slot].phase = .connecting
            countNew(slot)
            return
        }
        countUnadmitted(by: flows[slot].listener, isGone: isGone)
        end(slot, .balancerReset, at: now)
    }

    /// The deadline has passed. Who was only asked for a ClientHello may speak a protocol in which servers speak
    /// first: the default action has its flow.
    mutating func greetingTimedOut(_ slot: Int, at now: Instant) {
        if flows[slot].greeting == .clientHello {
            flows[slot].greeting = []
            depart(slot, isClosing: false, at: now)
        } else {
            greetingFailed(slot, at: now)
        }
    }

    /// The connection was reset. The alert that says why may have come before it, and can still be read.
    mutating func greetingBroke(_ slot: Int, at now: Instant) {
        if flows[slot].clientSession.isOpen, flows[slot].accessLog > 0 { _ = shakeHandsNoting(slot, at: now) }
        greetingFailed(slot, at: now)
    }

    mutating func greetingFailed(_ slot: Int, at now: Instant) {
        let isTLS = !flows[slot].greeting.contains(.proxyHeader)
        core.counters.add(
            1, isTLS ? .clientHandshakeFailures : .proxyHeaderFailures, listener: flows[slot].listener)
        end(slot, .handshakeFailed, at: now)
    }

    // MARK: - Steps

    private mutating func takeProxyHeader(_ slot: Int) -> Step {
        let client = flows[slot].client
        let outcome = client.peek(into: scratch, byteCountMax: Limits.proxyHeaderByteCountMax)
        guard case .moved(let count) = outcome else { return stepWithoutBytes(outcome) }
        switch scratch.parse(at: 0, byteCount: count, { ProxyHeaderParser.parse($0) }) {
        case .needMore:
            return .wait
        case .invalid:
            return .failed
        case .header(let header, let byteCount):
            guard isAccepted(header, by: flows[slot].listener),
                case .moved(byteCount) = client.receive(into: scratch, byteCountMax: byteCount)
            else { return .failed }
            if case .relayed(let source, _, .tcp) = header.origin {
                let key = flows[slot].key
                flows[slot].key = FlowKey(client: source, local: key.local, transport: key.transport)
            }
            return .done
        }
    }

    private func isAccepted(_ header: ProxyHeader, by listener: ListenerNumber) -> Bool {
        guard let accepts = core.snapshot.route(of: listener)?.proxyProtocol?.accepts else { return false }
        return accepts.contains(header.version == .v1 ? .v1 : .v2)
    }

    private mutating func lookAtClientHello(_ slot: Int) -> Step {
        let client = flows[slot].client
        let outcome = client.peek(into: scratch, byteCountMax: Limits.clientHelloPeekByteCountMax)
        guard case .moved(let count) = outcome else { return stepWithoutBytes(outcome) }
        switch scratch.parse(at: 0, byteCount: count, { ClientHelloParser.parse($0) }) {
        case .needMore:
            return .wait
        case .notTLS, .oversized, .invalid:
            return .done
        case .hello(let hello):
            if let rule = core.snapshot.route(of: flows[slot].listener)?.rule(for: hello) {
                flows[slot].rulePlusOne = UInt16(clamping: rule + 1)
            }
            return .done
        }
    }

    /// Nothing was there to look at: the end, an error, or just not yet.
    private func stepWithoutBytes(_ outcome: IOOutcome) -> Step {
        switch outcome {
        case .moved, .wouldBlock: .wait
        case .failed(let errno) where errno.isExhaustion: .wait
        case .endOfStream, .failed: .failed
        }
    }

    private mutating func shakeHands(_ slot: Int, at now: Instant) -> Step {
        if !flows[slot].clientSession.isOpen {
            // The listener may have lost its context since the flow came, but not between two calls.
            guard
                let session = core.tls.serverContext(of: flows[slot].listener)?.makeSession(
                    on: flows[slot].client)
            else { return .failed }
            flows[slot].clientSession = session
            flows[slot].neverSplice()
        }
        guard flows[slot].accessLog == 0 else { return shakeHandsNoting(slot, at: now) }
        return switch flows[slot].clientSession.handshake() {
        case .done: .done
        case .wantRead, .wantWrite: .wait
        case .failed: .failed
        }
    }

    /// The same, with notes for the access log.
    private mutating func shakeHandsNoting(_ slot: Int, at now: Instant) -> Step {
        switch flows[slot].clientSession.handshake(noting: &accessNotes[slot].hello) {
        case .done:
            noteHandshake(slot, at: now)
            return .done
        case .wantRead, .wantWrite:
            return .wait
        case .failed(let failure):
            noteClientFailure(failure, slot)
            return .failed
        }
    }
}
