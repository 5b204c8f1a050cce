// What a peer may make this side do without doing anything itself: token buckets.
//
// Resets, pings, settings, priorities, window updates and empty frames are all legitimate and all cheap to send.
// What counts is how many come beyond what the exchanged messages explain. CVE-2019-9511 to 9518, CVE-2023-44487,
// CVE-2024-27316, CVE-2025-8671.

import Balancing

/// So many at once, and so many per second; some are earned.
struct TokenBucket: BitwiseCopyable {
    private var tokenCount: Int32
    private let tokenCountMax: Int32
    private let nanosecondsPerToken: UInt64
    private var filled: Instant

    init(tokenCountMax: Int, tokensPerSecond: Int, at now: Instant) {
        tokenCount = Int32(tokenCountMax)
        self.tokenCountMax = Int32(tokenCountMax)
        nanosecondsPerToken = 1_000_000_000 / UInt64(tokensPerSecond)
        filled = now
    }

    /// False when there is none left.
    mutating func take(at now: Instant) -> Bool {
        let earned = now.nanoseconds(since: filled) / nanosecondsPerToken
        if earned > 0 {
            // What is left of the time counts for the next token.
            filled = filled.advanced(byNanoseconds: earned * nanosecondsPerToken)
            add(earned > UInt64(tokenCountMax) ? Int(tokenCountMax) : Int(earned))
        }
        guard tokenCount > 0 else { return false }
        tokenCount -= 1
        return true
    }

    mutating func add(_ count: Int) {
        tokenCount = min(tokenCountMax, tokenCount + Int32(count))
    }
}

struct HTTP2Budget: BitwiseCopyable {
    private var resets: TokenBucket
    private var controlFrames: TokenBucket

    init(at now: Instant) {
        resets = TokenBucket(
            tokenCountMax: Limits.http2ResetsAtOnceMax, tokensPerSecond: Limits.http2ResetsPerSecondMax,
            at: now)
        controlFrames = TokenBucket(
            tokenCountMax: Limits.http2ControlFramesAtOnceMax,
            tokensPerSecond: Limits.http2ControlFramesPerSecondMax, at: now)
    }

    /// A stream ended by the peer, or by its fault.
    mutating func takeReset(at now: Instant) -> Bool { resets.take(at: now) }

    mutating func takeControlFrame(at now: Instant) -> Bool { controlFrames.take(at: now) }

    /// A message or a piece of content went either way, which explains a few of the others.
    mutating func creditFrame() { controlFrames.add(Limits.http2ControlFramesPerFrame) }
}
