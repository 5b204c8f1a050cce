// Where copied bytes wait that a slow sink did not take: cells of a read's size, touched only when needed.

import Balancing
import LinuxIO
import TLSTermination

public struct Stash: ~Copyable {
    private var region: ByteRegion
    private var allocator: SlotAllocator
    /// Cells beyond this many give their pages back, so that a crowd of slow readers leaves no memory behind.
    private let warmCellCount: Int
    /// Up to so many stay warm that held no more than this: giving pages back and touching new ones costs 8 µs, which
    /// every exchange would pay of more than `warmCellCount` under way.
    private static let littleCellCount = 1_024
    private static let littleByteCount = 32 << 10
    public let cellByteCount: Int

    /// - Parameter cellByteCount: What a cell takes; address space for all of them is reserved at once.
    public init(
        cellCount: Int, cellByteCount: Int = Limits.encryptedByteCountMax, warmCellCount: Int = 64
    ) {
        self.cellByteCount = cellByteCount
        self.warmCellCount = warmCellCount
        region = ByteRegion(byteCount: cellCount * cellByteCount)
        allocator = SlotAllocator(capacity: cellCount)
    }

    /// Moves bytes from scratch memory into a cell. There is a cell for every direction of every flow.
    public mutating func keep(_ scratch: borrowing ByteRegion, at offset: Int, byteCount: Int) -> Int? {
        guard let cell = allocator.allocate() else { return nil }
        region.copy(from: scratch, at: offset, to: cell * cellByteCount, byteCount: byteCount)
        return cell
    }

    /// Moves bytes into a cell; nil when all are taken, or when there are too many bytes for one.
    public mutating func keep(_ bytes: Span<UInt8>) -> Int? {
        guard bytes.count <= cellByteCount, let cell = allocator.allocate() else { return nil }
        region.write(bytes, at: cell * cellByteCount)
        return cell
    }

    /// Adds bytes to a cell that holds `count` already; false when they do not fit.
    public func append(_ bytes: Span<UInt8>, to cell: Int, holding count: Int) -> Bool {
        guard bytes.count <= cellByteCount - count else { return false }
        region.write(bytes, at: cell * cellByteCount + count)
        return true
    }

    /// Makes room behind what a cell holds from `offset` on.
    public func moveToFront(cell: Int, offset: Int, byteCount: Int) {
        region.copy(from: cell * cellByteCount + offset, to: cell * cellByteCount, byteCount: byteCount)
    }

    /// Copies what a cell holds to the front of `bytes`.
    public func copy(cell: Int, offset: Int, byteCount: Int, into bytes: inout [UInt8]) {
        region.read(at: cell * cellByteCount + offset, byteCount: byteCount, into: &bytes)
    }

    /// Lends what a cell holds.
    public func withBytes<Result>(
        cell: Int, offset: Int, byteCount: Int, _ body: (Span<UInt8>) -> Result
    ) -> Result {
        region.parse(at: cell * cellByteCount + offset, byteCount: byteCount, body)
    }

    public func send(cell: Int, offset: Int, byteCount: Int, to socket: Descriptor) -> IOOutcome {
        socket.send(from: region, at: cell * cellByteCount + offset, byteCount: byteCount)
    }

    /// As `send`, through a TLS session.
    package func write(
        cell: Int, offset: Int, byteCount: Int, through session: inout TLSSession
    ) -> TLSTransfer {
        session.write(from: region, at: cell * cellByteCount + offset, byteCount: byteCount)
    }

    /// - Parameter byteCount: How many bytes it held at most, if that is known.
    public mutating func free(cell: Int, havingHeld byteCount: Int = .max) {
        allocator.free(cell)
        let isLittle = byteCount <= Self.littleByteCount && cell < Self.littleCellCount
        if cell >= warmCellCount, !isLittle {
            region.discard(at: cell * cellByteCount, byteCount: cellByteCount)
        }
    }

    public var usedCount: Int { allocator.usedCount }
}
