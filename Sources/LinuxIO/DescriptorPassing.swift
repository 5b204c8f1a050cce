// A conversation between two processes that carries open files; see unix(7), SCM_RIGHTS.
//
// Every call blocks until its deadline, so none belongs on a worker or on the cooperative pool. A message of any
// length goes as frames of bounded size; its descriptors go with them, in order.

import Balancing
import CLinux
import Glibc

/// Why a hand-over's conversation ended.
public enum HandoverError: Error, Sendable, CustomStringConvertible {
    /// The other process closed its end, as it does when it ends.
    case closed
    case timedOut
    case format(HandoverFormatError)
    case failed(SystemCallError)
    /// A message longer than any that this release sends.
    case tooLong

    public var description: String {
        switch self {
        case .closed: "the other process ended without a word"
        case .timedOut: "the other process did not answer in time"
        case .format(let error): "\(error)"
        case .failed(let error) where error.errno == .tooManyOpenFiles:
            "the open-file limit is reached (EMFILE); raise it (LimitNOFILE= or ulimit -n)"
        case .failed(let error): "\(error)"
        case .tooLong: "a message of the hand-over is too long"
        }
    }
}

/// A whole message. Whoever receives it owns the descriptors.
public struct HandoverMessage: Sendable {
    public let kind: HandoverFrame.Kind
    public let payload: [UInt8]
    public let descriptors: [Descriptor]

    public init(kind: HandoverFrame.Kind, payload: [UInt8] = [], descriptors: [Descriptor] = []) {
        self.kind = kind
        self.payload = payload
        self.descriptors = descriptors
    }
}

/// One end of the conversation; closed at the end of its life.
public final class HandoverChannel: Sendable {
    /// A longer message is refused: 20,000 targets with their health take less than 10 MiB.
    private static let payloadByteCountMax = 256 << 20

    private let owned: OwnedDescriptor

    public init(_ descriptor: Descriptor) {
        owned = OwnedDescriptor(descriptor)
    }

    /// Two ends: one for this process, one to be inherited.
    public static func pair() throws(SystemCallError) -> (near: HandoverChannel, far: HandoverChannel) {
        var near: Int32 = -1
        var far: Int32 = -1
        _ = try check(unsafe weir_message_pair(&near, &far), "socketpair")
        return (
            HandoverChannel(Descriptor(rawValue: near)), HandoverChannel(Descriptor(rawValue: far))
        )
    }

    public var descriptor: Descriptor { owned.descriptor }

    /// Sends a message; the descriptors stay the caller's.
    public func send(_ message: HandoverMessage, until deadline: Instant) throws(HandoverError) {
        var payload = message.payload[...]
        var descriptors = message.descriptors[...]
        repeat {
            let part = payload.prefix(HandoverFrame.payloadByteCountMax)
            let passed = descriptors.prefix(HandoverFrame.descriptorCountMax)
            payload = payload.dropFirst(part.count)
            descriptors = descriptors.dropFirst(passed.count)
            let frame = HandoverFrame(
                kind: message.kind, hasMore: !payload.isEmpty || !descriptors.isEmpty,
                descriptorCount: passed.count, payload: Array(part))
            try send(frame, passed.map(\.rawValue), until: deadline)
        } while !payload.isEmpty || !descriptors.isEmpty
    }

    private func send(
        _ frame: HandoverFrame, _ descriptors: [Int32], until deadline: Instant
    ) throws(HandoverError) {
        let bytes = frame.bytes
        let result = unsafe bytes.withUnsafeBytes { bytes in
            unsafe descriptors.withUnsafeBufferPointer { descriptors in
                unsafe weir_send_message(
                    descriptor.rawValue, bytes.baseAddress, bytes.count, descriptors.baseAddress,
                    UInt32(descriptors.count), deadline.nanoseconds)
            }
        }
        if result < 0 { throw Self.error("sendmsg", result) }
    }

    /// Waits for the next message.
    public func receive(until deadline: Instant) throws(HandoverError) -> HandoverMessage {
        var payload: [UInt8] = []
        var descriptors: [Descriptor] = []
        var kind: HandoverFrame.Kind?
        do throws(HandoverError) {
            while true {
                let (frame, arrived) = try receiveFrame(until: deadline)
                descriptors += arrived
                payload += frame.payload
                guard kind == nil || kind == frame.kind else {
                    throw HandoverError.format(.unknownKind(frame.kind.rawValue))
                }
                kind = frame.kind
                guard payload.count <= Self.payloadByteCountMax else { throw HandoverError.tooLong }
                if !frame.hasMore {
                    return HandoverMessage(kind: frame.kind, payload: payload, descriptors: descriptors)
                }
            }
        } catch {
            for descriptor in descriptors { descriptor.close() }
            throw error
        }
    }

