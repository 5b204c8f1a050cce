// Pipes for splice, borrowed while bytes are in transit.

import Balancing
import CLinux

/// Both ends of a pipe, by name. Trivial: the pool that made it closes it.
public struct Pipe: Sendable, BitwiseCopyable {
    public let readEnd: Descriptor
    public let writeEnd: Descriptor

    public static let none = Pipe(readEnd: .none, writeEnd: .none)
}

/// A worker's stock of empty pipes: making one costs about 10 µs, borrowing one nothing.
public struct PipePool: ~Copyable {
    private var idle: [Pipe] = []
    public private(set) var openCount = 0
    private let idleCountMax: Int

    public init(idleCountMax: Int) {
        self.idleCountMax = idleCountMax
        idle.reserveCapacity(idleCountMax)
    }

    deinit {
        for pipe in idle {
            pipe.readEnd.close()
            pipe.writeEnd.close()
        }
    }

    /// An empty pipe; nil when the system has no descriptor for one, on which the caller copies instead.
    public mutating func borrow() -> Pipe? {
        if let pipe = idle.popLast() { return pipe }
        var readEnd: Int32 = -1
        var writeEnd: Int32 = -1
        guard unsafe weir_pipe(&readEnd, &writeEnd, Int32(Limits.pipeByteCountMax)) >= 0 else { return nil }
        openCount += 1
        return Pipe(readEnd: Descriptor(rawValue: readEnd), writeEnd: Descriptor(rawValue: writeEnd))
    }

    /// Takes back a pipe that holds no byte.
    public mutating func giveBack(_ pipe: Pipe) {
        if idle.count < idleCountMax {
            idle.append(pipe)
        } else {
            discard(pipe)
        }
    }

    /// Closes a pipe, and with it whatever it holds.
    public mutating func discard(_ pipe: Pipe) {
        pipe.readEnd.close()
        pipe.writeEnd.close()
        openCount -= 1
    }
}
