// What epoll carries for a descriptor: whose event it is, and of which life of its slot.

/// A registration's owner as 64 bits: kind (4), generation (28), index (32).
///
/// An event can outlive its descriptor within one batch: the flow is closed by an earlier event of the
/// batch and its slot, even its descriptor number, is in use again. The generation tells.
public struct Token: Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt64

    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    public init(kind: UInt8, generation: UInt32, index: Int) {
        assert(kind < 16)
        rawValue =
            UInt64(kind & 15) << 60 | UInt64(generation & Self.generationMask) << 32
            | UInt64(UInt32(truncatingIfNeeded: index))
    }

    public static let generationMask: UInt32 = 0x0FFF_FFFF

    public var kind: UInt8 { UInt8(truncatingIfNeeded: rawValue >> 60) }
    public var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) & Self.generationMask }
    public var index: Int { Int(UInt32(truncatingIfNeeded: rawValue)) }
}
