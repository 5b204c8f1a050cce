// One direction of a TCP flow between two simulated sockets, by seeds.
//
// The sockets follow epoll(7) with edge triggering: an arrival is an edge; room is an edge only after a
// send has met a full buffer. Whatever the order and size of arrivals, the machine must move every byte,
// hold at most one read's worth, read nothing while it holds any, and end exactly when all is through.

import Balancing
import Testing

/// The two sockets and the pipe in between, as counts of bytes.
private struct Sockets {
    var arrivedByteCount = 0
    var isClosed = false
    var takenByteCount = 0

    let sinkCapacity: Int
    var sinkByteCount = 0
    var deliveredByteCount = 0
    /// A send met a full buffer, so that room will be an edge; SOCK_NOSPACE in the kernel.
    var awaitsRoom = false
    var isFinished = false

    var readableByteCount: Int { arrivedByteCount - takenByteCount }
    var room: Int { sinkCapacity - sinkByteCount }
}

@Suite struct `Transfer simulation` {
    private enum Failure: Error {
        case stalled(String)
    }

    @Test func `every byte arrives whatever the order of events`() throws {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            try simulate(seed: seed, using: &generator)
        }
    }

    private func simulate(seed: UInt64, using generator: inout SplitMix64) throws {
        var transfer = Transfer()
        let capacities = [1, 1_000, 16_384, 200_000, 2_000_000]
        var sockets = Sockets(
            sinkCapacity: capacities[Int.random(in: 0..<capacities.count, using: &generator)])
        // A sink of one byte takes one step per byte: no more bytes than a few hundred of its fills.
        let totalByteCount = min(
            Int.random(in: 0...40, using: &generator) * 50_000, sockets.sinkCapacity * 400)
        transfer.sinkBecameWritable()
        var idleCount = 0
        while !transfer.isDone {
            happen(&sockets, &transfer, totalByteCount: totalByteCount, using: &generator)
            let before = transfer
            try run(&transfer, &sockets, seed: seed, using: &generator)
            idleCount = before == transfer ? idleCount + 1 : 0
            if idleCount > 200 { throw Failure.stalled("seed \(seed): \(sockets) \(transfer)") }
        }
        #expect(sockets.deliveredByteCount + sockets.sinkByteCount == totalByteCount, "seed \(seed)")
        #expect(transfer.byteCount == UInt64(totalByteCount), "seed \(seed)")
        #expect(sockets.isFinished && transfer.nextStep == .done, "seed \(seed)")
    }

    /// Peers act, and epoll reports it.
    private func happen(
        _ sockets: inout Sockets, _ transfer: inout Transfer, totalByteCount: Int,
        using generator: inout SplitMix64
    ) {
        if Bool.random(using: &generator), sockets.arrivedByteCount < totalByteCount {
            let sizes = [1, 100, 5_000, 16_384, 60_000, 400_000]
            let size = sizes[Int.random(in: 0..<sizes.count, using: &generator)]
            sockets.arrivedByteCount = min(totalByteCount, sockets.arrivedByteCount + size)
            transfer.sourceBecameReadable()
        }
        if !sockets.isClosed, sockets.arrivedByteCount == totalByteCount, Bool.random(using: &generator) {
            sockets.isClosed = true
            transfer.sourceIsClosing()
        }
        if Int.random(in: 0..<3, using: &generator) > 0, sockets.sinkByteCount > 0 {
            let count = Int.random(in: 1...sockets.sinkByteCount, using: &generator)
            sockets.sinkByteCount -= count
            sockets.deliveredByteCount += count
            if sockets.awaitsRoom {
                sockets.awaitsRoom = false
                transfer.sinkBecameWritable()
            }
        }
    }

    /// The shell: obeys the machine for a turn's worth of steps.
    private func run(
        _ transfer: inout Transfer, _ sockets: inout Sockets, seed: UInt64, using generator: inout SplitMix64
    ) throws {
        for _ in 0..<Int.random(in: 1...Limits.stepsPerPumpMax, using: &generator) {
            let step = transfer.nextStep
            switch step {
            case .receive, .spliceIn:
                #expect(transfer.heldByteCount == 0, "seed \(seed): read while bytes are held")
                take(&transfer, &sockets, isSplice: step == .spliceIn, using: &generator)
            case .send, .spliceOut:
                give(&transfer, &sockets, isSplice: step == .spliceOut, using: &generator)
            case .finish:
                #expect(
                    transfer.heldByteCount == 0 && sockets.readableByteCount == 0, "seed \(seed): early end")
                sockets.isFinished = true
                transfer.didFinish()
            case .wait, .done:
                return
            }
            let heldByteCountMax = max(Limits.copyByteCountMax, Limits.pipeByteCountMax)
            #expect(transfer.heldByteCount <= heldByteCountMax, "seed \(seed)")
        }
    }

    private func take(
        _ transfer: inout Transfer, _ sockets: inout Sockets, isSplice: Bool,
        using generator: inout SplitMix64
    ) {
        guard sockets.readableByteCount > 0 else {
            if sockets.isClosed { transfer.sourceDidEnd() } else { transfer.sourceWouldBlock() }
            return
        }
        if isSplice {
            // Now and then the pool has no pipe left.
            if Int.random(in: 0..<20, using: &generator) == 0 {
                transfer.copyInstead()
                return
            }
            // A splice may stop at any segment.
            let count = Int.random(
                in: 1...min(sockets.readableByteCount, Limits.pipeByteCountMax), using: &generator)
            sockets.takenByteCount += count
            transfer.didSpliceIn(count)
        } else {
            let count = min(sockets.readableByteCount, Limits.copyByteCountMax)
            sockets.takenByteCount += count
            transfer.didReceive(count, of: Limits.copyByteCountMax)
        }
    }

    private func give(
        _ transfer: inout Transfer, _ sockets: inout Sockets, isSplice: Bool,
        using generator: inout SplitMix64
    ) {
        let held = Int(transfer.heldByteCount)
        guard sockets.room > 0 else {
            sockets.awaitsRoom = true
            transfer.sinkWouldBlock()
            return
        }
        var count = min(held, sockets.room)
        if isSplice {
            count = Int.random(in: 1...count, using: &generator)
        } else if count < held {
            sockets.awaitsRoom = true
        }
        sockets.sinkByteCount += count
        transfer.didSend(count)
    }
}

