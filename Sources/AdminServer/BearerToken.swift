// The admin token, and how often a peer may guess it.

import Balancing

/// A secret that clients present as `Authorization: Bearer TOKEN`.
struct BearerToken: Sendable {
    private let bytes: [UInt8]

    init(_ text: String) {
        bytes = Array(text.utf8)
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

    /// Compares in a time that depends on the presented text only.
    ///
    /// An early exit at the first difference would tell a patient client how much of its guess is right.
    private func matches(_ presented: some StringProtocol) -> Bool {
        let presented = Array(presented.utf8)
        var difference: UInt8 = bytes.count == presented.count && !bytes.isEmpty ? 0 : 1
        for (index, byte) in presented.enumerated() {
            difference |= byte ^ (bytes.isEmpty ? 0 : bytes[index % bytes.count])
        }
        return difference == 0
    }
}

/// Lets each peer fail a few times, then makes it wait: a leaky bucket per peer.
///
/// A peer that waits is refused even with the right token, or guessing would not be slowed at all.
/// The table is bounded: when it is full of peers that still owe time, new ones share one bucket.
struct FailureLimiter: Sendable {
    private var debts: [String: Debt] = [:]
    private var sharedDebt = Debt()

    /// Failures not yet forgotten, as the moment at which all of them will be.
    private struct Debt: Sendable {
        var clearsAtSeconds: Double = 0
    }

    private static let refill = Double(AdminLimits.authenticationRefillSeconds)

    /// Seconds until `peer` may try again; nil when it may try now.
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
