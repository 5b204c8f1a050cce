// Ports for connections where many are in use.
//
// Left to itself the kernel tries port after port from where it last found one, and sooner or later it
// comes to a stretch of thousands that live flows hold: measured, 10,000 live flows doubled the cost of a
// connection, and some took 70 ms. So where many are in use a worker names a few ports at a time for the
// kernel to choose from (IP_LOCAL_PORT_RANGE), in turn, so that the ones longest out of use come first.

import Balancing

/// Which ports a connection may use when many are taken.
struct PortSteering {
    /// Of the ephemeral range; see ip(7), ip_local_port_range.
    private let ports: ClosedRange<UInt16>
    private let usedCountMin: Int
    private var next: Int
    var isAvailable = true

    /// - Parameters:
    ///   - worker: Each begins elsewhere, so that they seldom ask for the same ports.
    init(ports: ClosedRange<UInt16>, worker: Int, workerCount: Int) {
        self.ports = ports
        usedCountMin = ports.count * Limits.ephemeralPortUseSteeredPercent / 100 / max(1, workerCount)
        next = ports.count / max(1, workerCount) * worker
    }

    func isWorthwhile(usedCount: Int) -> Bool {
        isAvailable && usedCount > usedCountMin && ports.count >= Limits.steeredPortCount
    }

    /// The value of IP_LOCAL_PORT_RANGE for the next few ports.
    mutating func nextRange() -> Int32 {
        if next + Limits.steeredPortCount > ports.count { next = 0 }
        let lowest = UInt32(ports.lowerBound) + UInt32(next)
        next += Limits.steeredPortCount
        return Int32(bitPattern: (lowest + UInt32(Limits.steeredPortCount) - 1) << 16 | lowest)
    }
}
