// Application mode's access log and connection log: what workers leave, and the lines it becomes.
//
// Exchanges and connections have a ring of records and a ring of texts each, since texts are taken in the order of
// their records. One thread empties those of all workers.

import Balancing
import HTTPCore
import LinuxIO
import Serving
import TLSTermination

/// What one worker leaves for the logs. The worker is the only writer, the logs' thread the only reader.
package struct ApplicationLogRings: Sendable {
    let exchanges: RecordRing<ExchangeRecord>
    let exchangeTexts: ByteRing
    let connections: RecordRing<ConnectionRecord>
    let connectionTexts: ByteRing

    init(settings: WorkerSettings) {
        exchanges = RecordRing(capacity: settings.exchangeLogRecordCountMax)
        // One exchange with all its texts has room in any case.
        exchangeTexts = ByteRing(
            capacity: max(
                settings.exchangeLogRecordCountMax * Limits.exchangeLogTextByteCount,
                Limits.exchangeLogTextByteCountMax))
        connections = RecordRing(capacity: settings.accessLogRecordCountMax)
        connectionTexts = ByteRing(
            capacity: max(
                settings.accessLogRecordCountMax * Limits.exchangeLogTextByteCount,
                Limits.exchangeLogTextByteCountMax))
    }
}

/// The workers' rings and what it takes to put their records into words.
private struct ApplicationRecords: ~Copyable, AccessLogFeed {
    let rings: [ApplicationLogRings]
    var names = KnownNames()
    var line: [UInt8] = []

    init(rings: [ApplicationLogRings]) {
        self.rings = rings
        line.reserveCapacity(Limits.exchangeLogTextByteCountMax)
    }

    mutating func drain(into files: inout AccessLogFiles, at now: Instant) {
        let unixNanoseconds = Machine.wallClockNanoseconds()
        for ring in rings {
            _ = ring.exchanges.drain { record in
                add(record, ring.exchangeTexts, unixNanoseconds, to: &files, at: now)
            }
            _ = ring.connections.drain { record in
                add(record, ring.connectionTexts, unixNanoseconds, to: &files, at: now)
            }
        }
    }

    private mutating func add(
        _ record: ExchangeRecord, _ ring: ByteRing, _ unixNanoseconds: UInt64,
        to files: inout AccessLogFiles, at now: Instant
    ) {
        let source = files.source(of: record.log)
        line.removeAll(keepingCapacity: true)
        take(Int(record.texts.byteCount), at: record.textPosition, of: ring) { log, texts in
            guard let source else { return }
            let names = ExchangeLine.Names(
                loadBalancer: source.loadBalancer, tlsVersion: log.names.version(record.tlsVersion),
                tlsCipher: log.names.cipher(record.tlsCipher),
                certificate: CertificateRegister.entry(record.certificate)?.file)
            ExchangeLine.append(
                record, texts: texts, names: names, unixNanoseconds: unixNanoseconds, at: now, to: &log.line)
        }
        if let source { files.add(line, of: source, at: now) }
    }

    private mutating func add(
        _ record: ConnectionRecord, _ ring: ByteRing, _ unixNanoseconds: UInt64,
        to files: inout AccessLogFiles, at now: Instant
    ) {
        let source = files.source(of: record.log)
        line.removeAll(keepingCapacity: true)
        take(record.textByteCount, at: record.textPosition, of: ring) { log, texts in
            guard let source else { return }
            let names = ConnectionRecord.Names(
                loadBalancer: source.loadBalancer, tlsVersion: log.names.version(record.tlsVersion),
                tlsCipher: log.names.cipher(record.tlsCipher),
                keyExchange: log.names.group(record.namedGroup))
            record.appendLine(
                texts: texts, names: names, unixNanoseconds: unixNanoseconds, at: now, to: &log.line)
        }
        if let source { files.add(line, of: source, at: now) }
    }

    /// Lends a record's texts, also those of a log that is off by now: nobody else gives their room back.
    private mutating func take(
        _ byteCount: Int, at position: UInt64, of ring: ByteRing,
        _ body: (inout ApplicationRecords, Span<UInt8>) -> Void
    ) {
        guard byteCount > 0 else {
            // Without texts a record has no position, and taking none at one would set the ring back.
            let none: [UInt8] = []
            return body(&self, none.span)
        }
        ring.take(at: position, count: byteCount) { texts in body(&self, texts) }
    }
}

/// The names of ciphers and groups that came so far: few, asked for with every line.
private struct KnownNames: ~Copyable {
    private let names = TLSNames()
    private var ciphers: [UInt16: String] = [:]
    private var groups: [Int32: String] = [:]

    /// As ELBv2 logs it, such as `TLSv1.3`.
    func version(_ number: UInt16) -> String? { TLSVersion(rawValue: number)?.name }

    mutating func cipher(_ number: UInt16) -> String? {
        guard number > 0 else { return nil }
        if let known = ciphers[number] { return known }
        ciphers[number] = names?.cipher(number)
        return ciphers[number]
    }

    mutating func group(_ number: Int32) -> String? {
        guard number != 0 else { return nil }
        if let known = groups[number] { return known }
        groups[number] = names?.group(number)
        return groups[number]
    }
}

extension AccessLog {
    /// Starts the writer of application mode's logs, with no file yet.
    ///
    /// - Parameter rings: What workers fill; this is their only reader.
    package convenience init(rings: [ApplicationLogRings]) throws(SystemCallError) {
        try self.init(threadName: "weir-http-log", feed: ApplicationRecords(rings: rings))
    }

    /// The numbers of each listener's access log and connection log, zero where it has none and where the listener
    /// is network mode's, in the places where workers that route by `snapshot` look for them. From here on the
    /// snapshot's files are open, and no others.
    package func applicationNumbers(
        for snapshot: RoutingSnapshot
    ) -> (accessLogs: [UInt32], connectionLogs: [UInt32]) {
        func sources(_ path: (ListenerRoute, ApplicationRoute) -> String?) -> [AccessLogSource?] {
            snapshot.listeners.map { route in
                guard let route, let application = route.application, let path = path(route, application)
                else { return nil }
                return AccessLogSource(
                    path: path, loadBalancer: route.id.loadBalancer, listener: "\(route.id)")
            }
        }
        let all = numbers(
            of: sources { route, _ in route.accessLogPath }
                + sources { _, application in application.loadBalancerAttributes.connectionLogPath })
        let count = snapshot.listeners.count
        return (Array(all.prefix(count)), Array(all.dropFirst(count)))
    }
}
