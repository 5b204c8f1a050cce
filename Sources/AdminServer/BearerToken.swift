// The admin token, and how often a peer may get it wrong.

import Balancing

/// A secret that clients present as `Authorization: Bearer TOKEN`.
///
/// Kept and compared as a keyed hash of 128 bits under a key that was drawn for this process. Neither the token's
/// bytes nor its length are looked at when a guess is judged, so no time tells how much of it is right, and a
/// client that does not know the key cannot aim for a collision.
struct BearerToken: Sendable {
    private let seeds: (HashSeed, HashSeed)
    private let digest: [UInt8]
    private let isEmpty: Bool

    init(_ text: String) {
        var generator = SystemRandomNumberGenerator()
        seeds = (Self.drawSeed(using: &generator), Self.drawSeed(using: &generator))
        digest = Self.digest(text.utf8, seeds: seeds)
        isEmpty = text.isEmpty
    }

    enum Verdict: Sendable, Equatable {
        case granted
        case missing
        case wrong
    }

    func judge(_ header: String?) -> Verdict {
        guard let header else { return .missing }
        let parts = header.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
        // The scheme is case-insensitive; see RFC 9110, section 11.1.
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return .missing }
        return matches(parts[1].trimmingPrefix(while: { $0 == " " })) ? .granted : .wrong
    }

    /// Compares all bytes whatever the first ones say.
    private func matches(_ presented: some StringProtocol) -> Bool {
        var difference: UInt8 = isEmpty ? 1 : 0
        for (own, other) in zip(digest, Self.digest(presented.utf8, seeds: seeds)) {
            difference |= own ^ other
        }
        return difference == 0
    }

    private static func drawSeed(using generator: inout some RandomNumberGenerator) -> HashSeed {
        HashSeed(first: generator.next(), second: generator.next())
    }

    /// 16 bytes; its cost depends on the length of `text` alone.
    private static func digest(_ text: some Sequence<UInt8>, seeds: (HashSeed, HashSeed)) -> [UInt8] {
        [SipHash.hash(text, seed: seeds.0), SipHash.hash(text, seed: seeds.1)].flatMap { word in
            (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
        }
    }
}

/// Lets each peer fail a few times, then tells it to wait: a leaky bucket per peer.
///
/// Only failures are counted and refused. The right token is let in whatever came from its address before, or
/// anybody behind the same address could lock the operator out; that tokens are long is what stops guessing.
/// The table is bounded: when it is full of peers that still owe time, new ones share one bucket.
struct FailureLimiter: Sendable {
    private var debts: [String: Debt] = [:]
    private var sharedDebt = Debt()

    /// Failures not yet forgotten, as the moment at which all of them will be.
    private struct Debt: Sendable {
        var clearsAtSeconds: Double = 0
    }

    private static let refill = Double(AdminLimits.authenticationRefillSeconds)

    /// Seconds until a failure of `peer` would be within its allowance again; nil when it is now.
    func waitSeconds(for peer: String, atSeconds now: Double) -> Int? {
        let debt = debts[peer] ?? (isFull ? sharedDebt : Debt())
        let allowance = Double(AdminLimits.authenticationFailureCountMax - 1) * Self.refill
        let excess = debt.clearsAtSeconds - now - allowance
        return excess > 0 ? Int(excess.rounded(.up)) : nil
    }

    mutating func recordFailure(of peer: String, atSeconds now: Double) {
        if isFull, debts[peer] == nil {
            debts = debts.filter { $0.value.clearsAtSeconds > now }
        }
        if isFull, debts[peer] == nil {
            sharedDebt.clearsAtSeconds = max(sharedDebt.clearsAtSeconds, now) + Self.refill
        } else {
            debts[peer, default: Debt()].clearsAtSeconds =
                max(debts[peer]?.clearsAtSeconds ?? 0, now) + Self.refill
        }
    }

    private var isFull: Bool { debts.count >= AdminLimits.trackedPeerCountMax }
}
