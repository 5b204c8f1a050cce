// Records: cut anywhere, coming slowly, not coming at all, or not being TLS.

import Balancing
import CAllocationCount
import CLinux
import COpenSSL
import LinuxIO
import TestCertificates
import Testing

@testable import TLSTermination

@Suite struct `TLS records` {
    private static let versions = [TLSVersion.v12, .v13]

    private func connection(
        _ version: TLSVersion, isRelayed: Bool = false, names: [String] = ["exact"],
        clients: ClientAuthentication = .off, certificate: String? = nil
    ) throws -> TestConnection {
        try TestConnection(
            ClientContext(
                ClientSettings(
                    policy: offer(version...version),
                    certificate: certificate.map { TestAuthority.shared.files($0) })),
            serverContext(names, clients: clients), isRelayed: isRelayed)
    }

    // MARK: Cut

    @Test(arguments: versions)
    func `a handshake that comes byte by byte is done like any other`(version: TLSVersion) throws {
        let connection = try connection(version, isRelayed: true)
        for _ in 0..<20_000 {
            connection.stepClient()
            connection.stepServer()
            let moved = connection.relay(fromClient: 1).count + connection.relay(fromServer: 1).count
            if moved == 0, connection.steps == (.done, .done) { break }
        }
        #expect(connection.steps == (.done, .done))
        #expect(connection.clientByteCount > 200)
    }

    /// A client that is gone after each number of bytes it sends until the handshake is done.
    @Test(arguments: versions)
    func `a handshake abandoned at any byte fails and says so`(version: TLSVersion) throws {
        let whole = try connection(version, isRelayed: true)
        #expect(whole.handshake().server == .done)
        for cut in 0..<whole.clientByteCount {
            let connection = try connection(version, isRelayed: true)
            for _ in 0..<20 where connection.clientByteCount < cut {
                connection.stepClient()
                connection.relay(fromClient: cut - connection.clientByteCount)
                connection.stepServer()
                connection.relay(fromServer: .max)
            }
            #expect(connection.clientByteCount == cut)
            connection.abandonClient()
            connection.stepServer()
            #expect(connection.steps.server == .failed(.endedEarly), "after \(cut) bytes")
            #expect(ERR_peek_error() == 0)
        }
    }

    @Test(arguments: versions)
    func `a target that is gone at any byte of its handshake is noticed`(version: TLSVersion) throws {
        let whole = try connection(version, isRelayed: true)
        #expect(whole.handshake().client == .done)
        for cut in stride(from: 0, to: whole.serverByteCount, by: 7) {
            let connection = try connection(version, isRelayed: true)
            for _ in 0..<20 where connection.serverByteCount < cut {
                connection.stepClient()
                connection.relay(fromClient: .max)
                connection.stepServer()
                connection.relay(fromServer: cut - connection.serverByteCount)
            }
            connection.stepClient()
            // TLS 1.3 clients are done before the last bytes, which are tickets.
            guard connection.steps.client != .done else { continue }
            connection.abandonServer()
            connection.stepClient()
            #expect(connection.steps.client == .failed(.endedEarly), "after \(cut) bytes")
        }
    }

    @Test(arguments: versions)
    func `records cut at any byte arrive whole`(version: TLSVersion) throws {
        let connection = try connection(version, isRelayed: true)
        connection.handshake()
        let message = pattern(40)
        for cut in 0..<70 {
            #expect(connection.client.send(message) == message.count)
            connection.relay(fromClient: cut)
            let first = connection.server.receiveAll()
            #expect(first.outcome == .wantRead)
            connection.relay(fromClient: .max)
            let second = connection.server.receiveAll()
            #expect(first.bytes + second.bytes == message, "cut at \(cut)")
        }
    }

