// TLS in the life of a TCP flow: the handshake with the target after its connection stands, and the bytes that go
// through sessions. The client's handshake is part of its greeting, in Worker+Greeting.swift.
//
// A session reads ahead, so what its socket is ready for says little about what it can do: any event lets both
// directions try, and the session's own word (want read, want write) is the only one that stops them.

import Balancing
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    // MARK: - The target's handshake

    /// A step of the handshake with the target, within the time that its connection may take.
    mutating func secure(_ slot: Int, at now: Instant) {
        switch flows[slot].targetSession.handshake() {
        case .wantRead, .wantWrite:
            return
        case .failed:
            core.counters.add(
                1, .targetHandshakeFailures, target: flows[slot].targetNumber, listener: flows[slot].listener)
            connectFailed(slot, at: now)
        case .done:
            establish(slot, at: now)
        }
    }

    // MARK: - Bytes

    /// Reads the source's session into scratch memory, record after record, so that they leave together.
    ///
    /// With bytes it also says whether the session has no more; whatever else ended the reading is met again.
    mutating func decrypt(
        _ slot: Int, isUp: Bool, byteCountMax: Int
    ) -> (outcome: TLSTransfer, isDrained: Bool) {
        var session = isUp ? flows[slot].clientSession : flows[slot].targetSession
        var byteCount = 0
        var last = TLSTransfer.moved(0)
        reading: while byteCount < byteCountMax {
            last = session.read(into: scratch, at: byteCount, byteCountMax: byteCountMax - byteCount)
            guard case .moved(let count) = last, count > 0 else { break reading }
            byteCount += count
        }
        if isUp { flows[slot].clientSession = session } else { flows[slot].targetSession = session }
        return byteCount > 0 ? (.moved(byteCount), last == .wantRead) : (last, false)
    }

    /// Sends held bytes through the sink's session, from wherever they are.
    mutating func encrypt(_ slot: Int, _ lane: Lane, _ scratchOffset: Int, isUp: Bool) -> IOOutcome {
        let heldCount = Int(lane.transfer.heldByteCount)
        var session = isUp ? flows[slot].targetSession : flows[slot].clientSession
        let outcome =
            lane.stashCellPlusOne > 0
            ? stash.write(
                cell: Int(lane.stashCellPlusOne - 1), offset: Int(lane.stashOffset), byteCount: heldCount,
                through: &session)
            : session.write(from: scratch, at: scratchOffset, byteCount: heldCount)
        if isUp { flows[slot].targetSession = session } else { flows[slot].clientSession = session }
        switch outcome {
        case .moved(let count) where count > 0: return .moved(count)
        case .moved, .wantRead, .wantWrite, .endOfStream: return .wouldBlock
        case .failed(.connection(let errno)): return .failed(errno)
        case .failed: return .failed(.connectionReset)
        }
    }
}

extension TCPFlow {
    mutating func neverSplice() {
        up.transfer.neverSplice()
        down.transfer.neverSplice()
    }

    mutating func noteSecureClient() {
        up.transfer.sourceBecameReadable()
        down.transfer.sinkBecameWritable()
    }

    mutating func noteSecureTarget() {
        down.transfer.sourceBecameReadable()
        up.transfer.sinkBecameWritable()
    }
}
