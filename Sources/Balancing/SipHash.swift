// SipHash-2-4 (Aumasson & Bernstein, 2012): a keyed hash that a client cannot steer without the seed.

public enum SipHash {
    /// Hashes up to eight words; the message length is the word count times eight.
    struct State: BitwiseCopyable {
        private var v0: UInt64
        private var v1: UInt64
        private var v2: UInt64
        private var v3: UInt64
        private var byteCount: UInt64 = 0

        init(seed: HashSeed) {
            v0 = seed.first ^ 0x736f_6d65_7073_6575
            v1 = seed.second ^ 0x646f_7261_6e64_6f6d
            v2 = seed.first ^ 0x6c79_6765_6e65_7261
            v3 = seed.second ^ 0x7465_6462_7974_6573
        }

        private mutating func round() {
            v0 &+= v1
            v1 = rotate(v1, 13) ^ v0
            v0 = rotate(v0, 32)
            v2 &+= v3
            v3 = rotate(v3, 16) ^ v2
            v0 &+= v3
            v3 = rotate(v3, 21) ^ v0
            v2 &+= v1
            v1 = rotate(v1, 17) ^ v2
            v2 = rotate(v2, 32)
        }

        private func rotate(_ word: UInt64, _ by: UInt64) -> UInt64 {
            word &<< by | word &>> (64 &- by)
        }

        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
            byteCount &+= 8
        }

        /// `tail` holds the last 0–7 bytes, little-endian.
        mutating func finish(tail: UInt64 = 0, tailByteCount: UInt64 = 0) -> UInt64 {
            let last = (byteCount &+ tailByteCount) &<< 56 | tail
            v3 ^= last
            round()
            round()
            v0 ^= last
            v2 ^= 0xFF
            round()
            round()
            round()
            round()
            return v0 ^ v1 ^ v2 ^ v3
        }
    }

    public static func hash(_ key: FlowKey, seed: HashSeed) -> UInt64 {
        var state = State(seed: seed)
        state.absorb(key.client.address.high)
        state.absorb(key.client.address.low)
        state.absorb(key.local.address.high)
        state.absorb(key.local.address.low)
        state.absorb(
            UInt64(key.client.port) | UInt64(key.local.port) << 16 | UInt64(key.transport.rawValue) << 32
                | UInt64(key.client.address.family.rawValue) << 40)
        return state.finish()
    }

    public static func hash(_ address: IPAddress, seed: HashSeed) -> UInt64 {
        var state = State(seed: seed)
        state.absorb(address.high)
        state.absorb(address.low)
        state.absorb(UInt64(address.family.rawValue))
        return state.finish()
    }

    /// Hashes whole words.
    public static func hash(_ first: UInt64, _ second: UInt64, seed: HashSeed) -> UInt64 {
        var state = State(seed: seed)
        state.absorb(first)
        state.absorb(second)
        return state.finish()
    }

    public static func hash(
        _ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64, seed: HashSeed
    ) -> UInt64 {
        var state = State(seed: seed)
        state.absorb(first)
        state.absorb(second)
        state.absorb(third)
        state.absorb(fourth)
        return state.finish()
    }

    /// Hashes text or other bytes.
    public static func hash(_ bytes: some Sequence<UInt8>, seed: HashSeed) -> UInt64 {
        var state = State(seed: seed)
        var word: UInt64 = 0
        var filled: UInt64 = 0
        for byte in bytes {
            word |= UInt64(byte) << (8 * filled)
            filled += 1
            if filled == 8 {
                state.absorb(word)
                word = 0
                filled = 0
            }
        }
        return state.finish(tail: word, tailByteCount: filled)
    }
}
