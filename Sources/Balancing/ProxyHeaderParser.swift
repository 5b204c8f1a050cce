// Reads PROXY protocol headers of both versions from bytes that were peeked at, not yet taken.
//
// Strict wherever a sender has a choice that no honest one makes: what is not exactly a header ends the connection,
// at the first byte that shows it. Unknown values are passed over. Each call begins anew with all bytes that are
// there, so there is no state to keep; a header that dribbles in costs a look at its beginning per arrival.

public enum ProxyHeaderParser {
    public enum Outcome: Hashable, Sendable {
        /// The header is at least this many bytes long in all, more than there are.
        case needMore(atLeast: Int)
        /// The header is the first `byteCount` bytes; what follows is the client's.
        case header(ProxyHeader, byteCount: Int)
        case invalid(Fault)
    }

    public enum Fault: Error, Hashable, Sendable {
        /// Neither version's first bytes: the peer does not speak the PROXY protocol.
        case signature
        /// A version that does not exist, or a command.
        case versionOrCommand(UInt8)
        /// Family and transport of version 2, in one byte.
        case familyOrTransport(UInt8)
        /// A header of version 2 of more than `Limits.proxyHeaderByteCountMax` bytes.
        case tooLong(byteCount: Int)
        /// The declared length ends within the addresses.
        case addresses
        /// A value of this type that ends beyond its surroundings, or has a length that this type cannot have.
        case value(type: UInt8)
        /// A value that may be there once.
        case repeatedValue(type: UInt8)
        /// A byte within a value's head is missing.
        case valueHead
        case checksum
        /// A line of version 1 without its end in the first 107 bytes, or with half of it.
        case line
        /// A protocol other than TCP4, TCP6 and UNKNOWN.
        case lineProtocol
        case lineAddress
        case linePort
    }

    /// Reads the header at the beginning of `bytes`.
    ///
    /// Never looks beyond the header. `bytes` may be empty.
    public static func parse(_ bytes: Span<UInt8>) -> Outcome {
        var reader = ByteReader(bytes)
        switch reader.peek(bytes) {
        case nil:
            return .needMore(atLeast: ProxyHeaderLine.byteCountMin)
        case ProxyHeaderLine.prefix[0]:
            return ProxyHeaderLine.parse(bytes)
        default:
            break
        }
        for index in ProxyProtocol.signature.indices {
            guard let byte = reader.byte(bytes) else {
                return .needMore(atLeast: ProxyProtocol.fixedByteCount)
            }
            guard byte == ProxyProtocol.signature[index] else { return .invalid(.signature) }
        }
        return parseBinary(bytes, from: reader)
    }

    /// What follows the signature; section 2.2.
    private static func parseBinary(_ bytes: Span<UInt8>, from start: ByteReader) -> Outcome {
        var reader = start
        let isLocal: Bool
        switch reader.byte(bytes) {
        case nil:
            return .needMore(atLeast: ProxyProtocol.fixedByteCount)
        case ProxyProtocol.version | ProxyProtocol.localCommand:
            isLocal = true
        case ProxyProtocol.version | ProxyProtocol.proxyCommand:
            isLocal = false
        case .some(let other):
            return .invalid(.versionOrCommand(other))
        }
        guard let familyAndTransport = reader.byte(bytes) else {
            return .needMore(atLeast: ProxyProtocol.fixedByteCount)
        }
        let addresses = Addresses(familyAndTransport)
        guard isLocal || addresses != nil else {
            return .invalid(.familyOrTransport(familyAndTransport))
        }
        guard let declared = reader.uint16(bytes) else {
            return .needMore(atLeast: ProxyProtocol.fixedByteCount)
        }
        let byteCount = ProxyProtocol.fixedByteCount + Int(declared)
        guard byteCount <= Limits.proxyHeaderByteCountMax else {
            return .invalid(.tooLong(byteCount: byteCount))
        }
        guard byteCount <= bytes.count else { return .needMore(atLeast: byteCount) }
        let header = bytes.extracting(first: byteCount)
        do throws(Fault) {
            return .header(
                isLocal || addresses == .some(.none)
                    ? try parseUnaddressed(header, isLocal ? .local : .unknown, addresses ?? .none)
                    : try parseRelayed(header, addresses ?? .none),
                byteCount: byteCount)
        } catch {
            return .invalid(error)
        }
    }

