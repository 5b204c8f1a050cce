// What a worker does for the access log and the connection log: notes while an exchange lives, one record at its end,
// and a record of each client's connection.
//
// Nothing here waits or allocates. The numbers stand in a slab beside the exchanges, the texts in a cell, since the
// bytes they came in are gone before the exchange is over; with the log off neither is touched. A record that finds a
// ring full is dropped and counted.

import Balancing
import HTTPCore
import LinuxIO
import Serving
import TLSTermination

extension Worker {
    // MARK: - Exchanges

    /// An exchange has begun whose listener has an access log; its head is in `requestHead`.
    mutating func beginRecord(_ exchange: Int) {
        let client = Int(exchanges[exchange].client)
        let startedAt = exchanges[exchange].startedAt
        var record = ExchangeRecord(
            client: connections[client].peer, local: connections[client].local,
            connection: traceID(of: client), receivedAt: startedAt, endedAt: startedAt)
        record.log = exchanges[exchange].log
        record.version = exchanges[exchange].version
        record.receivedByteCount = UInt64(requestHead.byteCount)
        record.finding = requestHead.desync
        if connections[client].isSecure {
            let summary = connections[client].session.summary
            record.kind = exchanges[exchange].clientStream > 0 ? .http2 : .https
            record.tlsVersion = summary.version
            record.tlsCipher = summary.cipher
            record.isTLSSessionReused = summary.isResumed
            // A ticket takes the place of a certificate.
            if !summary.isResumed { record.certificate = connections[client].session.certificateNumber }
        }
        records[exchange] = record
    }

    /// What became of the head in `requestHead`, whose bytes these are, is decided: keeps what the line is to say of
    /// it. `text` and `output` are as the decision left them.
    mutating func noteRequest(_ exchange: Int, _ bytes: Span<UInt8>, _ decision: Decision, at now: Instant) {
        let client = Int(exchanges[exchange].client)
        var texts = ExchangeTexts()
        var gathered: [UInt8] = []
        swap(&gathered, &logText)
        defer { swap(&gathered, &logText) }
        gathered.removeAll(keepingCapacity: true)
        texts.append(.method, bytes.extracting(requestHead.methodBytes.range), to: &gathered)
        texts.append(.authority, bytes.extracting(requestHead.authority.range), to: &gathered)
        texts.append(.target, bytes.extracting(requestHead.pathAndQuery), to: &gathered)
        // By index: the generic search allocates in a debug build, which the tests count.
        for index in requestHead.fields.indices where requestHead.fields[index].id == .userAgent {
            texts.append(.userAgent, bytes.extracting(requestHead.fields[index].value.range), to: &gathered)
            break
        }
        connections[client].session.withServerName { name in
            texts.append(.serverName, name, to: &gathered)
        }
        if exchanges[exchange].hasGroup {
            let group = Int(exchanges[exchange].group)
            if records[exchange].kind == .http2,
                core.snapshot.groups[group].protocolVersion == .grpc
            {
                records[exchange].kind = .grpc
            }
            let name = core.snapshot.groups[group].name
            texts.append(.group, name.utf8.span, to: &gathered)
        }
        noteAction(exchange, bytes, decision, &texts, &gathered)
        noteTrace(exchange, bytes, decision, &texts, &gathered, at: now)
        guard let cell = noteCells.keep(gathered.span) else { return }
        exchanges[exchange].noteCellPlusOne = UInt32(cell) + 1
        records[exchange].texts = texts
    }

