// The connection log: a line for each connection of a client, in the field order of ELBv2's application load
// balancers, 15 fields. As in the access log, names stand where ELBv2 has resource IDs.

import Balancing

/// The numbers of one connection, written when it was accepted or, with TLS, when its handshake was over.
public struct ConnectionRecord: Sendable, BitwiseCopyable {
    /// What became of the connection; ELBv2's codes.
    public enum Status: UInt8, Sendable, BitwiseCopyable, CaseIterable {
        /// There was no TLS to fail.
        case none
        case success
        case clientCertificateChainTooDeep
        case clientCertificateTooLarge
        case clientCertificateRevoked
        /// Whether it is revoked could not be told.
        case revocationListUnusable
        case clientCertificateUntrusted
        case clientCertificateNotYetValid
        case clientCertificateExpired
        case clientCertificateTypeUnsupported
        case clientCertificateInvalid
        /// It is for something else than TLS clients.
        case clientCertificatePurposeInvalid
        case clientCertificateRejected
        /// It does not go with the listener's security policy.
        case clientCertificateIncompatible
        /// Anything else, as a handshake that ended half way.
        case otherFailure
    }

    /// Numbers the log that the line goes to; zero for none.
    public var log: UInt32 = 0
    public var status = Status.none
    public var client: Endpoint
    /// Where the client connected to; the port is the listener's.
    public var local: Endpoint
    public var openedAt: Instant
    /// Numbers of the TLS registries; zero without TLS.
    public var tlsVersion: UInt16 = 0
    public var tlsCipher: UInt16 = 0
    /// OpenSSL's number of the key exchange's group; zero when there was none.
    public var namedGroup: Int32 = 0
    /// Nil without TLS, and when the handshake failed.
    public var handshakeNanoseconds: UInt64?
    /// Of the client's certificate, in Unix seconds; nil without one.
    public var validFrom: UInt64?
    public var validUntil: UInt64?
    public var connection: ConnectionTraceID
    /// Where the texts are, in a ring of such.
    public var textPosition: UInt64 = 0
    /// Bytes of the subject in the texts; the serial number follows.
    public private(set) var subjectByteCount: UInt16 = 0
    public private(set) var serialByteCount: UInt16 = 0
    private var isSubjectCut = false

    public var textByteCount: Int { Int(subjectByteCount) + Int(serialByteCount) }

    /// More of a subject is cut, and the line shows that it was.
    public static let subjectByteCountMax = 1_024
    /// Of a serial number, which has 20 bytes at most (RFC 5280 section 4.1.2.2), as hexadecimal digits.
    public static let serialByteCountMax = 64

    public init(client: Endpoint, local: Endpoint, openedAt: Instant, connection: ConnectionTraceID) {
        self.client = client
        self.local = local
        self.openedAt = openedAt
        self.connection = connection
    }

    /// Adds what the client's certificate says to an empty buffer.
    ///
    /// - Parameters:
    ///   - subject: As in RFC 4514, such as `CN=client,O=Example`.
    ///   - serial: Hexadecimal digits.
    public mutating func appendTexts(subject: Span<UInt8>, serial: Span<UInt8>, to buffer: inout [UInt8]) {
        assert(buffer.isEmpty, "the buffer has texts of another connection")
        isSubjectCut = subject.count > Self.subjectByteCountMax
        subjectByteCount = UInt16(min(subject.count, Self.subjectByteCountMax))
        serialByteCount = UInt16(min(serial.count, Self.serialByteCountMax))
        ByteText.append(subject.extracting(first: Int(subjectByteCount)), to: &buffer)
        ByteText.append(serial.extracting(first: Int(serialByteCount)), to: &buffer)
    }

    /// What the record's numbers are called; nil where there is none.
    public struct Names: Sendable {
        public var loadBalancer: String
        public var tlsVersion: String?
        public var tlsCipher: String?
        /// Such as `X25519MLKEM768`.
        public var keyExchange: String?

        public init(
            loadBalancer: String, tlsVersion: String? = nil, tlsCipher: String? = nil,
            keyExchange: String? = nil
        ) {
            self.loadBalancer = loadBalancer
            self.tlsVersion = tlsVersion
            self.tlsCipher = tlsCipher
            self.keyExchange = keyExchange
        }
    }

