// The registry as a service of the process: runs until shutdown, then drains within a bound.

import Balancing
import ServiceLifecycle

/// Place it after the services of the workers and the prober: services end in reverse order, and the
/// workers must live while the listeners drain.
package struct RegistryService: Service {
    private let registry: Registry
    private let drainTimeoutSeconds: Int
    private let clock: RegistryClock

    /// - Parameter drainTimeoutSeconds: How long live TCP flows may go on after shutdown began.
    package init(registry: Registry, drainTimeoutSeconds: Int, clock: RegistryClock = .system) {
        self.registry = registry
        self.drainTimeoutSeconds = drainTimeoutSeconds
        self.clock = clock
    }

    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await registry.run() }
            defer { group.cancelAll() }
            try await gracefulShutdown()
            await registry.drain()
            let deadline = clock.now().advanced(bySeconds: drainTimeoutSeconds)
            while clock.now() < deadline, await registry.liveTCPFlowCount() > 0 {
                try await clock.sleep(.milliseconds(100))
            }
        }
    }
}
