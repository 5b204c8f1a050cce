// nghttp2's callbacks, each of which hands on to the session that is its user data.
//
// A callback runs inside `receive` or `send` of its session, on the worker's thread.

import Balancing
import CNGHTTP2

enum HTTP2Callbacks {
    static func make() -> OpaquePointer {
        var made: OpaquePointer?
        let result = unsafe nghttp2_session_callbacks_new(&made)
        guard result == 0, let callbacks = unsafe made else { preconditionFailure("no memory for HTTP/2") }
        unsafe nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, head, user in
            guard let head = unsafe head, let state = unsafe state(user) else { return failed }
            return unsafe state.beginFrame(head.pointee) ? 0 : failed
        }
        unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
            guard let frame = unsafe frame, let state = unsafe state(user) else { return failed }
            unsafe state.beginHead(frame)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, _, name, nameCount, value, valueCount, _, user in
            guard let state = unsafe state(user) else { return failed }
            return unsafe state.appendField(
                name: UnsafeBufferPointer(start: name, count: nameCount),
                value: UnsafeBufferPointer(start: value, count: valueCount))
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) {
            _, _, _, _, _, _, _, user in
            guard let state = unsafe state(user) else { return failed }
            unsafe state.noteFault(.field)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
            _, _, stream, bytes, count, user in
            guard let state = unsafe state(user) else { return failed }
            return unsafe state.receiveContent(bytes, count: count, stream: stream) ? 0 : failed
        }
        unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
            guard let frame = unsafe frame, let state = unsafe state(user) else { return failed }
            return unsafe state.receiveFrame(frame) ? 0 : failed
        }
        unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, frame, _, user in
            guard let frame = unsafe frame, let state = unsafe state(user) else { return failed }
            return unsafe state.refuseFrame(frame) ? 0 : failed
        }
        unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, user in
            guard let state = unsafe state(user) else { return failed }
            unsafe state.closeStream(stream, code: HTTP2ErrorCode(rawValue: code))
            return 0
        }
        unsafe nghttp2_session_callbacks_set_before_frame_send_callback(callbacks) { _, frame, user in
            guard let frame = unsafe frame, let state = unsafe state(user) else { return failed }
            unsafe state.pointee.isMidFrame = true
            unsafe state.noteOwnGoAway(frame)
            return 0
        }
        unsafe nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
            guard let frame = unsafe frame, let state = unsafe state(user) else { return failed }
            unsafe state.pointee.isMidFrame = false
            return unsafe state.noteSent(frame.pointee.hd) ? 0 : failed
        }
        unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks) {
            _, _, head, count, source, user in
            guard let state = unsafe state(user), let head = unsafe head,
                let record = unsafe streamRecord(source)
            else { return failed }
            return unsafe state.sendContent(head: head, count: count, of: record)
        }
        return unsafe callbacks
    }

    static func makeOption(encoderTableByteCount: Int) -> OpaquePointer {
        var made: OpaquePointer?
        let result = unsafe nghttp2_option_new(&made)
        guard result == 0, let option = unsafe made else { preconditionFailure("no memory for HTTP/2") }
        // Windows open when the other side has taken the bytes, not before.
        unsafe nghttp2_option_set_no_auto_window_update(option, 1)
        unsafe nghttp2_option_set_no_closed_streams(option, 1)
        unsafe nghttp2_option_set_max_outbound_ack(option, Limits.http2UnsentAnswerCountMax)
        unsafe nghttp2_option_set_max_settings(option, Limits.http2SettingsPerFrameMax)
        unsafe nghttp2_option_set_max_reserved_remote_streams(option, 0)
        unsafe nghttp2_option_set_max_deflate_dynamic_table_size(option, encoderTableByteCount)
        // Heads to send are bounded by who submits them; the library's own bound is a failure without a message.
        unsafe nghttp2_option_set_max_send_header_block_length(option, 4 * Limits.http2HeaderListByteCountMax)
        // These two have their own budget here, which also tells who was at fault and takes the time as an argument.
        unsafe nghttp2_option_set_stream_reset_rate_limit(option, UInt64(Int32.max), UInt64(Int32.max))
        unsafe nghttp2_option_set_max_continuations(option, 2 * Limits.http2ContinuationCountMax)
        return unsafe option
    }

    /// Content comes from the queue of that stream.
    static func contentProvider(_ record: UnsafeMutablePointer<StreamRecord>) -> nghttp2_data_provider {
        unsafe nghttp2_data_provider(
            source: nghttp2_data_source(ptr: record),
            read_callback: { _, _, _, byteCountMax, flags, source, user in
                guard let state = unsafe state(user), let record = unsafe streamRecord(source),
                    let flags = unsafe flags
                else { return Int(failed) }
                return unsafe state.nextContent(of: record, byteCountMax: byteCountMax, flags: flags)
            })
    }
}

// A function that C calls captures nothing, not even the type that it stands in.

private var failed: Int32 { Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }

private func state(_ user: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<SessionState>? {
    unsafe user?.assumingMemoryBound(to: SessionState.self)
}

private func streamRecord(
    _ source: UnsafeMutablePointer<nghttp2_data_source>?
) -> UnsafeMutablePointer<StreamRecord>? {
    unsafe source?.pointee.ptr?.assumingMemoryBound(to: StreamRecord.self)
}
