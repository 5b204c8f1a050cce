// The access logs of both modes, asked as one: each has a writer of its own, and each listener a log of its mode's.

import ApplicationMode
import Balancing
import LinuxIO
import NetworkMode
import Serving

struct ApplianceLogs: Sendable {
    private let network: AccessLog
    private let application: AccessLog

    /// Starts both writers, with no file yet.
    init(of workers: ModeWorkers) throws(SystemCallError) {
        network = try AccessLog(rings: workers.network.accessRings)
        do throws(SystemCallError) {
            application = try AccessLog(rings: workers.application.logRings)
        } catch {
            network.stop()
            throw error
        }
    }

    /// The numbers of each listener's logs, as `TLSRouting` wants them. From here on the snapshot's files are open, and
    /// no others.
    func numbers(for snapshot: RoutingSnapshot) -> (accessLogs: [UInt32], connectionLogs: [UInt32]) {
        let ofNetwork = network.numbers(for: snapshot)
        let ofApplication = application.applicationNumbers(for: snapshot)
        // No listener has a number in both.
        return (zip(ofNetwork, ofApplication.accessLogs).map(max), ofApplication.connectionLogs)
    }

    func reopen() {
        network.reopen()
        application.reopen()
    }

    var warnings: [String] { network.warnings + application.warnings }

    /// Lines that a file did not take. What workers dropped is theirs to count.
    var lostLineCount: UInt64 { network.lostLineCount + application.lostLineCount }

    /// Writes what the workers have left. Call once, after the workers have stopped.
    func stop() {
        network.stop()
        application.stop()
    }
}
