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
            let isEmpty = head.length == 0 && head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) == 0
            if !isEmpty {
                unsafe pointee.budget.creditFrame()
                return true
            }
            return unsafe takeControlFrame(.emptyFrameFlood)
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
        default:
            return unsafe takeControlFrame(.unknownFrameFlood)
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
            guard endsStream, let record = unsafe record(head.stream_id), unsafe record.pointee.isReported
            else {
                return true
            }
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
            unsafe !record.pointee.hasReset
        else {
            // Nobody will take it. The connection's window is for the other streams.
            return unsafe nghttp2_session_consume(pointee.session, stream, count) == 0
        }
        unsafe record.pointee.unconsumedCount += Int32(clamping: count)
        unsafe report(.content(stream: stream, bytes: ByteRange(start..<start + count)))
        return true
    }

    func closeStream(_ stream: Int32, code: HTTP2ErrorCode) {
        guard let record = unsafe record(stream) else { return }
        if code != .none, unsafe !record.pointee.hasReset {
            let isOwnStream = unsafe !pointee.isServer
            let isUnprocessed = code == .refusedStream && isOwnStream
            let isPeer = unsafe record.pointee.isResetByPeer || isUnprocessed
            unsafe reset(
                record, code: code, origin: isPeer ? .peer : .violation, isUnprocessed: isUnprocessed)
        }
        let unconsumed = unsafe Int(record.pointee.unconsumedCount)
        if unconsumed > 0 {
            _ = unsafe nghttp2_session_consume_connection(pointee.session, unconsumed)
        }
        if unsafe record.pointee.isReported {
            unsafe report(.closed(stream: stream, tag: record.pointee.tag))
        }
        _ = unsafe nghttp2_session_set_stream_user_data(pointee.session, stream, nil)
        unsafe closeRecord(record)
    }
}
