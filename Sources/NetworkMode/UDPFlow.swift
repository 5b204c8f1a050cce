// The slot of one UDP flow: trivial, preallocated, valid when all zero.

import Balancing
import LinuxIO

struct UDPFlow: BitwiseCopyable {
    var isLive = false
    /// The target has sent something back.
    var isAnswered = false
    /// The client has sent again after an answer, which no spoofed source does: never recycled.
    var isAssured = false
    /// UDP_GRO is on towards the target.
    var isCoalescing = false
    /// The target is to hear, in front of the next datagram, on whose behalf the flow comes.
    var owesProxyHeader = false
    var attemptCountMax: UInt8 = 0
    var generation: UInt32 = 0
    /// Connected to the target, so that its answers, and its ICMP errors, find this flow.
    var socket = Descriptor.none
    var key: FlowKey
    var hash: UInt64
    var listener: ListenerNumber
    /// The slot of the listener in this worker, whose socket answers the client.
    var listenerPosition: Int
    var target: TargetNumber
    var tried = TriedTargets()
    var startedAt: Instant
    var lastActivityAt: Instant
    var clientByteCount: UInt64 = 0
    var targetByteCount: UInt64 = 0
    /// Neighbours among the unassured flows, as slot plus one; zero for none.
    var olderPlusOne: UInt32 = 0
    var newerPlusOne: UInt32 = 0
}

/// Unassured flows, oldest first: those that a flood makes, and so those that give way to new ones.
struct UnassuredList {
    private(set) var oldestPlusOne: UInt32 = 0
    private var newestPlusOne: UInt32 = 0

    mutating func append(_ slot: Int, in flows: inout MappedSlab<UDPFlow>) {
        flows[slot].olderPlusOne = newestPlusOne
        flows[slot].newerPlusOne = 0
        if newestPlusOne > 0 {
            flows[Int(newestPlusOne - 1)].newerPlusOne = UInt32(slot + 1)
        } else {
            oldestPlusOne = UInt32(slot + 1)
        }
        newestPlusOne = UInt32(slot + 1)
    }

    mutating func remove(_ slot: Int, in flows: inout MappedSlab<UDPFlow>) {
        let older = flows[slot].olderPlusOne
        let newer = flows[slot].newerPlusOne
        if older > 0 { flows[Int(older - 1)].newerPlusOne = newer } else { oldestPlusOne = newer }
        if newer > 0 { flows[Int(newer - 1)].olderPlusOne = older } else { newestPlusOne = older }
        flows[slot].olderPlusOne = 0
        flows[slot].newerPlusOne = 0
    }
}

/// Joins neighbouring datagrams of one flow into runs that one message carries; see udp(7), UDP_SEGMENT.
struct RunBuilder {
    /// Less than the largest IPv6 payload, so that a run fits on either family.
    private static let byteCountMax = 65_400

    private(set) var runs = 0
    private var current: DatagramRun?
    private var byteCount = 0

    /// Adds datagram `index` of the batch; only neighbours of equal size join, the last may be shorter.
    mutating func add(_ datagram: ReceivedDatagram, at index: Int, to batch: borrowing DatagramBatch) {
        if datagram.segmentByteCount > 0 {
            close(batch)
            current = DatagramRun(first: index, count: 1, segmentByteCount: datagram.segmentByteCount)
            close(batch)
            return
        }
        if var run = current, datagram.byteCount > 0, datagram.byteCount <= run.segmentByteCount,
            run.count < Limits.segmentsPerSendMax, byteCount + datagram.byteCount <= Self.byteCountMax
        {
            run.count += 1
            byteCount += datagram.byteCount
            current = run
            if datagram.byteCount < run.segmentByteCount { close(batch) }
            return
        }
        close(batch)
        current = DatagramRun(first: index, count: 1, segmentByteCount: datagram.byteCount)
        byteCount = datagram.byteCount
        if datagram.byteCount == 0 { close(batch) }
    }

    mutating func close(_ batch: borrowing DatagramBatch) {
        guard var run = current else { return }
        // One plain datagram needs no segmentation; one that the kernel joined does.
        if run.count == 1, batch[run.first].segmentByteCount == 0 { run.segmentByteCount = 0 }
        batch.setRun(run, at: runs)
        runs += 1
        current = nil
    }
}
