// Local ports in turn, once many are taken.

import Balancing
import LinuxIO
import Synchronization
import Testing

@testable import NetworkMode
@testable import Serving

@Suite struct `Port steering` {
    private func bounds(_ range: Int32) -> ClosedRange<Int> {
        let value = UInt32(bitPattern: range)
        return Int(value & 0xffff)...Int(value >> 16)
    }

    @Test func `every whole step of the ports comes up once in a round`() {
        var steering = PortSteering(ports: 40_000...40_063, worker: 0, workerCount: 1)
        let round = (0..<8).map { _ in bounds(steering.nextRange()) }
        #expect(round.map(\.lowerBound) == Array(stride(from: 40_000, to: 40_064, by: 8)))
        #expect(round.allSatisfy { $0.count == 8 })
        #expect(bounds(steering.nextRange()) == 40_000...40_007)
    }

    @Test func `a range that ends within a step, or at the last port, is never left`() {
        for ports: ClosedRange<UInt16> in [65_500...65_535, 1_024...1_050, 32_768...60_999] {
            var steering = PortSteering(ports: ports, worker: 1, workerCount: 2)
            for _ in 0..<10_000 {
                let range = bounds(steering.nextRange())
                #expect(range.count == 8 && range.lowerBound >= ports.lowerBound)
                #expect(range.upperBound <= ports.upperBound)
            }
        }
    }

    @Test func `it begins at a quarter of the ports and not with fewer ports than a step`() {
        let steering = PortSteering(ports: 40_000...40_999, worker: 0, workerCount: 1)
        #expect(!steering.isWorthwhile(usedCount: 250) && steering.isWorthwhile(usedCount: 251))
        let few = PortSteering(ports: 40_000...40_003, worker: 0, workerCount: 1)
        #expect(!few.isWorthwhile(usedCount: 4))
    }

    @Test func `flows past the threshold take ports in turn, and past the last one any that is free`() throws
    {
        let ports = Mutex<[UInt16]>([])
        let server = try TestServer { connection in
            ports.withLock { $0.append(connection.peerPort) }
            _ = connection.receiveToEnd()
        }
        var settings = TestBalancer.smallSettings
        let first = UInt16(50_000)
        settings.ephemeralPorts = first...first + 31
        let balancer = try TestBalancer(settings: settings)
        let listener = try balancer.listen()
        try balancer.route(to: [server.endpoint])
        var clients: [TestSocket] = []
        for count in 1...60 {
            clients.append(try #require(TestSocket.connect(listener)))
            #expect(eventually { ports.withLock { $0.count } == count })
        }
        let taken = ports.withLock { $0 }
        #expect(Set(taken).count == 60)
        // Eight flows choose freely; after them come at least all but the ports that these chose.
        #expect(taken.dropFirst(9).prefix(20).allSatisfy { settings.ephemeralPorts.contains($0) })
        #expect(!taken.suffix(10).contains { settings.ephemeralPorts.contains($0) })
        for client in clients { client.close() }
        #expect(eventually { balancer.isQuiet() })
    }
}
