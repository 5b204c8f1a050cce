// Lines of the TLS access log, and the thread that writes them.

import Balancing
import Foundation
import LinuxIO
import Serving
import Testing

@testable import NetworkMode
@testable import TLSTermination

@Suite struct `Access log` {
    private let source = AccessLogSource(path: "/log", loadBalancer: "edge", listener: "edge:443")

    private func hello(_ name: String, _ protocols: [String]) -> ClientHelloNotes {
        func words(_ count: Int) -> [UInt8] { [UInt8(count >> 8), UInt8(count & 0xFF)] }
        let host = Array(name.utf8)
        let list = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        var notes = ClientHelloNotes()
        notes.take(
            serverName: (name.isEmpty ? [] : words(host.count + 3) + [0] + words(host.count) + host).span,
            protocols: (list.isEmpty ? [] : words(list.count) + list).span)
        return notes
    }

    private func record(
        log: UInt32 = 1, client: String = "192.0.2.7:51341", milliseconds: UInt64 = 5, notes: AccessNotes
    ) throws -> AccessRecord {
        AccessRecord(
            log: log, client: try #require(Endpoint(client)),
            destination: try #require(Endpoint("203.0.113.10:443")),
            startedAt: Instant(nanoseconds: 1_000_000_000),
            endedAt: Instant(nanoseconds: 1_000_000_000 + milliseconds * 1_000_000),
            receivedByteCount: 98, sentByteCount: 246, notes: notes)
    }

    private func line(_ record: AccessRecord, _ certificate: CertificateRegister.Entry? = nil) -> String {
        let line = AccessLogLine(
            record, source, certificate: certificate, names: TLSNames(),
            unixNanoseconds: 1_545_274_781_999_000_000, at: Instant(nanoseconds: 2_000_000_000))
        return String(decoding: line.bytes, as: UTF8.self)
    }

