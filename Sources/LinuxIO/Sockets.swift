// Socket calls on descriptors. None blocks; what happens on healthy traffic is a return value.

import Balancing
import CLinux

/// What came of one attempt to accept.
public enum AcceptOutcome: Sendable {
    case accepted(Descriptor, client: Endpoint)
    case wouldBlock
    /// This connection is lost (it was reset while queued, or a firewall refused it); others may wait.
    case skipped
    /// No descriptor or memory: the connection stays queued.
    case exhausted(Errno)
    case failed(Errno)
}

/// What came of one attempt to move bytes.
public enum IOOutcome: Sendable {
    /// At least one byte.
    case moved(Int)
    case wouldBlock
    case endOfStream
    case failed(Errno)
}

extension Descriptor {
    // MARK: Opening

    /// socket(2), non-blocking and close-on-exec.
    public static func socket(
        _ transport: Transport, _ family: IPAddress.Family
    ) throws(Errno) -> Descriptor {
        let result = weir_socket(Int32(family.rawValue), transport == .udp)
        guard result >= 0 else { throw Errno(-result) }
        return Descriptor(rawValue: result)
    }

    /// bind(2); nil when done.
    public func bind(to endpoint: Endpoint) -> Errno? {
        var address = weir_endpoint(endpoint)
        return failure(unsafe weir_bind(rawValue, &address))
    }

    /// listen(2); nil when done.
    public func listen(backlog: Int32) -> Errno? {
        failure(weir_listen(rawValue, backlog))
    }

    /// connect(2); nil when connected at once, `.inProgress` as a rule for TCP.
    public func connect(to endpoint: Endpoint) -> Errno? {
        var address = weir_endpoint(endpoint)
        return failure(unsafe weir_connect(rawValue, &address))
    }

    /// accept4(2).
    public func accept() -> AcceptOutcome {
        var peer = weir_endpoint()
        let result = unsafe weir_accept(rawValue, &peer)
        if result >= 0 {
            let descriptor = Descriptor(rawValue: result)
            guard let client = peer.endpoint else {
                descriptor.close()
                return .skipped
            }
            return .accepted(descriptor, client: client)
        }
        let errno = Errno(-result)
        if errno == .wouldBlock { return .wouldBlock }
        if errno.isExhaustion { return .exhausted(errno) }
        // accept(2): network errors of the new connection come from accept itself, to be treated like EAGAIN;
        // EBADF, EINVAL, ENOTSOCK and EOPNOTSUPP would come again for ever.
        switch errno.rawValue {
        case 9, 22, 88, 95: return .failed(errno)
        default: return .skipped
        }
    }

    /// getsockname(2); nil when the kernel refuses.
    public func localEndpoint() -> Endpoint? {
        var address = weir_endpoint()
        guard unsafe weir_local_endpoint(rawValue, &address) == 0 else { return nil }
        return address.endpoint
    }

    // MARK: Options

    /// setsockopt(2) for options that are whole numbers or switches; nil when done.
    @discardableResult
    public func set(_ option: SocketOption, to value: Int32 = 1) -> Errno? {
        failure(weir_set_option(rawValue, option.code, value))
    }

    /// Chooses the congestion control algorithm; see tcp(7), TCP_CONGESTION. Nil when done.
    public func setCongestionControl(_ name: String) -> Errno? {
        failure(unsafe weir_set_congestion_control(rawValue, name))
    }

    /// Takes the pending error, which is then gone; see socket(7), SO_ERROR.
    public func takeError() -> Errno? {
        let error = weir_take_socket_error(rawValue)
        return error == 0 ? nil : Errno(error)
    }

    // MARK: Moving bytes

    /// recv(2) into the front of `region`, at most `byteCountMax` bytes.
    public func receive(into region: borrowing ByteRegion, at offset: Int = 0, byteCountMax: Int)
        -> IOOutcome
    {
        precondition(offset >= 0 && byteCountMax >= 0 && byteCountMax <= region.byteCount - offset)
        return unsafe outcome(weir_receive(rawValue, region.base + offset, byteCountMax), zero: .endOfStream)
    }

