// The keys that seal session tickets (RFC 5077, RFC 8446 section 4.6.1), shared by every worker and listener.
//
// Any worker can open what another sealed, and, with a key file, any appliance what its neighbour sealed. Keys
// that are made here are replaced as time goes on, so that a key that leaks opens only the tickets of its time.

import Balancing
import COpenSSL
import Synchronization

/// One key: its name as it stands in front of every ticket it sealed, a MAC key and a cipher key.
private struct TicketKey: Sendable {
    var name: InlineArray<16, UInt8>
    var mac: InlineArray<32, UInt8>
    var cipher: InlineArray<32, UInt8>
    /// 32 with AES-256, 16 with AES-128.
    var keyByteCount: Int

    init() {
        name = InlineArray(repeating: 0)
        mac = InlineArray(repeating: 0)
        cipher = InlineArray(repeating: 0)
        keyByteCount = 32
    }
}

/// The ticket keys in force.
package final class TicketKeyRing: Sendable {
    /// How long a ticket is accepted, and the least age at which a key is replaced: a key older than two of these
    /// has sealed nothing that is still valid.
    package static let ticketLifetimeSeconds = 7_200

    private struct Keys: Sendable {
        /// The newest first: it seals. The others only open.
        var keys: [TicketKey] = []
        var madeAt: Instant?
        var isConfigured = false
    }

    // Held by a worker for the copy of one key in a handshake, and by whoever rotates once in hours.
    private let keys = Mutex(Keys())

    /// A ring that makes its own keys. Without a first `advance(to:)` it seals nothing.
    package init() {}

    /// Makes a new key when the newest is old enough; keys of a file stay as they are. Returns whether it did.
    @discardableResult
    package func advance(to now: Instant) throws(TLSConfigurationError) -> Bool {
        try keys.withLock { (keys) throws(TLSConfigurationError) in
            if keys.isConfigured { return false }
            if let madeAt = keys.madeAt,
                now.nanoseconds(since: madeAt) < UInt64(Self.ticketLifetimeSeconds) * 1_000_000_000
            {
                return false
            }
            let fresh = try makeKey()
            // The key before is still needed for tickets up to one lifetime old, and no key before that one.
            keys.keys = [fresh] + keys.keys.prefix(1)
            keys.madeAt = now
            return true
        }
    }

    /// Takes the keys of a file, which replace all others.
    ///
    /// The file is records of 80 bytes, or of 48: 16 bytes of name, then 32 of HMAC-SHA-256 key and 32 of
    /// AES-256 key, or 16 of AES-128 key and 16 of HMAC key. The first seals, all open. A file whose size fits
    /// both is read as 80. This is the layout that nginx reads too.
    package func load(_ file: String) throws(TLSConfigurationError) {
        let bytes = try readFile(
            file, byteCountMax: Limits.ticketKeyCountMax * 80, isSecret: true)
        let recordByteCount = bytes.count.isMultiple(of: 80) ? 80 : 48
        let recordCount = bytes.count / recordByteCount
        guard recordCount >= 1, bytes.count.isMultiple(of: recordByteCount),
            recordCount <= Limits.ticketKeyCountMax
        else { throw .badTicketKeys(file: file, byteCount: bytes.count) }
        let loaded = (0..<recordCount).map { index in
            TicketKey(record: bytes[(index * recordByteCount)..<((index + 1) * recordByteCount)])
        }
        keys.withLock { keys in
            keys.keys = loaded
            keys.isConfigured = true
        }
    }

    /// The keys as records of 80 bytes, for a process that goes on in place of this one; nil when a file has them.
    package var records: [UInt8]? {
        keys.withLock { keys in keys.isConfigured ? nil : keys.keys.flatMap(\.record) }
    }

    /// Goes on with the keys of a former process: the newest seals until it is old enough, counted from `now`.
    /// Records that are none are passed over.
    package func adopt(_ records: [UInt8], at now: Instant) {
        let adopted = (0..<min(2, records.count / 80)).map {
            TicketKey(record: records[($0 * 80)..<($0 * 80 + 80)])
        }
        guard !adopted.isEmpty else { return }
        keys.withLock { keys in
            guard !keys.isConfigured else { return }
            keys.keys = adopted
            keys.madeAt = now
        }
    }

    private func makeKey() throws(TLSConfigurationError) -> TicketKey {
        var record = [UInt8](repeating: 0, count: 80)
        let isRandom = unsafe record.withUnsafeMutableBufferPointer { buffer in
            unsafe RAND_priv_bytes(buffer.baseAddress, Int32(buffer.count)) == 1
        }
        guard isRandom else { throw .outOfMemory(detail: "no randomness (\(takeErrorText()))") }
        defer { unsafe record.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) } }
        return TicketKey(record: record[...])
    }

    /// The key that seals.
    fileprivate var newest: TicketKey? { keys.withLock { $0.keys.first } }

    /// The key of that name, and whether it is the one that seals.
    fileprivate func key(named name: UnsafePointer<UInt8>) -> (key: TicketKey, isNewest: Bool)? {
        keys.withLock { keys in
            for index in keys.keys.indices where unsafe keys.keys[index].isNamed(name) {
                return (keys.keys[index], index == 0)
            }
            return nil
        }
    }
}