    /// What byte 14 says of the address block.
    private enum Addresses: Equatable {
        case none
        case v4(Transport)
        case v6(Transport)
        case unix

        /// Nil for what the specification does not list.
        init?(_ familyAndTransport: UInt8) {
            switch familyAndTransport {
            case 0x00: self = .none
            case ProxyProtocol.familyV4 | ProxyProtocol.stream: self = .v4(.tcp)
            case ProxyProtocol.familyV4 | ProxyProtocol.datagram: self = .v4(.udp)
            case ProxyProtocol.familyV6 | ProxyProtocol.stream: self = .v6(.tcp)
            case ProxyProtocol.familyV6 | ProxyProtocol.datagram: self = .v6(.udp)
            case ProxyProtocol.familyUnix | ProxyProtocol.stream: self = .unix
            case ProxyProtocol.familyUnix | ProxyProtocol.datagram: self = .unix
            default: return nil
            }
        }

        var byteCount: Int {
            switch self {
            case .none: 0
            case .v4: ProxyProtocol.addressesV4ByteCount
            case .v6: ProxyProtocol.addressesV6ByteCount
            case .unix: ProxyProtocol.addressesUnixByteCount
            }
        }
    }

    /// A header whose block means nothing, so that anything may be in it, even what looks wrong.
    ///
    /// Except for a checksum: where the block reads as values and one of them is a checksum, it must be right.
    private static func parseUnaddressed(
        _ bytes: Span<UInt8>, _ origin: ProxyHeader.Origin, _ addresses: Addresses
    ) throws(Fault) -> ProxyHeader {
        var header = ProxyHeader(version: .v2, origin: origin)
        var values = header
        do throws(Fault) {
            try readValues(
                of: bytes, from: ProxyProtocol.fixedByteCount + addresses.byteCount, into: &values)
        } catch .checksum {
            throw .checksum
        } catch {
            return header
        }
        header.isChecksummed = values.isChecksummed
        return header
    }

    private static func parseRelayed(
        _ bytes: Span<UInt8>, _ addresses: Addresses
    ) throws(Fault) -> ProxyHeader {
        var reader = ByteReader(ProxyProtocol.fixedByteCount..<bytes.count)
        guard let block = reader.skip(addresses.byteCount), let origin = origin(bytes, in: block, addresses)
        else { throw .addresses }
        var header = ProxyHeader(version: .v2, origin: origin)
        try readValues(of: bytes, from: reader.position, into: &header)
        return header
    }

    private static func origin(
        _ bytes: Span<UInt8>, in block: Range<Int>, _ addresses: Addresses
    ) -> ProxyHeader.Origin? {
        var reader = ByteReader(block)
        let ends: (source: IPAddress, destination: IPAddress)
        let transport: Transport
        switch addresses {
        case .none, .unix:
            return .unknown
        case .v4(let which):
            guard let source = reader.uint32(bytes), let destination = reader.uint32(bytes) else {
                return nil
            }
            ends = (IPAddress(v4: source), IPAddress(v4: destination))
            transport = which
        case .v6(let which):
            guard let sourceHigh = reader.uint64(bytes), let sourceLow = reader.uint64(bytes),
                let destinationHigh = reader.uint64(bytes), let destinationLow = reader.uint64(bytes)
            else { return nil }
            ends = (
                IPAddress(v6High: sourceHigh, v6Low: sourceLow),
                IPAddress(v6High: destinationHigh, v6Low: destinationLow)
            )
            transport = which
        }
        guard let sourcePort = reader.uint16(bytes), let destinationPort = reader.uint16(bytes) else {
            return nil
        }
        return .relayed(
            source: Endpoint(address: ends.source, port: sourcePort),
            destination: Endpoint(address: ends.destination, port: destinationPort), transport: transport)
    }
}

// MARK: - Values

