// Seeded randomness for tests: a failing seed, printed with the failure, replays it exactly.
//
// Generator: Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.

import Foundation

struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}

enum Seeds {
    /// How many seeds a seeded test runs: `WEIR_SEEDS`, else 256.
    static let count = ProcessInfo.processInfo.environment["WEIR_SEEDS"].flatMap(UInt64.init) ?? 256

    static var all: Range<UInt64> { 0..<count }
}
