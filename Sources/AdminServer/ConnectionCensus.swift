// Who holds the admin server's connections, and who gives way when there are too many.
//
// A bound alone would let one client lock everybody out by holding every place. So the newest always gets in: of
// the peer with the most connections, the one that has waited longest without a whole request is closed.

import NIOCore
import Synchronization

final class ConnectionCensus: Sendable {
    private struct Entry {
        let channel: any Channel
        let peer: String
        /// Since when it has had no request under way; nil while a whole one is being answered.
        var waitingSince: NIODeadline?
    }

    private let entries = Mutex<[ObjectIdentifier: Entry]>([:])
    private let countMax: Int

    init(countMax: Int) {
        self.countMax = countMax
    }

    /// Counts a connection; the answer is one that must close to make room.
    func enter(_ channel: any Channel) -> (any Channel)? {
        let peer = PeerName.of(channel)
        return entries.withLock { entries in
            entries[ObjectIdentifier(channel)] = Entry(channel: channel, peer: peer, waitingSince: .now())
            guard entries.count > countMax else { return nil }
            let sizes = entries.values.reduce(into: [String: Int]()) { $0[$1.peer, default: 0] += 1 }
            // The newcomer is among the candidates: when all others are at work, it is the one to go.
            return entries.values.filter { $0.waitingSince != nil }.max { left, right in
                let (leftSize, rightSize) = (sizes[left.peer] ?? 0, sizes[right.peer] ?? 0)
                if leftSize != rightSize { return leftSize < rightSize }
                return (left.waitingSince ?? .now()) > (right.waitingSince ?? .now())
            }?.channel
        }
    }

    func leave(_ channel: any Channel) {
        _ = entries.withLock { $0.removeValue(forKey: ObjectIdentifier(channel)) }
    }

    /// Notes that a whole request is being answered, or none.
    func setBusy(_ channel: any Channel, _ isBusy: Bool) {
        entries.withLock { $0[ObjectIdentifier(channel)]?.waitingSince = isBusy ? nil : .now() }
    }
}
