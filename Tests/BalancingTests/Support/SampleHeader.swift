// A PROXY protocol header in plain words, to be written, read back and compared.

import Balancing

struct SampleHeader: Equatable {
    struct TLS: Equatable {
        var client: UInt8 = 1
        var verifyResult: UInt32 = 0
        var version: [UInt8]?
        var commonName: [UInt8]?
        var cipher: [UInt8]?
        var signatureAlgorithm: [UInt8]?
        var keyAlgorithm: [UInt8]?
    }

    var origin: ProxyHeader.Origin
    var applicationProtocol: [UInt8]?
    var authority: [UInt8]?
    var uniqueID: [UInt8]?
    var tls: TLS?
    var isChecksummed = false

    init(_ origin: ProxyHeader.Origin) {
        self.origin = origin
    }

    /// What the parser found in `bytes`.
    init(_ header: ProxyHeader, in bytes: [UInt8]) {
        let text = { (range: Range<Int>?) in range.map { Array(bytes[$0]) } }
        origin = header.origin
        applicationProtocol = text(header.applicationProtocol)
        authority = text(header.authority)
        uniqueID = text(header.uniqueID)
        isChecksummed = header.isChecksummed
        tls = header.tls.map {
            TLS(
                client: $0.client.rawValue, verifyResult: $0.verifyResult, version: text($0.version),
                commonName: text($0.commonName), cipher: text($0.cipher),
                signatureAlgorithm: text($0.signatureAlgorithm), keyAlgorithm: text($0.keyAlgorithm))
        }
    }

    func write(to output: inout OutputSpan<UInt8>) {
        var writer: ProxyHeaderWriter
        switch origin {
        case .local, .unknown:
            writer = ProxyHeaderWriter(localTo: &output)
        case .relayed(let source, let destination, let transport):
            writer = ProxyHeaderWriter(
                source: source, destination: destination, transport: transport, to: &output)
        }
        if let applicationProtocol {
            writer.append(applicationProtocol: applicationProtocol.span, to: &output)
        }
        if let authority { writer.append(authority: authority.span, to: &output) }
        if let tls {
            writer.beginTLS(
                client: ProxyHeader.ClientFlags(rawValue: tls.client), verifyResult: tls.verifyResult,
                to: &output)
            if let version = tls.version { writer.append(tlsVersion: version.span, to: &output) }
            if let name = tls.commonName { writer.append(tlsCommonName: name.span, to: &output) }
            if let cipher = tls.cipher { writer.append(tlsCipher: cipher.span, to: &output) }
            if let name = tls.signatureAlgorithm {
                writer.append(tlsSignatureAlgorithm: name.span, to: &output)
            }
            if let name = tls.keyAlgorithm { writer.append(tlsKeyAlgorithm: name.span, to: &output) }
        }
        if let uniqueID { writer.append(uniqueID: uniqueID.span, to: &output) }
        writer.finish(isChecksummed: isChecksummed, to: &output)
    }

    var bytes: [UInt8] {
        [UInt8](capacity: Limits.proxyHeaderByteCountMax) { write(to: &$0) }
    }

    static func random(using generator: inout SplitMix64) -> SampleHeader {
        var source = Endpoint.random(using: &generator)
        var destination = Endpoint.random(using: &generator)
        if source.address.family != destination.address.family {
            source = Endpoint(address: source.address.mappedToV6, port: source.port)
            destination = Endpoint(address: destination.address.mappedToV6, port: destination.port)
        }
        var sample = SampleHeader(
            .relayed(
                source: source, destination: destination,
                transport: Bool.random(using: &generator) ? .tcp : .udp))
        func value(_ countMax: Int) -> [UInt8]? {
            guard Bool.random(using: &generator) else { return nil }
            return .random(count: Int.random(in: 0...countMax, using: &generator), using: &generator)
        }
        sample.applicationProtocol = value(20)
        sample.authority = value(255)
        sample.uniqueID = value(128)
        if Bool.random(using: &generator) {
            sample.tls = TLS(
                client: UInt8.random(in: 0...255, using: &generator),
                verifyResult: UInt32.random(in: 0 ... .max, using: &generator), version: value(8),
                commonName: value(64), cipher: value(30), signatureAlgorithm: value(20),
                keyAlgorithm: value(12))
        }
        sample.isChecksummed = Bool.random(using: &generator)
        return sample
    }
}
