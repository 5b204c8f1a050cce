// Batches of datagrams in and out; see recvmmsg(2), sendmmsg(2) and udp(7).

import Balancing
import CLinux

/// One received datagram, or several of equal size that the kernel joined.
public struct ReceivedDatagram: Sendable, BitwiseCopyable {
    /// Nil on a connected socket whose kernel names no sender.
    public let peer: Endpoint?
    /// The address it was sent to, port zero.
    public let local: Endpoint?
    public let byteCount: Int
    /// The size of each joined datagram but the last; zero for a single one.
    public let segmentByteCount: Int
    public let isTruncated: Bool

    /// The size of the first datagram, which is the only one as a rule.
    public var firstByteCount: Int { segmentByteCount == 0 ? byteCount : segmentByteCount }

    /// How many datagrams were joined.
    public var count: Int {
        segmentByteCount == 0 ? 1 : (byteCount + segmentByteCount - 1) / segmentByteCount
    }
}

/// Neighbouring datagrams of a batch that leave as one message.
public struct DatagramRun: Sendable, BitwiseCopyable {
    public var first: Int
    public var count: Int
    /// Zero when the run is one plain datagram.
    public var segmentByteCount: Int

    public init(first: Int, count: Int, segmentByteCount: Int) {
        self.first = first
        self.count = count
        self.segmentByteCount = segmentByteCount
    }
}

/// Buffers and headers for up to 32 datagrams, made once per worker and used for every direction in turn.
@safe
public struct DatagramBatch: ~Copyable {
    private let batch: OpaquePointer
    private let datagrams: UnsafeMutablePointer<weir_datagram>
    private let runs: UnsafeMutablePointer<weir_datagram_run>
    public let capacity: Int
    public private(set) var count = 0

    public init(capacity: Int) throws(SystemCallError) {
        self.capacity = capacity
        guard let batch = unsafe weir_datagram_batch_create(UInt32(capacity)) else {
            throw SystemCallError("mmap", .noMemory)
        }
        unsafe self.batch = unsafe batch
        unsafe datagrams = UnsafeMutablePointer<weir_datagram>.allocate(capacity: capacity)
        unsafe datagrams.initialize(repeating: weir_datagram(), count: capacity)
        unsafe runs = UnsafeMutablePointer<weir_datagram_run>.allocate(capacity: capacity)
        unsafe runs.initialize(repeating: weir_datagram_run(), count: capacity)
    }

    deinit {
        unsafe weir_datagram_batch_destroy(batch)
        unsafe datagrams.deallocate()
        unsafe runs.deallocate()
    }

    /// Fills the batch from a socket. `moved` gives the count of received messages.
    public mutating func receive(from socket: Descriptor, countMax: Int) -> IOOutcome {
        count = 0
        let result = unsafe weir_datagram_batch_receive(
            batch, socket.rawValue, datagrams, UInt32(min(countMax, capacity)))
        guard result >= 0 else {
            let errno = Errno(-result)
            return errno == .wouldBlock ? .wouldBlock : .failed(errno)
        }
        count = Int(result)
        return result == 0 ? .wouldBlock : .moved(count)
    }

    public subscript(index: Int) -> ReceivedDatagram {
        precondition(index >= 0 && index < count)
        let datagram = unsafe datagrams[index]
        return ReceivedDatagram(
            peer: datagram.peer.endpoint, local: datagram.local.endpoint, byteCount: Int(datagram.byte_count),
            segmentByteCount: Int(datagram.segment_byte_count), isTruncated: datagram.is_truncated)
    }

    /// Copies the first datagram of an item into `region`, from `offset` on, to be sent with something in front.
    public func copyFirst(of index: Int, into region: borrowing ByteRegion, at offset: Int) {
        let byteCount = self[index].firstByteCount
        precondition(offset >= 0 && offset <= region.byteCount - byteCount)
        unsafe weir_datagram_batch_copy(batch, UInt32(index), region.base + offset, UInt32(byteCount))
    }

    /// Takes the first datagram of an item off; false when it was the last, and nothing of the item may be sent.
    public mutating func removeFirst(of index: Int) -> Bool {
        let first = self[index]
        unsafe weir_datagram_batch_remove(batch, UInt32(index), UInt32(first.firstByteCount))
        let rest = first.byteCount - first.firstByteCount
        unsafe datagrams[index].byte_count = UInt32(rest)
        if rest <= first.segmentByteCount { unsafe datagrams[index].segment_byte_count = 0 }
        return first.count > 1
    }

    /// Sends `runCount` runs that `setRun` has laid down; `moved` gives how many were taken.
    public func send(
        runs runRange: Range<Int>, on socket: Descriptor, to: Endpoint?, from: Endpoint?
    ) -> IOOutcome {
        precondition(runRange.lowerBound >= 0 && runRange.upperBound <= capacity)
        let result = unsafe withOptionalEndpoints(to, from) { to, from in
            unsafe weir_datagram_batch_send(
                batch, socket.rawValue, runs + runRange.lowerBound, UInt32(runRange.count), to, from)
        }
        if result > 0 { return .moved(Int(result)) }
        let errno = Errno(-result)
        return result == 0 || errno == .wouldBlock ? .wouldBlock : .failed(errno)
    }

    /// Sends each piece of one run by itself, where the path refuses segmentation; `moved` counts datagrams.
    public func sendSingly(
        run: Int, on socket: Descriptor, to: Endpoint?, from: Endpoint?
    ) -> IOOutcome {
        precondition(run >= 0 && run < capacity)
        let result = unsafe withOptionalEndpoints(to, from) { to, from in
            unsafe weir_datagram_batch_send_singly(batch, socket.rawValue, runs + run, to, from)
        }
        if result > 0 { return .moved(Int(result)) }
        let errno = Errno(-result)
        return result == 0 || errno == .wouldBlock ? .wouldBlock : .failed(errno)
    }

    /// Lays down a run at `index`; the C side refuses ranges outside of the batch.
    public func setRun(_ run: DatagramRun, at index: Int) {
        precondition(index >= 0 && index < capacity && run.first >= 0 && run.count > 0)
        precondition(run.first + run.count <= count)
        unsafe runs[index] = weir_datagram_run(
            first: UInt32(run.first), count: UInt32(run.count),
            segment_byte_count: UInt32(run.segmentByteCount))
    }

    public func run(at index: Int) -> DatagramRun {
        precondition(index >= 0 && index < capacity)
        let run = unsafe runs[index]
        return DatagramRun(
            first: Int(run.first), count: Int(run.count), segmentByteCount: Int(run.segment_byte_count))
    }

    private func withOptionalEndpoints(
        _ to: Endpoint?, _ from: Endpoint?,
        _ body: (UnsafePointer<weir_endpoint>?, UnsafePointer<weir_endpoint>?) -> Int32
    ) -> Int32 {
        var toAddress = weir_endpoint()
        var fromAddress = weir_endpoint()
        if let to { toAddress = weir_endpoint(to) }
        if let from { fromAddress = weir_endpoint(from) }
        return unsafe withUnsafePointer(to: toAddress) { toPointer in
            unsafe withUnsafePointer(to: fromAddress) { fromPointer in
                unsafe body(to == nil ? nil : toPointer, from == nil ? nil : fromPointer)
            }
        }
    }
}