    @Test(arguments: versions)
    func `large transfers arrive whole both ways while both ends block`(version: TLSVersion) throws {
        let connection = try connection(version)
        connection.handshake()
        let message = pattern(3 << 20)
        var (up, down): ([UInt8], [UInt8]) = ([], [])
        var (sentUp, sentDown) = (0, 0)
        while up.count < message.count || down.count < message.count {
            sentUp += connection.client.send(Array(message[sentUp...].prefix(100_000)))
            sentDown += connection.server.send(Array(message[sentDown...].prefix(50_000)))
            let (fromClient, fromServer) = (connection.server.receiveAll(), connection.client.receiveAll())
            try #require(fromClient.outcome == .wantRead && fromServer.outcome == .wantRead)
            up += fromClient.bytes
            down += fromServer.bytes
        }
        #expect(up == message && down == message)
    }

    // MARK: Ends

    @Test(arguments: versions)
    func `close_notify ends one direction and leaves the other`(version: TLSVersion) throws {
        let connection = try connection(version)
        connection.handshake()
        #expect(connection.client.send(pattern(100)) == 100)
        #expect(connection.client.shutdown() == .done)
        #expect(connection.client.shutdown() == .done)
        let atServer = connection.server.receiveAll()
        #expect(atServer.outcome == .endOfStream && atServer.bytes == pattern(100))
        #expect(connection.server.receive().outcome == .endOfStream)
        // The other direction goes on, for as long as it likes.
        #expect(connection.server.send(pattern(30_000)) == 30_000)
        let atClient = connection.client.receiveAll()
        #expect(atClient.outcome == .wantRead && atClient.bytes == pattern(30_000))
        #expect(connection.server.shutdown() == .done)
        #expect(connection.client.receive().outcome == .endOfStream)
    }

    @Test(arguments: versions)
    func `an end without close_notify is told apart from one with it`(version: TLSVersion) throws {
        let connection = try connection(version)
        connection.handshake()
        #expect(connection.client.send(pattern(100)) == 100)
        connection.abandonClient()
        let (outcome, bytes) = connection.server.receiveAll()
        #expect(outcome == .failed(.endedEarly) && bytes == pattern(100))
        #expect(ERR_peek_error() == 0)
    }

    @Test(arguments: versions)
    func `close_notify waits for a connection that takes no more`(version: TLSVersion) throws {
        let connection = try connection(version, isRelayed: true)
        connection.handshake()
        // Filled with bytes of no session's, which never reach the client.
        connection.fillFromServer()
        for _ in 0..<3 {
            #expect(connection.server.shutdown() == .wantWrite)
            #expect(connection.client.receive().outcome == .wantRead)
        }
        #expect(!connection.takeFromServer().isEmpty)
        #expect(connection.server.shutdown() == .done)
        connection.relay(fromServer: .max)
        #expect(connection.client.receive().outcome == .endOfStream)
    }

    @Test(arguments: versions)
    func `close_notify waits for a record that is on its way`(version: TLSVersion) throws {
        let connection = try connection(version)
        connection.handshake()
        let block = pattern(16_384)
        var sent = 0
        while connection.server.send(block) == block.count { sent += block.count }
        #expect(connection.server.shutdown() == .wantWrite)
        var received = 0
        received += connection.client.receiveAll().bytes.count
        // The same bytes again, as the contract of write wants it; then nothing is in the way.
        #expect(connection.server.send(block) == block.count)
        #expect(connection.server.shutdown() == .done)
        let rest = connection.client.receiveAll()
        #expect(rest.outcome == .endOfStream && received + rest.bytes.count == sent + block.count)
    }

    @Test func `a write into a connection that is gone fails without a signal`() throws {
        let (near, far) = try socketPair()
        let context = try ClientContext(ClientSettings())
        var session = try #require(context.makeSession(on: near))
        defer {
            session.free()
            near.close()
        }
        far.close()
        // SIGPIPE would end the whole test process here.
        #expect(session.handshake() == .failed(.connection(.brokenPipe)))
        #expect(ERR_peek_error() == 0)
    }

    // MARK: Not what was agreed

