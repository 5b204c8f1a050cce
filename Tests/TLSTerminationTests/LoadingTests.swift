// Files that are not what they should be: one error each, which names the file.

import Balancing
import COpenSSL
import Foundation
import LinuxIO
import Synchronization
import TestCertificates
import Testing

@testable import TLSTermination

@Suite struct `TLS files` {
    private let authority = TestAuthority.shared

    private func load(_ files: CertificateFiles) throws(TLSConfigurationError) -> ServerContext {
        try ServerContext(ServerSettings(certificates: [files]), ticketKeys: TicketKeyRing())
    }

    /// The error of loading; the file that it must name.
    private func check(
        _ certificate: String, _ privateKey: String, staple: String? = nil, names file: String,
        says word: String,
        _ location: SourceLocation = #_sourceLocation
    ) {
        do {
            _ = try load(
                CertificateFiles(certificate: certificate, privateKey: privateKey, ocspResponse: staple))
            Issue.record("loaded", sourceLocation: location)
        } catch {
            let text = "\(error)"
            #expect(text.contains(file), "\(text)", sourceLocation: location)
            #expect(text.contains(word), "\(text)", sourceLocation: location)
            #expect(ERR_peek_error() == 0, sourceLocation: location)
        }
    }

    @Test func `each problem of a certificate or key is told by its file`() throws {
        let (good, key) = (authority.path("exact.crt"), authority.path("exact.key"))
        let keyBytes = try authority.read("exact.key")
        let certificateBytes = try authority.read("exact.crt")

        check("/nowhere.crt", key, names: "/nowhere.crt", says: "ENOENT")
        check(good, "/nowhere.key", names: "/nowhere.key", says: "ENOENT")
        check(authority.path(""), key, names: authority.path(""), says: "EISDIR")
        let empty = try authority.write("empty.pem", [])
        check(empty, key, names: empty, says: "certificate")
        check(good, empty, names: empty, says: "private key")
        let garbage = try authority.write("garbage.pem", pattern(5_000))
        check(garbage, key, names: garbage, says: "certificate")
        check(good, garbage, names: garbage, says: "private key")
        let cut = try authority.write("cut.pem", Array(certificateBytes.prefix(certificateBytes.count / 2)))
        check(cut, key, names: cut, says: "certificate")
        let badChain = try authority.write(
            "chain.pem",
            certificateBytes + Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8))
        check(badChain, key, names: badChain, says: "chain")
        let large = try authority.write("large.pem", [UInt8](repeating: 10, count: (1 << 20) + 1))
        check(large, key, names: large, says: "1048576")
        check(good, authority.path("wildcard.key"), names: authority.path("wildcard.key"), says: "belong")
        let cutKey = try authority.write("cut.key", Array(keyBytes.prefix(keyBytes.count / 2)))
        check(good, cutKey, names: cutKey, says: "private key")
        try authority.openssl(
            "pkcs8", "-topk8", "-in", "exact.key", "-passout", "pass:secret", "-out", "encrypted.key")
        chmod(authority.path("encrypted.key"), 0o600)
        check(good, authority.path("encrypted.key"), names: "encrypted.key", says: "passphrase")
        try authority.openssl(
            "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", "weak.key", "-subj", "/CN=weak",
            "-out",
            "weak.crt")
        chmod(authority.path("weak.key"), 0o600)
        check(authority.path("weak.crt"), authority.path("weak.key"), names: "weak.crt", says: "too small")
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o610, 0o444, 0o777])
    func `a private key that others may touch is refused`(mode: Int) throws {
        let key = try authority.write("open.key", authority.read("exact.key"), mode: mode)
        let files = CertificateFiles(certificate: authority.path("exact.crt"), privateKey: key)
        #expect(throws: TLSConfigurationError.openFileMode(file: key, mode: UInt32(0o100000 | mode))) {
            _ = try load(files)
        }
        let text = "\(TLSConfigurationError.openFileMode(file: key, mode: UInt32(0o100000 | mode)))"
        #expect(text.contains("chmod 600 \(key)") && text.contains("0" + String(mode, radix: 8)))
    }

    @Test(arguments: [0o600, 0o400])
    func `a private key closed to others is taken`(mode: Int) throws {
        let key = try authority.write("closed.key", authority.read("exact.key"), mode: mode)
        _ = try load(CertificateFiles(certificate: authority.path("exact.crt"), privateKey: key))
    }

    @Test func `a listener takes from one to twenty-five certificates`() throws {
        let files = authority.files("exact")
        #expect(throws: TLSConfigurationError.noCertificates) {
            _ = try ServerContext(ServerSettings(certificates: []), ticketKeys: TicketKeyRing())
        }
        _ = try ServerContext(
            ServerSettings(certificates: Array(repeating: files, count: 25)), ticketKeys: TicketKeyRing())
        #expect(throws: TLSConfigurationError.tooManyCertificates(count: 26)) {
            _ = try ServerContext(
                ServerSettings(certificates: Array(repeating: files, count: 26)), ticketKeys: TicketKeyRing())
        }
    }

    @Test func `certificates are described`() throws {
        let context = try serverContext(["both-rsa", "expired"])
        let (first, second) = (context.certificates[0], context.certificates[1])
        #expect(first.names == ["both.test", "only-rsa.test"])
        #expect(first.keyType == .rsa && second.keyType == .ecdsa)
        #expect(first.subject == "CN=both-rsa,O=Weir")
        let now = Int64(Foundation.Date().timeIntervalSince1970)
        #expect(!first.hasExpired(atUnixSeconds: now) && !first.isNotYetValid(atUnixSeconds: now))
        // Expired ones are served, with a warning from whoever shows the description.
        #expect(second.hasExpired(atUnixSeconds: now))
        #expect(first.validity.upperBound - first.validity.lowerBound == 365 * 86_400)
    }

    @Test func `trust stores that hold nothing are refused`() throws {
        let (empty, garbage) = (try authority.write("e", []), try authority.write("g", pattern(500)))
        for file in [empty, garbage, "/nowhere"] {
            #expect(throws: TLSConfigurationError.self) {
                _ = try serverContext(clients: .verify(TrustStore(authorities: file)))
            }
            #expect(throws: TLSConfigurationError.self) {
                let trust = TrustStore(authorities: authority.path("root.crt"), revocationLists: [file])
                _ = try serverContext(clients: .verify(trust))
            }
            #expect(throws: TLSConfigurationError.self) {
                _ = try ClientContext(ClientSettings(trust: TrustStore(authorities: file)))
            }
        }
    }

    @Test(arguments: ["", "a b", "*.example.test", "a/b", String(repeating: "a", count: 300)])
    func `a server name that is none is refused`(name: String) {
        #expect(throws: TLSConfigurationError.badServerName(name)) {
            _ = try ClientContext(ClientSettings(serverName: name))
        }
    }

    @Test func `a policy that OpenSSL lacks is refused by name`() throws {
        let policy = SecurityPolicy(name: "odd", versions: .v12 ... .v12, ciphers: ["NO-SUCH-CIPHER"])
        do {
            _ = try serverContext(policy: policy)
            Issue.record("taken")
        } catch let error as TLSConfigurationError {
            #expect("\(error)".contains("odd"))
        }
    }
}

