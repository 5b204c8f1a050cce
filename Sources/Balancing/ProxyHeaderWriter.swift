// Writes PROXY protocol headers of version 2 (section 2.2) in front of what a client says.
//
// Writes straight into the memory that is sent, without allocation: the fixed part first, then each value, and at
// last the lengths and the checksum into the places kept for them. A header never outgrows
// `Limits.proxyHeaderByteCountMax`, and an ordinary one fits one TCP segment of any path.

/// Writes one header into an output that is handed to every call: `init`, then `append` and `finish`.
///
/// A value that is too long or finds no room is left out and the call returns false: a target is better off with
/// a header that lacks a name than with none. Each kind of value is to be appended once.
public struct ProxyHeaderWriter {
    /// Room for the addresses of either family and a checksum, without which no header can be begun.
    public static let plainByteCountMax =
        ProxyProtocol.fixedByteCount + ProxyProtocol.addressesV6ByteCount
        + ProxyProtocol.checksumTLVByteCount

    /// Where the header begins in the output, which may hold something before it.
    private let start: Int
    /// Where it ends at the latest, room for a checksum included.
    private let endMax: Int
    private var tlsStart: Int?

    /// Begins the header of a connection or of datagrams that are relayed for `source`.
    ///
    /// Addresses of different families are both written as IPv6, the IPv4 one mapped (RFC 4291 section 2.5.5.2).
    /// `output` must have room for `plainByteCountMax` bytes.
    public init(
        source: Endpoint, destination: Endpoint, transport: Transport, to output: inout OutputSpan<UInt8>
    ) {
        self.init(output)
        let isV4 = source.address.family == .v4 && destination.address.family == .v4
        let transportBits =
            switch transport {
            case .tcp: ProxyProtocol.stream
            case .udp: ProxyProtocol.datagram
            }
        Self.appendFixedPart(
            command: ProxyProtocol.proxyCommand,
            familyAndTransport: (isV4 ? ProxyProtocol.familyV4 : ProxyProtocol.familyV6) | transportBits,
            to: &output)
        Self.append(source.address, isV4: isV4, to: &output)
        Self.append(destination.address, isV4: isV4, to: &output)
        Self.append(source.port, to: &output)
        Self.append(destination.port, to: &output)
    }

    /// Begins the header of a connection that Weir makes for itself, such as a health check's.
    public init(localTo output: inout OutputSpan<UInt8>) {
        self.init(output)
        Self.appendFixedPart(command: ProxyProtocol.localCommand, familyAndTransport: 0, to: &output)
    }

    private init(_ output: borrowing OutputSpan<UInt8>) {
        precondition(output.freeCapacity >= Self.plainByteCountMax, "no room for a PROXY protocol header")
        start = output.count
        endMax = output.count + min(output.freeCapacity, Limits.proxyHeaderByteCountMax)
    }

    // MARK: Values

