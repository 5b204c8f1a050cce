// What is counted of an exchange, and told about it.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker {
    /// The target has answered with its final status.
    mutating func countTargetStatus(_ exchange: Int, _ statusCode: Int) {
        let counter: ExchangeCounter
        switch statusCode {
        case ..<300: counter = .targetResponses2XX
        case ..<400: counter = .targetResponses3XX
        case ..<500: counter = .targetResponses4XX
        default: counter = .targetResponses5XX
        }
        let (target, listener) = (exchanges[exchange].targetNumber, exchanges[exchange].listener)
        exchangeCounters.add(1, counter, target: target)
        exchangeCounters.add(1, counter, listener: listener)
        let sentAt = exchanges[exchange].sentAt.nanoseconds
        // An answer may come before the request is whole.
        guard sentAt > 0 else { return }
        let duration = exchanges[exchange].answeredAt.nanoseconds(since: exchanges[exchange].sentAt)
        exchangeCounters.add(Int(clamping: duration), .targetResponseNanoseconds, target: target)
    }

    /// Weir has answered by itself.
    mutating func countOwnStatus(_ exchange: Int, _ statusCode: Int) {
        let counter: ExchangeCounter
        switch statusCode {
        case ..<300: return
        case ..<400: counter = .ownResponses3XX
        case ..<500: counter = .ownResponses4XX
        case 500: counter = .ownResponses500
        case 502: counter = .ownResponses502
        case 503: counter = .ownResponses503
        case 504: counter = .ownResponses504
        default: counter = .ownResponses5XX
        }
        exchangeCounters.add(1, counter, listener: exchanges[exchange].listener)
    }

    /// The exchange is over: its content, both ways.
    mutating func countEnd(_ exchange: Int) {
        let (listener, target) = (exchanges[exchange].listener, exchanges[exchange].targetNumber)
        let (up, down) = (exchanges[exchange].up.byteCount, exchanges[exchange].down.byteCount)
        if up > 0 { core.counters.add(Int(clamping: up), .clientBytesTCP, listener: listener) }
        if down > 0 { core.counters.add(Int(clamping: down), .targetBytesTCP, listener: listener) }
        guard exchanges[exchange].tried.count > 0 else { return }
        if up > 0 { core.counters.add(Int(clamping: up), .clientBytesTCP, target: target) }
        if down > 0 { core.counters.add(Int(clamping: down), .targetBytesTCP, target: target) }
    }

    // MARK: - Outstanding requests

    mutating func countOutstanding(_ exchange: Int) {
        guard !exchanges[exchange].isOutstanding else { return }
        exchanges[exchange].isOutstanding = true
        outstanding.begin(exchanges[exchange].targetNumber)
        exchangeCounters.add(1, .requests, target: exchanges[exchange].targetNumber)
        exchangeCounters.add(1, .activeRequests, target: exchanges[exchange].targetNumber)
    }

    /// The target has nothing more to do with the exchange; how it went is told to its group.
    mutating func endOutstanding(_ exchange: Int, _ outcome: ExchangeOutcome, at now: Instant) {
        guard exchanges[exchange].isOutstanding else { return }
        exchanges[exchange].isOutstanding = false
        let target = exchanges[exchange].targetNumber
        outstanding.end(target)
        exchangeCounters.add(-1, .activeRequests, target: target)
        let group = Int(exchanges[exchange].group)
        guard group < spreaders.count else { return }
        spreaders[group].note(outcome, target: target, outstanding: outstanding, at: now)
    }

    // MARK: - The list of flows

    /// A client's connection, as the list of flows shows it.
    func record(of connection: Connection, at now: Instant) -> FlowRecord {
        let exchange = connection.exchange
        let target = exchange.flatMap { exchanges[$0].tried.count > 0 ? exchanges[$0].targetNumber : nil }
        return FlowRecord(
            key: FlowKey(client: connection.peer, local: connection.local, transport: .tcp),
            listener: connection.listener, target: target ?? TargetNumber(.max),
            state: exchange == nil ? .connecting : .established,
            ageNanoseconds: now.nanoseconds(since: connection.startedAt),
            idleNanoseconds: now.nanoseconds(since: connection.lastActivityAt),
            clientBytes: exchange.map { exchanges[$0].up.byteCount } ?? 0,
            targetBytes: exchange.map { exchanges[$0].down.byteCount } ?? 0, worker: core.index)
    }
}