@Suite struct `OCSP stapling` {
    private let authority = TestAuthority.shared

    private func serve(_ files: [CertificateFiles]) throws -> ServerContext {
        try ServerContext(ServerSettings(certificates: files), ticketKeys: makeRing())
    }

    /// What a client that asks for it gets.
    private func staple(_ context: ServerContext, for name: String) throws -> [UInt8]? {
        let client = try ClientContext(ClientSettings(serverName: name))
        let connection = try TestConnection(client, context)
        weir_ssl_request_status(connection.client.handle)
        #expect(connection.handshake().client == .done)
        var bytes: UnsafePointer<UInt8>?
        let count = weir_ssl_get_status(connection.client.handle, &bytes)
        return count > 0 ? Array(UnsafeBufferPointer(start: bytes, count: count)) : nil
    }

    @Test func `the response of the certificate that is served goes with it`() throws {
        let context = try serve([
            authority.files("both-rsa"), authority.files("both-ecdsa", staple: "both-ecdsa.ocsp"),
            authority.files("exact", staple: "exact.ocsp"),
        ])
        #expect(try staple(context, for: "a.example.test") == authority.read("exact.ocsp"))
        #expect(try staple(context, for: "both.test") == authority.read("both-ecdsa.ocsp"))
        #expect(try staple(context, for: "only-rsa.test") == nil)
    }

