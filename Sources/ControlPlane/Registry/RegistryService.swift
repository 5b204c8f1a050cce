// The registry as a service of the process: runs until shutdown, then drains within a bound.

import Balancing
import ServiceLifecycle

/// Place it after the services of the workers and the prober: services end in reverse order, and the
/// workers must live while the listeners drain.
package struct RegistryService: Service {
    private let registry: Registry
    private let drainTimeoutSeconds: Int
    private let upgradeDrainTimeoutSeconds: Int
    private let clock: RegistryClock

    /// - Parameters:
    ///   - drainTimeoutSeconds: How long live TCP flows may go on after shutdown began.
    ///   - upgradeDrainTimeoutSeconds: The same when it began because a successor serves.
    package init(
        registry: Registry, drainTimeoutSeconds: Int, upgradeDrainTimeoutSeconds: Int = 3_600,
        clock: RegistryClock = .system
    ) {
        self.registry = registry
        self.drainTimeoutSeconds = drainTimeoutSeconds
        self.upgradeDrainTimeoutSeconds = upgradeDrainTimeoutSeconds
        self.clock = clock
    }

    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await registry.run() }
            defer { group.cancelAll() }
            try await gracefulShutdown()
            if await registry.isHandedOver {
                await registry.waitForFlows(atMostSeconds: upgradeDrainTimeoutSeconds)
            } else {
                await registry.drain()
                await registry.waitForFlows(atMostSeconds: drainTimeoutSeconds)
            }
            while await registry.isWaitingForFlows {
                try await clock.sleep(.milliseconds(100))
            }
        }
    }
}
