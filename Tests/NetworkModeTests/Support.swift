// Blocking clients and servers on loopback, and a network mode to put between them.

import Balancing
import CAllocationCount
import CLinux
import Glibc
import LinuxIO
import Serving
import Synchronization
import Testing

@testable import NetworkMode

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
    let fd: Int32
    private var isOpen = true

    init(fd: Int32) {
        self.fd = fd
        setTimeout(milliseconds: sharedTimeoutSeconds * 1_000)
    }

    /// How long one receive or send may wait.
    func setTimeout(milliseconds: Int) {
        var timeout = timeval(tv_sec: milliseconds / 1_000, tv_usec: milliseconds % 1_000 * 1_000)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close() }

    func close() {
        if isOpen { Glibc.close(fd) }
        isOpen = false
    }

    func reset() {
        Descriptor(rawValue: fd).closeWithReset()
        isOpen = false
    }

    static func make(_ endpoint: Endpoint, _ transport: Transport) -> TestSocket {
        let family = endpoint.address.family == .v4 ? AF_INET : AF_INET6
        let type = transport == .tcp ? Int32(SOCK_STREAM.rawValue) : Int32(SOCK_DGRAM.rawValue)
        return TestSocket(fd: socket(family, type, 0))
    }

    /// A client socket; nil when the connection is refused.
    static func connect(_ endpoint: Endpoint, _ transport: Transport = .tcp) -> TestSocket? {
        let made = make(endpoint, transport)
        return Descriptor(rawValue: made.fd).connect(to: endpoint) == nil ? made : nil
    }

    static func bound(_ endpoint: Endpoint, _ transport: Transport) -> TestSocket {
        let made = make(endpoint, transport)
        let errno = Descriptor(rawValue: made.fd).bind(to: endpoint)
        precondition(errno == nil, "bind \(endpoint): \(String(describing: errno))")
        if transport == .tcp { precondition(listen(made.fd, 1024) == 0) }
        return made
    }

    var local: Endpoint {
        guard let endpoint = Descriptor(rawValue: fd).localEndpoint() else {
            preconditionFailure("a bound socket has an address")
        }
        return endpoint
    }

    /// The other side's IPv4 port.
    var peerPort: UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(fd, $0, &length) }
        }
        return result == 0 ? UInt16(bigEndian: address.sin_port) : 0
    }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Int {
        var sent = 0
        while sent < bytes.count {
            let result = bytes[sent...].withUnsafeBytes {
                Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if result <= 0 { return sent }
            sent += result
        }
        return sent
    }

    /// What one recv gives: bytes, empty at the end of the stream, or nil with `lastError` set.
    func receive(_ countMax: Int = 65_536) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: countMax)
        let result = recv(fd, &buffer, countMax, 0)
        if result < 0 {
            lastError = errno
            return nil
        }
        return Array(buffer[..<result])
    }

    private(set) var lastError: Int32 = 0

    func receive(exactly count: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < count {
            guard let more = receive(count - bytes.count), !more.isEmpty else { return nil }
            bytes += more
        }
        return bytes
    }

    func receiveToEnd() -> [UInt8]? {
        var bytes: [UInt8] = []
        while let more = receive() {
            if more.isEmpty { return bytes }
            bytes += more
        }
        return nil
    }

    func finishWriting() { shutdown(fd, Int32(SHUT_WR)) }
}

func loopback(_ port: UInt16 = 0, _ host: String = "127.0.0.1") -> Endpoint {
    guard let address = IPAddress(host) else { preconditionFailure("\(host) is no address") }
    return Endpoint(address: address, port: port)
}

/// Runs a closure on a thread for each accepted connection.
final class TestServer: Sendable {
    let endpoint: Endpoint
    let acceptedCount = Mutex(0)
    private let listener: TestSocket

    init(_ at: Endpoint = loopback(), _ serve: @escaping @Sendable (TestSocket) -> Void) throws {
        listener = TestSocket.bound(at, .tcp)
        endpoint = listener.local
        let listener = listener
        _ = try DataPlaneThread(name: "test-server", processor: nil) { [weak self] in
            while true {
                let fd = accept(listener.fd, nil, nil)
                if fd < 0 {
                    if errno == EAGAIN || errno == EINTR { continue }
                    return
                }
                self?.acceptedCount.withLock { $0 += 1 }
                let connection = TestSocket(fd: fd)
                _ = try? DataPlaneThread(name: "test-conn", processor: nil) { serve(connection) }
            }
        }
    }

    deinit { shutdown(listener.fd, Int32(SHUT_RDWR)) }

    static func echo() throws -> TestServer {
        try TestServer { connection in
            while let bytes = connection.receive(), !bytes.isEmpty { connection.send(bytes) }
        }
    }
}

/// Network mode between test clients and test servers: one group of targets behind some listeners.
final class TestBalancer {
    let workers: Workers
    var version: UInt64 = 0
    var bindings: [ListenerBinding] = []
    let refused = Mutex<[TargetNumber]>([])

