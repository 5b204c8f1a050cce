// The part of a session that nghttp2's callbacks find again: one allocation, as long as the session lives.
//
// All work goes through the pointer and touches single members, since callbacks write to the same memory while
// nghttp2 is called.

import Balancing
import CNGHTTP2

@unsafe
struct SessionState {
    var session: OpaquePointer?
    let pool: UnsafeMutablePointer<PoolStorage>
    let isServer: Bool
    var hasSentPreface: Bool
    var failure: HTTP2Failure?
    /// A GOAWAY with an error says what the owner wanted to say.
    var isGoAwayByOwner = false
    /// Nothing can be written, not even a GOAWAY.
    var hasStoppedWriting = false
    var openStreamCount: Int32 = 0
    /// Its streams, the latest first.
    var firstRecord: UnsafeMutablePointer<StreamRecord>?
    var budget: HTTP2Budget
    var now: Instant

    // While `receive` or `send` runs.
    var inbox: UnsafeMutablePointer<HTTP2Inbox>?
    var fieldArea: UnsafeMutablePointer<UInt8>?
    var input: UnsafePointer<UInt8>?
    var inputCount = 0
    var output: UnsafeMutablePointer<UInt8>?
    var outputCount = 0
    var outputCapacity = 0
    /// A frame of several parts is being sent; see `CNGHTTP2` on the shared frame buffer.
    var isMidFrame = false
    /// Content waits for a larger room.
    var isOutOfRoom = false

    /// The head that is being read.
    var block = HeadAssembly()
    /// What of it came with earlier bytes.
    var spill: UnsafeMutableRawPointer?
    /// Where it stood in the area.
    var spillStart = 0
    /// The end of a frame for which there was no room.
    var leftover: UnsafeMutablePointer<UInt8>?
    var leftoverStart = 0
    var leftoverEnd = 0

    var continuationCount: Int32 = 0
    /// Reading stopped because the inbox is full.
    var hasPaused = false

    static func make(
        isServer: Bool, in pool: UnsafeMutablePointer<PoolStorage>, at now: Instant
    ) -> UnsafeMutablePointer<SessionState>? {
        let state = UnsafeMutablePointer<SessionState>.allocate(capacity: 1)
        unsafe state.initialize(
            to: SessionState(
                session: nil, pool: pool, isServer: isServer, hasSentPreface: isServer,
                budget: HTTP2Budget(at: now), now: now))
        let result = unsafe weir_session_new(
            &state.pointee.session, isServer, pool.pointee.callbacks, state,
            isServer ? pool.pointee.serverOption : pool.pointee.clientOption,
            pool.pointee.memory)
        unsafe pool.pointee.sessionCount += 1
        guard result == 0, unsafe state.submitSettings() else {
            unsafe free(state)
            return nil
        }
        return unsafe state
    }

    static func free(_ state: UnsafeMutablePointer<SessionState>) {
        unsafe state.giveBackRecords()
        // NULL is ignored.
        unsafe nghttp2_session_del(state.pointee.session)
        unsafe state.pointee.spill?.deallocate()
        unsafe state.pointee.leftover?.deallocate()
        unsafe state.pointee.pool.pointee.sessionCount -= 1
        unsafe state.deinitialize(count: 1)
        unsafe state.deallocate()
    }
}

