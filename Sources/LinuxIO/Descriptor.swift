// Descriptors: one type that owns, and one that merely names.

import Balancing
import CLinux

/// Names an open file without owning it: trivial, so that it can stand in a flow's slot.
///
/// Whoever holds the slot closes it, exactly once.
public struct Descriptor: Hashable, Sendable, BitwiseCopyable {
    public let rawValue: Int32

    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    public static let none = Descriptor(rawValue: -1)
    public var isOpen: Bool { rawValue >= 0 }

    /// close(2). Its result is ignored: on Linux the descriptor is gone whatever it says.
    public func close() {
        _ = weir_close(rawValue)
    }

    /// Closes a TCP socket with a reset instead of a FIN; see socket(7), SO_LINGER.
    public func closeWithReset() {
        _ = weir_close_with_reset(rawValue)
    }
}

/// Owns an open file and closes it at the end of its life.
public struct OwnedDescriptor: ~Copyable, Sendable {
    public let descriptor: Descriptor

    public init(_ descriptor: Descriptor) {
        self.descriptor = descriptor
    }

    deinit {
        descriptor.close()
    }

    /// Hands the open file to the caller, who closes it from now on.
    public consuming func release() -> Descriptor {
        let descriptor = descriptor
        discard self
        return descriptor
    }
}

// MARK: - Conversions

extension weir_endpoint {
    public init(_ endpoint: Endpoint) {
        self.init(
            high: endpoint.address.high, low: endpoint.address.low, port: endpoint.port,
            family: endpoint.address.family.rawValue)
    }

    /// Nil when the kernel gave no address.
    public var endpoint: Endpoint? {
        switch family {
        case 4: Endpoint(address: IPAddress(v4: UInt32(truncatingIfNeeded: low)), port: port)
        case 6: Endpoint(address: IPAddress(v6High: high, v6Low: low), port: port)
        default: nil
        }
    }
}