extension TicketKey {
    init(record: ArraySlice<UInt8>) {
        self.init()
        let bytes = Array(record)
        for index in 0..<16 { name[index] = bytes[index] }
        if bytes.count == 80 {
            for index in 0..<32 {
                mac[index] = bytes[16 + index]
                cipher[index] = bytes[48 + index]
            }
        } else {
            keyByteCount = 16
            for index in 0..<16 {
                cipher[index] = bytes[16 + index]
                mac[index] = bytes[32 + index]
            }
        }
    }

    /// Of a key of 32 bytes.
    var record: [UInt8] {
        (0..<80).map { index in
            index < 16 ? name[index] : index < 48 ? mac[index - 16] : cipher[index - 48]
        }
    }

    func isNamed(_ other: UnsafePointer<UInt8>) -> Bool {
        for index in 0..<16 where unsafe name[index] != other[index] { return false }
        return true
    }
}

// MARK: - OpenSSL's callback

/// See SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 go on, 2 go on and issue a new ticket, 0 no such key, -1 failed.
func sealOrOpenTicket(
    _ session: OpaquePointer?, _ name: UnsafeMutablePointer<UInt8>?, _ vector: UnsafeMutablePointer<UInt8>?,
    _ cipher: OpaquePointer?, _ mac: OpaquePointer?, _ isSealing: Int32
) -> Int32 {
    guard let name = unsafe name, let vector = unsafe vector,
        let ring = unsafe ContextState.of(SSL_get_SSL_CTX(session))?.ticketKeys
    else { return -1 }
    if isSealing != 0 {
        // Without a key there are no tickets: the handshake goes on.
        guard let key = ring.newest else { return 0 }
        guard unsafe RAND_bytes(vector, 16) == 1 else { return -1 }
        for index in 0..<16 { unsafe name[index] = key.name[index] }
        return unsafe prepare(key, vector, cipher, mac, isSealing: true) ? 1 : -1
    }
    guard let (key, isNewest) = unsafe ring.key(named: name) else { return 0 }
    guard unsafe prepare(key, vector, cipher, mac, isSealing: false) else { return -1 }
    // Clients of TLS 1.3 use each ticket once (RFC 8446, appendix C.4) and so need another with each resumption.
    let wantsAnother = unsafe SSL_version(session) == TLS1_3_VERSION
    return isNewest && !wantsAnother ? 1 : 2
}

private func prepare(
    _ key: TicketKey, _ vector: UnsafeMutablePointer<UInt8>, _ cipher: OpaquePointer?, _ mac: OpaquePointer?,
    isSealing: Bool
) -> Bool {
    var key = key
    let kind = unsafe key.keyByteCount == 32 ? EVP_aes_256_cbc() : EVP_aes_128_cbc()
    var cipherSpan = key.cipher.mutableSpan
    let isCipherReady = unsafe cipherSpan.withUnsafeMutableBufferPointer { bytes in
        unsafe EVP_CipherInit_ex(cipher, kind, nil, bytes.baseAddress, vector, isSealing ? 1 : 0) == 1
    }
    let count = key.keyByteCount
    var macSpan = key.mac.mutableSpan
    return unsafe isCipherReady
        && macSpan.withUnsafeMutableBufferPointer { bytes in
            unsafe weir_mac_set_key(mac, bytes.baseAddress, count)
        }
}
