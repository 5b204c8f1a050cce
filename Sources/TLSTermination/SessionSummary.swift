// What a handshake agreed on, as numbers that a worker can note without allocating, and the names behind them.

import Balancing
import COpenSSL
import Synchronization

/// Numbers of an established session; see `TLSNames` for what they are called.
package struct SessionSummary: BitwiseCopyable, Hashable, Sendable {
    /// 0x0303 for TLS 1.2 and so on; zero before the handshake is done.
    package var version: UInt16 = 0
    /// The IANA number of the cipher suite.
    package var cipher: UInt16 = 0
    /// OpenSSL's number of the key exchange's group; zero when there was none.
    package var group: Int32 = 0
    package var isResumed = false

    package init() {}
}

/// A protocol id of at most 15 bytes, as the ALPN policies have them: trivial, and valid when all zero.
package struct ProtocolName: BitwiseCopyable, Sendable {
    private var count: UInt8 = 0
    private var bytes = InlineArray<15, UInt8>(repeating: 0)

    package init() {}

    init(_ name: Span<UInt8>) {
        count = UInt8(min(name.count, bytes.count))
        for index in 0..<Int(count) { bytes[index] = name[index] }
    }

    package var text: [UInt8] { (0..<Int(count)).map { bytes[$0] } }
}

extension TLSSession {
    /// All zero before the handshake is done.
    package var summary: SessionSummary {
        var summary = SessionSummary()
        guard let handle = unsafe handle, isEstablished else { return summary }
        summary.version = UInt16(truncatingIfNeeded: unsafe SSL_version(handle))
        if let cipher = unsafe SSL_get_current_cipher(handle) {
            summary.cipher = unsafe SSL_CIPHER_get_protocol_id(cipher)
        }
        summary.group = unsafe weir_ssl_negotiated_group(handle)
        summary.isResumed = isResumed
        return summary
    }

    /// The protocol id that was agreed on, cut to what a `ProtocolName` holds; empty when there was none.
    package var protocolName: ProtocolName {
        var start: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        unsafe SSL_get0_alpn_selected(handle, &start, &count)
        guard count > 0 else { return ProtocolName() }
        return unsafe ProtocolName(UnsafeBufferPointer(start: start, count: Int(count)).span)
    }

    /// The number of the certificate that this side presents; see `CertificateRegister`. Zero when there is none.
    package var certificateNumber: UInt32 {
        guard let handle = unsafe handle, let certificate = unsafe SSL_get_certificate(handle)
        else { return 0 }
        return unsafe CertificateRegister.number(on: certificate)
    }
}

/// Every certificate that this process has loaded for a listener, by a number that a log record can carry.
///
/// Numbers outlive the certificates, since records are read after connections have ended.
package enum CertificateRegister {
    package struct Entry: Hashable, Sendable {
        package let file: String
        /// Hexadecimal, upper case.
        package let serial: String
    }

    private struct State {
        var entries: [Entry] = []
        var numbers: [Entry: UInt32] = [:]
    }

    private static let state = Mutex(State())
    private static let slot = weir_x509_new_slot()

    /// Nil for zero, and for a number that was never given out.
    package static func entry(_ number: UInt32) -> Entry? {
        state.withLock { state in
            number > 0 && number <= state.entries.count ? state.entries[Int(number) - 1] : nil
        }
    }

    /// The same file with the same serial number keeps its number. Beyond the bound there are none left, and
    /// logs show no certificate: more than a hundred renewals of every certificate would have to come first.
    static func enter(_ description: CertificateDescription, on certificate: OpaquePointer) {
        let entry = Entry(file: description.file, serial: description.serial)
        let number = state.withLock { state -> UInt32 in
            if let known = state.numbers[entry] { return known }
            guard state.entries.count < Limits.registeredCertificateCountMax else { return 0 }
            state.entries.append(entry)
            let number = UInt32(state.entries.count)
            state.numbers[entry] = number
            return number
        }
        // A number in the place of a pointer: it is never followed.
        _ = unsafe X509_set_ex_data(certificate, slot, UnsafeMutableRawPointer(bitPattern: UInt(number)))
    }

    fileprivate static func number(on certificate: OpaquePointer) -> UInt32 {
        UInt32(truncatingIfNeeded: unsafe UInt(bitPattern: X509_get_ex_data(certificate, slot)))
    }
}

/// The names of ciphers, groups and versions by number, as ELBv2 logs them. One thread at a time.
@safe
package final class TLSNames {
    // Alive from init to deinit; only asked for names.
    private let session: OpaquePointer
    private let context: OpaquePointer

    /// Nil when memory is short.
    package init?() {
        guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { return nil }
        guard let session = unsafe SSL_new(context) else {
            unsafe SSL_CTX_free(context)
            return nil
        }
        unsafe self.context = unsafe context
        unsafe self.session = unsafe session
    }

    deinit {
        unsafe SSL_free(session)
        unsafe SSL_CTX_free(context)
    }

    /// OpenSSL's name of a cipher suite, such as `ECDHE-ECDSA-AES128-GCM-SHA256`.
    package func cipher(_ number: UInt16) -> String? {
        let bytes = [UInt8(number >> 8), UInt8(number & 0xFF)]
        guard number != 0, let cipher = unsafe SSL_CIPHER_find(session, bytes) else { return nil }
        return unsafe String(cString: SSL_CIPHER_get_name(cipher))
    }

    /// Such as `x25519` or `secp256r1`.
    package func group(_ number: Int32) -> String? {
        guard number != 0, let name = unsafe SSL_group_to_name(session, number) else { return nil }
        return unsafe String(cString: name)
    }

    /// `tlsv10` to `tlsv13`.
    package func version(_ number: UInt16) -> String? {
        switch TLSVersion(rawValue: number) {
        case .v10: "tlsv10"
        case .v11: "tlsv11"
        case .v12: "tlsv12"
        case .v13: "tlsv13"
        case nil: nil
        }
    }
}
