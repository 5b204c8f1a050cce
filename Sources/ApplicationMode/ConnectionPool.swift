// Connections to targets that wait for their next exchange: per target a stack, so that the warmest goes first and
// those that are not needed grow old.
//
// The links stand in the connections' slots; here are only the tops, by target number.

import Balancing
import LinuxIO

struct ConnectionPool: ~Copyable {
    /// The top of each target's stack, plus one.
    private var tops: MappedSlab<UInt32>
    private var counts: MappedSlab<UInt32>
    private(set) var idleCount = 0
    /// Where `anyIdle` found the last one.
    private var cursor = 0

    init(targetNumberCountMax: Int) {
        tops = MappedSlab(count: targetNumberCountMax)
        counts = MappedSlab(count: targetNumberCountMax)
    }

    func idleCount(of target: TargetNumber) -> Int { Int(counts[Int(target.rawValue)]) }

    /// The warmest connection of a target, if any; it stays in the pool until `remove`.
    func top(of target: TargetNumber) -> Int? {
        let top = tops[Int(target.rawValue)]
        return top > 0 ? Int(top) - 1 : nil
    }

    /// Some connection that waits, of each target in turn. Looks at every target if need be.
    mutating func anyIdle() -> Int? {
        guard idleCount > 0 else { return nil }
        repeat { cursor = (cursor + 1) % tops.count } while tops[cursor] == 0
        return Int(tops[cursor]) - 1
    }

    mutating func insert(_ slot: Int, _ connections: inout MappedSlab<Connection>) {
        let target = Int(connections[slot].target.rawValue)
        let top = tops[target]
        connections[slot].nextPlusOne = top
        connections[slot].previousPlusOne = 0
        if top > 0 { connections[Int(top) - 1].previousPlusOne = UInt32(slot) + 1 }
        tops[target] = UInt32(slot) + 1
        counts[target] += 1
        idleCount += 1
    }

    mutating func remove(_ slot: Int, _ connections: inout MappedSlab<Connection>) {
        let target = Int(connections[slot].target.rawValue)
        let next = connections[slot].nextPlusOne
        let previous = connections[slot].previousPlusOne
        if previous > 0 { connections[Int(previous) - 1].nextPlusOne = next } else { tops[target] = next }
        if next > 0 { connections[Int(next) - 1].previousPlusOne = previous }
        connections[slot].nextPlusOne = 0
        connections[slot].previousPlusOne = 0
        counts[target] -= 1
        idleCount -= 1
    }
}
