// Time as a value: it saturates where arithmetic would trap.

import Balancing
import Testing

@Suite struct `Monotonic instant` {
    private let start = Instant(nanoseconds: 5)

    @Test func `advances by its units`() {
        #expect(start.advanced(bySeconds: 2).nanoseconds == 2_000_000_005)
        #expect(start.advanced(byMilliseconds: 3).nanoseconds == 3_000_005)
        #expect(start.advanced(byNanoseconds: 4).nanoseconds == 9)
    }

    @Test func `saturates in the distant future`() {
        #expect(start.advanced(bySeconds: .max) == .distantFuture)
        #expect(start.advanced(byMilliseconds: .max) == .distantFuture)
        #expect(start.advanced(byNanoseconds: .max) == .distantFuture)
        #expect(Instant.distantFuture.advanced(byNanoseconds: 1) == .distantFuture)
        #expect(Instant.distantFuture.advanced(bySeconds: 0) == .distantFuture)
    }

    @Test func `a negative duration does not go back`() {
        #expect(start.advanced(bySeconds: -1) == start)
        #expect(start.advanced(byMilliseconds: .min) == start)
    }

    @Test func `the time since a later instant is zero`() {
        let later = start.advanced(byNanoseconds: 7)
        #expect(later.nanoseconds(since: start) == 7)
        #expect(start.nanoseconds(since: later) == 0)
        #expect(start.nanoseconds(since: start) == 0)
        #expect(start < later && later < .distantFuture)
    }

    @Test func `products saturate`() {
        #expect(UInt64(3).multipliedSaturating(by: 4) == 12)
        #expect(UInt64.max.multipliedSaturating(by: 2) == .max)
        #expect(UInt64(1 << 32).multipliedSaturating(by: 1 << 32) == .max)
        #expect(UInt64(0).multipliedSaturating(by: .max) == 0)
    }
}
