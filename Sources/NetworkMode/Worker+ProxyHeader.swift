// The first bytes that a target sees where its group asks for them: on whose behalf the flow comes.

import Balancing
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    /// Sends the header of a connection that has just been made; false when it did not leave as a whole, which an
    /// empty send buffer does not do to a few hundred bytes.
    mutating func sendProxyHeader(_ slot: Int) -> Bool {
        let flow = flows[slot]
        let facts = flow.clientSession.isOpen ? flow.clientSession.facts : nil
        let byteCount = scratch.fill(at: 0, byteCountMax: Limits.proxyHeaderByteCountMax) { output in
            var writer = ProxyHeaderWriter(
                source: flow.key.client, destination: flow.key.local, transport: .tcp, to: &output)
            if let name = facts?.applicationProtocol {
                writer.append(applicationProtocol: name.utf8.span, to: &output)
            }
            if let name = facts?.serverName { writer.append(authority: name.utf8.span, to: &output) }
            let place = Self.place(worker: core.index, slot, flow.generation)
            writer.append(uniqueID: Self.uniqueID(flow.startedAt, place).span, to: &output)
            if let facts { Self.append(facts, with: &writer, to: &output) }
            writer.finish(isChecksummed: true, to: &output)
        }
        guard case .moved(byteCount) = flow.target.send(from: scratch, at: 0, byteCount: byteCount) else {
            return false
        }
        return true
    }

    private static func append(
        _ facts: TLSFacts, with writer: inout ProxyHeaderWriter, to output: inout OutputSpan<UInt8>
    ) {
        var flags = ProxyHeader.ClientFlags.tls
        if let peer = facts.peer {
            flags.insert(.certificateInSession)
            if !facts.isResumed { flags.insert(.certificateOnConnection) }
            guard writer.beginTLS(client: flags, verifyResult: peer.isAccepted ? 0 : 1, to: &output) else {
                return
            }
            if let name = peer.commonName { _ = writer.append(tlsCommonName: name.utf8.span, to: &output) }
            if let digest = peer.signatureDigest {
                _ = writer.append(tlsSignatureAlgorithm: digest.utf8.span, to: &output)
            }
            _ = writer.append(tlsKeyAlgorithm: peer.key.utf8.span, to: &output)
        } else {
            guard writer.beginTLS(client: flags, verifyResult: 0, to: &output) else { return }
        }
        _ = writer.append(tlsVersion: facts.version.utf8.span, to: &output)
        _ = writer.append(tlsCipher: facts.cipherInOpenSSL.utf8.span, to: &output)
    }

    /// Writes the header that goes in front of a UDP flow's first datagram into the scratch memory; returns how many
    /// bytes it has.
    func writeProxyHeader(ofDatagramFlow slot: Int) -> Int {
        let flow = datagramFlows[slot]
        return scratch.fill(at: 0, byteCountMax: Limits.proxyHeaderByteCountMax) { output in
            var writer = ProxyHeaderWriter(
                source: flow.key.client, destination: flow.key.local, transport: .udp, to: &output)
            let place = Self.place(worker: core.index, slot, flow.generation) | Self.datagramPlace
            writer.append(uniqueID: Self.uniqueID(flow.startedAt, place).span, to: &output)
            writer.finish(isChecksummed: true, to: &output)
        }
    }

    /// Tells a UDP flow from the TCP flow in the slot of the same number.
    private static let datagramPlace: UInt64 = 1 << 63

    private static func place(worker: Int, _ slot: Int, _ generation: UInt32) -> UInt64 {
        UInt64(UInt8(truncatingIfNeeded: worker)) << 56 | UInt64(UInt32(truncatingIfNeeded: slot)) << 24
            | UInt64(generation & 0xFF_FFFF)
    }

    /// When the flow began, in which worker and slot: no other flow of this machine since its start has the same.
    private static func uniqueID(_ startedAt: Instant, _ place: UInt64) -> InlineArray<16, UInt8> {
        var id = InlineArray<16, UInt8>(repeating: 0)
        for position in 0..<8 {
            let shift = UInt64(56 - 8 * position)
            id[position] = UInt8(truncatingIfNeeded: startedAt.nanoseconds >> shift)
            id[8 + position] = UInt8(truncatingIfNeeded: place >> shift)
        }
        return id
    }
}
