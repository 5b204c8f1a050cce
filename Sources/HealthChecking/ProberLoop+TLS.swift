// What HTTPS and TLS checks add to a probe: the handshake before, the records in between, a proper end after.
//
// A session reads ahead: bytes may wait in it of which the socket reports nothing. So everything that may have
// read is followed by reading until it says that the socket has no more.

import Balancing
import LinuxIO
import TLSTermination

extension ProberLoop {
    /// How long a target has to close its side once a probe is over; see `part`.
    private static let partingSeconds = 1

    // MARK: Handshake

    mutating func beginTLS(_ slot: Int) {
        guard let probe = probes[slot]?.connection else { return }
        let settings = targets[probe.entry]?.target.check.tls ?? TLSTargetSettings()
        guard let context = contexts[settings] else {
            step(slot, .failed(.balancerFault("no TLS context belongs to the check's settings")))
            return
        }
        guard let session = context.makeSession(on: probe.socket) else {
            step(slot, .failed(.balancerFault("out of memory")))
            return
        }
        probes[slot]?.session = session
        if targets[probe.entry]?.target.check.protocolVersion ?? .http1 != .http1 {
            probes[slot]?.session.offer("h2")
        }
        probes[slot]?.stage = .handshaking
        continueHandshake(slot)
    }

    mutating func continueHandshake(_ slot: Int) {
        guard let token = probes[slot]?.connection.token, let result = probes[slot]?.session.handshake()
        else { return }
        switch result {
        case .wantRead, .wantWrite:
            break
        case .failed(let failure):
            step(slot, ProbeExchange.Event(failure))
        case .done:
            probes[slot]?.stage = .conversing
            step(slot, .secured(mayBeRefused: probes[slot]?.session.mayBeRefused ?? false))
            if isCurrent(token) { receive(slot) }
        }
    }

    // MARK: Conversation

    mutating func sendSecured(_ slot: Int) {
        guard let token = probes[slot]?.connection.token else { return }
        while let unsent = probes[slot]?.unsent, !unsent.isEmpty {
            let byteCount = scratch.fill(at: 0, byteCountMax: min(unsent.count, scratch.byteCount)) { room in
                for byte in unsent.prefix(room.capacity) { room.append(byte) }
            }
            switch probes[slot]?.session.write(from: scratch, at: 0, byteCount: byteCount) {
            case nil:
                return
            case .moved(let count):
                probes[slot]?.unsent.removeFirst(count)
            case .wantRead, .wantWrite, .endOfStream:
                return
            case .failed(let failure):
                // A target that hung up may have said why: an alert that waits to be read tells more.
                receive(slot)
                if isCurrent(token) { step(slot, ProbeExchange.Event(failure)) }
                return
            }
        }
    }

    /// As `receivePlain`, through the session.
    mutating func receiveSecured(_ slot: Int) {
        guard let token = probes[slot]?.connection.token else { return }
        for _ in 0..<Self.receivesPerTurnMax {
            switch probes[slot]?.session.read(into: scratch, byteCountMax: scratch.byteCount) {
            case .moved(let count):
                // None: nothing but key updates or tickets.
                if count > 0 { step(slot, .received(takeScratch(count)[...])) }
            case nil:
                return
            case .endOfStream:
                step(slot, .closed)
            case .wantRead, .wantWrite:
                return
            case .failed(let failure):
                step(slot, ProbeExchange.Event(failure))
            }
            guard isCurrent(token), probes[slot]?.stage == .conversing else { return }
        }
        unread.append(token)
    }

    /// A copy of the first `count` bytes, for the parser to keep.
    private func takeScratch(_ count: Int) -> [UInt8] {
        scratch.parse(at: 0, byteCount: count) { bytes in
            [UInt8](capacity: count) { copy in
                for index in bytes.indices { copy.append(bytes[index]) }
            }
        }
    }

    // MARK: End

    /// Says close_notify and waits a little for the target's end.
    ///
    /// To close at once would reset the connection whenever the target has sent something unread, such as its
    /// tickets, and the reset would overtake close_notify or the alert that says what is wrong with its
    /// certificate: the target would log a broken connection with every check. A target that said nothing until
    /// the timeout is not waited for again.
    mutating func part(_ slot: Int, after outcome: ProbeOutcome) {
        guard let probe = probes[slot]?.connection else { return }
        if probes[slot]?.session.isEstablished == true { _ = probes[slot]?.session.shutdown() }
        probes[slot]?.session.free()
        if case .failure(.timedOut) = outcome {
            end(slot)
            return
        }
        probes[slot]?.stage = .parting
        guard probe.socket.shutdownWrite() == nil else {
            end(slot)
            return
        }
        timeouts.set(slot, to: Instant.now.advanced(bySeconds: Self.partingSeconds))
        receiveRest(slot)
    }

    /// Reads and forgets what a target still sends.
    mutating func receiveRest(_ slot: Int) {
        guard let probe = probes[slot]?.connection else { return }
        for _ in 0..<Self.receivesPerTurnMax {
            var bytes: [UInt8] = []
            switch probe.socket.receive(byteCountMax: Self.streamReceiveByteCountMax, into: &bytes) {
            case .moved:
                continue
            case .wouldBlock:
                return
            case .endOfStream, .failed:
                end(slot)
                return
            }
        }
        unread.append(probe.token)
    }
}
