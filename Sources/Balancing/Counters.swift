// The names and places of the data plane's counters. CloudWatch's network load balancer set, plus
// what an operator needs to see shedding. Each has one writer (a worker) and relaxed readers.

/// Counted per registration (target) and per listener.
public enum FlowCounter: Int, Sendable, CaseIterable {
    case newTCPFlows
    case newUDPFlows
    case activeTCPFlows
    case activeUDPFlows
    /// Bytes of payload from clients to targets.
    case clientBytesTCP
    case clientBytesUDP
    /// Bytes of payload from targets to clients.
    case targetBytesTCP
    case targetBytesUDP
    case clientDatagrams
    case targetDatagrams
    case clientResets
    case targetResets
    /// Resets that Weir generated: no target reached, idle timeout, terminated by draining or health.
    case balancerResets
    case connectFailures
    /// Datagrams that found no flow, target, descriptor or buffer.
    case droppedDatagrams
    /// New flows refused: slab or table full, no descriptor, no target.
    case rejectedFlows
    /// New flows routed while too few targets were healthy, so that all got them.
    case failOpenFlows
    /// TLS handshakes with clients, and with targets, that failed.
    case clientHandshakeFailures
    case targetHandshakeFailures
    /// Connections of trusted peers that did not begin with a PROXY protocol header.
    case proxyHeaderFailures
}

/// Counted per worker.
public enum WorkerCounter: Int, Sendable, CaseIterable {
    case turns
    case events
    case staleEvents
    case shedSlabFull
    case shedDescriptors
    case shedNoTarget
    /// TLS clients beyond the handshakes that may be under way at a time.
    case shedHandshakes
    case shedFlowTableFull
    case recycledFlows
    case portAllocationErrors
    /// Flows of groups with `preserve_client_ip.enabled` whose client and target are of different families: the
    /// target sees an address of Weir's.
    case unpreservedFlows
    /// Connections to targets from their clients' own addresses that came to stand, and that had no answer in time.
    case preservedConnections
    case preservedTimeouts
    case internalErrors
    case pipesOpen
    case snapshotVersion
    /// Connections and requests that a log lacks: its writer did not keep up, or its file took nothing.
    case droppedAccessLogLines
}

/// Counted per registration (target) and per listener by application mode: CloudWatch's application load balancer
/// set, as far as it is not told by `FlowCounter`.
public enum ExchangeCounter: Int, Sendable, CaseIterable {
    case requests
    /// Under way with a target now.
    case activeRequests
    case targetResponses2XX
    case targetResponses3XX
    case targetResponses4XX
    case targetResponses5XX
    /// Weir's own answers. A listener's only.
    case ownResponses3XX
    case ownResponses4XX
    case ownResponses500
    case ownResponses502
    case ownResponses503
    case ownResponses504
    case ownResponses5XX
    /// From the request's last sent byte of the head to the first of the answer, summed up.
    case targetResponseNanoseconds
    case redirects
    case fixedResponses
    case webSockets
    /// Requests sent once more because a pooled connection turned out dead.
    case repeatedRequests
    case failOpenRequests
    /// Heads that are no request, and requests that desync mitigation refused or took note of.
    case refusedHeads
    case desyncRefusals
    case desyncFindings
    case invalidFieldsDropped
    case http2Requests
    case grpcRequests
    /// HTTP/2 connections that were ended for abuse.
    case http2Abuses
}
