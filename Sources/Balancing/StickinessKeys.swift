// What a stickiness cookie says about a target or a group, and what keeps clients from making one up.
//
// A target is named by a hash of its group's name, its address and its port, so that a cookie is understood by every
// worker, after a restart and in every later snapshot with the same seed, and gives no address away. The seal is two
// SipHash-2-4 of independent keys, 128 bits.

public struct StickinessKeys: Sendable, BitwiseCopyable {
    private let identities: HashSeed
    private let firstSeal: HashSeed
    private let secondSeal: HashSeed

    /// Keys of their own, derived from the seed: what flow hashing shows of it must not help with cookies.
    public init(seed: HashSeed) {
        func derived(_ purpose: UInt64) -> HashSeed {
            HashSeed(
                first: SipHash.hash(purpose, 0, seed: seed), second: SipHash.hash(purpose, 1, seed: seed))
        }
        identities = derived(0x7374_6963_6b79_6964)  // "stickyid"
        firstSeal = derived(0x7374_6963_6b79_6d31)  // "stickym1"
        secondSeal = derived(0x7374_6963_6b79_6d32)  // "stickym2"
    }

    public func identity(ofGroup name: String) -> UInt64 {
        SipHash.hash(name.utf8, seed: identities)
    }

    /// - Parameter group: The group's identity: a target that two groups share has one in each.
    public func identity(of endpoint: Endpoint, inGroup group: UInt64) -> UInt64 {
        SipHash.hash(
            group, endpoint.address.high, endpoint.address.low,
            UInt64(endpoint.address.family.rawValue) << 16 | UInt64(endpoint.port), seed: identities)
    }

    /// The seal of an identity, under a heading that says what the rest means.
    public func seal(heading: UInt64, identity: UInt64) -> (UInt64, UInt64) {
        (
            SipHash.hash(heading, identity, seed: firstSeal),
            SipHash.hash(heading, identity, seed: secondSeal)
        )
    }
}

/// The eligible targets of one application group by their identities, for the lookup of what a cookie says.
public struct StickyTargets: Sendable {
    private struct Entry: Sendable, BitwiseCopyable {
        let identity: UInt64
        let position: UInt32
    }

    public let groupIdentity: UInt64
    /// By rising identity.
    private let entries: [Entry]

    /// - Parameter endpoints: By target number, as a snapshot has them.
    init(of group: GroupRoute, endpoints: [Endpoint?], keys: StickinessKeys) {
        let groupIdentity = keys.identity(ofGroup: group.name)
        self.groupIdentity = groupIdentity
        guard group.application?.stickiness != nil else {
            entries = []
            return
        }
        entries = group.targets.enumerated().compactMap { position, target in
            let number = Int(target.rawValue)
            guard number < endpoints.count, let endpoint = endpoints[number] else { return nil }
            return Entry(
                identity: keys.identity(of: endpoint, inGroup: groupIdentity), position: UInt32(position))
        }.sorted { $0.identity < $1.identity }
    }

    /// The position in the group's `targets` of the one with this identity; nil when there is none, as when the
    /// target is no longer eligible. O(log n).
    public func position(of identity: UInt64) -> Int? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].identity < identity { low = middle + 1 } else { high = middle }
        }
        guard low < entries.count, entries[low].identity == identity else { return nil }
        return Int(entries[low].position)
    }
}
