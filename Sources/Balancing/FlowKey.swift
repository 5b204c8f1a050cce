// The 5-tuple of a flow as a value.

/// Identifies a client's flow: its own endpoint, where it arrived, and the transport.
package struct FlowKey: Hashable, Sendable, BitwiseCopyable {
    package let client: Endpoint
    package let local: Endpoint
    package let transport: Transport

    package init(client: Endpoint, local: Endpoint, transport: Transport) {
        self.client = client
        self.local = local
        self.transport = transport
    }
}

/// The 128-bit secret that keys every hash of flows, so that clients cannot aim for one target or one bucket.
///
/// Drawn at start, or configured so that several appliances choose alike.
package struct HashSeed: Hashable, Sendable, BitwiseCopyable {
    package let first: UInt64
    package let second: UInt64

    package init(first: UInt64, second: UInt64) {
        self.first = first
        self.second = second
    }
}
