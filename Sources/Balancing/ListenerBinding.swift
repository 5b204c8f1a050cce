// What a listener asks of the machine: one socket address per address and transport.

/// One socket address to serve: a listener has one for each address and transport.
public struct ListenerBinding: Hashable, Sendable {
    public let number: ListenerNumber
    public let endpoint: Endpoint
    public let transport: Transport
    public let isFreebind: Bool
    /// Whose workers serve it.
    public let mode: LoadBalancer.Kind

    public init(
        number: ListenerNumber, endpoint: Endpoint, transport: Transport, isFreebind: Bool,
        mode: LoadBalancer.Kind = .network
    ) {
        self.number = number
        self.endpoint = endpoint
        self.transport = transport
        self.isFreebind = isFreebind
        self.mode = mode
    }
}
