// One direction of a TCP flow: what to do next with bytes from a source to a sink.
//
// A pure machine. The shell asks for the next step, makes exactly that one system call and reports
// what came of it. Adaptive: small messages are copied through user space; a full read turns the
// direction to splice, and eight short splices in a row turn it back (copying is about 10 % cheaper
// below 4 KiB, splicing two to four times cheaper in bulk).
//
// Invariants: nothing is read while bytes are held, so a slow sink stops the source and at most one
// read's worth waits here; a FIN passes on only after every byte before it.

public struct Transfer: BitwiseCopyable, Sendable, Equatable {
    public enum Method: UInt8, BitwiseCopyable, Sendable {
        case copy
        case splice
    }

    public enum Step: Equatable, Sendable {
        /// Read into user memory, at most `Limits.copyByteCountMax`.
        case receive
        /// Move into the empty pipe, at most `Limits.pipeByteCountMax`.
        case spliceIn
        /// Send the held bytes from user memory.
        case send
        /// Move the held bytes out of the pipe.
        case spliceOut
        /// Pass the end of the stream on.
        case finish
        /// Nothing until readiness changes.
        case wait
        /// The end of the stream has been passed on.
        case done
    }

    public private(set) var method = Method.copy
    /// Bytes that have to be seen, to be encrypted or decrypted, are never spliced.
    private var canSplice = true
    private var isSourceReadable = false
    private var isSinkWritable = false
    /// The source's peer has closed, so every byte before its end is in the socket.
    private var isSourceClosing = false
    /// Urgent data: a read stops at its mark, so a short one proves nothing; see tcp(7).
    private var hasUrgentMark = false
    private var isSourceEnded = false
    private var isSinkEnded = false
    private var shortSpliceRunCount: UInt8 = 0
    /// A full read asks for splicing once the held bytes are gone: the method never changes under held bytes.
    private var wantsSplice = false
    /// Bytes read from the source that the sink has not taken yet.
    public private(set) var heldByteCount: UInt32 = 0
    /// Bytes that the sink has taken.
    public private(set) var byteCount: UInt64 = 0

    public init() {}

    /// From here on the bytes have to be seen. Before the first is sent only: the method stays copying.
    public mutating func neverSplice() {
        canSplice = false
        wantsSplice = false
    }

    /// The end of the stream was read.
    public var hasSourceEnded: Bool { isSourceEnded }
    /// The end of the stream was passed on, so this direction is over.
    public var isDone: Bool { isSinkEnded }

    // MARK: Readiness

    public mutating func sourceBecameReadable() { isSourceReadable = true }
    public mutating func sinkBecameWritable() { isSinkWritable = true }

    public mutating func sourceIsClosing() {
        isSourceClosing = true
        isSourceReadable = true
    }

    public mutating func sourceHasUrgentData() {
        hasUrgentMark = true
        isSourceReadable = true
    }

    // MARK: Steps

    public var nextStep: Step {
        if heldByteCount > 0 {
            guard isSinkWritable else { return .wait }
            return method == .copy ? .send : .spliceOut
        }
        // A sink that has taken nothing yet may not be connected: the end waits for it too.
        if isSourceEnded { return isSinkEnded ? .done : isSinkWritable ? .finish : .wait }
        guard isSourceReadable else { return .wait }
        return method == .copy ? .receive : .spliceIn
    }

    // MARK: What came of them

    /// After `.receive` of at most `byteCountMax` bytes moved `count`.
    public mutating func didReceive(_ count: Int, of byteCountMax: Int) {
        assert(method == .copy && heldByteCount == 0 && count > 0 && count <= byteCountMax)
        heldByteCount = UInt32(truncatingIfNeeded: count)
        wantsSplice = canSplice && count >= Limits.copyByteCountMax
        // epoll(7): with edge triggering a read of less than was asked for has emptied the socket. When the
        // peer had closed before, nothing can follow: the end needs no read of its own.
        if count < byteCountMax, !hasUrgentMark {
            isSourceReadable = false
            isSourceEnded = isSourceClosing
        }
    }

    /// After `.receive` of decrypted bytes moved `count`. However few, more may wait in the session: only the
    /// session's own word (`isDrained`) ends the reading.
    public mutating func didReceiveDecrypted(_ count: Int, isDrained: Bool) {
        assert(method == .copy && !canSplice && heldByteCount == 0 && count > 0)
        heldByteCount = UInt32(truncatingIfNeeded: count)
        if isDrained { isSourceReadable = false }
    }

    /// After `.spliceIn` moved `count`. A short splice does not prove the socket empty: only EAGAIN does.
    public mutating func didSpliceIn(_ count: Int) {
        assert(method == .splice && heldByteCount == 0 && count > 0)
        heldByteCount = UInt32(truncatingIfNeeded: count)
        if count < Limits.copyByteCountMax / 2 {
            shortSpliceRunCount += 1
        } else {
            shortSpliceRunCount = 0
        }
    }

    /// After `.receive`, or `.spliceIn` into an empty pipe, found nothing.
    public mutating func sourceWouldBlock() {
        assert(heldByteCount == 0)
        isSourceReadable = false
    }

    /// After `.receive` or `.spliceIn` found the end of the stream.
    public mutating func sourceDidEnd() {
        assert(heldByteCount == 0)
        isSourceEnded = true
        isSourceReadable = false
    }

    /// After `.send` or `.spliceOut` moved `count`.
    public mutating func didSend(_ count: Int) {
        assert(count > 0 && count <= heldByteCount)
        heldByteCount -= UInt32(truncatingIfNeeded: min(count, Int(heldByteCount)))
        byteCount &+= UInt64(truncatingIfNeeded: count)
        // A partial send(2) has filled the socket. A partial splice may have stopped at a pipe buffer.
        if heldByteCount > 0, method == .copy { isSinkWritable = false }
        if heldByteCount == 0 { changeMethodIfAsked() }
    }

    /// After `.send`, `.spliceOut` or `.finish` found the sink full.
    public mutating func sinkWouldBlock() {
        isSinkWritable = false
    }

    /// After `.finish`.
    public mutating func didFinish() {
        assert(isSourceEnded && heldByteCount == 0)
        isSinkEnded = true
    }

    /// No pipe is to be had: this read is copied.
    public mutating func copyInstead() {
        assert(heldByteCount == 0)
        method = .copy
        wantsSplice = false
        shortSpliceRunCount = 0
    }

    private mutating func changeMethodIfAsked() {
        switch method {
        case .copy:
            if wantsSplice {
                method = .splice
                wantsSplice = false
                shortSpliceRunCount = 0
            }
        case .splice:
            if shortSpliceRunCount >= Limits.shortSplicesBeforeCopy { copyInstead() }
        }
    }
}
