// The counters of one worker's exchanges; others read them.

import Balancing
import LinuxIO
import Serving

package struct ExchangeCounters: Sendable {
    private let targets: CounterTable
    private let listeners: CounterTable

    init(settings: WorkerSettings) {
        targets = CounterTable(
            rowCount: settings.targetNumberCountMax, columnCount: ExchangeCounter.allCases.count)
        listeners = CounterTable(
            rowCount: settings.listenerNumberCountMax, columnCount: ExchangeCounter.allCases.count)
    }

    @inline(__always)
    func add(_ amount: Int, _ counter: ExchangeCounter, target: TargetNumber) {
        targets.add(amount, row: Int(target.rawValue), column: counter.rawValue)
    }

    @inline(__always)
    func add(_ amount: Int, _ counter: ExchangeCounter, listener: ListenerNumber) {
        listeners.add(amount, row: Int(listener.rawValue), column: counter.rawValue)
    }

    func load(_ counter: ExchangeCounter, target: TargetNumber) -> UInt64 {
        targets.load(row: Int(target.rawValue), column: counter.rawValue)
    }

    func load(_ counter: ExchangeCounter, listener: ListenerNumber) -> UInt64 {
        listeners.load(row: Int(listener.rawValue), column: counter.rawValue)
    }
}
