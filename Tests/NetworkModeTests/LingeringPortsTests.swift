// Ports in TIME_WAIT: counted for a minute, never lost count of.

import Balancing
import LinuxIO
import Testing

@testable import Serving

@Suite struct `Lingering ports` {
    private let start = Instant(nanoseconds: 1_000_000_000_000)

    @Test func `a port counts for sixty seconds and no longer`() {
        let ports = CounterTable(rowCount: 4, columnCount: 2)
        var lingering = LingeringPorts()
        lingering.add(target: TargetNumber(3), column: 1, at: start, ports)
        lingering.expire(at: start.advanced(bySeconds: 59), ports)
        #expect(ports.load(row: 3, column: 1) == 1)
        lingering.expire(at: start.advanced(bySeconds: 60), ports)
        #expect(ports.load(row: 3, column: 1) == 0)
    }

    @Test func `more ports than the ring holds end early, and none stays counted`() {
        let ports = CounterTable(rowCount: 2, columnCount: 1)
        var lingering = LingeringPorts()
        for index in 0..<150_000 {
            lingering.add(
                target: TargetNumber(UInt32(index % 2)), column: 0,
                at: start.advanced(byMilliseconds: index / 10), ports)
        }
        #expect(ports.load(row: 0, column: 0) + ports.load(row: 1, column: 0) == 65_536)
        lingering.expire(at: start.advanced(bySeconds: 120), ports)
        #expect(ports.load(row: 0, column: 0) + ports.load(row: 1, column: 0) == 0)
        lingering.add(target: TargetNumber(0), column: 0, at: start.advanced(bySeconds: 120), ports)
        #expect(ports.load(row: 0, column: 0) == 1)
    }
}
