// Why a TLS session failed: a trivial value for counters, a sentence for people.
//
// OpenSSL reports through a queue of codes per thread. Whatever is left in it would be taken for the failure of
// the next session on the same thread, so every failure empties it.

import COpenSSL
import LinuxIO

/// Why a session is over.
package enum TLSFailure: Error, Hashable, Sendable, BitwiseCopyable {
    // What the other side offered, and this side does not have.
    case noSharedCipher
    case unsupportedVersion
    case noSharedGroup
    case noSharedSignatureAlgorithm
    // What is not TLS at all.
    case plainHTTP
    case notTLS
    // Certificates.
    /// The other side's certificate was refused; the code is one of X509_verify_cert_error_string(3).
    case certificateRefused(code: Int32)
    case certificateMissing
    /// It is of more bytes than are taken, with its chain.
    case certificateTooLarge
    // The other side gave up.
    /// The description of the alert, RFC 8446 section 6.
    case alert(UInt8)
    /// A new handshake within a session was asked for, which is always refused.
    case renegotiation
    // The bytes made no sense.
    case badRecord
    case malformedHandshake
    // The connection.
    /// The connection ended without close_notify: the bytes before may be cut short.
    case endedEarly
    case connection(Errno)
    // This side.
    case outOfMemory
    /// Anything else: the reason of an OpenSSL error; see ERR_GET_REASON(3).
    case other(reason: Int32)
}

extension TLSFailure: CustomStringConvertible {
    package var description: String {
        switch self {
        case .noSharedCipher: "no cipher in common (no shared cipher)"
        case .unsupportedVersion: "no TLS version in common (protocol version)"
        case .noSharedGroup: "no key exchange group in common"
        case .noSharedSignatureAlgorithm: "no signature algorithm in common"
        case .plainHTTP: "not TLS: a plain HTTP request"
        case .notTLS: "not TLS"
        case .certificateRefused(let code):
            unsafe "certificate refused: \(String(cString: X509_verify_cert_error_string(Int(code))))"
        case .certificateMissing: "no certificate was presented"
        case .certificateTooLarge: "the certificate and its chain are too large"
        case .alert(let number): "the other side ended it with alert \(number) (\(alertName(number)))"
        case .renegotiation: "renegotiation refused"
        case .badRecord: "a record could not be decrypted"
        case .malformedHandshake: "a handshake message is malformed or out of place"
        case .endedEarly: "the connection ended without close_notify"
        case .connection(let errno): "\(errno)"
        case .outOfMemory: "out of memory"
        case .other(let reason): "TLS error \(reason)\(reasonText(reason))"
        }
    }
}

/// The name of an alert, such as `unknown CA`.
private func alertName(_ number: UInt8) -> String {
    guard let name = unsafe SSL_alert_desc_string_long(Int32(number)) else { return "unknown" }
    return unsafe String(cString: name)
}

private func reasonText(_ reason: Int32) -> String {
    // An SSL error packed again: the library in the bits from 23 on; see ERR_PACK in <openssl/err.h>.
    let packed = UInt(ERR_LIB_SSL) << 23 | UInt(UInt32(bitPattern: reason) & 0x7F_FFFF)
    guard let text = unsafe ERR_reason_error_string(packed) else { return "" }
    return unsafe " (\(String(cString: text)))"
}

// MARK: - The error queue

/// Empties the calling thread's queue if anything is in it.
func clearErrors() {
    if ERR_peek_error() != 0 { ERR_clear_error() }
}

/// Takes the whole queue; the first error of the TLS layer explains the failure best.
func takeFailure() -> TLSFailure {
    var reason: Int32?
    var isOfTLS = false
    while true {
        let code = ERR_get_error()
        guard code != 0 else { break }
        if (code >> 23) & 0xFF == UInt(ERR_LIB_SSL) {
            if !isOfTLS { reason = Int32(truncatingIfNeeded: code & 0x7F_FFFF) }
            isOfTLS = true
        } else if reason == nil {
            reason = Int32(truncatingIfNeeded: code & 0x7F_FFFF)
        }
    }
    guard let reason else { return .other(reason: 0) }
    return TLSFailure(reason: reason, isOfTLS: isOfTLS)
}