    private mutating func noteAction(
        _ exchange: Int, _ bytes: Span<UInt8>, _ decision: Decision, _ texts: inout ExchangeTexts,
        _ gathered: inout [UInt8]
    ) {
        switch decision {
        case .fail(.noListener), .fail(.desync): return
        case .fail(.badRewrite): records[exchange].transformStatus = .invalidPath
        case .fail(.badHostRewrite): records[exchange].transformStatus = .invalidHost
        case .redirect: texts.append(.redirectURL, text.span, to: &gathered)
        case .forward, .respond, .fail: break
        }
        let listener = exchanges[exchange].listener
        let rule = Int(exchanges[exchange].rule)
        guard let rules = routing.listener(listener)?.rules, rule < rules.routes.count else { return }
        records[exchange].rulePriority = Int32(clamping: rules.routes[rule].priority ?? 0)
        records[exchange].action =
            switch rules.routes[rule].action {
            case .forward: .forward
            case .redirect: .redirect
            case .fixedResponse: .fixedResponse
            }
        if case .forward(let choices, let stickinessSeconds) = rules.routes[rule].action, choices.count > 1,
            stickinessSeconds != nil
        {
            records[exchange].isGroupCookieInvalid = requestHead.hasForeignGroupCookie(
                bytes, keys: core.snapshot.stickinessKeys)
        }
        guard case .forward = decision, rules.transforms(at: rule) != nil else { return }
        records[exchange].transformStatus = .success
        noteTransformed(bytes, &texts, &gathered)
    }

    /// What the rule's transforms made of target and host: `output` has the head that the target gets.
    private mutating func noteTransformed(
        _ bytes: Span<UInt8>, _ texts: inout ExchangeTexts, _ gathered: inout [UInt8]
    ) {
        var written = OutputBuffer(capacity: 0)
        swap(&written, &output)
        texts.appendTransformed(
            written.storage.span.extracting(0..<written.count), of: requestHead, bytes, to: &gathered)
        swap(&written, &output)
    }

    /// The trace that the target gets, or for a request that no target gets one of its own.
    private mutating func noteTrace(
        _ exchange: Int, _ bytes: Span<UInt8>, _ decision: Decision, _ texts: inout ExchangeTexts,
        _ gathered: inout [UInt8], at now: Instant
    ) {
        if case .forward = decision {
            texts.append(.traceID, text.span, to: &gathered)
            return
        }
        advanceDate(to: now)
        var trace: [UInt8] = []
        swap(&trace, &traceText)
        trace.removeAll(keepingCapacity: true)
        TraceField.append(
            for: requestHead, bytes, unixSeconds: date.unixSeconds,
            random: UInt128(random.next()) << 64 | UInt128(random.next()), to: &trace)
        texts.append(.traceID, trace.span, to: &gathered)
        swap(&trace, &traceText)
    }

    /// A head for the client is in `output`, maybe with what follows it.
    mutating func noteAnswer(_ exchange: Int, byteCount: Int, at now: Instant) {
        records[exchange].sentByteCount &+= UInt64(byteCount)
        records[exchange].respondedAt = now
    }

    /// The exchange is at its end; its client's connection is still there.
    mutating func writeRecord(_ exchange: Int, at now: Instant) {
        records[exchange].endedAt = now
        records[exchange].statusCode = exchanges[exchange].statusCode
        records[exchange].targetStatusCode = exchanges[exchange].targetStatusCode
        records[exchange].receivedByteCount &+= exchanges[exchange].up.byteCount
        records[exchange].sentByteCount &+= exchanges[exchange].down.byteCount
        let (sentAt, answeredAt) = (exchanges[exchange].sentAt, exchanges[exchange].answeredAt)
        if sentAt.nanoseconds > 0 { records[exchange].dispatchedAt = sentAt }
        if exchanges[exchange].targetStatusCode > 0 { records[exchange].answeredAt = answeredAt }
        if exchanges[exchange].statusCode == 101 {
            records[exchange].kind = records[exchange].kind == .http ? .webSocket : .secureWebSocket
        }
        let isLogged = appendRecord(exchange)
        if !isLogged { core.counters.add(1, .droppedAccessLogLines) }
    }

