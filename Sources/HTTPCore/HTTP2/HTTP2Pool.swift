// What one worker's HTTP/2 sessions share: callbacks and options, the frame buffer, stream records and the pieces
// in which content waits to be sent.
//
// Unsafe island 3, as all of this directory: nghttp2 keeps pointers into what stands here. One thread; the pool
// outlives its sessions.

import Balancing
import CNGHTTP2

/// Owns what sessions of one worker share; see `HTTP2Session`.
@safe
public struct HTTP2Pool: ~Copyable {
    // Allocated and filled here, alive until deinit.
    let storage: UnsafeMutablePointer<PoolStorage>

    public init() {
        unsafe storage = .allocate(capacity: 1)
        unsafe storage.initialize(to: PoolStorage())
    }

    deinit {
        unsafe precondition(storage.pointee.sessionCount == 0, "sessions are freed before their pool")
        unsafe storage.pointee.deallocate()
        unsafe storage.deinitialize(count: 1)
        unsafe storage.deallocate()
    }

    public var sessionCount: Int { unsafe storage.pointee.sessionCount }

    /// Pieces of queued content in use, of `Limits.http2QueuePieceByteCount` each.
    public var queuedPieceCount: Int { unsafe storage.pointee.pieceCount }

    /// From here on counts what nghttp2 holds for the sessions; for measurements.
    public func countMemory() {
        unsafe storage.pointee.memory.pointee.is_counting = true
    }

    /// Bytes and pieces of memory that nghttp2 holds since `countMemory`, and how often it asked for one.
    public var memoryUse: (byteCount: Int, pieceCount: Int, requestCount: Int) {
        let memory = unsafe storage.pointee.memory
        return unsafe (
            Int(memory.pointee.byte_count), Int(memory.pointee.piece_count), Int(memory.pointee.request_count)
        )
    }
}

/// A piece of queued content: this, then the bytes.
@unsafe
struct QueuePiece {
    var next: UnsafeMutablePointer<QueuePiece>?

    static let headByteCount = 16
    static let byteCountMax = Limits.http2QueuePieceByteCount - headByteCount
}

extension UnsafeMutablePointer<QueuePiece> {
    var bytes: UnsafeMutablePointer<UInt8> {
        unsafe (UnsafeMutableRawPointer(self) + QueuePiece.headByteCount).assumingMemoryBound(to: UInt8.self)
    }
}

/// What a session knows of one of its streams; found as nghttp2's user data of the stream.
@unsafe
struct StreamRecord {
    var next: UnsafeMutablePointer<StreamRecord>?
    var previous: UnsafeMutablePointer<StreamRecord>?
    var tag: UInt64 = 0
    var id: Int32 = 0

    // Content that waits to be sent, first to last; the first piece is read up to `readCount`, the last one
    // filled up to `fillCount`.
    var firstPiece: UnsafeMutablePointer<QueuePiece>?
    var lastPiece: UnsafeMutablePointer<QueuePiece>?
    var readCount: Int32 = 0
    var fillCount: Int32 = 0
    var queuedCount: Int32 = 0
    /// Content received and not yet told back as consumed.
    var unconsumedCount: Int32 = 0
    /// Trailers that follow the queued content: lengths and bytes; see `HTTP2FieldBlock.encoded`.
    var trailers: UnsafeMutableRawPointer?

    /// Events have named it, so that its end is told.
    var isReported = false
    /// Nothing but its end is told any more.
    var hasReset = false
    var isResetByPeer = false
    /// What still comes of its content is dropped; the stream ends with the response.
    var discardsContent = false
    var hasSubmittedHead = false
    /// The head that is submitted has content to follow.
    var sendsContent = false
    /// nghttp2 waits to be told that there is more.
    var isDeferred = false
    var isFinished = false
    var wantsRoom = false
}

