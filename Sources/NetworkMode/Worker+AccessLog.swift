// What a worker does for the access log of TLS listeners: notes while a flow lives, one record at its end.
//
// Nothing here waits or allocates: the notes stand in a slab beside the flows, and the record goes into the
// worker's ring, from which AccessLog writes. A record that finds the ring full is dropped and counted.

import Balancing
import LinuxIO
import Serving
import TLSTermination

/// What a flow's client said and agreed on: trivial, and valid when all zero.
struct AccessNotes: BitwiseCopyable, Sendable {
    var hello = ClientHelloNotes()
    var summary = SessionSummary()
    /// See `CertificateRegister`; zero when none was served.
    var certificate: UInt32 = 0
    /// The alert with which the client ended the connection, plus one; zero for none.
    var alertPlusOne: UInt16 = 0
    var clientProtocol = ProtocolName()
    var targetProtocol = ProtocolName()
    /// From the connection's start to the end of its handshake; nil when it did not get there.
    var handshakeNanoseconds: UInt64?
}

/// One connection of a TLS listener, as the access log's writer gets it.
package struct AccessRecord: BitwiseCopyable, Sendable {
    /// See `AccessLog.numbers(of:)`.
    var log: UInt32
    var client: Endpoint
    /// Where the client connected to.
    var destination: Endpoint
    var startedAt: Instant
    var endedAt: Instant
    /// From the client, decrypted.
    var receivedByteCount: UInt64
    /// To the client, before encryption.
    var sentByteCount: UInt64
    var notes: AccessNotes
}

extension Worker {
    /// A flow has come to a TLS listener; whether its end is logged is decided here.
    mutating func beginAccessNotes(_ slot: Int) {
        let log = core.tls.accessLog(of: flows[slot].listener)
        guard log > 0 else { return }
        flows[slot].accessLog = log
        accessNotes[slot] = AccessNotes()
    }

    /// The client's handshake is done.
    mutating func noteHandshake(_ slot: Int, at now: Instant) {
        let session = flows[slot].clientSession
        accessNotes[slot].summary = session.summary
        accessNotes[slot].clientProtocol = session.protocolName
        accessNotes[slot].handshakeNanoseconds = now.nanoseconds(since: flows[slot].startedAt)
    }

    /// The client's session failed, in its handshake or later.
    mutating func noteClientFailure(_ failure: TLSFailure, _ slot: Int) {
        guard flows[slot].accessLog > 0, case .alert(let number) = failure else { return }
        accessNotes[slot].alertPlusOne = UInt16(number) + 1
    }

    /// The flow is at its end; its sessions are still there.
    mutating func logAccess(_ slot: Int, at now: Instant) {
        let flow = flows[slot]
        var notes = accessNotes[slot]
        // A ticket takes the place of a certificate, and before a hello there is nothing to serve one for.
        if notes.hello.isPresent, !notes.summary.isResumed {
            notes.certificate = flow.clientSession.certificateNumber
        }
        if flow.targetSession.isOpen { notes.targetProtocol = flow.targetSession.protocolName }
        let record = AccessRecord(
            log: flow.accessLog, client: flow.key.client, destination: flow.key.local,
            startedAt: flow.startedAt, endedAt: now, receivedByteCount: flow.up.transfer.byteCount,
            sentByteCount: flow.down.transfer.byteCount, notes: notes)
        if !accessRing.append(record) { core.counters.add(1, .droppedAccessLogLines) }
    }
}
