// Opening listening sockets: one SO_REUSEPORT share per worker, all or none.

import Balancing
import LinuxIO

/// Why a socket could not be opened, for people.
package struct ListenerOpenError: Error, Sendable {
    package let binding: ListenerBinding
    package let message: String
}

package enum ListenerSockets {
    /// Connections that may wait in one worker's queue; the kernel caps it at net.core.somaxconn.
    private static let backlog: Int32 = 4096

    /// Opens `workerCount` sockets that share one address.
    ///
    /// - Parameter isSharedWithOwn: This process serves the address already, under other settings that this
    ///   binding replaces.
    package static func open(
        _ binding: ListenerBinding, workerCount: Int, congestionControl: String?,
        isSharedWithOwn: Bool = false
    ) throws(ListenerOpenError) -> [Descriptor] {
        if !isSharedWithOwn { try claim(binding) }
        var sockets: [Descriptor] = []
        for _ in 0..<workerCount {
            do {
                sockets.append(try openShare(binding, congestionControl: congestionControl))
            } catch {
                for socket in sockets { socket.close() }
                throw error
            }
        }
        return sockets
    }

    /// Binds once without SO_REUSEPORT: with it, a second Weir of the same user would silently take half of
    /// the connections instead of being told that the port is in use.
    private static func claim(_ binding: ListenerBinding) throws(ListenerOpenError) {
        let socket = try create(binding)
        defer { socket.close() }
        // For TCP this ignores TIME_WAIT but not a listener. For UDP it would ignore a bound socket too.
        if binding.transport == .tcp { socket.set(.reuseAddress) }
        if let errno = socket.bind(to: binding.endpoint) { throw describe(errno, binding) }
        if binding.transport == .tcp, let errno = socket.listen(backlog: 1) { throw describe(errno, binding) }
    }

    static func openShare(
        _ binding: ListenerBinding, congestionControl: String?
    ) throws(ListenerOpenError) -> Descriptor {
        let socket = try create(binding)
        socket.set(.reusePort)
        if binding.transport == .tcp { socket.set(.reuseAddress) }
        if let errno = adapt(socket, to: binding, congestionControl: congestionControl) {
            socket.close()
            throw ListenerOpenError(
                binding: binding,
                message: "congestion control \"\(congestionControl ?? "")\" is not available: \(errno); "
                    + "choose one of net.ipv4.tcp_available_congestion_control")
        }
        var errno = socket.bind(to: binding.endpoint)
        if errno == nil, binding.transport == .tcp { errno = socket.listen(backlog: backlog) }
        if let errno {
            socket.close()
            throw describe(errno, binding)
        }
        return socket
    }

    /// Sets the options that a listening socket needs, whoever has opened it; an errno when its congestion control
    /// is refused.
    @discardableResult
    static func adapt(
        _ socket: Descriptor, to binding: ListenerBinding, congestionControl: String?
    ) -> Errno? {
        switch binding.transport {
        case .tcp:
            // Accepted sockets inherit these, so that accepting costs no call for them.
            socket.set(.noDelay)
            KeepAlive.turnOn(on: socket)
            return congestionControl.flatMap { socket.setCongestionControl($0) }
        case .udp:
            socket.set(binding.endpoint.address.family == .v4 ? .packetInfoV4 : .packetInfoV6)
            socket.set(.datagramCoalescing)
            // The kernel caps both at net.core.rmem_max and wmem_max.
            socket.set(.receiveBufferByteCount, to: 4 << 20)
            socket.set(.sendBufferByteCount, to: 4 << 20)
            return nil
        }
    }

    private static func create(_ binding: ListenerBinding) throws(ListenerOpenError) -> Descriptor {
        let family = binding.endpoint.address.family
        let socket: Descriptor
        do {
            socket = try Descriptor.socket(binding.transport, family)
        } catch {
            throw describe(error, binding)
        }
        if family == .v6 { socket.set(.ipv6Only) }
        if binding.isFreebind { socket.set(family == .v4 ? .freebindV4 : .freebindV6) }
        return socket
    }

    private static func describe(_ errno: Errno, _ binding: ListenerBinding) -> ListenerOpenError {
        let transport = binding.transport == .tcp ? "TCP" : "UDP"
        let advice =
            switch errno {
            case .addressInUse:
                "another process serves it. Find it with `ss -lnp`, stop it or choose another port."
            case .addressNotAvailable:
                "this machine does not have the address. Add it to an interface, or set `ip_freebind: true` to wait for it."
            case .permissionDenied, .notPermitted:
                "ports below 1024 need CAP_NET_BIND_SERVICE. Grant it or choose a higher port."
            case _ where errno.isExhaustion:
                "no descriptor or memory is left. Raise the open-file limit (LimitNOFILE= or ulimit -n)."
            default:
                "the system refused it."
            }
        return ListenerOpenError(
            binding: binding,
            message:
                "cannot bind \(transport) \(binding.endpoint): \(errno.text.lowercased()) (\(errno.name)); \(advice)"
        )
    }
}

/// When a silent peer is asked whether it lives; see tcp(7).
public enum KeepAlive {
    /// After so long, and then so often.
    public static let idleSeconds = 60
    static let intervalSeconds = 15
    static let probeCount = 4

    public static func turnOn(on socket: Descriptor) {
        socket.set(.keepAlive)
        socket.set(.keepAliveIdleSeconds, to: Int32(idleSeconds))
        socket.set(.keepAliveIntervalSeconds, to: Int32(intervalSeconds))
        socket.set(.keepAliveProbeCount, to: Int32(probeCount))
    }
}
