// What targets are told of their clients' TLS; see TLSFieldPlan for which fields, and their names.
//
// The lines are made once for a connection, with its first request, and wait in a cell: every request of the
// connection carries the same. They are made anew when the listener tells something else.

import Balancing
import HTTPCore
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    /// Appends the field lines for a client to the head in `output`.
    mutating func appendTLSFields(_ client: Int, _ plan: TLSFieldPlan) {
        guard connections[client].isSecure else { return }
        if connections[client].tlsFieldsKey != plan.key { makeTLSFields(client, plan) }
        let held = connections[client].tlsFields
        guard held.count > 0 else { return }
        var written = OutputBuffer(capacity: 0)
        swap(&written, &output)
        fieldCells.withBytes(cell: Int(held.cellPlusOne) - 1, offset: 0, byteCount: Int(held.count)) {
            lines in
            written.append(lines)
        }
        swap(&written, &output)
    }

    /// Allocates, once for a connection.
    private mutating func makeTLSFields(_ client: Int, _ plan: TLSFieldPlan) {
        freeTLSFields(client)
        connections[client].tlsFieldsKey = plan.key
        guard let facts = connections[client].session.facts else { return }
        var lines: [UInt8] = []
        func add(_ name: String, _ appendValue: (inout [UInt8]) -> Void) {
            ByteText.append(name, to: &lines)
            ByteText.append(": ", to: &lines)
            appendValue(&lines)
            ByteText.append("\r\n", to: &lines)
        }
        if plan.tellsVersionAndCipherSuite {
            add(plan.name(of: .tlsVersion)) { TLSFieldText.append(facts.version, to: &$0) }
            add(plan.name(of: .tlsCipherSuite)) { TLSFieldText.append(facts.cipherInOpenSSL, to: &$0) }
        }
        if plan.tellsKeyExchange, let group = facts.namedGroup {
            add(TLSFieldPlan.keyExchangeName) { TLSFieldText.append(group, to: &$0) }
        }
        if let peer = facts.peer {
            let session = connections[client].session
            switch plan.certificate {
            case .none: break
            case .chain:
                let pem = session.peerCertificatePEM(withChain: true)
                add(plan.name(of: .mutualTLSCertificate)) { TLSFieldText.append(encoding: pem.span, to: &$0) }
            case .facts:
                let pem = session.peerCertificatePEM(withChain: false)
                add(plan.name(of: .mutualTLSSerialNumber)) { TLSFieldText.append(peer.serial, to: &$0) }
                add(plan.name(of: .mutualTLSIssuer)) { TLSFieldText.append(peer.issuer, to: &$0) }
                add(plan.name(of: .mutualTLSSubject)) { TLSFieldText.append(peer.subject, to: &$0) }
                add(plan.name(of: .mutualTLSValidity)) { value in
                    ByteText.append("NotBefore=", to: &value)
                    CivilTime(unixSeconds: UInt64(max(0, peer.validity.lowerBound))).appendISO8601(to: &value)
                    ByteText.append(";NotAfter=", to: &value)
                    CivilTime(unixSeconds: UInt64(max(0, peer.validity.upperBound))).appendISO8601(to: &value)
                }
                add(plan.name(of: .mutualTLSLeaf)) { TLSFieldText.append(encoding: pem.span, to: &$0) }
            }
        }
        guard !lines.isEmpty, let cell = fieldCells.keep(lines.span) else { return }
        connections[client].tlsFields = Held(
            cellPlusOne: UInt32(cell) + 1, offset: 0, count: UInt32(lines.count))
    }

    mutating func freeTLSFields(_ slot: Int) {
        let held = connections[slot].tlsFields
        if held.cellPlusOne > 0 { fieldCells.free(cell: Int(held.cellPlusOne) - 1) }
        connections[slot].tlsFields = Held()
        connections[slot].tlsFieldsKey = 0
    }
}
