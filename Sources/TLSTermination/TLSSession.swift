// One TLS connection over a non-blocking socket, as trivial outcomes.
//
// An SSL object of its own context; see ssl(7). Nothing here blocks, allocates on its own account, or throws.
// What OpenSSL allocates while a session lives: a record buffer of 17 KiB per direction, taken when bytes move
// and given back when none are left (SSL_MODE_RELEASE_BUFFERS), and whatever a handshake needs.

import Balancing
import COpenSSL
import LinuxIO

/// What came of a step of the handshake or of the end.
package enum TLSStep: Hashable, Sendable, BitwiseCopyable {
    case done
    /// Call again when the socket is readable.
    case wantRead
    /// Call again when the socket is writable.
    case wantWrite
    case failed(TLSFailure)
}

/// What came of one attempt to move plain bytes.
package enum TLSTransfer: Hashable, Sendable, BitwiseCopyable {
    /// At least one byte; none when all that came was no data, such as many key updates: call again next turn.
    case moved(Int)
    /// The socket has no more.
    case wantRead
    case wantWrite
    /// The other side said close_notify: every byte arrived. This side may go on writing.
    case endOfStream
    case failed(TLSFailure)
}

/// Names one TLS session without owning it: trivial, so that it can stand in a flow's slot.
///
/// Whoever holds the slot ends it with `free()`, exactly once, before the descriptor is closed. All zero bytes
/// are a valid value: no session. One thread at a time.
@safe
package struct TLSSession: BitwiseCopyable {
    // Alive from a context's makeSession to free(); null otherwise.
    var handle: OpaquePointer?
    private var closing: Closing
    /// A record is encrypted and not all sent: nothing else may be written before it.
    private var hasRecordUnderWay = false

    private enum Closing: UInt8, BitwiseCopyable {
        case open
        case notifying
        case notified
    }

    package static var none: TLSSession { unsafe TLSSession(nil) }

    init(_ handle: OpaquePointer?) {
        unsafe self.handle = unsafe handle
        closing = .open
    }

    package var isOpen: Bool { unsafe handle != nil }

    /// Gives back everything the session holds, the descriptor excepted. Says nothing to the other side.
    package mutating func free() {
        unsafe SSL_free(handle)
        unsafe handle = nil
        closing = .open
        hasRecordUnderWay = false
    }

    // MARK: The life of a session

    /// Goes on with the handshake; see SSL_do_handshake(3).
    ///
    /// After `.failed` the alert that says why has been sent, if the connection took it.
    package mutating func handshake() -> TLSStep {
        guard let handle = unsafe handle else { return .failed(.other(reason: 0)) }
        clearErrors()
        for _ in 0..<(Limits.receivesPerHandshakeStepMax / Limits.receivesPerReadMax) {
            unsafe SocketTransport.beginReading(handle)
            let result = unsafe SSL_do_handshake(handle)
            if result == 1 { return .done }
            let step = unsafe step(after: result, handle)
            guard step == .wantRead, unsafe SocketTransport.isExhausted(handle) else { return step }
        }
        return .failed(.malformedHandshake)
    }

    package var isEstablished: Bool { unsafe handle.map { unsafe SSL_is_init_finished($0) == 1 } ?? false }

    /// Reads decrypted bytes into the front of `bytes`, of one record at most; see SSL_read_ex(3).
    ///
    /// Reads ahead: `.wantRead` is the only sign that the socket has no more.
    package mutating func read(into bytes: inout MutableRawSpan) -> TLSTransfer {
        guard let handle = unsafe handle else { return .failed(.other(reason: 0)) }
        guard !bytes.isEmpty else { return .moved(0) }
        clearErrors()
        unsafe SocketTransport.beginReading(handle)
        var count = 0
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe SSL_read_ex(handle, buffer.baseAddress, buffer.count, &count)
        }
        if result == 1 { return .moved(count) }
        let outcome = unsafe transfer(after: result, handle)
        // With an edge-triggered poll "want read" would never come back from a socket that is not empty.
        return unsafe outcome == .wantRead && SocketTransport.isExhausted(handle) ? .moved(0) : outcome
    }

    /// Encrypts and sends bytes from the front of `bytes`, in full records; see SSL_write_ex(3).
    ///
    /// Returns how many were taken; fewer than given when the socket takes no more, which the next call says by
    /// `.wantWrite`. Large calls are cheaper: within one the kernel may fill its segments. After `.wantWrite` the next call must begin with the same bytes, though not
    /// at the same address, since a record of them may be on its way.
    package mutating func write(from bytes: RawSpan) -> TLSTransfer {
        guard let handle = unsafe handle else { return .failed(.other(reason: 0)) }
        guard !bytes.isEmpty else { return .moved(0) }
        clearErrors()
        return unsafe bytes.withUnsafeBytes { buffer in
            var written = 0
            hasRecordUnderWay = false
            while written < buffer.count {
                let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[written...])
                let piece = min(rest.count, Int(SSL3_RT_MAX_PLAIN_LENGTH))
                unsafe SocketTransport.setExpectsMore(piece < rest.count, of: handle)
                var count = 0
                let result = unsafe SSL_write_ex(handle, rest.baseAddress, piece, &count)
                guard result == 1 else {
                    // What came of this record is told by the next call, which meets it again.
                    let outcome = unsafe transfer(after: result, handle)
                    hasRecordUnderWay = outcome == .wantWrite
                    return written > 0 ? .moved(written) : outcome
                }
                written += count
            }
            return .moved(written)
        }
    }

    /// Says close_notify: no more bytes will come from here; see SSL_shutdown(3). Reading goes on.
    ///
    /// Never waits for the other side's. Once `.done`, further calls change nothing. After a `.wantWrite` of
    /// `write` that has to be finished first; until then this says `.wantWrite` too.
    package mutating func shutdown() -> TLSStep {
        guard let handle = unsafe handle else { return .failed(.other(reason: 0)) }
        // A second SSL_shutdown would read from the socket, and take data for a violation of the protocol.
        guard closing != .notified else { return .done }
        guard !hasRecordUnderWay else { return .wantWrite }
        guard unsafe SSL_is_init_finished(handle) == 1 else { return .failed(.endedEarly) }
        clearErrors()
        unsafe SocketTransport.setExpectsMore(false, of: handle)
        let result = unsafe SSL_shutdown(handle)
        guard result < 0 else {
            closing = .notified
            return .done
        }
        closing = .notifying
        return unsafe step(after: result, handle)
    }

    // MARK: Failures

    private func step(after result: Int32, _ handle: OpaquePointer) -> TLSStep {
        switch unsafe transfer(after: result, handle) {
        case .wantRead: .wantRead
        case .wantWrite: .wantWrite
        case .endOfStream: .failed(.endedEarly)
        case .failed(let failure): .failed(failure)
        case .moved: .done
        }
    }

    private func transfer(after result: Int32, _ handle: OpaquePointer) -> TLSTransfer {
        switch unsafe SSL_get_error(handle, result) {
        case SSL_ERROR_WANT_READ: return .wantRead
        case SSL_ERROR_WANT_WRITE: return .wantWrite
        case SSL_ERROR_ZERO_RETURN: return .endOfStream
        case SSL_ERROR_SYSCALL:
            ERR_clear_error()
            let errno = unsafe SocketTransport.lastError(of: handle)
            return .failed(errno.rawValue == 0 ? .endedEarly : .connection(errno))
        default:
            let failure = takeFailure()
            guard case .certificateRefused = failure else { return .failed(failure) }
            let code = Int32(truncatingIfNeeded: unsafe SSL_get_verify_result(handle))
            return .failed(.certificateRefused(code: code))
        }
    }
}

