// How OpenSSL reaches the socket: through the same recv and send as every other flow.
//
// OpenSSL's own socket BIO uses write(2), which raises SIGPIPE, and its calls can be neither counted nor made to
// fail. This one keeps all its state in the pointer that a BIO carries anyway, so it costs no allocation.

import Balancing
import CLinux
import COpenSSL
import Glibc
import LinuxIO

/// The descriptor, the last error and what is known of the next write, in the bits of one pointer.
private struct TransportState {
    private var bits: UInt

    init(_ descriptor: Descriptor) {
        // The top bit keeps the pointer from being null, which would be descriptor zero without an error.
        bits = 1 << 63 | UInt(UInt32(bitPattern: descriptor.rawValue))
    }

    init(of bio: OpaquePointer?) {
        bits = unsafe UInt(bitPattern: BIO_get_data(bio))
    }

    func store(in bio: OpaquePointer?) {
        unsafe BIO_set_data(bio, UnsafeMutableRawPointer(bitPattern: bits))
    }

    /// OpenSSL's own socket BIO keeps nothing here.
    var isForeign: Bool { bits == 0 }

    var descriptor: Int32 { Int32(bitPattern: UInt32(truncatingIfNeeded: bits)) }

    var errno: Errno {
        get { Errno(Int32(truncatingIfNeeded: bits >> 32 & 0xFFFF)) }
        set {
            let code = UInt(UInt16(truncatingIfNeeded: newValue.rawValue))
            bits = bits & ~(0xFFFF << 32) | code << 32
        }
    }

    /// How often the socket was read since the last `resetReceiveCount()`.
    var receiveCount: Int { Int(bits >> 48 & 0xFF) }
    mutating func countReceive() { bits += 1 << 48 }
    mutating func resetReceiveCount() { bits &= ~(0xFF << 48) }

    /// More records follow at once, so that the kernel may fill its segments.
    var expectsMore: Bool {
        get { bits & 1 << 62 != 0 }
        set { bits = newValue ? bits | 1 << 62 : bits & ~(1 << 62) }
    }
}

enum SocketTransport {
    // Built once, before the first session, and never changed: BIO_METHOD is read-only from then on.
    private nonisolated(unsafe) static let method: OpaquePointer? = {
        let kind = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK
        guard let method = unsafe BIO_meth_new(kind, "weir socket") else { return nil }
        unsafe BIO_meth_set_create(method) { bio in
            unsafe BIO_set_init(bio, 1)
            return 1
        }
        unsafe BIO_meth_set_read(method, readFromSocket)
        unsafe BIO_meth_set_write(method, writeToSocket)
        unsafe BIO_meth_set_ctrl(method, control)
        return unsafe method
    }()

    /// Gives `session` a transport over `descriptor`, which stays the caller's. False when memory is short.
    static func attach(_ descriptor: Descriptor, to session: OpaquePointer) -> Bool {
        guard let method = unsafe method, let bio = unsafe BIO_new(method) else { return false }
        unsafe TransportState(descriptor).store(in: bio)
        // The one reference serves both directions, and the session owns it from now on.
        unsafe SSL_set_bio(session, bio, bio)
        return true
    }

    /// The same through OpenSSL's own socket BIO, the only one that can hand records to kernel TLS.
    ///
    /// It writes with write(2): the process must ignore SIGPIPE.
    static func attachForKernel(_ descriptor: Descriptor, to session: OpaquePointer) -> Bool {
        unsafe SSL_set_fd(session, descriptor.rawValue) == 1
    }

    /// The error of the last failed call, zero when there was none.
    static func lastError(of session: OpaquePointer) -> Errno {
        let state = unsafe TransportState(of: SSL_get_rbio(session))
        return state.isForeign ? Errno(Glibc.errno) : state.errno
    }

    /// Begins a call that may receive `Limits.receivesPerReadMax` times.
    static func beginReading(_ session: OpaquePointer) {
        let bio = unsafe SSL_get_rbio(session)
        var state = unsafe TransportState(of: bio)
        guard !state.isForeign, state.receiveCount > 0 else { return }
        state.resetReceiveCount()
        unsafe state.store(in: bio)
    }

    /// Whether the call ended because it received that often, not because the socket was empty.
    static func isExhausted(_ session: OpaquePointer) -> Bool {
        let state = unsafe TransportState(of: SSL_get_rbio(session))
        return !state.isForeign && state.receiveCount >= Limits.receivesPerReadMax
    }

    static func setExpectsMore(_ expectsMore: Bool, of session: OpaquePointer) {
        let bio = unsafe SSL_get_wbio(session)
        var state = unsafe TransportState(of: bio)
        guard !state.isForeign, state.expectsMore != expectsMore else { return }
        state.expectsMore = expectsMore
        unsafe state.store(in: bio)
    }
}

private func readFromSocket(
    _ bio: OpaquePointer?, _ buffer: UnsafeMutablePointer<CChar>?, _ count: Int32
) -> Int32 {
    unsafe weir_bio_clear_retry(bio)
    var state = unsafe TransportState(of: bio)
    guard state.receiveCount < Limits.receivesPerReadMax else {
        unsafe weir_bio_retry_read(bio)
        return -1
    }
    state.countReceive()
    unsafe state.store(in: bio)
    let result = unsafe weir_receive(state.descriptor, buffer, Int(max(0, count)))
    if result > 0 { return Int32(truncatingIfNeeded: result) }
    if result == 0 {
        unsafe weir_bio_set_ended(bio)
        return 0
    }
    let errno = Errno(Int32(truncatingIfNeeded: -result))
    if errno == .wouldBlock {
        unsafe weir_bio_retry_read(bio)
        return -1
    }
    state.errno = errno
    unsafe state.store(in: bio)
    return -1
}

private func writeToSocket(_ bio: OpaquePointer?, _ buffer: UnsafePointer<CChar>?, _ count: Int32) -> Int32 {
    unsafe weir_bio_clear_retry(bio)
    var state = unsafe TransportState(of: bio)
    let send = unsafe state.expectsMore ? weir_send_more : weir_send
    let result = unsafe send(state.descriptor, buffer, Int(max(0, count)))
    if result >= 0 { return Int32(truncatingIfNeeded: result) }
    let errno = Errno(Int32(truncatingIfNeeded: -result))
    if errno == .wouldBlock {
        unsafe weir_bio_retry_write(bio)
        return -1
    }
    state.errno = errno
    unsafe state.store(in: bio)
    return -1
}

private func control(
    _ bio: OpaquePointer?, _ command: Int32, _ number: Int, _ argument: UnsafeMutableRawPointer?
) -> Int {
    switch command {
    // Nothing is held back here, and a duplicate needs no more than the pointer.
    case BIO_CTRL_FLUSH, BIO_CTRL_DUP: return 1
    case BIO_CTRL_EOF: return unsafe weir_bio_has_ended(bio) ? 1 : 0
    default: return 0
    }
}
