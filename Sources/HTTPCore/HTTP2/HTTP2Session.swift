// One HTTP/2 connection: bytes in, events out; heads and content in, bytes out. No socket, no clock.
//
// nghttp2 frames, compresses, keeps the state of streams and the flow-control windows. Here are the limits that it
// does not keep, the heads in the form that HTTP/1.1 has too, and the bounded queues of content to send.
// Not offered: server push, priorities of RFC 7540, extended CONNECT (RFC 8441: WebSocket over HTTP/2), upgrade
// from HTTP/1.1 (h2c by prior knowledge needs none).

import Balancing
import CNGHTTP2

/// Names one HTTP/2 session without owning it: trivial, so that it can stand in a connection's slot.
///
/// Whoever holds the slot ends it with `free()`, exactly once, and before the pool goes. All zero bytes are a valid
/// value: no session. One thread at a time.
///
/// After any call that may have made frames (all but the readers), `wantsToSend` tells whether `nextOutput` has
/// something to say.
@safe
public struct HTTP2Session: BitwiseCopyable {
    // Alive from init to free(); null otherwise.
    private var state: UnsafeMutablePointer<SessionState>?

    public static var none: HTTP2Session { unsafe HTTP2Session(nil) }

    private init(_ state: UnsafeMutablePointer<SessionState>?) {
        unsafe self.state = unsafe state
    }

    /// The side that answers. Nil when there is no memory.
    public init?(asServerIn pool: borrowing HTTP2Pool, at now: Instant) {
        guard let state = unsafe SessionState.make(isServer: true, in: pool.storage, at: now) else {
            return nil
        }
        unsafe self.state = unsafe state
    }

    /// The side that asks. Nil when there is no memory.
    public init?(asClientIn pool: borrowing HTTP2Pool, at now: Instant) {
        guard let state = unsafe SessionState.make(isServer: false, in: pool.storage, at: now) else {
            return nil
        }
        unsafe self.state = unsafe state
    }

    public var isOpen: Bool { unsafe state != nil }

    /// Gives back everything the session holds; streams that are open end without an event.
    public mutating func free() {
        guard let state = unsafe state else { return }
        unsafe SessionState.free(state)
        unsafe self.state = nil
    }

    // MARK: Bytes in

    public enum Reception: Hashable, Sendable {
        /// All bytes are taken.
        case complete
        /// So many are: handle the events, then call again with the rest, even when none is left.
        case paused(byteCount: Int)
        /// Send what is pending, then close. Events that came before it are in the inbox.
        case failed(HTTP2Failure)
    }

    /// Reads what the peer sent; fills `inbox` anew.
    ///
    /// Places of content in events are places in `bytes`.
    public func receive(_ bytes: Span<UInt8>, into inbox: inout HTTP2Inbox, at now: Instant) -> Reception {
        inbox.removeAll()
        guard let state = unsafe state else { return .failed(.internalError) }
        return unsafe bytes.withUnsafeBufferPointer {
            unsafe state.receive($0, into: &inbox, at: now)
        }
    }

    // MARK: Bytes out

    /// There are bytes to send now.
    public var wantsToSend: Bool { unsafe state?.wantsToSend ?? false }

    /// All is said and done, or the session failed: close once nothing `wantsToSend`.
    public var wantsToClose: Bool { unsafe state?.wantsToClose ?? true }

    /// Appends frames to `output` as long as they fit; fills `inbox` with what sending them ended.
    ///
    /// Returns whether there is more to send. Room for 16,393 bytes or more makes full DATA frames; with less than
    /// 10 no content moves at all.
    public func nextOutput(into output: inout OutputSpan<UInt8>, inbox: inout HTTP2Inbox) -> Bool {
        inbox.removeAll()
        guard let state = unsafe state else { return false }
        return unsafe output.withUnsafeMutableBufferPointer { buffer, count in
            unsafe state.send(into: buffer, count: &count, inbox: &inbox)
        }
    }

    /// The same behind what a buffer holds.
    public func nextOutput(into output: inout OutputBuffer, inbox: inout HTTP2Inbox) -> Bool {
        inbox.removeAll()
        guard let state = unsafe state else { return false }
        let start = output.count
        return unsafe output.storage.withUnsafeMutableBufferPointer { buffer in
            var count = 0
            let hasMore = unsafe state.send(
                into: UnsafeMutableBufferPointer(rebasing: buffer[start...]), count: &count, inbox: &inbox)
            output.count = start + count
            return hasMore
        }
    }