@unsafe
struct PoolStorage {
    let memory: UnsafeMutablePointer<weir_session_memory>
    let callbacks: OpaquePointer
    let serverOption: OpaquePointer
    let clientOption: OpaquePointer
    /// Field lists for nghttp2, while a head is submitted.
    let fieldList: UnsafeMutablePointer<nghttp2_nv>
    var sessionCount = 0

    private var freeRecords: UnsafeMutablePointer<StreamRecord>?
    private var freeRecordCount = 0
    private var freePieces: UnsafeMutablePointer<QueuePiece>?
    private var freePieceCount = 0
    private(set) var pieceCount = 0

    /// Pseudo-headers included.
    static let fieldListCountMax = Limits.http2FieldCountMax + 16

    init() {
        unsafe memory = .allocate(capacity: 1)
        unsafe memory.initialize(to: weir_session_memory())
        unsafe memory.pointee.frame_buffer = .allocate(capacity: WEIR_FRAME_BUFFER_SIZE)
        unsafe fieldList = .allocate(capacity: Self.fieldListCountMax)
        unsafe callbacks = HTTP2Callbacks.make()
        unsafe serverOption = HTTP2Callbacks.makeOption(
            encoderTableByteCount: Limits.http2ServerEncoderTableByteCount)
        unsafe clientOption = HTTP2Callbacks.makeOption(
            encoderTableByteCount: Limits.http2ClientEncoderTableByteCount)
    }

    mutating func deallocate() {
        while let record = unsafe freeRecords {
            unsafe freeRecords = record.pointee.next
            unsafe record.deallocate()
        }
        while let piece = unsafe freePieces {
            unsafe freePieces = piece.pointee.next
            unsafe UnsafeMutableRawPointer(piece).deallocate()
        }
        unsafe nghttp2_session_callbacks_del(callbacks)
        unsafe nghttp2_option_del(serverOption)
        unsafe nghttp2_option_del(clientOption)
        unsafe fieldList.deallocate()
        unsafe memory.pointee.frame_buffer.deallocate()
        unsafe memory.deallocate()
    }

    mutating func takeRecord() -> UnsafeMutablePointer<StreamRecord> {
        let record: UnsafeMutablePointer<StreamRecord>
        if let free = unsafe freeRecords {
            unsafe record = unsafe free
            unsafe freeRecords = free.pointee.next
            unsafe freeRecordCount -= 1
        } else {
            unsafe record = .allocate(capacity: 1)
        }
        unsafe record.initialize(to: StreamRecord())
        return unsafe record
    }

    /// Gives back the record and all it holds.
    mutating func giveBack(_ record: UnsafeMutablePointer<StreamRecord>) {
        unsafe dropQueue(of: record)
        unsafe record.pointee.trailers?.deallocate()
        guard unsafe freeRecordCount < Limits.http2KeptStreamCountMax else {
            return unsafe record.deallocate()
        }
        unsafe record.pointee.next = unsafe freeRecords
        unsafe freeRecords = unsafe record
        unsafe freeRecordCount += 1
    }

    mutating func dropQueue(of record: UnsafeMutablePointer<StreamRecord>) {
        while let piece = unsafe record.pointee.firstPiece {
            unsafe record.pointee.firstPiece = piece.pointee.next
            unsafe giveBack(piece)
        }
        unsafe record.pointee.lastPiece = nil
        unsafe record.pointee.queuedCount = 0
    }

