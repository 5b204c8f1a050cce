// A line of the TLS access log, in the field order of ELBv2's network load balancers, version 2.0.
//
// Fields are separated by one space, and "-" stands for what is not known. Weir differs in this: names and files
// stand where ELBv2 has ARNs, and the certificate's serial number and the named group, which ELBv2 reserves, are
// filled in.

import Balancing
import Serving
import TLSTermination

struct AccessLogLine {
    private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - unixNanoseconds: What the wall clock says at the monotonic instant `now`.
    init(
        _ record: AccessRecord, _ source: AccessLogSource, certificate: CertificateRegister.Entry?,
        names: TLSNames?, unixNanoseconds: UInt64, at now: Instant
    ) {
        let notes = record.notes
        func wallClock(_ instant: Instant) -> String {
            let age = now.nanoseconds(since: instant)
            return UTCTime.text(unixSeconds: (unixNanoseconds - min(age, unixNanoseconds)) / 1_000_000_000)
        }
        bytes.reserveCapacity(512)
        let isNegotiated = notes.handshakeNanoseconds != nil
        add("tls")
        add("2.0")
        add(wallClock(record.endedAt))
        add(source.loadBalancer)
        add(source.listener)
        add("\(record.client)")
        add("\(record.destination)")
        add("\(record.endedAt.nanoseconds(since: record.startedAt) / 1_000_000)")
        add(notes.handshakeNanoseconds.map { "\($0 / 1_000_000)" })
        add("\(record.receivedByteCount)")
        add("\(record.sentByteCount)")
        add(notes.alertPlusOne > 0 ? "\(notes.alertPlusOne - 1)" : nil)
        addEncoded(certificate.map { Array($0.file.utf8) } ?? [], allowing: Self.inPaths)
        add(certificate?.serial)
        add(isNegotiated ? names?.cipher(notes.summary.cipher) : nil)
        add(isNegotiated ? names?.version(notes.summary.version) : nil)
        add(isNegotiated ? names?.group(notes.summary.group) : nil)
        addEncoded(notes.hello.serverName, allowing: [])
        addEncoded(notes.clientProtocol.text, allowing: Self.inPaths)
        addEncoded(notes.targetProtocol.text, allowing: Self.inPaths)
        addProtocolList(notes.hello.protocols)
        add(wallClock(record.startedAt))
        bytes.append(UInt8(ascii: "\n"))
    }

    private static let inPaths: Set = [UInt8(ascii: "/")]

    /// "-" when there is none.
    private mutating func add(_ text: String?) {
        separate()
        bytes.append(contentsOf: (text ?? "-").utf8)
    }

    private mutating func addEncoded(_ text: [UInt8], allowing more: Set<UInt8>) {
        guard !text.isEmpty else { return add(nil) }
        separate()
        encode(text, allowing: more)
    }

    /// `"h2","http/1.1"`
    private mutating func addProtocolList(_ protocols: [[UInt8]]) {
        guard !protocols.isEmpty else { return add(nil) }
        separate()
        for (index, name) in protocols.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.append(UInt8(ascii: "\""))
            encode(name, allowing: Self.inPaths)
            bytes.append(UInt8(ascii: "\""))
        }
    }

    private mutating func separate() {
        if !bytes.isEmpty { bytes.append(UInt8(ascii: " ")) }
    }

    /// Percent-encoding (RFC 3986 section 2.1), so that nothing a client says can forge a field or a line.
    private mutating func encode(_ text: [UInt8], allowing more: Set<UInt8>) {
        for byte in text {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "~"):
                bytes.append(byte)
            case _ where more.contains(byte):
                bytes.append(byte)
            default:
                bytes.append(UInt8(ascii: "%"))
                bytes.append(Self.digits[Int(byte >> 4)])
                bytes.append(Self.digits[Int(byte & 0xF)])
            }
        }
    }

    private static let digits = Array("0123456789ABCDEF".utf8)
}