    @Test func `an established connection has a value in every field but the alert`() throws {
        var notes = AccessNotes()
        notes.hello = hello("www.example.com", ["h2", "http/1.1"])
        notes.summary.version = 0x0303
        notes.summary.cipher = 0xC02F
        notes.summary.group = 415
        notes.clientProtocol = ProtocolName(Array("h2".utf8).span)
        notes.targetProtocol = ProtocolName(Array("http/1.1".utf8).span)
        notes.handshakeNanoseconds = 2_999_999
        let certificate = CertificateRegister.Entry(file: "/etc/weir/site one.crt", serial: "0A1B")
        let line = line(try record(milliseconds: 2_005, notes: notes), certificate)
        #expect(
            line
                == "tls 2.0 2018-12-20T02:59:41 edge edge:443 192.0.2.7:51341 203.0.113.10:443 2005 2 98 246 - "
                + "/etc/weir/site%20one.crt 0A1B ECDHE-RSA-AES128-GCM-SHA256 tlsv12 secp256r1 www.example.com "
                + "h2 http/1.1 \"h2\",\"http/1.1\" 2018-12-20T02:59:40\n")
    }

    @Test func `a connection without a hello has dashes where nothing is known`() throws {
        let line = line(try record(client: "[2001:db8::7]:1024", notes: AccessNotes()))
        #expect(
            line
                == "tls 2.0 2018-12-20T02:59:41 edge edge:443 [2001:db8::7]:1024 203.0.113.10:443 5 - 98 246 - "
                + "- - - - - - - - - 2018-12-20T02:59:40\n")
    }

    @Test func `a refused handshake shows the alert and the certificate, and no cipher`() throws {
        var notes = AccessNotes()
        notes.hello = hello("site.test", [])
        notes.alertPlusOne = 49
        let certificate = CertificateRegister.Entry(file: "/site.crt", serial: "FF")
        let fields = line(try record(notes: notes), certificate).split(separator: " ")
        #expect(fields.count == 22)
        #expect(fields[11] == "48")
        #expect(fields[12...16] == ["/site.crt", "FF", "-", "-", "-"])
        #expect(fields[17] == "site.test")
    }

    @Test(arguments: [
        (" tls", "%20tls"), ("a\nb", "a%0Ab"), ("\"", "%22"), ("ä", "%C3%A4"), ("-", "-"), ("a%b", "a%25b"),
    ])
    func `nothing that a client says makes a field or a line`(said: String, written: String) throws {
        var notes = AccessNotes()
        notes.hello = hello(said, [said, "x"])
        let fields = line(try record(notes: notes)).split(separator: " ")
        #expect(fields.count == 22)
        #expect(fields[17] == written)
        #expect(fields[20] == "\"\(written)\",\"x\"")
    }

    @Test func `a hello that lies about its lengths is noted as far as it goes`() {
        let bodies: [[UInt8]] = [
            [], [0], [0, 9], [0, 9, 0], [0, 9, 0, 0, 200, 65], [0, 0, 1, 0, 1, 65], [0, 4, 0, 1, 0, 65],
        ]
        for body in bodies {
            var notes = ClientHelloNotes()
            notes.take(serverName: body.span, protocols: body.span)
            #expect(notes.isPresent)
            #expect(notes.serverName == [])
        }
        var notes = hello(String(repeating: "a", count: 255), [])
        #expect(notes.serverName.count == 255)
        notes = hello(String(repeating: "a", count: 256), [])
        #expect(notes.serverName == [])
        // 64 protocols of four bytes fit, and the next is left out as a whole.
        notes = hello("", (0..<70).map { "\($0 + 100)" })
        #expect(notes.protocols.map { String(decoding: $0, as: UTF8.self) } == (100..<164).map(String.init))
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00"), (951_782_399, "2000-02-28T23:59:59"),
        (951_782_400, "2000-02-29T00:00:00"),
        (951_868_800, "2000-03-01T00:00:00"), (1_709_251_199, "2024-02-29T23:59:59"),
        (4_107_542_400, "2100-03-01T00:00:00"), (1_798_761_599, "2026-12-31T23:59:59"),
    ])
    func `seconds become dates`(seconds: UInt64, text: String) {
        #expect(UTCTime.text(unixSeconds: seconds) == text)
    }

    // MARK: The writer

    private func snapshot(_ paths: [String?]) -> RoutingSnapshot {
        RoutingSnapshot(
            version: 1, seed: HashSeed(first: 1, second: 2),
            listeners: paths.enumerated().map { index, path in
                ListenerRoute(
                    id: ListenerID(loadBalancer: "edge", port: UInt16(443 + index)), choices: [],
                    isStickyByGroup: false, tcpIdleTimeoutSeconds: 350, accessLogPath: path)
            }, groups: [], endpoints: [], sourceAddresses: [])
    }

    /// A path in a directory that goes with the test.
    private func withDirectory(_ body: (URL) throws -> Void) throws {
        let temporary = FileManager.default.temporaryDirectory
        let directory = temporary.appending(path: "weir-log-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    private func lines(_ file: URL) -> [String] {
        (try? String(contentsOf: file, encoding: .utf8))?.split(separator: "\n").map(String.init) ?? []
    }

    @Test func `each listener's lines go to its file, from every ring`() throws {
        try withDirectory { directory in
            let files = [directory.appending(path: "a.log"), directory.appending(path: "b.log")]
            let rings = [RecordRing<AccessRecord>(capacity: 64), RecordRing<AccessRecord>(capacity: 64)]
            let log = try AccessLog(rings: rings)
            let paths = [files[0].path(), nil, files[1].path(), files[0].path()]
            let numbers = log.numbers(for: snapshot(paths))
            #expect(numbers[1] == 0)
            #expect(Set(numbers).count == 4)
            for ring in rings {
                for number in numbers where number > 0 {
                    #expect(ring.append(try record(log: number, notes: AccessNotes())))
                }
                // A number that nobody gave out is nobody's line.
                #expect(ring.append(try record(log: 99, notes: AccessNotes())))
            }
            log.stop()
            #expect(Set(lines(files[0]).map { $0.split(separator: " ")[4] }) == ["edge:443", "edge:446"])
            #expect(lines(files[0]).count == 4 && lines(files[1]).count == 2)
            #expect(log.lostLineCount == 0)
            #expect(log.warnings == [])
        }
    }

    @Test func `after a rotation lines go to a new file, and the old one is complete`() throws {
        try withDirectory { directory in
            let (file, old) = (directory.appending(path: "a.log"), directory.appending(path: "a.log.1"))
            let ring = RecordRing<AccessRecord>(capacity: 1024)
            let log = try AccessLog(rings: [ring])
            let number = log.numbers(for: snapshot([file.path()]))[0]
            for _ in 0..<500 { #expect(ring.append(try record(log: number, notes: AccessNotes()))) }
            #expect(eventually { lines(file).count == 500 })
            try FileManager.default.moveItem(at: file, to: old)
            log.reopen()
            #expect(eventually { FileManager.default.fileExists(atPath: file.path()) })
            for _ in 0..<3 { #expect(ring.append(try record(log: number, notes: AccessNotes()))) }
            log.stop()
            #expect(lines(old).count == 500)
            #expect(lines(file).count == 3)
        }
    }

    @Test func `a link in the file's place is not followed`() throws {
        try withDirectory { directory in
            let (file, obeyed) = (directory.appending(path: "a.log"), directory.appending(path: "obeyed"))
            try Data().write(to: obeyed)
            try FileManager.default.createSymbolicLink(at: file, withDestinationURL: obeyed)
            let ring = RecordRing<AccessRecord>(capacity: 64)
            let log = try AccessLog(rings: [ring])
            let number = log.numbers(for: snapshot([file.path()]))[0]
            #expect(ring.append(try record(log: number, notes: AccessNotes())))
            #expect(eventually { log.lostLineCount == 1 })
            #expect(log.warnings.count == 1)
            log.stop()
            #expect(lines(obeyed) == [])
        }
    }

    @Test func `a file that cannot be opened loses its lines, which are counted, and says so`() throws {
        try withDirectory { directory in
            let file = directory.appending(path: "missing").appending(path: "a.log")
            let ring = RecordRing<AccessRecord>(capacity: 64)
            let log = try AccessLog(rings: [ring])
            let number = log.numbers(for: snapshot([file.path()]))[0]
            #expect(eventually { log.warnings.count == 1 })
            #expect(log.warnings.first?.contains(file.path()) == true)
            for _ in 0..<3 { #expect(ring.append(try record(log: number, notes: AccessNotes()))) }
            #expect(eventually { log.lostLineCount == 3 })
            try FileManager.default.createDirectory(
                at: directory.appending(path: "missing"), withIntermediateDirectories: true)
            log.reopen()
            #expect(eventually { log.warnings == [] })
            #expect(ring.append(try record(log: number, notes: AccessNotes())))
            log.stop()
            #expect(lines(file).count == 1)
        }
    }
}
