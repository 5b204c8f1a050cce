// TLS ClientHellos as tests compose and cut them; RFC 8446 sections 4.1.2 and 5.1.

import Balancing

struct SampleHello {
    var version: [UInt8] = [3, 3]
    var random = [UInt8](repeating: 0x5A, count: 32)
    var sessionID: [UInt8] = []
    var ciphers: [UInt8] = [0x13, 0x01]
    var compressions: [UInt8] = [0]
    /// Nil leaves the extensions out altogether, as TLS 1.2 and older may.
    var extensions: [[UInt8]]? = []

    /// With its handshake head, without records.
    var message: [UInt8] {
        let body =
            version + random + counted8(sessionID) + counted16(ciphers) + counted8(compressions)
            + (extensions.map { counted16($0.flatMap { $0 }) } ?? [])
        return [1] + counted24(body)
    }

    /// In as few records as there may be.
    var bytes: [UInt8] { Self.records(message, of: 1 << 14) }

    static func records(_ message: [UInt8], of byteCount: Int) -> [UInt8] {
        stride(from: 0, to: message.count, by: byteCount).flatMap { start in
            [22, 3, 1] + counted16(Array(message[start..<min(start + byteCount, message.count)]))
        }
    }

    static func field(_ type: UInt16, _ body: [UInt8]) -> [UInt8] {
        [UInt8(type >> 8), UInt8(type & 0xFF)] + counted16(body)
    }

    static func serverName(_ name: String) -> [UInt8] {
        field(0, counted16([0] + counted16(Array(name.utf8))))
    }

    static func applicationProtocols(_ names: [String]) -> [UInt8] {
        field(16, counted16(names.flatMap { counted8(Array($0.utf8)) }))
    }

    /// In the manner of Chrome: made-up values (RFC 8701) among ciphers, extensions, groups, versions and key
    /// shares, a hybrid key share that needs a second segment, an encrypted hello, and its own order.
    static var greased: SampleHello {
        var hello = SampleHello()
        hello.sessionID = [UInt8](repeating: 0x33, count: 32)
        hello.ciphers = [0x2A, 0x2A, 0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xC0, 0x2B, 0xC0, 0x2F]
        hello.extensions = [
            field(0xCACA, []),
            field(35, []),
            applicationProtocols(["\u{0A}\u{0A}", "h2", "http/1.1"]),
            field(10, counted16([0x8A, 0x8A, 0x11, 0xEC, 0x00, 0x1D])),
            field(
                51,
                counted16(
                    [0x8A, 0x8A] + counted16([0]) + [0x11, 0xEC]
                        + counted16([UInt8](repeating: 0x77, count: 1_216)))),
            field(43, counted8([0x6A, 0x6A, 3, 4, 3, 3])),
            field(0xFE0D, [UInt8](repeating: 0xEC, count: 218)),
            serverName("outer.example.com"),
            field(17_613, counted16(counted8(Array("h2".utf8)))),
            field(0x5A5A, [0]),
        ]
        return hello
    }
}
