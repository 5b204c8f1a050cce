// Arithmetic on counter rows, and their shape for the admin API.

import AdminModel
import Balancing

package enum FlowCounters {
    /// What was counted since the baseline; an empty baseline is all zero.
    package static func difference(_ counters: [UInt64], since baseline: [UInt64]) -> [UInt64] {
        counters.enumerated().map { index, value in
            let base = index < baseline.count ? baseline[index] : 0
            return value > base ? value - base : 0
        }
    }

    package static func add(_ counters: [UInt64], to totals: inout [UInt64]) {
        while totals.count < counters.count { totals.append(0) }
        for (index, value) in counters.enumerated() { totals[index] &+= value }
    }

    package static func hasLiveFlows(_ counters: [UInt64]) -> Bool {
        value(.activeTCPFlows, of: counters) > 0 || value(.activeUDPFlows, of: counters) > 0
    }

    package static func value(_ counter: FlowCounter, of counters: [UInt64]) -> UInt64 {
        counter.rawValue < counters.count ? counters[counter.rawValue] : 0
    }

    /// Counters of exchanges stand behind those of flows.
    package static func value(_ counter: ExchangeCounter, of counters: [UInt64]) -> UInt64 {
        let position = FlowCounter.allCases.count + counter.rawValue
        return position < counters.count ? counters[position] : 0
    }

    /// Worker totals under snake_case names.
    package static func workerCounters(_ counters: [UInt64]) -> [String: UInt64] {
        var named: [String: UInt64] = [:]
        for counter in WorkerCounter.allCases {
            let value = counter.rawValue < counters.count ? counters[counter.rawValue] : 0
            named[snakeCase("\(counter)")] = value
        }
        return named
    }

    private static func snakeCase(_ name: String) -> String {
        name.reduce(into: "") { text, character in
            if character.isUppercase { text += "_" }
            text += character.lowercased()
        }
    }
}

extension FlowStatistics {
    /// CloudWatch's names for one row of counters, in the order of `FlowCounter` and then `ExchangeCounter`.
    package init(counters: [UInt64], isApplication: Bool) {
        self.init()
        if isApplication { http = ExchangeStatistics(counters: counters) }
        let value = { (counter: FlowCounter) in FlowCounters.value(counter, of: counters) }
        newFlowCountTcp = value(.newTCPFlows)
        newFlowCountUdp = value(.newUDPFlows)
        activeFlowCountTcp = value(.activeTCPFlows)
        activeFlowCountUdp = value(.activeUDPFlows)
        processedBytesTcp = value(.clientBytesTCP) &+ value(.targetBytesTCP)
        processedBytesUdp = value(.clientBytesUDP) &+ value(.targetBytesUDP)
        clientBytes = value(.clientBytesTCP) &+ value(.clientBytesUDP)
        targetBytes = value(.targetBytesTCP) &+ value(.targetBytesUDP)
        tcpClientResetCount = value(.clientResets)
        tcpTargetResetCount = value(.targetResets)
        tcpElbResetCount = value(.balancerResets)
        targetConnectionErrorCount = value(.connectFailures)
        rejectedFlowCount = value(.rejectedFlows)
        unhealthyRoutingFlowCount = value(.failOpenFlows)
        droppedDatagramCount = value(.droppedDatagrams)
        clientTlsNegotiationErrorCount = value(.clientHandshakeFailures)
        targetTlsNegotiationErrorCount = value(.targetHandshakeFailures)
    }
}

extension ExchangeStatistics {
    init(counters: [UInt64]) {
        self.init()
        let value = { (counter: ExchangeCounter) in FlowCounters.value(counter, of: counters) }
        requestCount = value(.requests)
        activeRequestCount = value(.activeRequests)
        httpCodeTargetCount = [
            "2XX": value(.targetResponses2XX), "3XX": value(.targetResponses3XX),
            "4XX": value(.targetResponses4XX), "5XX": value(.targetResponses5XX),
        ]
        let named = [
            "500": value(.ownResponses500), "502": value(.ownResponses502), "503": value(.ownResponses503),
            "504": value(.ownResponses504),
        ]
        httpCodeElbCount = named
        httpCodeElbCount["3XX"] = value(.ownResponses3XX)
        httpCodeElbCount["4XX"] = value(.ownResponses4XX)
        httpCodeElbCount["5XX"] = named.values.reduce(value(.ownResponses5XX), &+)
        targetResponseSeconds = Double(value(.targetResponseNanoseconds)) / 1e9
        httpRedirectCount = value(.redirects)
        httpFixedResponseCount = value(.fixedResponses)
        webSocketCount = value(.webSockets)
        http2RequestCount = value(.http2Requests)
        grpcRequestCount = value(.grpcRequests)
        repeatedRequestCount = value(.repeatedRequests)
        unhealthyRoutingRequestCount = value(.failOpenRequests)
        droppedInvalidHeaderRequestCount = value(.invalidFieldsDropped)
        desyncMitigationModeNonCompliantRequestCount = value(.desyncFindings)
        refusedRequestCount = value(.refusedHeads)
        http2AbuseCount = value(.http2Abuses)
    }
}