    /// The protocol that TLS agreed on with the client, such as `h2`.
    @discardableResult
    public mutating func append(applicationProtocol: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool
    {
        endTLS(of: &output)
        return append(
            ProxyProtocol.TLV.applicationProtocol, applicationProtocol, byteCountMax: 255, to: &output)
    }

    /// The name that the client asked for; at most 255 bytes.
    @discardableResult
    public mutating func append(authority: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        endTLS(of: &output)
        return append(
            ProxyProtocol.TLV.authority, authority, byteCountMax: ProxyProtocol.authorityByteCountMax,
            to: &output)
    }

    /// Any bytes that tell this connection from all others; at most 128.
    @discardableResult
    public mutating func append(uniqueID: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        endTLS(of: &output)
        return append(
            ProxyProtocol.TLV.uniqueID, uniqueID, byteCountMax: ProxyProtocol.uniqueIDByteCountMax,
            to: &output)
    }

    /// Begins what is known of the client's TLS connection, to which the calls below then add.
    ///
    /// Any other value ends it. `verifyResult` is zero only for a certificate that was verified.
    @discardableResult
    public mutating func beginTLS(
        client: ProxyHeader.ClientFlags, verifyResult: UInt32, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        endTLS(of: &output)
        guard hasRoom(ProxyProtocol.tlvHeadByteCount + ProxyProtocol.tlsHeadByteCount, in: output) else {
            return false
        }
        tlsStart = output.count
        output.append(ProxyProtocol.TLV.tls)
        Self.append(UInt16(0), to: &output)
        output.append(client.rawValue)
        Self.append(verifyResult, to: &output)
        return true
    }

    /// The protocol version of the client's TLS connection, such as `TLSv1.3`.
    @discardableResult
    public func append(tlsVersion: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        appendToTLS(ProxyProtocol.TLV.tlsVersion, tlsVersion, to: &output)
    }

    /// The common name of the client's certificate, in UTF-8.
    @discardableResult
    public func append(tlsCommonName: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        appendToTLS(ProxyProtocol.TLV.tlsCommonName, tlsCommonName, to: &output)
    }

    /// The cipher of the client's TLS connection, such as `ECDHE-RSA-AES128-GCM-SHA256`.
    @discardableResult
    public func append(tlsCipher: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        appendToTLS(ProxyProtocol.TLV.tlsCipher, tlsCipher, to: &output)
    }

    /// How the listener's certificate is signed, such as `RSA-SHA256`.
    @discardableResult
    public func append(tlsSignatureAlgorithm: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        appendToTLS(ProxyProtocol.TLV.tlsSignatureAlgorithm, tlsSignatureAlgorithm, to: &output)
    }

    /// The key of the listener's certificate, such as `RSA2048`.
    @discardableResult
    public func append(tlsKeyAlgorithm: Span<UInt8>, to output: inout OutputSpan<UInt8>) -> Bool {
        appendToTLS(ProxyProtocol.TLV.tlsKeyAlgorithm, tlsKeyAlgorithm, to: &output)
    }

    private mutating func endTLS(of output: inout OutputSpan<UInt8>) {
        guard let start = tlsStart else { return }
        tlsStart = nil
        let byteCount = output.count - start - ProxyProtocol.tlvHeadByteCount
        Self.store(UInt16(truncatingIfNeeded: byteCount), at: start + 1, in: &output)
    }

    private func appendToTLS(
        _ type: UInt8, _ value: Span<UInt8>, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard tlsStart != nil else { return false }
        return append(type, value, byteCountMax: 255, to: &output)
    }

    private func append(
        _ type: UInt8, _ value: Span<UInt8>, byteCountMax: Int, to output: inout OutputSpan<UInt8>
    ) -> Bool {
        guard value.count <= byteCountMax, hasRoom(ProxyProtocol.tlvHeadByteCount + value.count, in: output)
        else { return false }
        output.append(type)
        Self.append(UInt16(truncatingIfNeeded: value.count), to: &output)
        for index in value.indices { output.append(value[index]) }
        return true
    }

    /// Whether as many bytes fit with a checksum behind them.
    private func hasRoom(_ byteCount: Int, in output: borrowing OutputSpan<UInt8>) -> Bool {
        byteCount <= endMax - ProxyProtocol.checksumTLVByteCount - output.count
    }

    // MARK: The end

    /// Ends the header and returns how many bytes it has.
    @discardableResult
    public mutating func finish(isChecksummed: Bool, to output: inout OutputSpan<UInt8>) -> Int {
        endTLS(of: &output)
        if isChecksummed {
            output.append(ProxyProtocol.TLV.checksum)
            Self.append(UInt16(truncatingIfNeeded: ProxyProtocol.checksumByteCount), to: &output)
            Self.append(UInt32(0), to: &output)
        }
        let byteCount = output.count - start
        Self.store(
            UInt16(truncatingIfNeeded: byteCount - ProxyProtocol.fixedByteCount), at: start + 14, in: &output)
        if isChecksummed {
            // Over the whole header, lengths filled in and its own four bytes zero.
            var checksum = CRC32C()
            checksum.add(output.span.extracting(start..<output.count))
            let place = output.count - ProxyProtocol.checksumByteCount
            Self.store(UInt16(truncatingIfNeeded: checksum.value >> 16), at: place, in: &output)
            Self.store(UInt16(truncatingIfNeeded: checksum.value), at: place + 2, in: &output)
        }
        return byteCount
    }

    // MARK: Numbers

    private static func appendFixedPart(
        command: UInt8, familyAndTransport: UInt8, to output: inout OutputSpan<UInt8>
    ) {
        for index in ProxyProtocol.signature.indices { output.append(ProxyProtocol.signature[index]) }
        output.append(ProxyProtocol.version | command)
        output.append(familyAndTransport)
        // The length, which `finish` fills in.
        append(UInt16(0), to: &output)
    }

    private static func append(_ address: IPAddress, isV4: Bool, to output: inout OutputSpan<UInt8>) {
        if isV4 {
            append(UInt32(truncatingIfNeeded: address.low), to: &output)
        } else {
            let address = address.mappedToV6
            append(address.high, to: &output)
            append(address.low, to: &output)
        }
    }

    /// In network byte order.
    private static func append(_ number: some FixedWidthInteger, to output: inout OutputSpan<UInt8>) {
        var shift = number.bitWidth
        while shift > 0 {
            shift -= 8
            output.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    private static func store(_ number: UInt16, at offset: Int, in output: inout OutputSpan<UInt8>) {
        output[offset] = UInt8(truncatingIfNeeded: number >> 8)
        output[offset + 1] = UInt8(truncatingIfNeeded: number)
    }
}