extension UnsafeMutablePointer<SessionState> {
    fileprivate func submitSettings() -> Bool {
        var settings: [nghttp2_settings_entry] = [
            .init(
                settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue),
                value: UInt32(Limits.http2StreamWindowByteCount)),
            .init(
                settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue),
                value: UInt32(Limits.http2HeaderListByteCountMax)),
            .init(settings_id: Int32(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES.rawValue), value: 1),
        ]
        if unsafe pointee.isServer {
            settings.append(
                .init(
                    settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue),
                    value: UInt32(Limits.http2ConcurrentStreamsMax)))
        } else {
            settings.append(.init(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0))
        }
        let session = unsafe pointee.session
        let window =
            unsafe pointee.isServer
            ? Limits.http2ConnectionWindowByteCount : Limits.http2TargetWindowByteCount
        return unsafe nghttp2_submit_settings(
            session, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count) == 0
            && nghttp2_session_set_local_window_size(
                session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(window))
                == 0
    }

    // MARK: Streams

    func record(_ stream: Int32) -> UnsafeMutablePointer<StreamRecord>? {
        if let known = unsafe nghttp2_session_get_stream_user_data(pointee.session, stream) {
            return unsafe known.assumingMemoryBound(to: StreamRecord.self)
        }
        // A request that waits to be sent is not yet a stream to nghttp2; it is one of the latest.
        guard unsafe !pointee.isServer else { return nil }
        var next = unsafe pointee.firstRecord
        while let record = unsafe next {
            if unsafe record.pointee.id == stream { return unsafe record }
            unsafe next = unsafe record.pointee.next
        }
        return nil
    }

    func openRecord(_ stream: Int32) -> UnsafeMutablePointer<StreamRecord> {
        let record = unsafe pointee.pool.pointee.takeRecord()
        unsafe record.pointee.id = stream
        unsafe record.pointee.previous = nil
        unsafe record.pointee.next = unsafe pointee.firstRecord
        unsafe pointee.firstRecord?.pointee.previous = unsafe record
        unsafe pointee.firstRecord = unsafe record
        unsafe pointee.openStreamCount += 1
        return unsafe record
    }

    func closeRecord(_ record: UnsafeMutablePointer<StreamRecord>) {
        if let previous = unsafe record.pointee.previous {
            unsafe previous.pointee.next = unsafe record.pointee.next
        } else {
            unsafe pointee.firstRecord = unsafe record.pointee.next
        }
        unsafe record.pointee.next?.pointee.previous = unsafe record.pointee.previous
        unsafe pointee.openStreamCount -= 1
        unsafe pointee.pool.pointee.giveBack(record)
    }

    fileprivate func giveBackRecords() {
        while let record = unsafe pointee.firstRecord { unsafe closeRecord(record) }
    }

    var availableStreamCount: Int {
        guard unsafe !pointee.isServer, unsafe pointee.failure == nil,
            unsafe nghttp2_session_check_request_allowed(pointee.session) != 0
        else { return 0 }
        let granted = unsafe nghttp2_session_get_remote_settings(
            pointee.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        let countMax = min(Int(granted), Limits.http2ConcurrentStreamsMax)
        return unsafe max(0, countMax - Int(pointee.openStreamCount))
    }

    func report(_ event: HTTP2Event) {
        unsafe pointee.inbox?.pointee.events.append(event)
    }

    // MARK: Failing

    /// Ends the session with a GOAWAY that says why, unless one does already.
    func fail(_ failure: HTTP2Failure) {
        guard unsafe pointee.failure == nil else { return }
        unsafe pointee.failure = failure
        if unsafe nghttp2_session_terminate_session(pointee.session, failure.code.rawValue) != 0 {
            unsafe pointee.hasStoppedWriting = true
        }
    }

    /// nghttp2 ends a connection that is at fault by a GOAWAY; this is where it can be seen.
    func noteOwnGoAway(_ frame: UnsafePointer<nghttp2_frame>) {
        guard unsafe UInt32(frame.pointee.hd.type) == NGHTTP2_GOAWAY.rawValue,
            unsafe pointee.failure == nil, unsafe !pointee.isGoAwayByOwner
        else { return }
        switch unsafe HTTP2ErrorCode(rawValue: weir_frame_goaway_code(frame)) {
        case .none: break
        case .flowControlError: unsafe pointee.failure = .flowControl
        case .frameSizeError: unsafe pointee.failure = .frameSize
        case .compressionError: unsafe pointee.failure = .compression
        case .streamClosed: unsafe pointee.failure = .streamState
        case .enhanceYourCalm: unsafe pointee.failure = .unreadAnswers
        case .internalError: unsafe pointee.failure = .internalError
        default: unsafe pointee.failure = .protocolViolation
        }
    }

    var wantsToClose: Bool {
        let session = unsafe pointee.session
        if unsafe pointee.failure != nil { return unsafe !wantsToSend }
        return unsafe nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0
            && pointee.leftoverStart == pointee.leftoverEnd
    }
}