    @Test func `what is not TLS is named`() throws {
        let rows: [(bytes: [UInt8], failure: TLSFailure)] = [
            (Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8), .plainHTTP),
            (Array("POST /x HTTP/1.1\r\n\r\n".utf8), .plainHTTP),
            (Array("CONNECT a:443 HTTP/1.1\r\n\r\n".utf8), .plainHTTP),
            (Array("SSH-2.0-OpenSSH_9.2\r\n".utf8), .notTLS),
            ([UInt8](repeating: 0, count: 64), .notTLS),
            ([UInt8](repeating: 0xFF, count: 64), .notTLS),
        ]
        for row in rows {
            let connection = try connection(.v13)
            connection.sendRaw(row.bytes)
            connection.stepServer()
            #expect(
                connection.steps.server == .failed(row.failure),
                "\(String(decoding: row.bytes, as: UTF8.self))")
            #expect(ERR_peek_error() == 0)
        }
    }

    @Test func `a hello with any one byte changed neither stops the process nor leaves an error behind`()
        throws
    {
        let sample = try connection(.v13, isRelayed: true)
        sample.stepClient()
        let hello = sample.relay(fromClient: .max)
        let context = try serverContext(["exact"])
        for index in hello.indices {
            for change in [UInt8(0x01), 0x80, 0xFF] {
                var bytes = hello
                bytes[index] ^= change
                let (near, far) = try socketPair()
                var session = try #require(context.makeSession(on: near))
                _ = far.send(bytes[...])
                _ = far.shutdownWrite()
                let step = session.handshake()
                #expect(step != .done, "byte \(index)")
                #expect(ERR_peek_error() == 0)
                session.free()
                near.close()
                far.close()
            }
        }
    }

    @Test(arguments: versions)
    func `a record that was tampered with ends the session`(version: TLSVersion) throws {
        let connection = try connection(version, isRelayed: true)
        connection.handshake()
        #expect(connection.client.send(pattern(64)) == 64)
        var bytes: [UInt8] = []
        // Taken off the wire by the relay's own hands.
        bytes = connection.takeFromClient()
        bytes[bytes.count - 1] ^= 1
        connection.sendRaw(bytes)
        #expect(connection.server.receive().outcome == .failed(.badRecord))
        guard case .failed = connection.server.receive().outcome else {
            Issue.record("the session went on")
            return
        }
        #expect(ERR_peek_error() == 0)
    }

    @Test func `a failed session leaves no error for the next on its thread`() throws {
        let good = try connection(.v13)
        good.handshake()
        let bad = try connection(.v13)
        bad.sendRaw(pattern(100))
        bad.stepServer()
        leaveError()
        #expect(good.client.send(pattern(10)) == 10)
        #expect(good.server.receive().bytes == pattern(10))
        #expect(good.server.receive().outcome == .wantRead)
    }

    @Test func `keys are updated in the middle of a stream`() throws {
        let connection = try connection(.v13)
        connection.handshake()
        for round in 0..<5 {
            #expect(SSL_key_update(connection.client.handle, SSL_KEY_UPDATE_REQUESTED) == 1)
            #expect(connection.client.send(pattern(1_000 + round)) == 1_000 + round)
            #expect(connection.server.receiveAll().bytes == pattern(1_000 + round))
            #expect(connection.server.send(pattern(2_000 + round)) == 2_000 + round)
            #expect(connection.client.receiveAll().bytes == pattern(2_000 + round))
        }
    }

    @Test func `a flood of what is no data does not hold the caller for long`() throws {
        let connection = try connection(.v13, isRelayed: true)
        connection.handshake()
        let updateCount = 5_000
        var flood: [UInt8] = []
        for _ in 0..<updateCount {
            try #require(SSL_key_update(connection.client.handle, SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
            try #require(SSL_do_handshake(connection.client.handle) == 1)
            flood += connection.takeFromClient()
        }
        #expect(connection.client.send(pattern(10)) == 10)
        connection.sendRaw(flood + connection.takeFromClient())
        var pauseCount = 0
        var arrived: [UInt8] = []
        for _ in 0..<updateCount where arrived.isEmpty {
            let (outcome, bytes) = connection.server.receive()
            // Never "want read": the socket is not empty.
            try #require(outcome == .moved(bytes.count))
            arrived = bytes
            if bytes.isEmpty { pauseCount += 1 }
        }
        #expect(arrived == pattern(10))
        #expect(pauseCount > 0)
        #expect(connection.server.receive().outcome == .wantRead)
    }

    @Test func `a client that wants a second handshake is refused and the session goes on or ends`() throws {
        let connection = try connection(.v12)
        connection.handshake()
        // A client of OpenSSL's that asks for one.
        SSL_renegotiate(connection.client.handle)
        _ = SSL_do_handshake(connection.client.handle)
        let outcome = connection.server.receive().outcome
        #expect(outcome == .wantRead || outcome == .failed(.renegotiation))
        let result = SSL_do_handshake(connection.client.handle)
        #expect(result != 1)
        ERR_clear_error()
    }

    // MARK: What it costs

    @Test(arguments: versions)
    func `full records are written and read without an allocation of Weir's`(version: TLSVersion) throws {
        let connection = try connection(version)
        connection.handshake()
        _ = connection.client.receive()
        let block = pattern(64 << 10)
        let region = ByteRegion(byteCount: 64 << 10)
        region.withMutableBytes(at: 0, byteCount: region.byteCount) { bytes in
            for index in block.indices {
                bytes.storeBytes(of: block[index], toByteOffset: index, as: UInt8.self)
            }
        }
        var (writing, reading) = (UInt64(0), UInt64(0))
        func transfer() -> Int {
            var received = 0
            let start = allocation_own_count()
            let outcome = connection.server.write(from: region, at: 0, byteCount: region.byteCount)
            writing = allocation_own_count() - start
            defer { reading = allocation_own_count() - start - writing }
            while case .moved(let count) = connection.client.read(
                into: region, byteCountMax: region.byteCount)
            {
                received += count
            }
            return outcome == .moved(region.byteCount) ? received : -1
        }
        #expect(transfer() == block.count)
        allocation_count_take_part(true)
        defer { allocation_count_take_part(false) }
        #expect(transfer() == block.count)
        // None is Weir's. OpenSSL's, a record: the buffer, and two or three notes of where its parts begin; for
        // the reader a buffer, which is given back when the socket has no more.
        #expect(writing <= 4 * 4, "\(writing) allocations while writing")
        #expect(reading <= 4 * 2, "\(reading) allocations while reading")
    }

    /// Counted in bytes of malloc: the SSL object 7.5 KiB, two cipher contexts 2, the session 1, the rest small.
    @Test func `an idle session is small`() throws {
        let server = try serverContext(["exact"])
        for version in Self.versions {
            let client = try ClientContext(ClientSettings(policy: offer(version...version)))
            var sessions: [TLSSession] = []
            sessions.reserveCapacity(1_000)
            func establish() throws {
                let (near, far) = try socketPair()
                var mine = try #require(server.makeSession(on: near))
                var other = try #require(client.makeSession(on: far))
                for _ in 0..<4 {
                    _ = other.handshake()
                    _ = mine.handshake()
                }
                #expect(other.send(pattern(100)) == 100)
                #expect(mine.receiveAll().bytes == pattern(100))
                #expect(mine.send(pattern(100)) == 100)
                other.free()
                far.close()
                near.close()
                sessions.append(mine)
            }
            for _ in 0..<20 { try establish() }
            allocation_count_take_part(true)
            defer { allocation_count_take_part(false) }
            let before = allocation_live_byte_count()
            for _ in 0..<500 { try establish() }
            let each = (allocation_live_byte_count() - before) / 500
            #expect(each < 14 << 10, "\(version.name): \(each) bytes")
            for index in sessions.indices { sessions[index].free() }
        }
    }
}

/// An error that other code on this thread left behind.
private func leaveError() {
    #expect(OBJ_txt2obj("not an object", 1) == nil)
    #expect(ERR_peek_error() != 0)
}
