// What a listener asks of the machine: one socket address per address and transport.

/// One socket address to serve: a listener has one for each address and transport.
package struct ListenerBinding: Hashable, Sendable {
    package let number: ListenerNumber
    package let endpoint: Endpoint
    package let transport: Transport
    package let isFreebind: Bool

    package init(number: ListenerNumber, endpoint: Endpoint, transport: Transport, isFreebind: Bool) {
        self.number = number
        self.endpoint = endpoint
        self.transport = transport
        self.isFreebind = isFreebind
    }
}