    private mutating func takePiece() -> UnsafeMutablePointer<QueuePiece> {
        unsafe pieceCount += 1
        if let piece = unsafe freePieces {
            unsafe freePieces = piece.pointee.next
            unsafe freePieceCount -= 1
            unsafe piece.pointee.next = nil
            return unsafe piece
        }
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: Limits.http2QueuePieceByteCount, alignment: 16)
        let piece = unsafe memory.assumingMemoryBound(to: QueuePiece.self)
        unsafe piece.initialize(to: QueuePiece(next: nil))
        return unsafe piece
    }

    private mutating func giveBack(_ piece: UnsafeMutablePointer<QueuePiece>) {
        unsafe pieceCount -= 1
        guard unsafe freePieceCount < Limits.http2KeptPieceCountMax else {
            return unsafe UnsafeMutableRawPointer(piece).deallocate()
        }
        unsafe piece.pointee.next = unsafe freePieces
        unsafe freePieces = unsafe piece
        unsafe freePieceCount += 1
    }

    /// How many bytes a stream's queue takes now.
    ///
    /// When all streams together hold as much as they may, each still has one piece: else those that are read would
    /// starve behind those that are not, and nothing would ever tell them that there is room.
    func room(of record: UnsafeMutablePointer<StreamRecord>) -> Int {
        let room = unsafe Limits.http2QueueByteCountMax - Int(record.pointee.queuedCount)
        let freeCount = unsafe max(0, Limits.http2QueuePieceCountMax - pieceCount)
        // The common case, without a look at the pieces.
        let pieceByteCount = unsafe QueuePiece.byteCountMax
        if freeCount * pieceByteCount >= room { return max(0, room) }
        guard unsafe record.pointee.lastPiece != nil else { return max(1, freeCount) * pieceByteCount }
        let roomInLast = unsafe pieceByteCount - Int(record.pointee.fillCount)
        return min(room, roomInLast + freeCount * pieceByteCount)
    }

    /// Queues as much as there is room for; returns how much that was.
    mutating func enqueue(
        _ content: UnsafePointer<UInt8>, count: Int, on record: UnsafeMutablePointer<StreamRecord>
    ) -> Int {
        let wantedCount = unsafe min(count, room(of: record))
        var takenCount = 0
        while takenCount < wantedCount {
            let isFull = unsafe Int(record.pointee.fillCount) == QueuePiece.byteCountMax
            if unsafe record.pointee.lastPiece == nil || isFull {
                unsafe addPiece(to: record)
            }
            guard let last = unsafe record.pointee.lastPiece else { break }
            let fillCount = unsafe Int(record.pointee.fillCount)
            let part = unsafe min(wantedCount - takenCount, QueuePiece.byteCountMax - fillCount)
            unsafe (last.bytes + fillCount).update(from: content + takenCount, count: part)
            unsafe record.pointee.fillCount += Int32(part)
            takenCount += part
        }
        unsafe record.pointee.queuedCount += Int32(takenCount)
        return takenCount
    }

    private mutating func addPiece(to record: UnsafeMutablePointer<StreamRecord>) {
        let piece = unsafe takePiece()
        if let last = unsafe record.pointee.lastPiece {
            unsafe last.pointee.next = unsafe piece
        } else {
            unsafe record.pointee.firstPiece = unsafe piece
            unsafe record.pointee.readCount = 0
        }
        unsafe record.pointee.lastPiece = unsafe piece
        unsafe record.pointee.fillCount = 0
    }

    /// Moves the next `count` queued bytes to `output`; there are as many.
    mutating func dequeue(
        _ count: Int, of record: UnsafeMutablePointer<StreamRecord>, to output: UnsafeMutablePointer<UInt8>
    ) {
        var movedCount = 0
        while movedCount < count, let piece = unsafe record.pointee.firstPiece {
            let isLast = unsafe piece == record.pointee.lastPiece
            let end = unsafe isLast ? Int(record.pointee.fillCount) : QueuePiece.byteCountMax
            let start = unsafe Int(record.pointee.readCount)
            let part = min(count - movedCount, end - start)
            unsafe (output + movedCount).update(from: piece.bytes + start, count: part)
            movedCount += part
            unsafe record.pointee.readCount += Int32(part)
            if start + part == end {
                unsafe record.pointee.firstPiece = unsafe piece.pointee.next
                if isLast { unsafe record.pointee.lastPiece = nil }
                unsafe record.pointee.readCount = 0
                unsafe giveBack(piece)
            }
        }
        precondition(movedCount == count)
        unsafe record.pointee.queuedCount -= Int32(count)
    }
}