    @Test func `a response that is no good is refused at load`() throws {
        let garbage = try authority.write("garbage.ocsp", pattern(300))
        let whole = try authority.read("exact.ocsp")
        let cut = try authority.write("cut.ocsp", Array(whole.prefix(whole.count - 10)))
        let rows: [(certificate: String, staple: String, word: String)] = [
            ("exact", authority.path("both-ecdsa.ocsp"), "another certificate"),
            ("wildcard", authority.path("wildcard.ocsp"), "revoked"), ("exact", garbage, "DER"),
            ("exact", cut, "DER"), ("exact", "/nowhere.ocsp", "ENOENT"),
        ]
        for row in rows {
            let files = CertificateFiles(
                certificate: authority.path("\(row.certificate).crt"),
                privateKey: authority.path("\(row.certificate).key"), ocspResponse: row.staple)
            do {
                _ = try serve([files])
                Issue.record("\(row) loaded")
            } catch let error as TLSConfigurationError {
                #expect("\(error)".contains(row.staple) && "\(error)".contains(row.word), "\(error)")
            }
        }
    }
}

@Suite struct `TLS context life` {
    @Test func `a session outlives the context that it came from`() throws {
        // As when certificates are read again while a handshake is under way.
        var server: ServerContext? = try serverContext(["fallback", "exact"])
        let client = try ClientContext(ClientSettings(serverName: "a.example.test", protocols: ["h2"]))
        let connection = try TestConnection(client, #require(server))
        connection.stepClient()
        server = nil
        #expect(connection.handshake().server == .done)
        #expect(connection.client.facts?.peer?.commonName == "exact")
        #expect(connection.server.send(pattern(100)) == 100)
        #expect(connection.client.receiveAll().bytes == pattern(100))
    }

    @Test func `a ring lives as long as a context that seals with it`() throws {
        weak var ring: TicketKeyRing?
        do {
            let made = try makeRing()
            ring = made
            let context = try serverContext(ring: made)
            _ = context
        }
        #expect(ring == nil)
    }

    /// Four threads make and end sessions of one context while a fifth keeps rotating the ticket keys.
    @Test func `threads share a context and its ring`() throws {
        let ring = try makeRing()
        let server = try serverContext(["fallback", "exact"], alpn: .http2Preferred, ring: ring)
        let client = try ClientContext(ClientSettings(serverName: "a.example.test", protocols: ["h2"]))
        let failureCount = Mutex(0)
        DispatchQueue.concurrentPerform(iterations: 5) { thread in
            for round in 1...40 {
                let isGood: Bool
                if thread == 0 {
                    let later = Instant(nanoseconds: 1)
                        .advanced(bySeconds: round * TicketKeyRing.ticketLifetimeSeconds)
                    isGood = (try? ring.advance(to: later)) == true
                } else {
                    let connection = try? TestConnection(client, server)
                    isGood = connection.map { $0.handshake() == (.done, .done) } ?? false
                }
                if !isGood { failureCount.withLock { $0 += 1 } }
            }
        }
        #expect(failureCount.withLock { $0 } == 0)
    }

    @Test func `the kernel is asked, and sessions say who encrypts`() throws {
        // Whatever the answer, it is the same twice, and asking leaves nothing behind.
        #expect(KernelTLS.isOffered() == KernelTLS.isOffered())
        let files = TestAuthority.shared.files("exact")
        let server = try ServerContext(
            ServerSettings(certificates: [files], usesKernelTLS: true), ticketKeys: makeRing())
        let client = try ClientContext(ClientSettings(usesKernelTLS: true))
        // Over sockets that are not TCP the kernel never takes part, whatever it offers.
        let connection = try TestConnection(client, server)
        #expect(connection.handshake() == (.done, .done))
        #expect(!connection.server.isKernelSend && !connection.server.isKernelReceive)
        #expect(connection.client.send(pattern(50_000)) == 50_000)
        #expect(connection.server.receiveAll().bytes == pattern(50_000))
        connection.abandonClient()
        #expect(connection.server.receive().outcome == .failed(.endedEarly))
    }
}
