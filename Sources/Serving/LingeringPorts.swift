// Local ports that TIME_WAIT holds after a flow's end: 60 s each, counted as in use.
//
// Linux keeps the side that sent its FIN first in TIME_WAIT (RFC 9293, section 3.6; TCP_TIMEWAIT_LEN is
// 60 s). Towards a busy target this is most of the ports, so a gauge without it would warn too late.

import Balancing
import LinuxIO

struct LingeringPorts {
    private struct Entry: BitwiseCopyable {
        let expiresAt: Instant
        let target: UInt32
        let column: UInt32
    }

    private static let lingerSeconds = 60
    private static let capacity = 65_536

    // A ring in order of expiry, since every port lingers equally long.
    private var ring: [Entry] = []
    private var head = 0
    private var count = 0

    /// Counts a port on; when the ring is full the oldest is counted off early.
    mutating func add(target: TargetNumber, column: UInt8, at now: Instant, _ ports: CounterTable) {
        let entry = Entry(
            expiresAt: now.advanced(bySeconds: Self.lingerSeconds), target: target.rawValue,
            column: UInt32(column))
        ports.add(1, row: Int(target.rawValue), column: Int(column))
        if count == Self.capacity { removeOldest(ports) }
        let position = (head + count) % Self.capacity
        if position < ring.count {
            ring[position] = entry
        } else {
            ring.append(entry)
        }
        count += 1
    }

    mutating func expire(at now: Instant, _ ports: CounterTable) {
        while count > 0, ring[head].expiresAt <= now { removeOldest(ports) }
    }

    private mutating func removeOldest(_ ports: CounterTable) {
        ports.add(-1, row: Int(ring[head].target), column: Int(ring[head].column))
        head = (head + 1) % Self.capacity
        count -= 1
    }
}
