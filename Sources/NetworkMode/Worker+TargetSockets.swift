// Sockets towards targets, for both transports: from the configured source addresses in turn.
//
// One source address has about 28,000 ports towards one target (RFC 6056; ip(7), ip_local_port_range).
// The port is chosen at connect, per target, not at bind, where it would be taken for all targets
// (IP_BIND_ADDRESS_NO_PORT). A source whose ports are all taken gives way to the next.

import Balancing
import LinuxIO

enum TargetSocket {
    /// Connected (UDP) or connecting (TCP). The column is zero for the kernel's choice of source, else one
    /// more than the index of the source address.
    case open(Descriptor, sourceColumn: UInt8)
    /// The network or the target refused at once.
    case refused
    /// Every source address has used its ports towards this target.
    case noPort
    case noDescriptor
}

extension Worker {
    mutating func openTargetSocket(_ transport: Transport, to endpoint: Endpoint) -> TargetSocket {
        let family = endpoint.address.family
        var sourcesLeft = max(1, snapshot.sourceAddresses.count { $0.family == family })
        while sourcesLeft > 0 {
            sourcesLeft -= 1
            guard let socket = try? Descriptor.socket(transport, family) else { return .noDescriptor }
            prepare(socket, transport)
            let sourceColumn = bindToNextSource(socket, family)
            let errno =
                sourceColumn == nil ? .addressNotAvailable : socket.connect(to: endpoint)
            if let sourceColumn, errno == nil || errno == .inProgress {
                return .open(socket, sourceColumn: sourceColumn)
            }
            // A bound socket cannot be bound again: the next source gets a new one.
            socket.close()
            guard errno == .addressNotAvailable || errno == .wouldBlock else { return .refused }
            counters.add(1, .portAllocationErrors)
        }
        return .noPort
    }

    private func prepare(_ socket: Descriptor, _ transport: Transport) {
        switch transport {
        case .tcp:
            // TCP_NODELAY waits for a second write; see pump.
            if let algorithm = settings.targetCongestionControl { _ = socket.setCongestionControl(algorithm) }
        case .udp:
            socket.set(.datagramCoalescing)
        }
    }

    /// Binds to the next source address of the family, each one further on than the last, so that they share
    /// the ports evenly. Returns its column, zero when none is configured, nil when it cannot be bound.
    private mutating func bindToNextSource(_ socket: Descriptor, _ family: IPAddress.Family) -> UInt8? {
        let sources = snapshot.sourceAddresses
        for _ in 0..<sources.count {
            nextSource = (nextSource + 1) % sources.count
            guard sources[nextSource].family == family else { continue }
            socket.set(.bindAddressNoPort)
            let errno = socket.bind(to: Endpoint(address: sources[nextSource], port: 0))
            return errno == nil ? UInt8(clamping: nextSource + 1) : nil
        }
        return 0
    }
}
