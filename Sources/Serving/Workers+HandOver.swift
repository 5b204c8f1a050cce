// Listening sockets that another process opened, and the hand-over of all that the workers serve.
//
// Socket by socket, inherited ones go to the workers in turn, whatever their number was before.

import Balancing
import LinuxIO
import Reactor
import Synchronization

/// A listening socket that came from the service manager or from the process before this one.
package struct InheritedSocket: Sendable {
    package let endpoint: Endpoint
    package let transport: Transport
    package let socket: Descriptor
    /// Others of the same user may bind the address too (SO_REUSEPORT).
    package let sharesPort: Bool

    package init(endpoint: Endpoint, transport: Transport, socket: Descriptor, sharesPort: Bool) {
        self.endpoint = endpoint
        self.transport = transport
        self.socket = socket
        self.sharesPort = sharesPort
    }
}

/// What came from another process and waits for a listener that wants it; the workers of all modes take from it.
package final class InheritedSockets: Sendable {
    private let unclaimed: Mutex<[(index: Int, socket: InheritedSocket)]>

    package init(_ sockets: [InheritedSocket]) {
        unclaimed = Mutex(sockets.enumerated().map { ($0, $1) })
    }

    /// Takes the sockets of a binding's address, each with its place in the list that was inherited.
    func claim(_ binding: ListenerBinding) -> [(index: Int, socket: InheritedSocket)] {
        unclaimed.withLock { unclaimed in
            let isOwn = { (inherited: (index: Int, socket: InheritedSocket)) in
                inherited.socket.endpoint == binding.endpoint
                    && inherited.socket.transport == binding.transport
            }
            defer { unclaimed.removeAll(where: isOwn) }
            return unclaimed.filter(isOwn)
        }
    }

    /// Closes the sockets that no listener wanted, and names their addresses.
    package func closeUnclaimed() -> [String] {
        let left = unclaimed.withLock { unclaimed in
            defer { unclaimed = [] }
            return unclaimed
        }
        return left.map { _, unclaimed in
            unclaimed.socket.close()
            return "\(unclaimed.transport == .tcp ? "TCP" : "UDP") \(unclaimed.endpoint)"
        }
    }
}

/// A socket and whose it will be.
struct PlacedSocket {
    let worker: Int
    /// Which of the binding's sockets of this worker.
    let share: Int
    let socket: Descriptor
}

/// What is inherited and where it went.
struct Inheritance {
    private var sockets = InheritedSockets([])
    private(set) var places: [Int: ListenerShare] = [:]
    /// Workers without a share of a TCP listener whose address takes more sockets.
    private(set) var lacking: [(binding: ListenerBinding, worker: Int)] = []
    private var nextWorker = 0

    mutating func take(from sockets: InheritedSockets) {
        self.sockets = sockets
    }

    mutating func takeLacking() -> [(binding: ListenerBinding, worker: Int)] {
        defer { lacking = [] }
        return lacking
    }

    /// The sockets of a binding's address, spread over the workers; nil when none was inherited.
    mutating func claim(_ binding: ListenerBinding, workerCount: Int) -> [PlacedSocket]? {
        let own = sockets.claim(binding)
        guard !own.isEmpty else { return nil }
        var shareCounts = [Int](repeating: 0, count: workerCount)
        var placed: [PlacedSocket] = []
        for (index, inherited) in own {
            let worker = nextWorker % workerCount
            nextWorker += 1
            let share = shareCounts[worker]
            shareCounts[worker] += 1
            placed.append(PlacedSocket(worker: worker, share: share, socket: inherited.socket))
            places[index] = ListenerShare(
                binding: binding, worker: worker, share: share, socket: inherited.socket)
        }
        // One more UDP socket would change which socket the kernel gives each client's datagrams to, and so take
        // live flows away from the workers that know them. TCP connections are chosen once.
        if binding.transport == .tcp, own.allSatisfy(\.socket.sharesPort) {
            for worker in 0..<workerCount where shareCounts[worker] == 0 { lacking.append((binding, worker)) }
        }
        return placed
    }
}

extension Workers {
    // MARK: - Taking over

    /// Offers sockets to `prepare`, which takes those of the configured addresses instead of binding.
    package func inherit(_ sockets: InheritedSockets) {
        withInheritance { $0.take(from: sockets) }
    }

    /// Gives each flow to the worker whose socket its client's datagrams come to. A flow whose socket nobody wanted
    /// ends.
    package func adopt(_ flows: [AdoptedFlow], onComplete: @escaping @Sendable () -> Void) {
        let places = withInheritance { $0.places }
        var perWorker = [[(flow: AdoptedFlow, share: ListenerShare)]](repeating: [], count: count)
        for flow in flows {
            guard let place = places[flow.flow.socketIndex] else {
                flow.socket.close()
                continue
            }
            perWorker[place.worker].append((flow, place))
        }
        let receipt = Receipt(count: count, onComplete: onComplete)
        for (mailbox, own) in zip(mailboxes, perWorker) { mailbox.post(.adopt(own, receipt)) }
    }

    /// Begins to serve what was held back, or serves again what `handOver` stopped.
    package func resume(onComplete: @escaping @Sendable () -> Void) {
        postToAll(onComplete) { .resume($0) }
    }

    /// Opens shares of inherited TCP listeners for workers that got none.
    ///
    /// Only after the take-over: a connection that waited in a new share would be lost with a process that does
    /// not come to serve. A share that cannot be opened costs balance, not service.
    package func openLackingShares() -> [ListenerOpenError] {
        var errors: [ListenerOpenError] = []
        for (binding, worker) in withInheritance({ $0.takeLacking() }) {
            do throws(ListenerOpenError) {
                let socket = try ListenerSockets.openShare(
                    binding, congestionControl: settings.clientCongestionControl)
                mailboxes[worker].post(
                    .listen(ListenerChange(opened: [(binding, 0, socket)]), Receipt(count: 1) {}))
            } catch {
                errors.append(error)
            }
        }
        return errors
    }

    // MARK: - Handing over

    /// Every listening socket that is served; they stay the workers'.
    package func listShares(
        into collector: HandOverCollector, onComplete: @escaping @Sendable () -> Void
    ) {
        postToAll(onComplete) { .listShares(collector, $0) }
    }

    /// Stops reading from listeners and collects the live UDP flows, whose sockets are the collector's from then on.
    package func handOver(
        to collector: HandOverCollector, onComplete: @escaping @Sendable () -> Void
    ) {
        postToAll(onComplete) { .handOver(collector, $0) }
    }

    /// Gives flows back to the workers that `handOver` took them from.
    package func takeBack(
        _ collector: HandOverCollector, onComplete: @escaping @Sendable () -> Void
    ) {
        var perWorker = [[(flow: AdoptedFlow, share: ListenerShare)]](repeating: [], count: count)
        for given in collector.flows {
            let flow = AdoptedFlow(
                flow: given.flow, target: given.flow.target, socket: given.socket)
            let share = ListenerShare(
                binding: given.binding, worker: given.worker, share: given.share, socket: .none)
            perWorker[given.worker].append((flow, share))
        }
        let receipt = Receipt(count: count, onComplete: onComplete)
        for (mailbox, own) in zip(mailboxes, perWorker) { mailbox.post(.adopt(own, receipt)) }
    }

    /// Closes the listening sockets: another process serves them. TCP flows go on.
    package func release(onComplete: @escaping @Sendable () -> Void) {
        postToAll(onComplete) { .release($0) }
    }
}
