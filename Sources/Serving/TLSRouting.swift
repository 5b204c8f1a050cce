// Which TLS contexts go with which listeners and groups.

import Balancing
import TLSTermination

/// The contexts that go with a snapshot. New ones never touch live sessions.
package struct TLSRouting: Sendable {
    /// Indexed by `ListenerNumber`; nil, or beyond the end, where clients speak plainly.
    private let servers: [ServerContext?]
    /// Indexed like the snapshot's groups; nil, or beyond the end, where targets are spoken to plainly.
    private let clients: [ClientContext?]
    /// Indexed by `ListenerNumber`; zero, or beyond the end, where connections are not logged.
    private let accessLogs: [UInt32]
    /// The same for the connection logs of application listeners.
    private let connectionLogs: [UInt32]

    package init(
        servers: [ServerContext?] = [], clients: [ClientContext?] = [], accessLogs: [UInt32] = [],
        connectionLogs: [UInt32] = []
    ) {
        self.servers = servers
        self.clients = clients
        self.accessLogs = accessLogs
        self.connectionLogs = connectionLogs
    }

    /// The number of the listener's access log, of its mode's writer; see `AccessLog.numbers(of:)`.
    package func accessLog(of listener: ListenerNumber) -> UInt32 {
        let number = Int(listener.rawValue)
        return number < accessLogs.count ? accessLogs[number] : 0
    }

    package func connectionLog(of listener: ListenerNumber) -> UInt32 {
        let number = Int(listener.rawValue)
        return number < connectionLogs.count ? connectionLogs[number] : 0
    }

    package func serverContext(of listener: ListenerNumber) -> ServerContext? {
        let number = Int(listener.rawValue)
        return number < servers.count ? servers[number] : nil
    }

    package func clientContext(of groupIndex: Int) -> ClientContext? {
        groupIndex < clients.count ? clients[groupIndex] : nil
    }
}