    // MARK: Messages out

    /// A stream for the request in `block`; nil when the peer takes none (now: see `availableStreamCount`).
    public func submitRequest(
        _ block: borrowing HTTP2FieldBlock, endsStream: Bool, tag: UInt64 = 0
    ) -> Int32? {
        unsafe state?.submitRequest(block, endsStream: endsStream, tag: tag)
    }

    /// Answers, finally or (`isInterim`) with one of 1xx. False when the stream is gone or has an answer.
    public func submitResponse(
        _ block: borrowing HTTP2FieldBlock, stream: Int32, endsStream: Bool, isInterim: Bool = false
    ) -> Bool {
        unsafe state?.submitResponse(block, stream: stream, endsStream: endsStream, isInterim: isInterim)
            ?? false
    }

    /// Queues content; returns how many bytes were taken, from the first on.
    ///
    /// When it is less than all, an event `writable` follows. Zero when the stream is gone.
    public func write(_ content: Span<UInt8>, stream: Int32) -> Int {
        guard let state = unsafe state else { return 0 }
        return unsafe content.withUnsafeBufferPointer { unsafe state.write($0, stream: stream) }
    }

    /// How much `write` would take. When that is nothing, an event `writable` follows, as after `write`.
    public func roomToWrite(stream: Int32) -> Int {
        unsafe state?.roomToWrite(stream: stream) ?? 0
    }

    /// Ends this side of the stream after what is queued.
    public func finish(stream: Int32) {
        unsafe state?.finish(stream: stream)
    }

    /// Ends this side of the stream with trailers after what is queued. False when they are too large.
    public func submitTrailers(_ block: borrowing HTTP2FieldBlock, stream: Int32) -> Bool {
        unsafe state?.submitTrailers(block, stream: stream) ?? false
    }

    /// Ends the stream at once in both directions; what is queued is dropped.
    public func reset(stream: Int32, code: HTTP2ErrorCode) {
        unsafe state?.reset(stream: stream, code: code)
    }

    /// Content of a stream has been taken: the peer may send as much again.
    ///
    /// What a stream that is closed had left is consumed by itself.
    public func consumed(stream: Int32, byteCount: Int) {
        unsafe state?.consumed(stream: stream, byteCount: byteCount)
    }

    /// The rest of a request is not wanted: it is dropped, and when the response has been sent before the client
    /// has ended its request, the stream is reset with NO_ERROR; RFC 9113 section 8.1.
    public func discardContent(stream: Int32) {
        unsafe state?.discardContent(stream: stream)
    }

    // MARK: Streams

    /// False for streams that are closed: a request may be gone again when its event is looked at.
    public func isOpen(stream: Int32) -> Bool { unsafe state?.record(stream) != nil }

    /// Notes a number of the owner's with a stream; false when the stream is gone.
    @discardableResult
    public func setTag(_ tag: UInt64, stream: Int32) -> Bool {
        guard let record = unsafe state?.record(stream) else { return false }
        unsafe record.pointee.tag = tag
        return true
    }

    /// The number noted with a stream, zero by default; nil when the stream is gone.
    public func tag(stream: Int32) -> UInt64? { unsafe state?.record(stream)?.pointee.tag }

    public var openStreamCount: Int { unsafe state.map { unsafe Int($0.pointee.openStreamCount) } ?? 0 }

    /// How many more requests the peer takes now. A client's side.
    public var availableStreamCount: Int { unsafe state?.availableStreamCount ?? 0 }

    // MARK: The end

    /// Tells the peer to begin no more streams; those under way, also those on the wire, go on.
    ///
    /// Follow with `goAway` a round trip later. RFC 9113 section 6.8.
    public func announceShutdown() {
        unsafe state?.announceShutdown()
    }

    /// Takes no more streams than have come; the session wants to close when those are done.
    public func goAway(code: HTTP2ErrorCode = .none) {
        unsafe state?.goAway(code: code)
    }

    public var failure: HTTP2Failure? { unsafe state?.pointee.failure }
}