/// Takes the whole queue as one line of text, for configuration errors.
func takeErrorText() -> String {
    var texts: [String] = []
    while true {
        let code = ERR_get_error()
        guard code != 0 else { break }
        guard let text = unsafe ERR_reason_error_string(code) else { continue }
        texts.append(unsafe String(cString: text))
    }
    return texts.isEmpty ? "no reason given" : texts.joined(separator: ", ")
}

extension TLSFailure {
    /// Alerts that were received have a reason of this plus their number.
    private static let alertReasonBase: Int32 = 1_000
    /// ERR_R_MALLOC_FAILURE, which is the same for every library.
    private static let memoryReason: Int32 = 256 | 3 << 18

    init(reason: Int32, isOfTLS: Bool) {
        guard isOfTLS else {
            self = reason == Self.memoryReason ? .outOfMemory : .other(reason: reason)
            return
        }
        if (Self.alertReasonBase...Self.alertReasonBase + 255).contains(reason) {
            self = .alert(UInt8(truncatingIfNeeded: reason - Self.alertReasonBase))
            return
        }
        switch reason {
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_CIPHERS_AVAILABLE, SSL_R_NO_CIPHERS_SPECIFIED,
            SSL_R_WRONG_CIPHER_RETURNED:
            self = .noSharedCipher
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH,
            SSL_R_INAPPROPRIATE_FALLBACK, SSL_R_UNKNOWN_PROTOCOL, SSL_R_NO_PROTOCOLS_AVAILABLE,
            SSL_R_WRONG_SSL_VERSION, SSL_R_BAD_LEGACY_VERSION:
            self = .unsupportedVersion
        case SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SHARED_GROUPS, SSL_R_NO_SUITABLE_GROUPS:
            self = .noSharedGroup
        case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS,
            SSL_R_MISSING_SIGALGS_EXTENSION:
            self = .noSharedSignatureAlgorithm
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST:
            self = .plainHTTP
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_RECORD_LENGTH_MISMATCH, SSL_R_PACKET_LENGTH_TOO_LONG,
            SSL_R_BAD_RECORD_TYPE, SSL_R_RECORD_TOO_SMALL, SSL_R_UNSUPPORTED_SSL_VERSION:
            self = .notTLS
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
            self = .certificateRefused(code: 1)
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            self = .certificateMissing
        // The bound of every other message is the protocol's own, which nobody meets by accident.
        case SSL_R_EXCESSIVE_MESSAGE_SIZE:
            self = .certificateTooLarge
        case SSL_R_NO_RENEGOTIATION:
            self = .renegotiation
        case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSL_R_DECRYPTION_FAILED,
            SSL_R_BLOCK_CIPHER_PAD_IS_WRONG, SSL_R_ENCRYPTED_LENGTH_TOO_LONG, SSL_R_DATA_LENGTH_TOO_LONG:
            self = .badRecord
        case SSL_R_LENGTH_MISMATCH, SSL_R_LENGTH_TOO_SHORT, SSL_R_UNEXPECTED_MESSAGE, SSL_R_UNEXPECTED_RECORD,
            SSL_R_BAD_EXTENSION, SSL_R_BAD_LENGTH,
            SSL_R_BAD_KEY_SHARE, SSL_R_DIGEST_CHECK_FAILED, SSL_R_BAD_SIGNATURE:
            self = .malformedHandshake
        case SSL_R_UNEXPECTED_EOF_WHILE_READING:
            self = .endedEarly
        case Self.memoryReason:
            self = .outOfMemory
        default:
            self = .other(reason: reason)
        }
    }
}
