// A live UDP flow on its way from one process to its successor: everything but its socket, which travels beside it.
//
// Fixed-size records, since there can be hundreds of thousands while datagrams wait. Instants need no
// translation: CLOCK_MONOTONIC is the machine's, not the process's. Numbers of targets and listeners are the
// sender's; who receives translates them.

import Balancing
import LinuxIO

package struct HandedOverFlow: Sendable, Equatable {
    /// Index among the listening sockets of the offer: answers leave through that socket.
    package var socketIndex: Int
    package var key: FlowKey
    package var target: TargetNumber
    package var isAnswered: Bool
    package var isAssured: Bool
    /// The target has not yet had the PROXY protocol header.
    package var owesProxyHeader: Bool
    package var startedAt: Instant
    package var lastActivityAt: Instant
    package var clientByteCount: UInt64
    package var targetByteCount: UInt64

    package init(
        socketIndex: Int, key: FlowKey, target: TargetNumber, isAnswered: Bool, isAssured: Bool,
        owesProxyHeader: Bool = false, startedAt: Instant, lastActivityAt: Instant, clientByteCount: UInt64,
        targetByteCount: UInt64
    ) {
        self.socketIndex = socketIndex
        self.key = key
        self.target = target
        self.isAnswered = isAnswered
        self.isAssured = isAssured
        self.owesProxyHeader = owesProxyHeader
        self.startedAt = startedAt
        self.lastActivityAt = lastActivityAt
        self.clientByteCount = clientByteCount
        self.targetByteCount = targetByteCount
    }

    // MARK: Records

    /// Two endpoints of 19 bytes, two numbers of 4, flags of 1, four of 8.
    package static let recordByteCount = 2 * 19 + 2 * 4 + 1 + 4 * 8

    package func append(to bytes: inout [UInt8]) {
        let count = bytes.count
        Self.put(key.client, to: &bytes)
        Self.put(key.local, to: &bytes)
        Self.put(UInt32(socketIndex), to: &bytes)
        Self.put(target.rawValue, to: &bytes)
        bytes.append((isAnswered ? 1 : 0) | (isAssured ? 2 : 0) | (owesProxyHeader ? 4 : 0))
        Self.put(startedAt.nanoseconds, to: &bytes)
        Self.put(lastActivityAt.nanoseconds, to: &bytes)
        Self.put(clientByteCount, to: &bytes)
        Self.put(targetByteCount, to: &bytes)
        assert(bytes.count - count == Self.recordByteCount)
    }

    /// Reads whole records; nil when the bytes are not a whole number of them or an address is none.
    package static func records(in bytes: [UInt8]) -> [HandedOverFlow]? {
        guard bytes.count % recordByteCount == 0 else { return nil }
        var flows: [HandedOverFlow] = []
        flows.reserveCapacity(bytes.count / recordByteCount)
        var position = 0
        while position < bytes.count {
            guard let client = takeEndpoint(from: bytes, &position),
                let local = takeEndpoint(from: bytes, &position)
            else { return nil }
            let socketIndex = Int(take(UInt32.self, from: bytes, &position))
            let target = TargetNumber(take(UInt32.self, from: bytes, &position))
            let flags = take(UInt8.self, from: bytes, &position)
            flows.append(
                HandedOverFlow(
                    socketIndex: socketIndex, key: FlowKey(client: client, local: local, transport: .udp),
                    target: target, isAnswered: flags & 1 != 0, isAssured: flags & 2 != 0,
                    owesProxyHeader: flags & 4 != 0,
                    startedAt: Instant(nanoseconds: take(UInt64.self, from: bytes, &position)),
                    lastActivityAt: Instant(nanoseconds: take(UInt64.self, from: bytes, &position)),
                    clientByteCount: take(UInt64.self, from: bytes, &position),
                    targetByteCount: take(UInt64.self, from: bytes, &position)))
        }
        return flows
    }

    private static func put<Value: FixedWidthInteger & UnsignedInteger>(
        _ value: Value, to bytes: inout [UInt8]
    ) {
        for shift in 0..<MemoryLayout<Value>.size {
            bytes.append(UInt8(truncatingIfNeeded: value >> Value(8 * shift)))
        }
    }

    private static func put(_ endpoint: Endpoint, to bytes: inout [UInt8]) {
        bytes.append(endpoint.address.family.rawValue)
        put(endpoint.address.high, to: &bytes)
        put(endpoint.address.low, to: &bytes)
        put(endpoint.port, to: &bytes)
    }

    /// The caller has checked that whole records are there.
    private static func take<Value: FixedWidthInteger & UnsignedInteger>(
        _: Value.Type, from bytes: [UInt8], _ position: inout Int
    ) -> Value {
        defer { position += MemoryLayout<Value>.size }
        return (0..<MemoryLayout<Value>.size).reduce(0) { $0 | Value(bytes[position + $1]) << Value(8 * $1) }
    }

    private static func takeEndpoint(from bytes: [UInt8], _ position: inout Int) -> Endpoint? {
        let family = take(UInt8.self, from: bytes, &position)
        let high = take(UInt64.self, from: bytes, &position)
        let low = take(UInt64.self, from: bytes, &position)
        let port = take(UInt16.self, from: bytes, &position)
        switch family {
        case IPAddress.Family.v4.rawValue:
            return Endpoint(address: IPAddress(v4: UInt32(truncatingIfNeeded: low)), port: port)
        case IPAddress.Family.v6.rawValue:
            return Endpoint(address: IPAddress(v6High: high, v6Low: low), port: port)
        default: return nil
        }
    }
}

/// A flow and its socket, for the worker that is to go on with it.
package struct AdoptedFlow: Sendable {
    package let flow: HandedOverFlow
    /// This process's number for it.
    package let target: TargetNumber
    package let socket: Descriptor

    package init(flow: HandedOverFlow, target: TargetNumber, socket: Descriptor) {
        self.flow = flow
        self.target = target
        self.socket = socket
    }
}
