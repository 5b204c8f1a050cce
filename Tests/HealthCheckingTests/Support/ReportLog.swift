// Gathers the prober's reports and waits for what they are to show.

import Balancing
import Foundation
import HealthChecking

/// What every wait of these tests ends with, should the condition never come true.
let waitLimitSeconds = 30.0

/// A value under a lock that others can wait on.
final class Observed<Value>: @unchecked Sendable {
    // Sendable: the value is touched under the condition's lock only.
    private let condition = NSCondition()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    var current: Value {
        condition.lock()
        defer { condition.unlock() }
        return value
    }

    func change(_ body: (inout Value) -> Void) {
        condition.lock()
        body(&value)
        condition.broadcast()
        condition.unlock()
    }

    /// False when the limit passed first.
    func wait(until isTrue: (Value) -> Bool) -> Bool {
        let limit = Date(timeIntervalSinceNow: waitLimitSeconds)
        condition.lock()
        defer { condition.unlock() }
        while !isTrue(value) {
            guard condition.wait(until: limit) else { return isTrue(value) }
        }
        return true
    }
}

/// A prober with the reports it made.
final class ProberUnderTest: Sendable {
    let prober: Prober
    private let log: Observed<[ProbeReport]>

    init(seed: UInt64 = 1) throws {
        let log = Observed<[ProbeReport]>([])
        self.log = log
        prober = try Prober(seed: seed) { report in log.change { $0.append(report) } }
    }

    var reports: [ProbeReport] { log.current }

    func reports(of number: UInt32) -> [ProbeReport] {
        log.current.filter { $0.number == TargetNumber(number) }
    }

    /// The first `count` reports of a target, fewer when they do not come.
    func waitForReports(_ count: Int, of number: UInt32) -> [ProbeReport] {
        _ = log.wait { $0.count { $0.number == TargetNumber(number) } >= count }
        return Array(reports(of: number).prefix(count))
    }

    func wait(until isTrue: ([ProbeReport]) -> Bool) -> Bool {
        log.wait(until: isTrue)
    }
}

func target(
    _ number: UInt32, _ endpoint: Endpoint, _ check: HealthCheck, sendsProxyHeader: Bool = false
) -> ProbeTarget {
    ProbeTarget(
        number: TargetNumber(number), endpoint: endpoint, check: check, sendsProxyHeader: sendsProxyHeader)
}