    init(
        workerCount: Int = 1, settings: WorkerSettings = TestBalancer.smallSettings, isHolding: Bool = false,
        onThreadStart: @escaping @Sendable () -> Void = {}
    ) throws {
        let sink = RefusalSink()
        workers = try NetworkWorkers(
            processors: [Int?](repeating: nil, count: workerCount), settings: settings, isHolding: isHolding,
            onThreadStart: onThreadStart
        ) { number in sink.numbers.withLock { $0.append(number) } }.workers
        self.sink = sink
    }

    final class RefusalSink: Sendable { let numbers = Mutex<[TargetNumber]>([]) }
    let sink: RefusalSink

    static var smallSettings: WorkerSettings {
        WorkerSettings(
            tcpFlowCountMax: 4_000, udpFlowCountMax: 4_000, targetNumberCountMax: 64,
            listenerNumberCountMax: 16)
    }

    deinit { workers.stop() }

    /// Opens a listener on a free port and returns where it is.
    func listen(_ address: String = "127.0.0.1", _ transport: Transport = .tcp) throws -> Endpoint {
        let number = ListenerNumber(UInt32(bindings.count))
        // A port that was free a moment ago, held until Weir binds.
        let probe = TestSocket.bound(loopback(0, address), transport)
        let endpoint = probe.local
        probe.close()
        bindings.append(
            ListenerBinding(number: number, endpoint: endpoint, transport: transport, isFreebind: false))
        return endpoint
    }

    struct Options {
        var eligible: [Int]?
        var isSticky = false
        var attemptCountMax = 3
        var connectTimeoutSeconds = 5
        var idleTimeoutSeconds = 350
        var sourceAddresses: [IPAddress] = []
        var sendsProxyProtocol = false
        var preservesClientIP = false
        /// Whose connections begin with a header.
        var proxyProtocol: ProxyProtocolSettings?
        /// Connections whose ClientHello meets the condition go to this target alone.
        var rule: (condition: PassthroughCondition, target: Int)?
    }

    /// Routes every listener to these targets and waits until the workers do. `beforeServing` runs when new
    /// listeners queue connections that no worker takes yet.
    func route(
        to targets: [Endpoint], _ options: Options = Options(), beforeServing: () throws -> Void = {}
    ) throws {
        version += 1
        let eligible = options.eligible ?? Array(targets.indices)
        func group(_ eligible: [Int]) -> GroupRoute {
            GroupRoute(
                name: "test", targets: eligible.map { TargetNumber(UInt32($0)) },
                flowHash: FlowHash(
                    entries: eligible.map { FlowHash.Entry(identity: UInt64($0), weight: 1) }, slotCount: 1021
                ),
                isSticky: options.isSticky, connectTimeoutSeconds: options.connectTimeoutSeconds,
                connectAttemptCountMax: options.attemptCountMax, preservesClientIP: options.preservesClientIP,
                sendsProxyProtocol: options.sendsProxyProtocol)
        }
        func choice(_ group: Int) -> [ListenerRoute.Choice] {
            [ListenerRoute.Choice(groupIndex: group, cumulativeWeight: 1)]
        }
        let rules = options.rule.map {
            [
                PassthroughRoute(
                    priority: 1, conditions: [$0.condition], choices: choice(1), isStickyByGroup: false)
            ]
        }
        let routes = bindings.map { _ in
            ListenerRoute(
                id: ListenerID(loadBalancer: "test", port: 1), choices: choice(0), isStickyByGroup: false,
                tcpIdleTimeoutSeconds: options.idleTimeoutSeconds, proxyProtocol: options.proxyProtocol,
                rules: rules ?? [])
        }
        let snapshot = RoutingSnapshot(
            version: version, seed: HashSeed(first: 1, second: 2), listeners: routes,
            groups: [group(eligible)] + (options.rule.map { [group([$0.target])] } ?? []),
            endpoints: targets, sourceAddresses: options.sourceAddresses)
        let ticket = try workers.prepare(bindings)
        try beforeServing()
        let isDone = Flag()
        workers.publish(snapshot, ticket: ticket) { isDone.raise() }
        #expect(eventually { isDone.isRaised })
    }

    func total(_ counter: FlowCounter) -> UInt64 {
        bindings.reduce(0) { $0 + workers.total(counter, listener: $1.number) }
    }

    /// Every flow has ended and its accounting closed.
    func isQuiet() -> Bool {
        total(.activeTCPFlows) == 0 && workers.census.count(.tcp) == 0
            && (0..<64).allSatisfy { workers.total(.activeTCPFlows, target: TargetNumber(UInt32($0))) == 0 }
    }
}

final class Flag: Sendable {
    private let state = Mutex(false)
    var isRaised: Bool { state.withLock { $0 } }
    func raise() { state.withLock { $0 = true } }
}

/// Reproducible bytes of any length.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
    }
}

/// Suites whose workers take part in fault plans and counts, of which there is one at a time per process.
@Suite(.serialized, .enabled(if: weir_faults_available()), .instruments) enum `Instrumented workers` {}

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