    private mutating func appendRecord(_ exchange: Int) -> Bool {
        let cellPlusOne = exchanges[exchange].noteCellPlusOne
        guard cellPlusOne > 0 else {
            return logRings.exchanges.append(records[exchange])
        }
        let cell = Int(cellPlusOne) - 1
        exchanges[exchange].noteCellPlusOne = 0
        let ring = logRings.exchangeTexts
        let position = noteCells.withBytes(
            cell: cell, offset: 0, byteCount: Int(records[exchange].texts.byteCount)
        ) { texts in ring.append(texts) }
        noteCells.free(cell: cell)
        guard let position else { return false }
        records[exchange].textPosition = position
        guard logRings.exchanges.append(records[exchange]) else {
            ring.takeBackLast()
            return false
        }
        return true
    }

    // MARK: - Connections

    /// Names a client's connection in both logs: always the same name, without a byte kept for it.
    func traceID(of client: Int) -> ConnectionTraceID {
        let startedAt = connections[client].startedAt.nanoseconds
        let place = UInt64(connections[client].generation) << 32 | UInt64(client)
        let (first, second) = (
            SipHash.hash(startedAt, place, seed: traceSeed),
            SipHash.hash(place, startedAt, seed: traceSeed)
        )
        return ConnectionTraceID(random: UInt128(first) << 64 | UInt128(second))
    }

    /// A client's connection is accepted, or its handshake is over.
    ///
    /// - Parameter failure: Why the handshake came to nothing.
    mutating func logConnection(_ slot: Int, failure: TLSFailure? = nil, at now: Instant) {
        let log = core.tls.connectionLog(of: connections[slot].listener)
        guard log > 0 else { return }
        var record = ConnectionRecord(
            client: connections[slot].peer, local: connections[slot].local,
            openedAt: connections[slot].startedAt, connection: traceID(of: slot))
        record.log = log
        logText.removeAll(keepingCapacity: true)
        if let failure {
            record.status = ConnectionRecord.Status(failure)
        } else if connections[slot].isSecure {
            let summary = connections[slot].session.summary
            record.status = .success
            record.tlsVersion = summary.version
            record.tlsCipher = summary.cipher
            record.namedGroup = summary.group
            record.handshakeNanoseconds = now.nanoseconds(since: connections[slot].startedAt)
        }
        // A certificate that was refused is worth knowing as well.
        if let peer = connections[slot].session.peerCertificate {
            record.validFrom = UInt64(max(0, peer.validity.lowerBound))
            record.validUntil = UInt64(max(0, peer.validity.upperBound))
            record.appendTexts(
                subject: peer.subject.utf8.span, serial: peer.serial.utf8.span, to: &logText)
        }
        if !append(record) { core.counters.add(1, .droppedAccessLogLines) }
    }

    private mutating func append(_ record: ConnectionRecord) -> Bool {
        guard record.textByteCount > 0 else { return logRings.connections.append(record) }
        guard let position = logRings.connectionTexts.append(logText.span) else { return false }
        var placed = record
        placed.textPosition = position
        guard logRings.connections.append(placed) else {
            logRings.connectionTexts.takeBackLast()
            return false
        }
        return true
    }
}

extension ConnectionRecord.Status {
    fileprivate init(_ failure: TLSFailure) {
        self =
            switch failure.certificateRefusal {
            case .chainTooDeep: .clientCertificateChainTooDeep
            case .revoked: .clientCertificateRevoked
            case .revocationListUnusable: .revocationListUnusable
            case .untrusted: .clientCertificateUntrusted
            case .notYetValid: .clientCertificateNotYetValid
            case .expired: .clientCertificateExpired
            case .purposeInvalid: .clientCertificatePurposeInvalid
            case .rejected: .clientCertificateRejected
            case .incompatible: .clientCertificateIncompatible
            case .invalid: .clientCertificateInvalid
            case .tooLarge: .clientCertificateTooLarge
            case nil: .otherFailure
            }
    }
}