@Suite struct `Transfer method` {
    private func readable() -> Transfer {
        var transfer = Transfer()
        transfer.sinkBecameWritable()
        transfer.sourceBecameReadable()
        return transfer
    }

    @Test func `small messages are copied`() {
        var transfer = readable()
        for _ in 0..<100 {
            transfer.sourceBecameReadable()
            #expect(transfer.nextStep == .receive)
            transfer.didReceive(1_000, of: Limits.copyByteCountMax)
            #expect(transfer.nextStep == .send)
            transfer.didSend(1_000)
        }
        #expect(transfer.method == .copy)
    }

    @Test func `one full read turns to splicing, once its bytes are gone`() {
        var transfer = readable()
        transfer.didReceive(Limits.copyByteCountMax, of: Limits.copyByteCountMax)
        #expect(transfer.nextStep == .send && transfer.method == .copy)
        transfer.didSend(Limits.copyByteCountMax)
        #expect(transfer.nextStep == .spliceIn && transfer.method == .splice)
    }

    @Test func `eight short splices in a row turn back, a long one starts the count again`() {
        var transfer = readable()
        transfer.didReceive(Limits.copyByteCountMax, of: Limits.copyByteCountMax)
        transfer.didSend(Limits.copyByteCountMax)
        func splice(_ count: Int) {
            transfer.didSpliceIn(count)
            transfer.didSend(count)
        }
        for _ in 1..<Limits.shortSplicesBeforeCopy { splice(100) }
        splice(100_000)
        for _ in 1..<Limits.shortSplicesBeforeCopy { splice(100) }
        #expect(transfer.method == .splice)
        splice(100)
        #expect(transfer.method == .copy)
    }

    @Test func `a stalled sink stops the source`() {
        var transfer = Transfer()
        transfer.sourceBecameReadable()
        transfer.didReceive(10, of: Limits.copyByteCountMax)
        transfer.sourceBecameReadable()
        #expect(transfer.nextStep == .wait)
        transfer.sinkBecameWritable()
        #expect(transfer.nextStep == .send)
    }
}
