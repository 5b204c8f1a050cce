// Any bytes as a PROXY protocol header: judged the same however they arrive, and written anew as they were read.
#if DEBUG

import Balancing

enum ProxyHeadersSubject {
    static func run(_ bytes: [UInt8]) {
        let whole = ProxyHeaderParser.parse(bytes.span)
        switch whole {
        case .needMore(let atLeast):
            precondition(atLeast > bytes.count && atLeast <= Limits.proxyHeaderByteCountMax)
        case .header(let header, let byteCount):
            precondition(byteCount > 0 && byteCount <= bytes.count)
            let exact = Array(bytes[..<byteCount])
            precondition(ProxyHeaderParser.parse(exact.span) == whole, "what follows changes nothing")
            check(header, in: exact)
        case .invalid:
            break
        }
        for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 256)) {
            switch (ProxyHeaderParser.parse(Array(bytes[..<count]).span), whole) {
            case (.needMore(let atLeast), .needMore(let wholeAtLeast)):
                precondition(atLeast > count && atLeast <= wholeAtLeast)
            case (.needMore(let atLeast), .header(_, let byteCount)):
                precondition(atLeast > count && atLeast <= byteCount, "waits for nothing that is not its own")
            case (.needMore, .invalid), (.invalid, .invalid):
                break
            case (let part, _):
                precondition(part == whole, "a verdict stands, whatever follows")
            }
        }
    }

    private static func check(_ header: ProxyHeader, in bytes: [UInt8]) {
        let tls = header.tls
        let ranges = [
            header.applicationProtocol, header.authority, header.uniqueID, tls?.version, tls?.commonName,
            tls?.cipher, tls?.signatureAlgorithm, tls?.keyAlgorithm,
        ]
        for case .some(let range) in ranges {
            precondition(
                range.lowerBound >= 16 && range.upperBound <= bytes.count, "values are in the header")
        }
        precondition(header.version == .v2 || ranges.allSatisfy { $0 == nil })
        guard header.version == .v2, case .relayed = header.origin,
            ranges.allSatisfy({ ($0?.count ?? 0) <= 255 })
        else { return }
        let written = [UInt8](capacity: Limits.proxyHeaderByteCountMax) { write(header, of: bytes, to: &$0) }
        guard case .header(let again, written.count) = ProxyHeaderParser.parse(written.span) else {
            preconditionFailure("what was written is a header")
        }
        precondition(again.origin == header.origin && again.isChecksummed)
        precondition(again.tls?.client == tls?.client && again.tls?.verifyResult == tls?.verifyResult)
        let againRanges = [
            again.applicationProtocol, again.authority, again.uniqueID, again.tls?.version,
            again.tls?.commonName, again.tls?.cipher, again.tls?.signatureAlgorithm, again.tls?.keyAlgorithm,
        ]
        for (old, new) in zip(ranges, againRanges) {
            precondition(old.map { Array(bytes[$0]) } == new.map { Array(written[$0]) }, "written as read")
        }
    }

    private static func write(_ header: ProxyHeader, of bytes: [UInt8], to output: inout OutputSpan<UInt8>) {
        guard case .relayed(let source, let destination, let transport) = header.origin else { return }
        var writer = ProxyHeaderWriter(
            source: source, destination: destination, transport: transport, to: &output)
        let all = bytes.span
        if let range = header.applicationProtocol {
            writer.append(applicationProtocol: all.extracting(range), to: &output)
        }
        if let range = header.authority { writer.append(authority: all.extracting(range), to: &output) }
        if let range = header.uniqueID { writer.append(uniqueID: all.extracting(range), to: &output) }
        if let tls = header.tls {
            writer.beginTLS(client: tls.client, verifyResult: tls.verifyResult, to: &output)
            if let range = tls.version { writer.append(tlsVersion: all.extracting(range), to: &output) }
            if let range = tls.commonName { writer.append(tlsCommonName: all.extracting(range), to: &output) }
            if let range = tls.cipher { writer.append(tlsCipher: all.extracting(range), to: &output) }
            if let range = tls.signatureAlgorithm {
                writer.append(tlsSignatureAlgorithm: all.extracting(range), to: &output)
            }
            if let range = tls.keyAlgorithm {
                writer.append(tlsKeyAlgorithm: all.extracting(range), to: &output)
            }
        }
        writer.finish(isChecksummed: true, to: &output)
    }
}
#endif
