// Health reports, deadlines and the end: what happens to the registry without being asked.

import AdminModel
import Balancing

extension Registry {
    /// How often deadlines are looked at while something drains.
    private static let tickInterval = Duration.milliseconds(200)

    /// Consumes the prober's reports and keeps deadlines, until cancelled.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.collectReports() }
            group.addTask { await self.processCollectedReports() }
            group.addTask { await self.keepDeadlines() }
            await group.waitForAll()
        }
    }

    private func collectReports() async {
        for await report in probes.reports {
            pendingReports.append(report)
            reportContinuation.yield()
        }
    }

    /// While a change holds the turn, reports gather; the next turn takes them all and publishes once.
    private func processCollectedReports() async {
        for await _ in reportSignal { await processReports() }
    }

    /// Takes one report, as the prober's stream brings it; returns when it is routed by and shown.
    package func observe(_ reports: [ProbeReport]) async {
        pendingReports += reports
        await processReports()
    }

    private func processReports() async {
        await takeTurn()
        defer { changes.finish() }
        let reports = pendingReports
        pendingReports = []
        guard !reports.isEmpty else { return }
        var candidate = state
        guard
            candidate.observe(reports, at: clock.now(), secondsSince1970: clock.secondsSince1970())
        else {
            state = candidate
            return
        }
        // Workers stop sending flows to an unhealthy target before anybody reads that it is unhealthy.
        let result = compiler.compile(candidate, version: published.snapshot.version + 1)
        await publish(candidate, as: result, ticket: nil)
    }

    // MARK: Deadlines

    private func keepDeadlines() async {
        for await _ in deadlineSignal {
            while state.isWaitingForDeadline {
                do {
                    try await clock.sleep(Self.tickInterval)
                } catch {
                    return
                }
                await tick()
            }
        }
    }

    /// Does what is due: draining targets leave, flows end whose time is over, numbers come back.
    package func tick() async {
        await takeTurn()
        defer { changes.finish() }
        await settleDeadlines()
    }

    // MARK: The end

    /// Stops accepting: takes what is in the accept queues, then closes every listener. Live flows go on.
    package func drain() async {
        await takeTurn()
        defer { changes.finish() }
        guard !isDraining else { return }
        isDraining = true
        logger.info("draining: no new flows from here")
        await workers.drain()
    }

    /// Bounds how long a drain waits; the earliest bound counts.
    package func waitForFlows(atMostSeconds seconds: Int) {
        let deadline = clock.now().advanced(bySeconds: seconds)
        drainDeadline = drainDeadline.map { min($0, deadline) } ?? deadline
    }

    /// False when a drain has nothing to wait for any more, or has waited long enough.
    var isWaitingForFlows: Bool {
        guard let drainDeadline, clock.now() < drainDeadline else { return false }
        return liveTCPFlowCount() > 0
    }

    /// Live TCP flows of all listeners: what a drain waits for.
    ///
    /// UDP flows have no end of their own that one could wait for.
    package func liveTCPFlowCount() -> UInt64 {
        let numbers = state.listeners.values.map(\.number) + state.retiredListeners.map(\.number)
        return workers.counters(targets: [], listeners: numbers).listeners.values
            .reduce(0) { $0 &+ FlowCounters.value(.activeTCPFlows, of: $1) }
    }
}
