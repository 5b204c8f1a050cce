// Blocking HTTP clients and targets on loopback, and an application mode of one worker to put between them.

import Balancing
import CAllocationCount
import CLinux
import Glibc
import LinuxIO
import Serving
import Synchronization
import Testing

@testable import ApplicationMode

let sharedTimeoutSeconds = 10

/// Waits for a condition with the one shared timeout; false when it never held.
func eventually(_ condition: () -> Bool) -> Bool {
    let deadline = Instant.now.advanced(bySeconds: sharedTimeoutSeconds)
    while Instant.now < deadline {
        if condition() { return true }
        usleep(2_000)
    }
    return condition()
}

/// A blocking socket of a test, closed at the end of its life.
final class TestSocket: @unchecked Sendable {
    // One thread at a time uses it.
    let fd: Int32

    init(fd: Int32, timeoutMilliseconds: Int = sharedTimeoutSeconds * 1_000) {
        self.fd = fd
        var timeout = timeval(
            tv_sec: timeoutMilliseconds / 1_000, tv_usec: timeoutMilliseconds % 1_000 * 1_000)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(fd) }

    /// A client; nil when the connection is refused.
    static func connect(_ endpoint: Endpoint, timeoutMilliseconds: Int = sharedTimeoutSeconds * 1_000)
        -> TestSocket?
    {
        let made = TestSocket(
            fd: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0), timeoutMilliseconds: timeoutMilliseconds)
        return Descriptor(rawValue: made.fd).connect(to: endpoint) == nil ? made : nil
    }

    static func listening() -> TestSocket {
        let made = TestSocket(fd: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
        let errno = Descriptor(rawValue: made.fd).bind(to: loopback())
        precondition(errno == nil && listen(made.fd, 1_024) == 0)
        return made
    }

    var local: Endpoint {
        guard let endpoint = Descriptor(rawValue: fd).localEndpoint() else {
            preconditionFailure("a bound socket has an address")
        }
        return endpoint
    }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let result = bytes[sent...].withUnsafeBytes {
                Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if result <= 0 { return false }
            sent += result
        }
        return true
    }

    /// Adds what one recv gives to `bytes`; false at the end or on an error.
    func receive(into bytes: inout [UInt8]) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let result = recv(fd, &buffer, buffer.count, 0)
        guard result > 0 else { return false }
        bytes += buffer[..<result]
        return true
    }

    /// A message with its content, which it counts by Content-Length; nil when it does not come whole.
    func receiveMessage(keeping rest: inout [UInt8]) -> (head: String, content: [UInt8])? {
        let end = Array("\r\n\r\n".utf8)
        var searched = 0
        while true {
            if let found = rest.indices.dropFirst(max(0, searched - 3)).first(where: {
                rest[$0...].starts(with: end)
            }) {
                let head = String(decoding: rest[..<found], as: UTF8.self)
                let length =
                    head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length: ") }
                    .flatMap { Int($0.dropFirst(16)) } ?? 0
                while rest.count < found + 4 + length { guard receive(into: &rest) else { return nil } }
                let content = Array(rest[(found + 4)..<(found + 4 + length)])
                rest.removeFirst(found + 4 + length)
                return (head, content)
            }
            searched = rest.count
            guard receive(into: &rest) else { return nil }
        }
    }
}

func loopback(_ port: UInt16 = 0) -> Endpoint {
    Endpoint(address: IPAddress(v4: 0x7F00_0001), port: port)
}

/// Answers every request alike, on a thread for each connection.
final class TestTarget: Sendable {
    let endpoint: Endpoint
    private let listener: TestSocket

    init(_ answer: [UInt8]) throws {
        listener = TestSocket.listening()
        endpoint = listener.local
        let listener = listener
        _ = try DataPlaneThread(name: "test-target", processor: nil) {
            while true {
                let fd = accept(listener.fd, nil, nil)
                if fd < 0 {
                    if errno == EAGAIN || errno == EINTR { continue }
                    return
                }
                let connection = TestSocket(fd: fd)
                _ = try? DataPlaneThread(name: "test-conn", processor: nil) {
                    var rest: [UInt8] = []
                    while connection.receiveMessage(keeping: &rest) != nil, connection.send(answer) {}
                }
            }
        }
    }

