// Which fields tell a target of its client's TLS, and what they are called; ELBv2's X-Amzn-Tls-… and
// X-Amzn-Mtls-….
//
// Targets believe these fields, so that a client's own are dropped wherever a listener says them: by their usual
// names, by those that the listener gave them, and with underscores for hyphens, which many a target takes for the
// same name.

import Balancing

/// What one listener tells; made with each snapshot and shared by all workers.
public final class TLSFieldPlan: Sendable {
    /// What targets get of the client's certificate.
    public enum Certificate: Hashable, Sendable {
        case none
        /// All that the client showed; mutual TLS in mode `passthrough`.
        case chain
        /// What a verified certificate says; mutual TLS in mode `verify`.
        case facts
    }

    public let tellsVersionAndCipherSuite: Bool
    public let tellsKeyExchange: Bool
    public let certificate: Certificate
    /// Tells plans apart: never zero, and the same for what is told in the same way.
    public let key: UInt32
    private let names: [ApplicationListenerAttributes.RenamedField: String]
    /// In lower case, with hyphens for underscores.
    private let guardedNames: [[UInt8]]
    /// A bit for each length of theirs: most fields of a request are told apart by that.
    private let guardedLengths: UInt64

    public static let keyExchangeName = "X-Amzn-Tls-Kx"

    /// Nil when nothing is told.
    public init?(
        _ attributes: ApplicationLoadBalancerAttributes, _ listenerAttributes: ApplicationListenerAttributes,
        mutualAuthentication: MutualAuthentication
    ) {
        tellsVersionAndCipherSuite = attributes.tellsTLSVersionAndCipherSuite
        tellsKeyExchange = attributes.tellsTLSKeyExchange
        certificate =
            switch mutualAuthentication {
            case .off: .none
            case .passthrough: .chain
            case .verify: .facts
            }
        guard tellsVersionAndCipherSuite || tellsKeyExchange || certificate != .none else { return nil }
        names = listenerAttributes.fieldNames
        var guarded: [String] = tellsKeyExchange ? [Self.keyExchangeName] : []
        for field in ApplicationListenerAttributes.RenamedField.allCases
        where field.isOfCertificate ? certificate != .none : tellsVersionAndCipherSuite {
            guarded.append(field.usualName)
            if let name = listenerAttributes.fieldNames[field] { guarded.append(name) }
        }
        guardedNames = guarded.map { name in name.utf8.map(Self.folded) }
        guardedLengths = guardedNames.reduce(0) { $0 | 1 << UInt64(min($1.count, 63)) }
        var hasher = Hasher()
        hasher.combine(tellsVersionAndCipherSuite)
        hasher.combine(tellsKeyExchange)
        hasher.combine(certificate)
        hasher.combine(names)
        key = UInt32(truncatingIfNeeded: hasher.finalize()) | 1
    }

    /// What the listener calls a field.
    public func name(of field: ApplicationListenerAttributes.RenamedField) -> String {
        names[field] ?? field.usualName
    }

    /// Whether a client's field of this name is dropped. Allocates nothing.
    public func guards(_ name: Span<UInt8>) -> Bool {
        guard guardedLengths & 1 << UInt64(min(name.count, 63)) != 0 else { return false }
        var index = 0
        while index < guardedNames.count {
            if Self.isEqual(name, guardedNames[index]) { return true }
            index += 1
        }
        return false
    }

    private static func isEqual(_ name: Span<UInt8>, _ guarded: [UInt8]) -> Bool {
        guard name.count == guarded.count else { return false }
        for index in name.indices where folded(name[index]) != guarded[index] { return false }
        return true
    }

    private static func folded(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
        case UInt8(ascii: "_"): UInt8(ascii: "-")
        default: byte
        }
    }
}

extension ApplicationListenerAttributes.RenamedField {
    /// As ELBv2 calls it.
    public var usualName: String {
        switch self {
        case .mutualTLSSerialNumber: "X-Amzn-Mtls-Clientcert-Serial-Number"
        case .mutualTLSIssuer: "X-Amzn-Mtls-Clientcert-Issuer"
        case .mutualTLSSubject: "X-Amzn-Mtls-Clientcert-Subject"
        case .mutualTLSValidity: "X-Amzn-Mtls-Clientcert-Validity"
        case .mutualTLSLeaf: "X-Amzn-Mtls-Clientcert-Leaf"
        case .mutualTLSCertificate: "X-Amzn-Mtls-Clientcert"
        case .tlsVersion: "X-Amzn-Tls-Version"
        case .tlsCipherSuite: "X-Amzn-Tls-Cipher-Suite"
        }
    }

    var isOfCertificate: Bool {
        switch self {
        case .mutualTLSSerialNumber, .mutualTLSIssuer, .mutualTLSSubject, .mutualTLSValidity, .mutualTLSLeaf,
            .mutualTLSCertificate:
            true
        case .tlsVersion, .tlsCipherSuite: false
        }
    }
}

/// Values of these fields, from what may hold anything.
public enum TLSFieldText {
    /// Appends a name of RFC 2253; a byte that no field may have becomes a question mark, so that a certificate
    /// cannot end the field and begin another (RFC 9110 section 5.5).
    public static func append(_ text: String, to buffer: inout [UInt8]) {
        for byte in text.utf8 {
            buffer.append((0x20...0x7E).contains(byte) ? byte : UInt8(ascii: "?"))
        }
    }

    /// Appends PEM as ELBv2 encodes it: as in a URL, with `+`, `=` and `/` as they are.
    public static func append(encoding pem: Span<UInt8>, to buffer: inout [UInt8]) {
        for index in pem.indices {
            let byte = pem[index]
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: "+"), UInt8(ascii: "="), UInt8(ascii: "/"):
                buffer.append(byte)
            default:
                buffer.append(UInt8(ascii: "%"))
                buffer.append(upperDigit(byte >> 4))
                buffer.append(upperDigit(byte & 0xF))
            }
        }
    }

    private static func upperDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }
}
