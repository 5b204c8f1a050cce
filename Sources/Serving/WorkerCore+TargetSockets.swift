// Sockets towards targets, for both transports: from the configured source addresses in turn.
//
// One source address has about 28,000 ports towards one target (RFC 6056; ip(7), ip_local_port_range).
// The port is chosen at connect, per target, not at bind, where it would be taken for all targets
// (IP_BIND_ADDRESS_NO_PORT). A source whose ports are all taken gives way to the next.

import Balancing
import LinuxIO

public enum TargetSocket {
    /// Connected (UDP) or connecting (TCP). The column is zero for the kernel's choice of source, else one
    /// more than the index of the source address, or `clientColumn`.
    case open(Descriptor, sourceColumn: UInt8)
    /// The network or the target refused at once.
    case refused
    /// Every source address has used its ports towards this target.
    case noPort
    case noDescriptor

    /// The source is the client's own address, whose ports are not Weir's to count: it has one, not thousands.
    public static let clientColumn = UInt8.max
}

extension WorkerCounters {
    /// Counts a local port towards a target.
    public func addPort(_ amount: Int, target: TargetNumber, column: UInt8) {
        guard column != TargetSocket.clientColumn else { return }
        ports.add(amount, row: Int(target.rawValue), column: Int(column))
    }
}

extension WorkerCore {
    /// Opens a socket for one target and begins to connect it. The descriptor is the caller's.
    ///
    /// - Parameters:
    ///   - target: Whose registration the port counts for.
    ///   - client: Whose address the target is to see, where the families agree; nil for one of Weir's own.
    ///   - hasEarlyBytes: There is something to send as soon as the connection stands.
    public mutating func openTargetSocket(
        _ transport: Transport, to endpoint: Endpoint, of target: TargetNumber, as client: Endpoint? = nil,
        hasEarlyBytes: Bool = false
    ) -> TargetSocket {
        let family = endpoint.address.family
        if let client {
            if client.address.family == family {
                return openSocket(transport, to: endpoint, as: client, hasEarlyBytes: hasEarlyBytes)
            }
            counters.add(1, .unpreservedFlows)
        }
        var sourcesLeft = max(1, snapshot.sourceAddresses.count { $0.family == family })
        while sourcesLeft > 0 {
            sourcesLeft -= 1
            guard let socket = try? Descriptor.socket(transport, family) else { return .noDescriptor }
            prepare(socket, transport, hasEarlyBytes: hasEarlyBytes)
            let sourceColumn = bindToNextSource(socket, family)
            let errno =
                sourceColumn.map { connect(socket, transport, to: endpoint, of: target, sourceColumn: $0) }
                ?? .addressNotAvailable
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

    /// A socket that speaks from the client's own address; see ip(7), IP_TRANSPARENT. Answers come back only where
    /// the routes lead them here: "weir network plan" says how.
    private mutating func openSocket(
        _ transport: Transport, to endpoint: Endpoint, as client: Endpoint, hasEarlyBytes: Bool
    ) -> TargetSocket {
        let transparent = client.address.family == .v4 ? SocketOption.transparentV4 : .transparentV6
        // The client's port may be taken: by a flow through another listener, or by a socket of this machine.
        for port in [client.port, 0] {
            guard let socket = try? Descriptor.socket(transport, client.address.family) else {
                return .noDescriptor
            }
            prepare(socket, transport, hasEarlyBytes: hasEarlyBytes)
            guard socket.set(transparent) == nil else {
                // Without CAP_NET_ADMIN. The target must not be blamed, nor see another address.
                socket.close()
                counters.add(1, .internalErrors)
                return .noPort
            }
            // TCP sockets may share a local port, since connect(2) refuses a second connection between the same
            // two ends. For UDP it does not: one of two such flows would hear the answers of both.
            if transport == .tcp { socket.set(.reuseAddress) }
            if port == 0 { socket.set(.bindAddressNoPort) }
            let errno: Errno?
            if socket.bind(to: Endpoint(address: client.address, port: port)) == nil {
                errno = socket.connect(to: endpoint)
            } else {
                // Taken, or below 1024 and not ours to use. No reason to blame the target either way.
                errno = .addressNotAvailable
            }
            if errno == nil || errno == .inProgress {
                return .open(socket, sourceColumn: TargetSocket.clientColumn)
            }
            socket.close()
            guard errno == .addressNotAvailable || errno == .addressInUse else { return .refused }
        }
        counters.add(1, .portAllocationErrors)
        return .noPort
    }

    private func prepare(_ socket: Descriptor, _ transport: Transport, hasEarlyBytes: Bool) {
        switch transport {
        case .tcp:
            // TCP_NODELAY waits for a second write; the mode sees to it.
            if let algorithm = settings.targetCongestionControl { _ = socket.setCongestionControl(algorithm) }
            // The handshake's last ACK then travels with the first bytes: a packet less, and the target wakes
            // once. The kernel turns quick acknowledgement on again when the connection stands.
            if hasEarlyBytes { socket.set(.quickAcknowledge, to: 0) }
        case .udp:
            // UDP_GRO waits for a flow of many datagrams; the mode sees to it.
            break
        }
    }

    private mutating func connect(
        _ socket: Descriptor, _ transport: Transport, to endpoint: Endpoint, of target: TargetNumber,
        sourceColumn: UInt8
    ) -> Errno? {
        let usedCount = counters.ports.load(row: Int(target.rawValue), column: Int(sourceColumn))
        if transport == .tcp, portSteering.isWorthwhile(usedCount: Int(truncatingIfNeeded: usedCount)) {
            for _ in 0..<Limits.steeredAttemptCountMax {
                // Linux before 6.3 has no such option.
                guard socket.set(.localPortRange, to: portSteering.nextRange()) == nil else {
                    portSteering.isAvailable = false
                    break
                }
                let errno = socket.connect(to: endpoint)
                if errno != .addressNotAvailable { return errno }
            }
            socket.set(.localPortRange, to: 0)
        }
        return socket.connect(to: endpoint)
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