    deinit { shutdown(listener.fd, Int32(SHUT_RDWR)) }
}

/// One worker of application mode, with one listener and one group.
final class TestBalancer {
    let application: ApplicationWorkers
    let entrance: Endpoint
    private let log: AccessLog?

    /// - Parameter logPath: The file of the access log; nil for none.
    init(to targets: [Endpoint], idleTimeoutSeconds: Int = 60, logPath: String? = nil) throws {
        application = try ApplicationWorkers(
            processors: [nil],
            settings: WorkerSettings(
                tcpFlowCountMax: 1_000, udpFlowCountMax: 1, targetNumberCountMax: 64,
                listenerNumberCountMax: 16),
            onThreadStart: {
                weir_fault_take_part(true)
                allocation_count_take_part(true)
            }, onTrafficRefused: { _ in })
        // A port that was free a moment ago, held until Weir binds.
        entrance = TestSocket.listening().local
        let numbers = targets.indices.map { TargetNumber(UInt32($0)) }
        let group = GroupRoute(
            name: "test", targets: numbers,
            flowHash: FlowHash(
                entries: targets.indices.map { FlowHash.Entry(identity: UInt64($0), weight: 1) },
                slotCount: 1_021),
            isSticky: false, connectTimeoutSeconds: 2, connectAttemptCountMax: 3,
            application: ApplicationGroupRoute(weights: targets.map { _ in 1 }))
        var attributes = ApplicationLoadBalancerAttributes()
        attributes.idleTimeoutSeconds = idleTimeoutSeconds
        let rule = RuleRoute(
            priority: nil, conditions: [],
            action: .forward(
                [ListenerRoute.Choice(groupIndex: 0, cumulativeWeight: 1)], stickinessSeconds: nil))
        let route = ListenerRoute(
            id: ListenerID(loadBalancer: "test", port: 1), choices: [], isStickyByGroup: false,
            tcpIdleTimeoutSeconds: 60, accessLogPath: logPath,
            application: ApplicationRoute(rules: [rule], loadBalancerAttributes: attributes))
        let snapshot = RoutingSnapshot(
            version: 1, seed: HashSeed(first: 1, second: 2), listeners: [route], groups: [group],
            endpoints: targets, sourceAddresses: [])
        let ticket = try application.workers.prepare([
            ListenerBinding(number: ListenerNumber(0), endpoint: entrance, transport: .tcp, isFreebind: false)
        ])
        let isDone = Mutex(false)
        let done = Completion(isDone: isDone)
        let log = logPath == nil ? nil : try AccessLog(rings: application.logRings)
        self.log = log
        let logNumbers = log?.applicationNumbers(for: snapshot)
        let routing = TLSRouting(accessLogs: logNumbers?.accessLogs ?? [])
        application.publish(snapshot, tls: routing, ticket: ticket) { done.isDone.withLock { $0 = true } }
        #expect(eventually { done.isDone.withLock { $0 } })
    }

    private final class Completion: Sendable {
        let isDone: Mutex<Bool>
        init(isDone: consuming Mutex<Bool>) { self.isDone = isDone }
    }

    deinit {
        application.workers.stop()
        log?.stop()
    }

    /// Every exchange and every client has ended, and its accounting closed.
    func isQuiet() -> Bool {
        application.workers.census.count(.tcp) == 0
            && application.workers.total(.activeTCPFlows, listener: ListenerNumber(0)) == 0
            && (0..<4).allSatisfy { application.total(.activeRequests, target: TargetNumber($0)) == 0 }
    }

    /// Connections to targets, which wait for their next exchange when no client is there.
    func pooledCount() -> Int {
        (0..<4).reduce(0) { $0 + Int(application.workers.total(.activeTCPFlows, target: TargetNumber($1))) }
    }
}

/// Suites whose workers take part in fault plans and counts, of which there is one at a time per process.
@Suite(.serialized, .enabled(if: weir_faults_available()), .instruments)
enum `Instrumented application workers` {}

/// Keeps the tests of other modules out that use the same instruments.
struct InstrumentsTrait: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        instruments_take()
        defer { instruments_give_back() }
        try await function()
    }
}

extension Trait where Self == InstrumentsTrait {
    static var instruments: Self { Self() }
}
