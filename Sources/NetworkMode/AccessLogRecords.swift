// Network mode's access log: records of connections to TLS listeners become lines.

import Balancing
import LinuxIO
import Serving
import TLSTermination

/// The workers' rings and what it takes to put their records into words.
private struct AccessRecords: ~Copyable, AccessLogFeed {
    let rings: [RecordRing<AccessRecord>]
    let names = TLSNames()

    init(rings: [RecordRing<AccessRecord>]) {
        self.rings = rings
    }

    mutating func drain(into files: inout AccessLogFiles, at now: Instant) {
        let unixNanoseconds = Machine.wallClockNanoseconds()
        for ring in rings {
            _ = ring.drain { record in
                guard let source = files.source(of: record.log) else { return }
                let line = AccessLogLine(
                    record, source, certificate: CertificateRegister.entry(record.notes.certificate),
                    names: names, unixNanoseconds: unixNanoseconds, at: now)
                files.add(line.bytes, of: source, at: now)
            }
        }
    }
}

extension AccessLog {
    /// Starts the writer of network mode's log, with no file yet.
    ///
    /// - Parameter rings: What workers fill; this is their only reader.
    package convenience init(rings: [RecordRing<AccessRecord>]) throws(SystemCallError) {
        try self.init(threadName: "weir-access-log", feed: AccessRecords(rings: rings))
    }

    /// The number of each listener's log, zero where it has none and where the listener is application mode's, in the
    /// places where workers that route by `snapshot` look for them. From here on the snapshot's files are open, and no
    /// others.
    package func numbers(for snapshot: RoutingSnapshot) -> [UInt32] {
        numbers(
            of: snapshot.listeners.map { route in
                guard let route, route.application == nil, let path = route.accessLogPath else { return nil }
                return AccessLogSource(
                    path: path, loadBalancer: route.id.loadBalancer, listener: "\(route.id)")
            })
    }
}
