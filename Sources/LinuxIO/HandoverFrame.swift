// What one message of a hand-over looks like on the socket between two processes.
//
// Sixteen bytes, little-endian, then the payload: magic, version, kind, flags, count of descriptors, count of
// payload bytes. The two ends may be different releases, so nothing is taken on trust: whatever does not fit is
// an error, and no count is believed before it is compared with what came. `failed` alone is read whatever its
// version, so that a newer binary can say why it does not start.

/// One message, or a part of one that is too long for the socket.
public struct HandoverFrame: Sendable, Equatable {
    public enum Kind: UInt16, Sendable, CaseIterable {
        /// The running process: what there is to take over, and the listening sockets.
        case offer = 1
        /// The new process: everything is prepared.
        case ready
        /// The new process: why it does not start. It ends.
        case failed
        /// The running process, which has stopped reading: live UDP flows and their sockets.
        case flows
        /// The running process: serve.
        case begin
        /// The new process: it serves.
        case serving
    }

    public static let version: UInt16 = 1
    static let headerByteCount = 16
    /// Well below the socket's buffer, so that a frame never waits for room that cannot come.
    public static let payloadByteCountMax = 60_000
    /// SCM_MAX_FD of the kernel.
    public static let descriptorCountMax = 253

    private static let magic: UInt32 = 0x5245_4957

    public let kind: Kind
    /// Another frame of the same message follows.
    public let hasMore: Bool
    public let descriptorCount: Int
    public let payload: [UInt8]

    public init(kind: Kind, hasMore: Bool = false, descriptorCount: Int = 0, payload: [UInt8] = []) {
        precondition(payload.count <= Self.payloadByteCountMax)
        precondition(descriptorCount >= 0 && descriptorCount <= Self.descriptorCountMax)
        self.kind = kind
        self.hasMore = hasMore
        self.descriptorCount = descriptorCount
        self.payload = payload
    }

    public var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerByteCount + payload.count)
        append(Self.magic, to: &bytes)
        append(Self.version, to: &bytes)
        append(kind.rawValue, to: &bytes)
        append(UInt16(hasMore ? 1 : 0), to: &bytes)
        append(UInt16(descriptorCount), to: &bytes)
        append(UInt32(payload.count), to: &bytes)
        return bytes + payload
    }

    /// Reads a received message.
    ///
    /// - Parameter descriptorCount: How many descriptors came with it.
    public init(parsing bytes: [UInt8], descriptorCount arrivedCount: Int) throws(HandoverFormatError) {
        guard bytes.count >= Self.headerByteCount else { throw .truncated(byteCount: bytes.count) }
        func read<Value: FixedWidthInteger & UnsignedInteger>(at offset: Int, _: Value.Type) -> Value {
            (0..<MemoryLayout<Value>.size).reduce(0) { $0 | Value(bytes[offset + $1]) << Value(8 * $1) }
        }
        guard read(at: 0, UInt32.self) == Self.magic else { throw .notAHandover }
        let kindNumber = read(at: 6, UInt16.self)
        let version = read(at: 4, UInt16.self)
        guard version == Self.version || kindNumber == Kind.failed.rawValue else { throw .version(version) }
        guard let kind = Kind(rawValue: kindNumber) else { throw .unknownKind(kindNumber) }
        let saidCount = Int(read(at: 12, UInt32.self))
        guard saidCount <= Self.payloadByteCountMax else { throw .oversized(byteCount: saidCount) }
        guard saidCount == bytes.count - Self.headerByteCount else {
            throw .truncated(byteCount: bytes.count - Self.headerByteCount)
        }
        let saidDescriptorCount = Int(read(at: 10, UInt16.self))
        guard saidDescriptorCount == arrivedCount else {
            throw .descriptorCount(said: saidDescriptorCount, arrived: arrivedCount)
        }
        self.init(
            kind: kind, hasMore: read(at: 8, UInt16.self) & 1 != 0, descriptorCount: arrivedCount,
            payload: Array(bytes[Self.headerByteCount...]))
    }
}

/// Why a message is none, in words that end a sentence.
public enum HandoverFormatError: Error, Equatable, Sendable, CustomStringConvertible {
    case truncated(byteCount: Int)
    case notAHandover
    case version(UInt16)
    case unknownKind(UInt16)
    case oversized(byteCount: Int)
    case descriptorCount(said: Int, arrived: Int)

    public var description: String {
        switch self {
        case .truncated(let count): "a message of the hand-over breaks off after \(count) bytes"
        case .notAHandover: "what came is no message of a hand-over"
        case .version(let version):
            "the other process speaks version \(version) of the hand-over and this one \(HandoverFrame.version); "
                + "restart instead of upgrading"
        case .unknownKind(let kind): "the hand-over has no message of kind \(kind)"
        case .oversized(let count):
            "a message of the hand-over says \(count) bytes; at most \(HandoverFrame.payloadByteCountMax) are "
                + "allowed"
        case .descriptorCount(let said, let arrived):
            "a message of the hand-over says \(said) descriptors, and \(arrived) came"
        }
    }
}

private func append<Value: FixedWidthInteger & UnsignedInteger>(_ value: Value, to bytes: inout [UInt8]) {
    for shift in 0..<MemoryLayout<Value>.size {
        bytes.append(UInt8(truncatingIfNeeded: value >> Value(8 * shift)))
    }
}