extension ProxyHeaderParser {
    /// Reads the type-length-value vectors from `start` to the end of the header, and compares the checksum.
    private static func readValues(
        of bytes: Span<UInt8>, from start: Int, into header: inout ProxyHeader
    ) throws(Fault) {
        guard start <= bytes.count else { throw .addresses }
        var reader = ByteReader(start..<bytes.count)
        var checksumPlace: Range<Int>?
        while let (type, value) = try nextValue(&reader, of: bytes) {
            switch type {
            case ProxyProtocol.TLV.applicationProtocol:
                try keep(value, type, in: &header.applicationProtocol)
            case ProxyProtocol.TLV.authority:
                guard value.count <= ProxyProtocol.authorityByteCountMax else { throw .value(type: type) }
                try keep(value, type, in: &header.authority)
            case ProxyProtocol.TLV.uniqueID:
                guard value.count <= ProxyProtocol.uniqueIDByteCountMax else { throw .value(type: type) }
                try keep(value, type, in: &header.uniqueID)
            case ProxyProtocol.TLV.checksum:
                guard value.count == ProxyProtocol.checksumByteCount else { throw .value(type: type) }
                try keep(value, type, in: &checksumPlace)
            case ProxyProtocol.TLV.tls:
                guard header.tls == nil else { throw .repeatedValue(type: type) }
                header.tls = try readTLS(of: bytes, in: value)
            default:
                // Padding, namespaces, what clouds add, and what is not invented yet.
                break
            }
        }
        if let checksumPlace {
            guard isChecksumRight(of: bytes, at: checksumPlace) else { throw .checksum }
            header.isChecksummed = true
        }
    }

    private static func readTLS(
        of bytes: Span<UInt8>, in range: Range<Int>
    ) throws(Fault) -> ProxyHeader.TLS {
        var reader = ByteReader(range)
        guard let client = reader.byte(bytes), let verifyResult = reader.uint32(bytes) else {
            throw .value(type: ProxyProtocol.TLV.tls)
        }
        var tls = ProxyHeader.TLS(
            client: ProxyHeader.ClientFlags(rawValue: client), verifyResult: verifyResult)
        while let (type, value) = try nextValue(&reader, of: bytes) {
            switch type {
            case ProxyProtocol.TLV.tlsVersion: try keep(value, type, in: &tls.version)
            case ProxyProtocol.TLV.tlsCommonName: try keep(value, type, in: &tls.commonName)
            case ProxyProtocol.TLV.tlsCipher: try keep(value, type, in: &tls.cipher)
            case ProxyProtocol.TLV.tlsSignatureAlgorithm: try keep(value, type, in: &tls.signatureAlgorithm)
            case ProxyProtocol.TLV.tlsKeyAlgorithm: try keep(value, type, in: &tls.keyAlgorithm)
            default: break
            }
        }
        return tls
    }

    /// Nil at the end.
    private static func nextValue(
        _ reader: inout ByteReader, of bytes: Span<UInt8>
    ) throws(Fault) -> (type: UInt8, value: Range<Int>)? {
        guard let type = reader.byte(bytes) else { return nil }
        guard let byteCount = reader.uint16(bytes) else { throw .valueHead }
        guard let value = reader.skip(Int(byteCount)) else { throw .value(type: type) }
        return (type, value)
    }

    /// Of two values it would be chance which one is believed, here and at the next hop.
    private static func keep(
        _ value: Range<Int>, _ type: UInt8, in place: inout Range<Int>?
    ) throws(Fault) {
        guard place == nil else { throw .repeatedValue(type: type) }
        place = value
    }

    /// Computed with the checksum's own bytes as zero; section 2.2.3.
    private static func isChecksumRight(of bytes: Span<UInt8>, at place: Range<Int>) -> Bool {
        var reader = ByteReader(place)
        var checksum = CRC32C()
        checksum.add(bytes.extracting(0..<place.lowerBound))
        checksum.addZeros(place.count)
        checksum.add(bytes.extracting(place.upperBound..<bytes.count))
        return reader.uint32(bytes) == checksum.value
    }
}
