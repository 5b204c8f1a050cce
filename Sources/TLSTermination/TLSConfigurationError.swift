// What can be wrong with the files and settings of a TLS context. Each message names the file and the next step.

import Balancing
import LinuxIO

/// Why a context cannot be built. The one in use, if any, stays in use.
package enum TLSConfigurationError: Error, Hashable, Sendable {
    case unreadable(file: String, Errno)
    case tooLarge(file: String, byteCountMax: Int)
    case openFileMode(file: String, mode: UInt32)
    case badCertificate(file: String, detail: String)
    case badChain(file: String, detail: String)
    case badPrivateKey(file: String, detail: String)
    case encryptedPrivateKey(file: String)
    case keyMismatch(certificate: String, privateKey: String)
    case noCertificates
    case tooManyCertificates(count: Int)
    case badAuthorities(file: String, detail: String)
    case badRevocationList(file: String, detail: String)
    case badStaple(file: String, detail: String)
    case badTicketKeys(file: String, byteCount: Int)
    case badPolicy(name: String, detail: String)
    case badServerName(String)
    case outOfMemory(detail: String)
}

extension TLSConfigurationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unreadable(let file, let errno):
            "cannot read \(file): \(errno). Check the path and who may read it."
        case .tooLarge(let file, let bound):
            "\(file) is larger than \(bound) bytes. Check that it is the right file."
        case .openFileMode(let file, let mode):
            "\(file) holds secret keys and has mode \(octal(mode)), which lets others in. Run: chmod 600 \(file)"
        case .badCertificate(let file, let detail):
            "\(file) holds no usable certificate in PEM: \(detail). Give the certificate, then its chain."
        case .badChain(let file, let detail):
            "a chain certificate of \(file) is not usable: \(detail). Give the chain as PEM, issuer after issued."
        case .badPrivateKey(let file, let detail):
            "\(file) holds no usable private key in PEM: \(detail). Give an RSA, ECDSA or Ed25519 key."
        case .encryptedPrivateKey(let file):
            "the private key of \(file) needs a passphrase, which nobody can type here. "
                + "Store it without: openssl pkey -in \(file)"
        case .keyMismatch(let certificate, let privateKey):
            "the private key of \(privateKey) does not belong to the certificate of \(certificate). "
                + "Give the key that the certificate was requested with."
        case .noCertificates:
            "a TLS listener needs at least one certificate."
        case .tooManyCertificates(let count):
            "\(count) certificates are more than the \(Limits.certificatesPerListenerMax) that a listener can have. "
                + "Join names in fewer certificates, or use a second listener."
        case .badAuthorities(let file, let detail):
            "\(file) holds no usable CA certificates in PEM: \(detail)."
        case .badRevocationList(let file, let detail):
            "\(file) holds no usable revocation list (CRL) in PEM: \(detail)."
        case .badStaple(let file, let detail):
            "the OCSP response of \(file) cannot be stapled: \(detail). Fetch a new one in DER."
        case .badTicketKeys(let file, let byteCount):
            "\(file) holds \(byteCount) bytes, which are no ticket keys. Give 1 to "
                + "\(Limits.ticketKeyCountMax) records of 80 bytes (or of 48), the newest first: "
                + "openssl rand 80 > \(file)"
        case .badPolicy(let name, let detail):
            "security policy \(name) is not possible with this OpenSSL: \(detail). Choose another."
        case .badServerName(let name):
            "\"\(name)\" is neither a host name nor an address. Give the name in the target's certificate."
        case .outOfMemory(let detail):
            "OpenSSL cannot set up a context: \(detail)."
        }
    }

    private func octal(_ mode: UInt32) -> String {
        let digits = String(mode & 0o7777, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
