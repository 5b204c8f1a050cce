// What the peer sent, as nghttp2 reports it: frames against the budget, content and ends as events.

import Balancing
import CNGHTTP2

extension UnsafeMutablePointer<SessionState> {
    func receive(
        _ bytes: UnsafeBufferPointer<UInt8>, into inbox: inout HTTP2Inbox, at now: Instant
    ) -> HTTP2Session.Reception {
        if let failure = unsafe pointee.failure { return .failed(failure) }
        unsafe pointee.now = now
        unsafe pointee.input = bytes.baseAddress
        unsafe pointee.inputCount = bytes.count
        let count = unsafe withUnsafeMutablePointer(to: &inbox) { inbox in
            unsafe pointee.inbox = unsafe inbox
            defer { unsafe pointee.inbox = nil }
            // Callbacks write to the area, and reach the inbox's other members only.
            return unsafe inbox.pointee.fieldBytes.withUnsafeMutableBufferPointer { area in
                unsafe pointee.fieldArea = area.baseAddress
                defer { unsafe pointee.fieldArea = nil }
                // nghttp2 wants an address even for no bytes.
                let count = unsafe nghttp2_session_mem_recv(
                    pointee.session, bytes.baseAddress ?? UnsafePointer(area.baseAddress), bytes.count)
                unsafe spillHead()
                return count
            }
        }
        unsafe pointee.input = nil
        return unsafe outcome(of: count)
    }

    private func outcome(of count: Int) -> HTTP2Session.Reception {
        if count < 0 { unsafe fail(failure(of: Int32(count))) }
        if let failure = unsafe pointee.failure { return .failed(failure) }
        if unsafe pointee.hasPaused {
            unsafe pointee.hasPaused = false
            return .paused(byteCount: count)
        }
        return .complete
    }

    private func failure(of code: Int32) -> HTTP2Failure {
        switch code {
        case Int32(NGHTTP2_ERR_NOMEM.rawValue): .outOfMemory
        case Int32(NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue): .preface
        case Int32(NGHTTP2_ERR_FLOODED.rawValue): .unreadAnswers
        case Int32(NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue): .continuationFlood
        default: .internalError
        }
    }

    // MARK: Frames

    /// Takes what the frame costs from the budget; false ends the session.
    func beginFrame(_ head: nghttp2_frame_hd) -> Bool {
        switch UInt32(head.type) {
        case NGHTTP2_DATA.rawValue:
            if head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 { return true }
            if head.length == 0 { return unsafe takeControlFrame(.emptyFrameFlood) }
            // Padding explains nothing.
            if head.flags & UInt8(NGHTTP2_FLAG_PADDED.rawValue) == 0 { unsafe pointee.budget.creditFrame() }
            return true
        case NGHTTP2_HEADERS.rawValue:
            unsafe pointee.continuationCount = 0
            return true
        case NGHTTP2_CONTINUATION.rawValue:
            unsafe pointee.continuationCount += 1
            guard unsafe pointee.continuationCount <= Limits.http2ContinuationCountMax else {
                return unsafe stop(.continuationFlood)
            }
            return unsafe head.length > 0 || takeControlFrame(.emptyFrameFlood)
        case NGHTTP2_RST_STREAM.rawValue:
            return unsafe takeReset()
        case NGHTTP2_SETTINGS.rawValue:
            return unsafe takeControlFrame(.settingsFlood)
        case NGHTTP2_PING.rawValue:
            return unsafe takeControlFrame(.pingFlood)
        case NGHTTP2_PRIORITY.rawValue:
            return unsafe takeControlFrame(.priorityFlood)
        case NGHTTP2_WINDOW_UPDATE.rawValue:
            return unsafe takeControlFrame(.windowUpdateFlood)
        case NGHTTP2_PUSH_PROMISE.rawValue:
            // Forbidden by settings that came before any request that a server could push for.
            return unsafe stop(.protocolViolation)
        default:
            // Frames of unknown types are skipped before this is called, and cost next to nothing.
            return true
        }
    }

    private func takeControlFrame(_ flood: HTTP2Failure) -> Bool {
        unsafe pointee.budget.takeControlFrame(at: pointee.now) || stop(flood)
    }

    private func takeReset() -> Bool {
        unsafe pointee.budget.takeReset(at: pointee.now) || stop(.resetFlood)
    }

    /// From inside a callback, which then reports failure, so that nghttp2 stops reading.
    func stop(_ failure: HTTP2Failure) -> Bool {
        unsafe fail(failure)
        return false
    }

