// Heads, content and the end of streams on their way out.

import Balancing
import CNGHTTP2

extension UnsafeMutablePointer<SessionState> {
    // MARK: Submitting

    func submitRequest(_ block: borrowing HTTP2FieldBlock, endsStream: Bool, tag: UInt64) -> Int32? {
        guard unsafe availableStreamCount > 0, block.canBeSent else { return nil }
        let record = unsafe openRecord(0)
        unsafe record.pointee.isReported = true
        unsafe record.pointee.tag = tag
        unsafe record.pointee.sendsContent = !endsStream
        let list = unsafe pointee.pool.pointee.fieldList
        let stream = unsafe block.withFieldList(in: list) { fields, count in
            var provider = unsafe HTTP2Callbacks.contentProvider(record)
            return unsafe withUnsafePointer(to: &provider) {
                unsafe nghttp2_submit_request(
                    pointee.session, nil, fields, count, endsStream ? nil : $0, record)
            }
        }
        guard let stream, stream > 0 else {
            unsafe closeRecord(record)
            return nil
        }
        unsafe record.pointee.id = stream
        unsafe pointee.budget.creditFrame()
        return stream
    }

    func submitResponse(
        _ block: borrowing HTTP2FieldBlock, stream: Int32, endsStream: Bool, isInterim: Bool
    ) -> Bool {
        guard unsafe pointee.isServer, let record = unsafe record(stream),
            unsafe !record.pointee.hasSubmittedHead, unsafe !record.pointee.hasReset, block.canBeSent
        else { return false }
        let list = unsafe pointee.pool.pointee.fieldList
        let result = unsafe block.withFieldList(in: list) { fields, count in
            if isInterim {
                return unsafe nghttp2_submit_headers(
                    pointee.session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, nil, fields, count, nil)
            }
            var provider = unsafe HTTP2Callbacks.contentProvider(record)
            return unsafe withUnsafePointer(to: &provider) {
                unsafe nghttp2_submit_response(
                    pointee.session, stream, fields, count, endsStream ? nil : $0)
            }
        }
        guard result == 0 else { return false }
        if !isInterim {
            unsafe record.pointee.hasSubmittedHead = true
            unsafe record.pointee.sendsContent = !endsStream
            unsafe pointee.budget.creditFrame()
        }
        return true
    }

    /// The record of a stream that takes content or its end.
    private func sendingRecord(_ stream: Int32) -> UnsafeMutablePointer<StreamRecord>? {
        guard let record = unsafe record(stream), unsafe record.pointee.sendsContent,
            unsafe !record.pointee.isFinished, unsafe !record.pointee.hasReset
        else { return nil }
        return unsafe record
    }

    func write(_ content: UnsafeBufferPointer<UInt8>, stream: Int32) -> Int {
        guard let record = unsafe sendingRecord(stream), let start = content.baseAddress else { return 0 }
        let count = unsafe pointee.pool.pointee.enqueue(start, count: content.count, on: record)
        if count < content.count { unsafe record.pointee.wantsRoom = true }
        if count > 0 { unsafe resume(record) }
        return count
    }

    func roomToWrite(stream: Int32) -> Int {
        guard let record = unsafe sendingRecord(stream) else { return 0 }
        let room = unsafe pointee.pool.pointee.room(of: record)
        // Whoever asks and is told of none waits for the event.
        if room == 0 { unsafe record.pointee.wantsRoom = true }
        return room
    }

    func finish(stream: Int32) {
        guard let record = unsafe sendingRecord(stream) else { return }
        unsafe record.pointee.isFinished = true
        unsafe resume(record)
    }

    func submitTrailers(_ block: borrowing HTTP2FieldBlock, stream: Int32) -> Bool {
        guard let record = unsafe sendingRecord(stream) else { return true }
        guard let trailers = unsafe block.encoded() else { return false }
        unsafe record.pointee.trailers = unsafe trailers
        unsafe record.pointee.isFinished = true
        unsafe resume(record)
        return true
    }

    private func resume(_ record: UnsafeMutablePointer<StreamRecord>) {
        guard unsafe record.pointee.isDeferred else { return }
        unsafe record.pointee.isDeferred = false
        // Fails only when the stream is about to be closed.
        _ = unsafe nghttp2_session_resume_data(pointee.session, record.pointee.id)
    }

