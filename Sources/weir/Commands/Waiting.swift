// Waiting for something that the appliance reports, by asking again.

import ArgumentParser
import Foundation

enum Waiting {
    static let intervalMilliseconds = 250

    /// Asks until `condition` holds; false when `timeoutSeconds` passed first. Asks at least once.
    static func until(timeoutSeconds: Int?, _ condition: () async throws -> Bool) async throws -> Bool {
        let clock = ContinuousClock()
        let deadline = timeoutSeconds.map { clock.now + .seconds($0) }
        while true {
            if try await condition() { return true }
            if let deadline, clock.now >= deadline { return false }
            try await Task.sleep(for: .milliseconds(intervalMilliseconds))
        }
    }

    static func validate(timeout: Int?, isWaiting: Bool) throws {
        guard let timeout else { return }
        guard isWaiting else { throw ValidationError("--timeout has no meaning without --wait.") }
        guard timeout >= 1 else { throw ValidationError("--timeout \(timeout) must be at least 1 second.") }
    }
}

extension Date {
    /// Seconds since 1970, as the admin API counts.
    static var nowSeconds: Double { Date().timeIntervalSince1970 }
}
