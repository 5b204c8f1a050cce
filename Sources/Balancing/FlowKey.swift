// The 5-tuple of a flow as a value.

/// Identifies a client's flow: its own endpoint, where it arrived, and the transport.
public struct FlowKey: Hashable, Sendable, BitwiseCopyable {
    public let client: Endpoint
    public let local: Endpoint
    public let transport: Transport

    public init(client: Endpoint, local: Endpoint, transport: Transport) {
        self.client = client
        self.local = local
        self.transport = transport
    }
}

/// The 128-bit secret that keys every hash of flows, so that clients cannot aim for one target or one bucket.
///
/// Drawn at start, or configured so that several appliances choose alike.
public struct HashSeed: Hashable, Sendable, BitwiseCopyable {
    public let first: UInt64
    public let second: UInt64

    public init(first: UInt64, second: UInt64) {
        self.first = first
        self.second = second
    }
}