    func reset(stream: Int32, code: HTTP2ErrorCode) {
        guard let record = unsafe record(stream), unsafe !record.pointee.hasReset else { return }
        unsafe record.pointee.hasReset = true
        unsafe pointee.pool.pointee.dropQueue(of: record)
        _ = unsafe nghttp2_submit_rst_stream(
            pointee.session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
    }

    func consumed(stream: Int32, byteCount: Int) {
        guard let record = unsafe record(stream) else { return }
        let count = unsafe min(byteCount, Int(record.pointee.unconsumedCount))
        guard count > 0 else { return }
        unsafe record.pointee.unconsumedCount -= Int32(count)
        _ = unsafe nghttp2_session_consume(pointee.session, stream, count)
    }

    func discardContent(stream: Int32) {
        guard let record = unsafe record(stream), unsafe !record.pointee.discardsContent else { return }
        unsafe record.pointee.discardsContent = true
        unsafe consumeOnConnection(record)
        if unsafe nghttp2_session_get_stream_local_close(pointee.session, stream) == 1 {
            unsafe endDiscarded(stream)
        }
    }

    /// After the last frame of a response: a client that still sends its request is told to leave it.
    func endDiscarded(_ stream: Int32) {
        guard let record = unsafe record(stream), unsafe record.pointee.discardsContent,
            unsafe nghttp2_session_get_stream_remote_close(pointee.session, stream) == 0
        else { return }
        unsafe reset(stream: stream, code: .none)
    }

    /// Opens the connection's window for what the stream has left, and not the stream's own.
    func consumeOnConnection(_ record: UnsafeMutablePointer<StreamRecord>) {
        let count = unsafe Int(record.pointee.unconsumedCount)
        guard count > 0 else { return }
        unsafe record.pointee.unconsumedCount = 0
        _ = unsafe nghttp2_session_consume_connection(pointee.session, count)
    }

    func announceShutdown() {
        _ = unsafe nghttp2_submit_shutdown_notice(pointee.session)
    }

    func goAway(code: HTTP2ErrorCode) {
        unsafe pointee.isGoAwayByOwner = true
        let last = unsafe nghttp2_session_get_last_proc_stream_id(pointee.session)
        _ = unsafe nghttp2_submit_goaway(
            pointee.session, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, code.rawValue, nil, 0)
    }

    // MARK: Sending

    var wantsToSend: Bool {
        if unsafe pointee.leftoverStart < pointee.leftoverEnd { return true }
        return unsafe !pointee.hasStoppedWriting && nghttp2_session_want_write(pointee.session) != 0
    }

    func send(
        into buffer: UnsafeMutableBufferPointer<UInt8>, count: inout Int, inbox: inout HTTP2Inbox
    ) -> Bool {
        unsafe pointee.output = buffer.baseAddress
        unsafe pointee.outputCapacity = buffer.count
        unsafe pointee.outputCount = count
        unsafe withUnsafeMutablePointer(to: &inbox) {
            unsafe pointee.inbox = unsafe $0
            unsafe sendFrames()
            unsafe pointee.inbox = nil
        }
        count = unsafe pointee.outputCount
        unsafe pointee.output = nil
        return unsafe wantsToSend
    }

    private func sendFrames() {
        unsafe sendLeftover()
        guard unsafe pointee.leftoverStart == pointee.leftoverEnd, unsafe !pointee.hasStoppedWriting else {
            return
        }
        if unsafe !pointee.hasSentPreface {
            unsafe pointee.hasSentPreface = true
            let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            unsafe append(preface.utf8Start, count: preface.utf8CodeUnitCount)
        }
        unsafe pointee.isOutOfRoom = false
        // A frame of several parts is always seen to its end: the buffer it stands in is not this session's alone.
        while unsafe pointee.isMidFrame || pointee.outputCount < pointee.outputCapacity {
            var frame: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(pointee.session, &frame)
            if count < 0 {
                unsafe pointee.hasStoppedWriting = true
                unsafe fail(count == Int(NGHTTP2_ERR_NOMEM.rawValue) ? .outOfMemory : .internalError)
                return
            }
            guard count > 0, let frame = unsafe frame else { return }
            unsafe append(frame, count: count)
        }
    }

    /// As much as fits goes out, the rest is kept.
    private func append(_ bytes: UnsafePointer<UInt8>, count: Int) {
        let room = unsafe pointee.outputCapacity - pointee.outputCount
        let part = min(room, count)
        if part > 0, let output = unsafe pointee.output {
            unsafe (output + pointee.outputCount).update(from: bytes, count: part)
            unsafe pointee.outputCount += part
        }
        if part < count { unsafe keep(bytes + part, count: count - part) }
    }

    private func keep(_ bytes: UnsafePointer<UInt8>, count: Int) {
        let kept = unsafe pointee.leftoverEnd - pointee.leftoverStart
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: kept + count)
        if let old = unsafe pointee.leftover {
            unsafe larger.update(from: old + pointee.leftoverStart, count: kept)
            unsafe old.deallocate()
        }
        unsafe (larger + kept).update(from: bytes, count: count)
        unsafe pointee.leftover = unsafe larger
        unsafe pointee.leftoverStart = 0
        unsafe pointee.leftoverEnd = kept + count
    }