    /// recv(2) into `bytes` from `offset` on, at most `byteCountMax` bytes.
    public func receive(into bytes: inout [UInt8], at offset: Int, byteCountMax: Int) -> IOOutcome {
        precondition(offset >= 0 && byteCountMax >= 0 && byteCountMax <= bytes.count - offset)
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe weir_receive(rawValue, buffer.baseAddress.map { unsafe $0 + offset }, byteCountMax)
        }
        return outcome(result, zero: .endOfStream)
    }

    /// send(2) of `bytes`, without SIGPIPE.
    public func send(_ bytes: Span<UInt8>) -> IOOutcome {
        let result = unsafe bytes.withUnsafeBytes { buffer in
            unsafe weir_send(rawValue, buffer.baseAddress, buffer.count)
        }
        return outcome(result, zero: .wouldBlock)
    }

    /// The same with MSG_MORE: what fills no segment waits for what follows, or for the end, and leaves with it.
    ///
    /// Without either it leaves after 200 ms.
    public func sendMore(_ bytes: Span<UInt8>) -> IOOutcome {
        let result = unsafe bytes.withUnsafeBytes { buffer in
            unsafe weir_send_more(rawValue, buffer.baseAddress, buffer.count)
        }
        return outcome(result, zero: .wouldBlock)
    }

    /// recv(2) with MSG_PEEK: the bytes stay in the socket.
    public func peek(into region: borrowing ByteRegion, byteCountMax: Int) -> IOOutcome {
        precondition(byteCountMax >= 0 && byteCountMax <= region.byteCount)
        return unsafe outcome(weir_peek(rawValue, region.base, byteCountMax), zero: .endOfStream)
    }

    /// send(2) of `byteCount` bytes of `region` from `offset` on, without SIGPIPE.
    public func send(from region: borrowing ByteRegion, at offset: Int, byteCount: Int) -> IOOutcome {
        precondition(offset >= 0 && byteCount >= 0 && byteCount <= region.byteCount - offset)
        return unsafe outcome(weir_send(rawValue, region.base + offset, byteCount), zero: .wouldBlock)
    }

    /// recv(2) for small control traffic such as probes.
    public func receive(byteCountMax: Int, into bytes: inout [UInt8]) -> IOOutcome {
        var buffer = [UInt8](repeating: 0, count: byteCountMax)
        let result = unsafe buffer.withUnsafeMutableBytes { pointer in
            unsafe weir_receive(rawValue, pointer.baseAddress, pointer.count)
        }
        if result > 0 { bytes.append(contentsOf: buffer[..<result]) }
        return outcome(result, zero: .endOfStream)
    }

    /// send(2) for small control traffic such as probes. An empty datagram counts as moved.
    public func send(_ bytes: ArraySlice<UInt8>) -> IOOutcome {
        let result = unsafe bytes.withUnsafeBytes { pointer in
            unsafe weir_send(rawValue, pointer.baseAddress, pointer.count)
        }
        return outcome(result, zero: .moved(0))
    }

    /// shutdown(2) of the writing half: a FIN after all that was sent. Nil when done.
    public func shutdownWrite() -> Errno? {
        failure(weir_shutdown_write(rawValue))
    }

    /// splice(2) from a socket into a pipe or back.
    public func splice(to sink: Descriptor, byteCountMax: Int) -> IOOutcome {
        outcome(weir_splice(rawValue, sink.rawValue, byteCountMax), zero: .endOfStream)
    }

    private func failure(_ result: Int32) -> Errno? {
        result < 0 ? Errno(-result) : nil
    }

    private func outcome(_ result: Int, zero: IOOutcome) -> IOOutcome {
        if result > 0 { return .moved(result) }
        if result == 0 { return zero }
        let errno = Errno(Int32(truncatingIfNeeded: -result))
        return errno == .wouldBlock ? .wouldBlock : .failed(errno)
    }
}

/// The socket options that Weir uses; see socket(7), tcp(7), ip(7), ipv6(7), udp(7).
public enum SocketOption: Sendable {
    case noDelay
    /// Zero before connect(2) lets the first data carry the last ACK of the handshake.
    case quickAcknowledge
    case keepAlive
    case keepAliveIdleSeconds
    case keepAliveIntervalSeconds
    case keepAliveProbeCount
    case reuseAddress
    case reusePort
    case ipv6Only
    case freebindV4
    case freebindV6
    case bindAddressNoPort
    /// The lowest port and, in the upper half, the highest; since Linux 6.3.
    case localPortRange
    /// An address that is not this machine's may be bound; needs CAP_NET_ADMIN. See ip(7), IP_TRANSPARENT.
    case transparentV4
    case transparentV6
    case packetInfoV4
    case packetInfoV6
    case datagramCoalescing
    case receiveBufferByteCount
    case sendBufferByteCount

    var code: weir_option {
        switch self {
        case .noDelay: WEIR_OPTION_TCP_NODELAY
        case .quickAcknowledge: WEIR_OPTION_TCP_QUICKACK
        case .keepAlive: WEIR_OPTION_KEEPALIVE
        case .keepAliveIdleSeconds: WEIR_OPTION_TCP_KEEPIDLE
        case .keepAliveIntervalSeconds: WEIR_OPTION_TCP_KEEPINTVL
        case .keepAliveProbeCount: WEIR_OPTION_TCP_KEEPCNT
        case .reuseAddress: WEIR_OPTION_REUSEADDR
        case .reusePort: WEIR_OPTION_REUSEPORT
        case .ipv6Only: WEIR_OPTION_IPV6_ONLY
        case .freebindV4: WEIR_OPTION_IPV4_FREEBIND
        case .freebindV6: WEIR_OPTION_IPV6_FREEBIND
        case .bindAddressNoPort: WEIR_OPTION_BIND_ADDRESS_NO_PORT
        case .localPortRange: WEIR_OPTION_LOCAL_PORT_RANGE
        case .transparentV4: WEIR_OPTION_IPV4_TRANSPARENT
        case .transparentV6: WEIR_OPTION_IPV6_TRANSPARENT
        case .packetInfoV4: WEIR_OPTION_IPV4_PKTINFO
        case .packetInfoV6: WEIR_OPTION_IPV6_PKTINFO
        case .datagramCoalescing: WEIR_OPTION_UDP_GRO
        case .receiveBufferByteCount: WEIR_OPTION_RECEIVE_BUFFER
        case .sendBufferByteCount: WEIR_OPTION_SEND_BUFFER
        }
    }
}
