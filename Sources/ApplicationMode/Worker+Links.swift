// Which exchanges belong to which connections: one of HTTP/1 has one at a time, one of HTTP/2 many.
//
// Two doubly linked lists through the exchanges, so that all of a connection's are found, and one is taken out,
// without a search.

import Balancing
import HTTPCore
import LinuxIO
import Serving

extension Worker {
    // MARK: - Clients

    mutating func linkClient(_ exchange: Int) {
        let client = Int(exchanges[exchange].client)
        let first = connections[client].exchangePlusOne
        exchanges[exchange].nextOfClientPlusOne = first
        exchanges[exchange].previousOfClientPlusOne = 0
        if first > 0 { exchanges[Int(first) - 1].previousOfClientPlusOne = UInt32(exchange) + 1 }
        connections[client].exchangePlusOne = UInt32(exchange) + 1
    }

    mutating func unlinkClient(_ exchange: Int) {
        let next = exchanges[exchange].nextOfClientPlusOne
        let previous = exchanges[exchange].previousOfClientPlusOne
        if previous > 0 {
            exchanges[Int(previous) - 1].nextOfClientPlusOne = next
        } else {
            connections[Int(exchanges[exchange].client)].exchangePlusOne = next
        }
        if next > 0 { exchanges[Int(next) - 1].previousOfClientPlusOne = previous }
    }

    // MARK: - Targets

    mutating func linkTarget(_ exchange: Int, to target: Int) {
        let first = connections[target].exchangePlusOne
        exchanges[exchange].nextOfTargetPlusOne = first
        exchanges[exchange].previousOfTargetPlusOne = 0
        if first > 0 { exchanges[Int(first) - 1].previousOfTargetPlusOne = UInt32(exchange) + 1 }
        connections[target].exchangePlusOne = UInt32(exchange) + 1
        connections[target].requestCount &+= 1
        exchanges[exchange].targetPlusOne = UInt32(target) + 1
        exchanges[exchange].targetStream = 0
        exchanges[exchange].replaySentCount = 0
        exchanges[exchange].hasSentBytes = false
    }

    /// The exchange has no target's connection any more. The connection stays as it is.
    mutating func unlinkTarget(_ exchange: Int) {
        guard let target = exchanges[exchange].target else { return }
        let next = exchanges[exchange].nextOfTargetPlusOne
        let previous = exchanges[exchange].previousOfTargetPlusOne
        if previous > 0 {
            exchanges[Int(previous) - 1].nextOfTargetPlusOne = next
        } else {
            connections[target].exchangePlusOne = next
        }
        if next > 0 { exchanges[Int(next) - 1].previousOfTargetPlusOne = previous }
        exchanges[exchange].targetPlusOne = 0
        exchanges[exchange].targetStream = 0
    }

    /// The exchange is through with its target, or gives it up.
    ///
    /// - Parameters:
    ///   - isClean: All was said on both sides: a connection of HTTP/1 may carry another exchange.
    ///   - isAnswered: A connection that is of no use any more ends without a reset, for the target may not have
    ///     read all that was sent.
    mutating func leaveTarget(_ exchange: Int, isClean: Bool, isAnswered: Bool = false, at now: Instant) {
        guard let target = exchanges[exchange].target else { return }
        let stream = exchanges[exchange].targetStream
        if exchanges[exchange].down.held.count > 0 {
            connections[target].http2.consumed(
                stream: stream, byteCount: Int(exchanges[exchange].down.held.count))
        }
        unlinkTarget(exchange)
        if !connections[target].isReady, isShared(target) {
            // Others may wait for it, and if not, the next will be glad of it.
            return
        } else if connections[target].http2.isOpen {
            if !isClean, stream > 0, connections[target].http2.isOpen(stream: stream) {
                connections[target].http2.reset(stream: stream, code: .cancel)
            }
            markDirty(target)
            shareAgain(target, at: now)
        } else if isClean, !connections[target].hasEnded {
            pool(target, at: now)
        } else {
            closeTarget(target, withReset: !isClean && !isAnswered, at: now)
        }
    }
}