    private func sendLeftover() {
        guard let leftover = unsafe pointee.leftover, let output = unsafe pointee.output else { return }
        let part = unsafe min(
            pointee.leftoverEnd - pointee.leftoverStart, pointee.outputCapacity - pointee.outputCount)
        unsafe (output + pointee.outputCount).update(from: leftover + pointee.leftoverStart, count: part)
        unsafe pointee.outputCount += part
        unsafe pointee.leftoverStart += part
        guard unsafe pointee.leftoverStart == pointee.leftoverEnd else { return }
        unsafe leftover.deallocate()
        unsafe pointee.leftover = nil
        unsafe pointee.leftoverStart = 0
        unsafe pointee.leftoverEnd = 0
    }

    // MARK: Content, as nghttp2 asks for it

    static let frameHeadByteCount = 9

    /// How much of a stream's queue the next frame takes, or why none.
    func nextContent(
        of record: UnsafeMutablePointer<StreamRecord>, byteCountMax: Int,
        flags: UnsafeMutablePointer<UInt32>
    ) -> Int {
        let queued = unsafe Int(record.pointee.queuedCount)
        if queued == 0 {
            guard unsafe record.pointee.isFinished else {
                unsafe record.pointee.isDeferred = true
                return Int(NGHTTP2_ERR_DEFERRED.rawValue)
            }
            unsafe end(record, flags: flags)
            return 0
        }
        let wanted = min(queued, byteCountMax)
        let room = unsafe pointee.outputCapacity - pointee.outputCount - Self.frameHeadByteCount
        let hasOutput = unsafe pointee.outputCount > 0
        guard room >= (hasOutput ? wanted : 1) else {
            unsafe pointee.isOutOfRoom = true
            return Int(NGHTTP2_ERR_PAUSE.rawValue)
        }
        let count = min(wanted, room)
        unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
        if count == queued, unsafe record.pointee.isFinished { unsafe end(record, flags: flags) }
        return count
    }

    private func end(_ record: UnsafeMutablePointer<StreamRecord>, flags: UnsafeMutablePointer<UInt32>) {
        unsafe flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
        guard let trailers = unsafe record.pointee.trailers else { return }
        unsafe flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
        let list = unsafe pointee.pool.pointee.fieldList
        let count = unsafe HTTP2FieldBlock.decode(trailers, into: list)
        _ = unsafe nghttp2_submit_trailer(pointee.session, record.pointee.id, list, count)
        unsafe trailers.deallocate()
        unsafe record.pointee.trailers = nil
    }

    /// Writes a DATA frame of `count` queued bytes, for which there is room.
    func sendContent(
        head: UnsafePointer<UInt8>, count: Int, of record: UnsafeMutablePointer<StreamRecord>
    ) -> Int32 {
        guard let output = unsafe pointee.output,
            unsafe pointee.outputCapacity - pointee.outputCount >= Self.frameHeadByteCount + count,
            unsafe Int(record.pointee.queuedCount) >= count
        else { return Int32(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
        unsafe (output + pointee.outputCount).update(from: head, count: Self.frameHeadByteCount)
        unsafe pointee.outputCount += Self.frameHeadByteCount
        unsafe pointee.pool.pointee.dequeue(count, of: record, to: output + pointee.outputCount)
        unsafe pointee.outputCount += count
        unsafe pointee.budget.creditFrame()
        if unsafe record.pointee.wantsRoom,
            unsafe Int(record.pointee.queuedCount) <= Limits.http2QueueByteCountMax / 2
        {
            unsafe record.pointee.wantsRoom = false
            unsafe report(.writable(stream: record.pointee.id))
        }
        return 0
    }
}