    func receiveFrame(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
        let head = unsafe frame.pointee.hd
        let endsStream = head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        switch UInt32(head.type) {
        case NGHTTP2_HEADERS.rawValue:
            return unsafe endHead(stream: head.stream_id, endsStream: endsStream)
        case NGHTTP2_DATA.rawValue:
            guard endsStream, let record = unsafe record(head.stream_id), unsafe record.pointee.isReported,
                unsafe !record.pointee.hasReset
            else { return true }
            unsafe report(.endOfStream(stream: head.stream_id))
        case NGHTTP2_RST_STREAM.rawValue:
            unsafe record(head.stream_id)?.pointee.isResetByPeer = true
        case NGHTTP2_GOAWAY.rawValue:
            unsafe report(
                .goAway(
                    lastStream: weir_frame_last_stream(frame),
                    code: HTTP2ErrorCode(rawValue: weir_frame_goaway_code(frame))))
        case NGHTTP2_SETTINGS.rawValue:
            if head.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 { unsafe report(.settings) }
        default: break
        }
        return true
    }

    /// A frame of this side is on its way; false ends the session.
    func noteSent(_ head: nghttp2_frame_hd) -> Bool {
        switch UInt32(head.type) {
        case NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue:
            if head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 {
                unsafe endDiscarded(head.stream_id)
            }
        case NGHTTP2_RST_STREAM.rawValue:
            // Content that belies its length is answered with a reset and by no other sign: it counts here.
            if let record = unsafe record(head.stream_id), unsafe !record.pointee.hasReset {
                return unsafe takeReset()
            }
        default: break
        }
        return true
    }

    /// nghttp2 has reset the stream of that frame, or is about to end the connection.
    func refuseFrame(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
        let head = unsafe frame.pointee.hd
        guard head.stream_id != 0 else { return true }
        let isHead = UInt32(head.type) == NGHTTP2_HEADERS.rawValue
        if isHead { unsafe dropHead() }
        if let record = unsafe record(head.stream_id) {
            unsafe reset(record, code: .protocolError, origin: .violation)
            if isHead, unsafe !record.pointee.isReported {
                unsafe report(.malformed(stream: head.stream_id, fault: .message))
            }
        } else if isHead, unsafe pointee.isServer {
            unsafe report(.malformed(stream: head.stream_id, fault: .tooManyStreams))
        }
        return unsafe takeReset()
    }

    /// Tells once that a stream which events have named was reset.
    func reset(
        _ record: UnsafeMutablePointer<StreamRecord>, code: HTTP2ErrorCode, origin: HTTP2Reset.Origin,
        isUnprocessed: Bool = false
    ) {
        guard unsafe !record.pointee.hasReset else { return }
        unsafe record.pointee.hasReset = true
        unsafe pointee.pool.pointee.dropQueue(of: record)
        guard unsafe record.pointee.isReported else { return }
        unsafe report(
            .reset(
                stream: record.pointee.id,
                reset: HTTP2Reset(code: code, origin: origin, isUnprocessed: isUnprocessed)))
    }

    func receiveContent(_ bytes: UnsafePointer<UInt8>?, count: Int, stream: Int32) -> Bool {
        guard let input = unsafe pointee.input, let bytes = unsafe bytes else { return count == 0 }
        let start = unsafe bytes - input
        guard start >= 0, count >= 0, unsafe start + count <= pointee.inputCount else {
            return unsafe stop(.internalError)
        }
        guard let record = unsafe record(stream), unsafe record.pointee.isReported,
            unsafe !record.pointee.hasReset, unsafe !record.pointee.discardsContent,
            // nghttp2 resets a stream that exceeds its window, and reports the excess nevertheless.
            unsafe Int(record.pointee.unconsumedCount) + count <= Limits.http2StreamWindowByteCount
        else {
            // Nobody will take it. The connection's window is for the other streams.
            return unsafe nghttp2_session_consume_connection(pointee.session, count) == 0
        }
        unsafe record.pointee.unconsumedCount += Int32(clamping: count)
        unsafe report(.content(stream: stream, bytes: ByteRange(start..<start + count)))
        return true
    }

    func closeStream(_ stream: Int32, code: HTTP2ErrorCode) {
        guard let record = unsafe record(stream) else { return }
        let isResetByPeer = unsafe record.pointee.isResetByPeer
        if code != .none || isResetByPeer {
            // Also told by a GOAWAY, for streams beyond its last.
            let isUnprocessed = unsafe code == .refusedStream && !pointee.isServer
            unsafe reset(
                record, code: code, origin: isResetByPeer || isUnprocessed ? .peer : .violation,
                isUnprocessed: isUnprocessed)
        }
        unsafe consumeOnConnection(record)
        if unsafe record.pointee.isReported {
            unsafe report(.closed(stream: stream, tag: record.pointee.tag))
        }
        _ = unsafe nghttp2_session_set_stream_user_data(pointee.session, stream, nil)
        unsafe closeRecord(record)
    }
}
