// Where copied bytes wait that a slow sink did not take: cells of a read's size, touched only when needed.

import Balancing
import LinuxIO
import TLSTermination

public struct Stash: ~Copyable {
    private var region: ByteRegion
    private var allocator: SlotAllocator
    /// Warm cells beyond this many give their pages back, so that a crowd of slow readers leaves no memory behind.
    private static let warmCellCount = 64
    private static let cellByteCount = Limits.encryptedByteCountMax

    public init(cellCount: Int) {
        region = ByteRegion(byteCount: cellCount * Self.cellByteCount)
        allocator = SlotAllocator(capacity: cellCount)
    }

    /// Moves bytes from scratch memory into a cell. There is a cell for every direction of every flow.
    public mutating func keep(_ scratch: borrowing ByteRegion, at offset: Int, byteCount: Int) -> Int? {
        guard let cell = allocator.allocate() else { return nil }
        region.copy(from: scratch, at: offset, to: cell * Self.cellByteCount, byteCount: byteCount)
        return cell
    }

    public func send(cell: Int, offset: Int, byteCount: Int, to socket: Descriptor) -> IOOutcome {
        socket.send(from: region, at: cell * Self.cellByteCount + offset, byteCount: byteCount)
    }

    /// As `send`, through a TLS session.
    package func write(
        cell: Int, offset: Int, byteCount: Int, through session: inout TLSSession
    ) -> TLSTransfer {
        session.write(from: region, at: cell * Self.cellByteCount + offset, byteCount: byteCount)
    }

    public mutating func free(cell: Int) {
        allocator.free(cell)
        if cell >= Self.warmCellCount {
            region.discard(at: cell * Self.cellByteCount, byteCount: Self.cellByteCount)
        }
    }

    public var usedCount: Int { allocator.usedCount }
}
