// Memory that is reserved once and takes pages only when touched.

import CLinux

/// A fixed region of zeroed bytes, page by page; see mmap(2), MAP_NORESERVE.
@safe
public struct ByteRegion: ~Copyable {
    // Alive and of `byteCount` bytes from init to deinit; lent to system calls with checked ranges only.
    let base: UnsafeMutableRawPointer
    public let byteCount: Int

    public init(byteCount: Int) {
        self.byteCount = byteCount
        unsafe base = mapOrStop(byteCount)
    }

    deinit {
        unsafe weir_unmap(base, byteCount)
    }

    /// Copies within the region; the ranges may overlap.
    public func copy(from source: Int, to destination: Int, byteCount count: Int) {
        precondition(source >= 0 && destination >= 0 && count >= 0)
        precondition(source <= byteCount - count && destination <= byteCount - count)
        unsafe (base + destination).copyMemory(from: base + source, byteCount: count)
    }

    public func copy(
        from other: borrowing ByteRegion, at source: Int, to destination: Int, byteCount count: Int
    ) {
        precondition(source >= 0 && destination >= 0 && count >= 0)
        precondition(source <= other.byteCount - count && destination <= byteCount - count)
        unsafe (base + destination).copyMemory(from: other.base + source, byteCount: count)
    }

    /// Copies `bytes` to `offset`.
    public func write(_ bytes: Span<UInt8>, at offset: Int) {
        precondition(offset >= 0 && bytes.count <= byteCount && offset <= byteCount - bytes.count)
        unsafe bytes.withUnsafeBytes { source in
            guard let start = source.baseAddress else { return }
            unsafe (base + offset).copyMemory(from: start, byteCount: source.count)
        }
    }

    /// Copies `count` bytes from `offset` on to the front of `bytes`.
    public func read(at offset: Int, byteCount count: Int, into bytes: inout [UInt8]) {
        precondition(offset >= 0 && count >= 0 && offset <= byteCount - count && count <= bytes.count)
        unsafe bytes.withUnsafeMutableBytes { target in
            guard let start = target.baseAddress else { return }
            unsafe start.copyMemory(from: base + offset, byteCount: count)
        }
    }

    /// Lends `count` bytes from `offset` on to be read, for the islands that call other libraries.
    public func withBytes<Result>(
        at offset: Int, byteCount count: Int, _ body: (RawSpan) -> Result
    ) -> Result {
        precondition(offset >= 0 && count >= 0 && offset <= byteCount - count)
        return unsafe body(UnsafeRawBufferPointer(start: base + offset, count: count).bytes)
    }

    /// Lends `count` bytes from `offset` on to be written. One borrower at a time: the owner is one thread.
    public func withMutableBytes<Result>(
        at offset: Int, byteCount count: Int, _ body: (inout MutableRawSpan) -> Result
    ) -> Result {
        precondition(offset >= 0 && count >= 0 && offset <= byteCount - count)
        var bytes = unsafe UnsafeMutableRawBufferPointer(start: base + offset, count: count).mutableBytes
        return body(&bytes)
    }

    /// Lends `count` bytes from `offset` on to a parser.
    public func parse<Result>(
        at offset: Int, byteCount count: Int, _ body: (Span<UInt8>) -> Result
    ) -> Result {
        precondition(offset >= 0 && count >= 0 && offset <= byteCount - count)
        // Mapped memory is initialised throughout, and one byte of any value is a UInt8.
        let start = unsafe base.assumingMemoryBound(to: UInt8.self) + offset
        return unsafe body(UnsafeBufferPointer(start: start, count: count).span)
    }

    /// Lends room for up to `countMax` bytes from `offset` on, and returns how many `body` appended.
    ///
    /// One borrower at a time: the owner is one thread.
    public func fill(at offset: Int, byteCountMax countMax: Int, _ body: (inout OutputSpan<UInt8>) -> Void)
        -> Int
    {
        precondition(offset >= 0 && countMax >= 0 && offset <= byteCount - countMax)
        let start = unsafe base.assumingMemoryBound(to: UInt8.self) + offset
        let room = unsafe UnsafeMutableBufferPointer(start: start, count: countMax)
        var output = unsafe OutputSpan(buffer: room, initializedCount: 0)
        body(&output)
        return unsafe output.finalize(for: room)
    }

    /// Gives whole pages back to the system; they read as zero afterwards.
    public func discard(at offset: Int, byteCount count: Int) {
        precondition(offset >= 0 && count >= 0 && offset <= byteCount - count)
        unsafe weir_discard(base + offset, count)
    }
}

/// A preallocated array of trivial elements that never moves and never grows.
///
/// Untouched elements cost no memory and read as zero bytes, so `Element` must be valid when all zero.
@safe
public struct MappedSlab<Element: BitwiseCopyable>: ~Copyable {
    // Inlined into its users: it stands on the path of every event.
    @usableFromInline
    let base: UnsafeMutablePointer<Element>
    public let count: Int

    public init(count: Int, of type: Element.Type = Element.self) {
        self.count = count
        let pages = unsafe mapOrStop(max(1, count) * MemoryLayout<Element>.stride)
        unsafe base = pages.bindMemory(to: Element.self, capacity: count)
    }

    deinit {
        unsafe weir_unmap(base, max(1, count) * MemoryLayout<Element>.stride)
    }

    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always)
        unsafeAddress {
            precondition(index >= 0 && index < count, "slot index out of the slab")
            return unsafe UnsafePointer(base + index)
        }
        @inline(__always)
        unsafeMutableAddress {
            precondition(index >= 0 && index < count, "slot index out of the slab")
            return unsafe base + index
        }
    }
}

/// Counters with one writing thread and any number of readers, without locks; see Counters.swift for their names.
@safe
public final class CounterTable: @unchecked Sendable {
    // Sendable: one thread writes, others load; every access is a relaxed atomic of a word that never moves.
    @usableFromInline
    let base: UnsafeMutablePointer<UInt64>
    public let rowCount: Int
    public let columnCount: Int

    public init(rowCount: Int, columnCount: Int) {
        self.rowCount = rowCount
        self.columnCount = columnCount
        let pages = unsafe mapOrStop(rowCount * columnCount * MemoryLayout<UInt64>.stride)
        unsafe base = pages.bindMemory(to: UInt64.self, capacity: rowCount * columnCount)
    }

    deinit {
        unsafe weir_unmap(base, rowCount * columnCount * MemoryLayout<UInt64>.stride)
    }

    /// Writer only. A negative `amount` takes back.
    @inlinable @inline(__always)
    public func add(_ amount: Int, row: Int, column: Int) {
        precondition(row >= 0 && row < rowCount && column >= 0 && column < columnCount)
        unsafe weir_add(base + row * columnCount + column, UInt64(bitPattern: Int64(amount)))
    }

    /// Writer only.
    public func set(_ value: UInt64, row: Int, column: Int) {
        precondition(row >= 0 && row < rowCount && column >= 0 && column < columnCount)
        unsafe weir_store(base + row * columnCount + column, value)
    }

    @inlinable
    public func load(row: Int, column: Int) -> UInt64 {
        precondition(row >= 0 && row < rowCount && column >= 0 && column < columnCount)
        return unsafe weir_load(base + row * columnCount + column)
    }
}

/// Address space can only run out at start, before anything is served; going on without it would be worse.
func mapOrStop(_ byteCount: Int) -> UnsafeMutableRawPointer {
    guard let address = unsafe weir_map(byteCount) else {
        preconditionFailure(
            "no address space for \(byteCount) bytes; raise the limit (ulimit -v) or lower the flow limits")
    }
    return unsafe address
}
