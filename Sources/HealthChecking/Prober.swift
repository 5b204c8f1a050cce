// All health checks on one thread, and the door to it.
//
// What is called here runs on the caller's thread and only posts a message; what it asks for happens in the
// prober's next turn.

import Balancing
import LinuxIO
import Reactor
import Synchronization
import TLSTermination

/// What HTTPS and TLS checks make their sessions of, by the settings that a check names.
package typealias ProbeContexts = [TLSTargetSettings: ClientContext]

package enum ProberMessage: Sendable {
    case restore([TargetNumber: HealthVerdict])
    case update([ProbeTarget], ProbeContexts)
    case renewTLS(ProbeContexts)
    case trafficRefused(TargetNumber)
    case stop
}

package final class Prober: Sendable {
    private let mailbox: Mailbox<ProberMessage>
    private let thread: DataPlaneThread

    /// Starts the thread, with nothing to probe yet.
    ///
    /// - Parameters:
    ///   - seed: Of the spread over the interval and of query numbers; nil takes one from the system.
    ///   - onReport: Runs on the prober's thread after every probe and every counted refusal of traffic. It
    ///     must not block, nor call `stop`.
    package init(
        seed: UInt64? = nil, onReport: @escaping @Sendable (ProbeReport) -> Void
    ) throws(SystemCallError) {
        let seed = if let seed { seed } else { try Machine.randomSeed().first }
        let mailbox = try Mailbox<ProberMessage>()
        let reactor = try Reactor(mailbox: mailbox)
        let loop = ProberLoop(epoll: reactor.registrations, seed: seed, now: .now, onReport: onReport)
        self.mailbox = mailbox
        thread = try ReactorThread.start(
            name: "weir-prober", processor: nil, reactor: reactor, handler: loop)
    }

    /// Verdicts of another process, with which the targets of the next update begin instead of `initial`.
    ///
    /// Counting towards the thresholds begins anew.
    package func restore(_ verdicts: [TargetNumber: HealthVerdict]) {
        mailbox.post(.restore(verdicts))
    }

    /// Makes the prober check exactly these targets; one whose check is disabled is not probed.
    ///
    /// One that stays as it is keeps its verdict and schedule, also when only its interval, timeout or
    /// thresholds change. One that is new, or is asked another question or at another endpoint, is probed at
    /// once and starts from the verdict `initial`.
    ///
    /// - Parameter contexts: One for the TLS settings of every HTTPS and TLS check among them.
    package func update(_ targets: [ProbeTarget], contexts: ProbeContexts = [:]) {
        mailbox.post(.update(targets, contexts))
    }

    /// Makes probes that begin from now on use other contexts of the same settings; what is known of the targets
    /// stays known.
    package func renewTLS(_ contexts: ProbeContexts) {
        mailbox.post(.renewTLS(contexts))
    }

    /// Counts a refusal of real traffic as a failure of the target, at most one a second, and probes it soon.
    package func trafficRefused(_ number: TargetNumber) {
        mailbox.post(.trafficRefused(number))
    }

    /// Ends running probes without a report and waits for the thread. Call once, last, from another thread.
    package func stop() {
        mailbox.post(.stop)
        thread.join()
    }
}