    /// Appends the line with its end.
    ///
    /// - Parameters:
    ///   - texts: What `appendTexts` gathered for this record; empty when it was not called.
    ///   - unixNanoseconds: What the wall clock says at the monotonic instant `now`.
    public func appendLine(
        texts: Span<UInt8>, names: Names, unixNanoseconds: UInt64, at now: Instant, to line: inout [UInt8]
    ) {
        LogText.WallClock(unixNanoseconds: unixNanoseconds, at: now).append(openedAt, to: &line)
        line.append(UInt8(ascii: " "))
        ByteText.append(client.address, to: &line)
        LogText.appendNumber(UInt64(client.port), to: &line)
        LogText.appendNumber(UInt64(local.port), to: &line)
        LogText.appendField(names.tlsVersion, to: &line)
        LogText.appendField(names.tlsCipher, to: &line)
        if let handshakeNanoseconds {
            LogText.appendSeconds(nanoseconds: handshakeNanoseconds, to: &line)
        } else {
            ByteText.append(" -", to: &line)
        }
        let subjectEnd = min(Int(subjectByteCount), texts.count)
        let serialEnd = min(subjectEnd + Int(serialByteCount), texts.count)
        ByteText.append(" \"", to: &line)
        appendText(texts.extracting(0..<subjectEnd), isCut: isSubjectCut, isQuoted: true, to: &line)
        ByteText.append("\" ", to: &line)
        appendValidity(to: &line)
        line.append(UInt8(ascii: " "))
        appendText(texts.extracting(subjectEnd..<serialEnd), isCut: false, isQuoted: false, to: &line)
        LogText.appendField(status.name, to: &line)
        line.append(UInt8(ascii: " "))
        connection.append(to: &line)
        LogText.appendField(names.keyExchange, to: &line)
        LogText.appendField(names.loadBalancer, to: &line)
        line.append(UInt8(ascii: " "))
        ByteText.append(local.address, to: &line)
        line.append(UInt8(ascii: "\n"))
    }

    private func appendText(_ text: Span<UInt8>, isCut: Bool, isQuoted: Bool, to line: inout [UInt8]) {
        guard !text.isEmpty else { return line.append(UInt8(ascii: "-")) }
        LogText.appendEscaped(text, isCut: isCut, isQuoted: isQuoted, to: &line)
    }

    /// `NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z`
    private func appendValidity(to line: inout [UInt8]) {
        guard let validFrom, let validUntil else { return line.append(UInt8(ascii: "-")) }
        ByteText.append("NotBefore=", to: &line)
        CivilTime(unixSeconds: validFrom).appendISO8601(to: &line)
        ByteText.append(";NotAfter=", to: &line)
        CivilTime(unixSeconds: validUntil).appendISO8601(to: &line)
    }
}

extension ConnectionRecord.Status {
    var name: String? {
        switch self {
        case .none: nil
        case .success: "Success"
        case .clientCertificateChainTooDeep: "Failed:ClientCertMaxChainDepthExceeded"
        case .clientCertificateTooLarge: "Failed:ClientCertMaxSizeExceeded"
        case .clientCertificateRevoked: "Failed:ClientCertCrlHit"
        case .revocationListUnusable: "Failed:ClientCertCrlProcessingError"
        case .clientCertificateUntrusted: "Failed:ClientCertUntrusted"
        case .clientCertificateNotYetValid: "Failed:ClientCertNotYetValid"
        case .clientCertificateExpired: "Failed:ClientCertExpired"
        case .clientCertificateTypeUnsupported: "Failed:ClientCertTypeUnsupported"
        case .clientCertificateInvalid: "Failed:ClientCertInvalid"
        case .clientCertificatePurposeInvalid: "Failed:ClientCertPurposeInvalid"
        case .clientCertificateRejected: "Failed:ClientCertRejected"
        case .clientCertificateIncompatible: "Failed:ClientCertIncompatible"
        case .otherFailure: "Failed:UnmappedConnectionError"
        }
    }
}
