// Time for the registry, so that tests can hold it still.

import Balancing
import Foundation

package struct RegistryClock: Sendable {
    /// Monotonic, for deadlines.
    package let now: @Sendable () -> Instant
    /// Seconds since 1970, for people.
    package let secondsSince1970: @Sendable () -> Double
    package let sleep: @Sendable (Duration) async throws -> Void

    package init(
        now: @escaping @Sendable () -> Instant, secondsSince1970: @escaping @Sendable () -> Double,
        sleep: @escaping @Sendable (Duration) async throws -> Void
    ) {
        self.now = now
        self.secondsSince1970 = secondsSince1970
        self.sleep = sleep
    }

    package static let system: RegistryClock = {
        RegistryClock(
            // The workers' own clock: a snapshot tells them since when a target starts slowly.
            now: {
                var now = timespec()
                clock_gettime(CLOCK_MONOTONIC, &now)
                return Instant(nanoseconds: UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec))
            },
            secondsSince1970: { Date().timeIntervalSince1970 },
            sleep: { try await Task.sleep(for: $0) })
    }()
}