    private func receiveFrame(
        until deadline: Instant
    ) throws(HandoverError) -> (HandoverFrame, [Descriptor]) {
        var bytes = [UInt8](
            repeating: 0, count: HandoverFrame.headerByteCount + HandoverFrame.payloadByteCountMax)
        var raw = [Int32](repeating: -1, count: HandoverFrame.descriptorCountMax)
        var count: UInt32 = 0
        let result = unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe raw.withUnsafeMutableBufferPointer { raw in
                unsafe weir_receive_message(
                    descriptor.rawValue, bytes.baseAddress, bytes.count, raw.baseAddress, &count,
                    deadline.nanoseconds)
            }
        }
        if result < 0 { throw Self.error("recvmsg", result) }
        if result == 0 { throw .closed }
        let arrived = raw.prefix(Int(count)).map { Descriptor(rawValue: $0) }
        do throws(HandoverFormatError) {
            return (
                try HandoverFrame(parsing: Array(bytes.prefix(result)), descriptorCount: arrived.count),
                arrived
            )
        } catch {
            for descriptor in arrived { descriptor.close() }
            throw .format(error)
        }
    }

    private static func error(_ call: String, _ result: Int) -> HandoverError {
        let errno = Errno(Int32(truncatingIfNeeded: -result))
        return switch errno {
        case .timedOut: .timedOut
        case .brokenPipe, .connectionReset: .closed
        default: .failed(SystemCallError(call, errno))
        }
    }
}

/// What a socket is that another process opened.
public struct SocketDescription: Sendable, Equatable {
    public enum Address: Sendable, Equatable {
        case network(Endpoint)
        /// The path of a Unix socket; empty when it has none.
        case unix(String)
    }

    public let address: Address
    /// Nil for a socket that is neither a stream nor of datagrams.
    public let transport: Transport?
    public let isListening: Bool
    /// SO_REUSEPORT: others of the same user may join.
    public let sharesPort: Bool
}

extension Descriptor {
    /// Nil when it is no socket.
    public func describeSocket() -> SocketDescription? {
        var description = weir_socket_description()
        guard unsafe weir_describe_socket(rawValue, &description) == 0 else { return nil }
        let path = unsafe withUnsafeBytes(of: description.path) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return SocketDescription(
            address: description.local.endpoint.map { .network($0) } ?? .unix(path),
            transport: description.is_stream ? .tcp : description.is_datagram ? .udp : nil,
            isListening: description.is_listening, sharesPort: description.shares_port)
    }

    /// Makes an inherited descriptor what all others are: non-blocking and close-on-exec.
    public func makeOwn() {
        _ = weir_make_nonblocking(rawValue)
    }
}

/// The process that is to take over.
public struct Successor: Sendable {
    public let processID: Int32

    /// Starts `path` with one inherited descriptor, which keeps its number; see posix_spawn(3).
    ///
    /// - Parameter environment: `NAME=value`, all of it.
    public static func start(
        path: String, arguments: [String], environment: [String], inheriting inherited: Descriptor
    ) throws(SystemCallError) -> Successor {
        let result = unsafe withCStrings(arguments) { arguments in
            unsafe withCStrings(environment) { environment in
                unsafe weir_spawn(path, arguments, environment, inherited.rawValue)
            }
        }
        return Successor(processID: try check(result, "posix_spawn"))
    }

    /// Ends it at once, unless it has ended, and takes its exit status.
    public func end() {
        _ = weir_kill(processID)
        _ = weir_reap(processID, Instant.now.advanced(bySeconds: 5).nanoseconds)
    }

    /// Its exit status if it ends in time; a signal's number plus 128 when one ended it.
    public func exitStatus(until deadline: Instant) -> Int32? {
        let result = weir_reap(processID, deadline.nanoseconds)
        return result < 0 ? nil : result
    }
}

/// Lends a null-terminated array of C strings.
private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var copies: [UnsafeMutablePointer<CChar>?] = unsafe strings.map { unsafe strdup($0) }
    unsafe copies.append(nil)
    defer { unsafe copies.forEach { unsafe free($0) } }
    return unsafe copies.withUnsafeMutableBufferPointer { buffer in
        // The array holds at least its terminator.
        guard let base = buffer.baseAddress else {
            preconditionFailure("an array with an element has a base")
        }
        return unsafe body(UnsafePointer(base))
    }
}
