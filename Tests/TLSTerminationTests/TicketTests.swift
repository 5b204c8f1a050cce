// Session tickets: who can open which, and when.

import Balancing
import COpenSSL
import Foundation
import LinuxIO
import TestCertificates
import Testing

@testable import TLSTermination

/// A session that a client kept.
private final class Kept {
    let session: OpaquePointer?
    init(_ session: OpaquePointer?) { self.session = session }
    deinit { SSL_SESSION_free(session) }
}

@Suite struct `TLS session tickets` {
    private static let versions = [TLSVersion.v12, .v13]

    /// One connection, with a ticket from before if given; whether it was resumed, and the ticket it left.
    private func connect(
        _ context: ServerContext, _ version: TLSVersion, with kept: Kept? = nil,
        certificate: String? = nil
    ) throws -> (isResumed: Bool, steps: (client: TLSStep, server: TLSStep), kept: Kept, facts: TLSFacts?) {
        let client = try ClientContext(
            ClientSettings(
                policy: offer(version...version),
                certificate: certificate.map { TestAuthority.shared.files($0) }))
        let connection = try TestConnection(client, context)
        if let kept { #expect(SSL_set_session(connection.client.handle, kept.session) == 1) }
        let steps = connection.handshake()
        // In TLS 1.3 the ticket comes after the handshake.
        if steps.client == .done { _ = connection.client.receive() }
        // OpenSSL takes the session of a client that ends without close_notify for a bad one.
        _ = connection.client.shutdown()
        return (
            connection.server.isResumed, steps, Kept(SSL_get1_session(connection.client.handle)),
            connection.server.facts
        )
    }

    @Test(arguments: versions)
    func `contexts with one ring resume each other's sessions`(version: TLSVersion) throws {
        let ring = try makeRing()
        let (first, second) = (try serverContext(ring: ring), try serverContext(ring: ring))
        let fresh = try connect(first, version)
        #expect(!fresh.isResumed && fresh.steps.server == .done)
        let again = try connect(second, version, with: fresh.kept)
        #expect(again.isResumed && again.steps.server == .done && again.facts?.isResumed == true)
        #expect(try !connect(serverContext(), version, with: fresh.kept).isResumed)
    }

    @Test(arguments: versions)
    func `a ticket outlives one rotation, is renewed, and does not outlive two`(version: TLSVersion) throws {
        let ring = try makeRing()
        let context = try serverContext(ring: ring)
        let old = try connect(context, version).kept
        let lifetime = TicketKeyRing.ticketLifetimeSeconds
        let start = Instant(nanoseconds: 1)
        #expect(try !ring.advance(to: start.advanced(bySeconds: lifetime - 1)))
        #expect(try ring.advance(to: start.advanced(bySeconds: lifetime)))
        let renewed = try connect(context, version, with: old)
        #expect(renewed.isResumed)
        #expect(try ring.advance(to: start.advanced(bySeconds: 2 * lifetime)))
        #expect(try !connect(context, version, with: old).isResumed)
        #expect(try connect(context, version, with: renewed.kept).isResumed)
    }

    @Test(arguments: versions, [80, 48])
    func `rings with one key file agree`(version: TLSVersion, recordByteCount: Int) throws {
        let newest = pattern(recordByteCount)
        let before = pattern(recordByteCount * 2).suffix(recordByteCount)
        let file = try TestAuthority.shared.write("keys", newest)
        let (first, second) = (TicketKeyRing(), TicketKeyRing())
        try first.load(file)
        try second.load(file)
        let ticket = try connect(serverContext(ring: first), version).kept
        #expect(try connect(serverContext(ring: second), version, with: ticket).isResumed)
        // Configured keys do not age.
        #expect(try !second.advance(to: .distantFuture))
        // One that seals with a new key still opens the old one's.
        let third = TicketKeyRing()
        try third.load(TestAuthority.shared.write("keys", before + newest))
        #expect(try connect(serverContext(ring: third), version, with: ticket).isResumed)
        let fourth = TicketKeyRing()
        try fourth.load(TestAuthority.shared.write("keys", Array(before)))
        #expect(try !connect(serverContext(ring: fourth), version, with: ticket).isResumed)
    }

    @Test(arguments: [0, 47, 79, 81, 128, 9 * 80])
    func `a key file of another size is refused and the keys before stay`(byteCount: Int) throws {
        let ring = try makeRing()
        let context = try serverContext(ring: ring)
        let ticket = try connect(context, .v13).kept
        let file = try TestAuthority.shared.write("keys", pattern(byteCount))
        #expect(throws: TLSConfigurationError.self) { try ring.load(file) }
        #expect(try connect(context, .v13, with: ticket).isResumed)
    }

    @Test func `a key file that others may read is refused`() throws {
        let file = try TestAuthority.shared.write("keys", pattern(80), mode: 0o640)
        #expect(throws: TLSConfigurationError.openFileMode(file: file, mode: 0o100640)) {
            try TicketKeyRing().load(file)
        }
    }

    @Test(arguments: versions)
    func `without a key there are no tickets and the handshake goes on`(version: TLSVersion) throws {
        let context = try serverContext(ring: TicketKeyRing())
        let fresh = try connect(context, version)
        #expect(fresh.steps.client == .done && fresh.steps.server == .done)
        let again = try connect(context, version, with: fresh.kept)
        #expect(again.steps.server == .done && !again.isResumed)
    }

    @Test(arguments: versions)
    func `a ticket from a listener that asks for less does not open one that asks for more`(
        version: TLSVersion
    ) throws {
        let ring = try makeRing()
        let trust = TrustStore(authorities: TestAuthority.shared.path("root.crt"))
        let ticket = try connect(serverContext(ring: ring), version).kept
        let strict = try serverContext(clients: .verify(trust), ring: ring)
        let stranger = try connect(strict, version, with: ticket)
        #expect(stranger.steps.server == .failed(.certificateMissing))
    }

    @Test(arguments: versions)
    func `a resumed session still knows its client's certificate`(version: TLSVersion) throws {
        let ring = try makeRing()
        let trust = TrustStore(authorities: TestAuthority.shared.path("root.crt"))
        let context = { try serverContext(clients: .verify(trust), ring: ring) }
        let fresh = try connect(context(), version, certificate: "client")
        #expect(fresh.steps.server == .done)
        let again = try connect(context(), version, with: fresh.kept)
        #expect(again.isResumed)
        #expect(again.facts?.peer?.commonName == "client")
        #expect(again.facts?.peer?.isAccepted == true)
    }

    @Test(arguments: versions)
    func `a ticket of another name is not taken for a certificate`(version: TLSVersion) throws {
        // The same ring serves two listeners: the session goes on under the name it is asked for.
        let ring = try makeRing()
        let ticket = try connect(serverContext(["exact"], ring: ring), version).kept
        let resumed = try connect(serverContext(["fallback"], ring: ring), version, with: ticket)
        #expect(resumed.steps.client == .done && resumed.steps.server == .done)
    }
}