// MARK: - Over a region of a worker's memory

extension TLSSession {
    /// `read(into:)` into `region` from `offset` on, at most `byteCountMax` bytes.
    package mutating func read(
        into region: borrowing ByteRegion, at offset: Int = 0, byteCountMax: Int
    ) -> TLSTransfer {
        region.withMutableBytes(at: offset, byteCount: byteCountMax) { bytes in read(into: &bytes) }
    }

    /// `read(into:)` into `bytes` from `offset` on, at most `byteCountMax` bytes.
    package mutating func read(into bytes: inout [UInt8], at offset: Int, byteCountMax: Int) -> TLSTransfer {
        precondition(offset >= 0 && byteCountMax >= 0 && byteCountMax <= bytes.count - offset)
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            var span = unsafe UnsafeMutableRawBufferPointer(
                rebasing: buffer[offset..<offset + byteCountMax]
            ).mutableBytes
            return read(into: &span)
        }
    }

    /// `write(from:)` of bytes.
    package mutating func write(from bytes: Span<UInt8>) -> TLSTransfer {
        unsafe write(from: bytes.bytes)
    }

    /// `write(from:)` of `byteCount` bytes of `region` from `offset` on.
    package mutating func write(
        from region: borrowing ByteRegion, at offset: Int, byteCount: Int
    ) -> TLSTransfer {
        region.withBytes(at: offset, byteCount: byteCount) { bytes in write(from: bytes) }
    }
}
