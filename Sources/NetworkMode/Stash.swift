// Where copied bytes wait that a slow sink did not take: 16 KiB cells, touched only when needed.

import Balancing
import LinuxIO

struct Stash: ~Copyable {
    private var region: ByteRegion
    private var allocator: SlotAllocator
    /// Warm cells beyond this many give their pages back, so that a crowd of slow readers leaves no memory behind.
    private static let warmCellCount = 64

    init(cellCount: Int) {
        region = ByteRegion(byteCount: cellCount * Limits.copyByteCountMax)
        allocator = SlotAllocator(capacity: cellCount)
    }

    /// Moves bytes from scratch memory into a cell. There is a cell for every direction of every flow.
    mutating func keep(_ scratch: borrowing ByteRegion, at offset: Int, byteCount: Int) -> Int? {
        guard let cell = allocator.allocate() else { return nil }
        region.copy(from: scratch, at: offset, to: cell * Limits.copyByteCountMax, byteCount: byteCount)
        return cell
    }

    func send(cell: Int, offset: Int, byteCount: Int, to socket: Descriptor) -> IOOutcome {
        socket.send(from: region, at: cell * Limits.copyByteCountMax + offset, byteCount: byteCount)
    }

    mutating func free(cell: Int) {
        allocator.free(cell)
        if cell >= Self.warmCellCount {
            region.discard(at: cell * Limits.copyByteCountMax, byteCount: Limits.copyByteCountMax)
        }
    }

    var usedCount: Int { allocator.usedCount }
}
