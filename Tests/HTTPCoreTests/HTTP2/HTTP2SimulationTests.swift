// Random conversations of two sessions: bytes cut anywhere, readers that stall, streams that end before their time.
//
// What must hold: every stream ends exactly once on each side; content and trailers arrive as they were sent, or
// the stream was reset and a beginning of them arrived; nothing is left. A failing seed replays the failure;
// WEIR_SEEDS sets how many are run.

import Balancing
import Foundation
import HTTPCore
import Testing

@Suite("HTTP/2 simulation")
struct HTTP2SimulationTests {
    private static let seeds: Range<UInt64> =
        0..<(ProcessInfo.processInfo.environment["WEIR_SEEDS"].flatMap(UInt64.init) ?? 24)

    @Test(arguments: seeds)
    func `every stream ends once, whole or reset`(seed: UInt64) {
        var simulation = Simulation(seed: seed)
        simulation.run()
        #expect(simulation.complaints == [], "seed \(seed)")
    }

    @Test func `a seed replays its run`() {
        func trace(_ seed: UInt64) -> [Int] {
            var simulation = Simulation(seed: seed)
            simulation.run()
            return simulation.trace
        }
        #expect(trace(3) == trace(3) && trace(3) != trace(4) && trace(3).count > 100)
    }
}

/// What one direction of a stream was to carry, and what came.
private struct Half {
    var content: [UInt8] = []
    var sentCount = 0
    var trailers: [TestField]?
    var isFinished = false

    var received: [UInt8] = []
    var receivedTrailers: [TestField]?
    var hasEnded = false
}

private struct Simulation {
    private struct Stream {
        var request = Half()
        var response = Half()
        var hasHead = false
        var hasResponse = false
        var isReset = false
        var closedCounts = (client: 0, server: 0)
        var isRefused = false
    }

    private static let pattern = (0..<200_256).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }

    private let conversation = TestConversation()
    private var generator: SeededGenerator
    private var streams: [Int32: Stream] = [:]
    /// On the wire, each way.
    private var toServer: [UInt8] = []
    private var toClient: [UInt8] = []
    /// Content reported and not yet taken.
    private var untaken: [(isClient: Bool, stream: Int32, byteCount: Int)] = []
    private(set) var complaints: [String] = []
    private(set) var trace: [Int] = []
    private let resets: Bool
    private let goesAway: Bool

    init(seed: UInt64) {
        generator = SeededGenerator(state: seed &* 0x9E37_79B9_7F4A_7C15 &+ 1)
        resets = seed % 2 == 1
        goesAway = seed % 5 == 4
        conversation.client.consumesContent = false
        conversation.server.consumesContent = false
    }

    private var client: TestEndpoint { conversation.client }
    private var server: TestEndpoint { conversation.server }

    private mutating func number(below bound: Int) -> Int { Int(generator.next() % UInt64(bound)) }

    mutating func run() {
        for _ in 0..<600 { step() }
        if goesAway { server.session.announceShutdown() }
        // Everything is said to its end.
        for _ in 0..<5_000 where !isQuiet {
            for stream in streams.keys.sorted() {
                if streams[stream]?.hasHead == true { respond(stream) }
                move(stream, isClient: true, byteCountMax: .max)
                move(stream, isClient: false, byteCountMax: .max)
            }
            while !untaken.isEmpty { take(0) }
            carry(byteCountMax: .max, isToServer: true)
            carry(byteCountMax: .max, isToServer: false)
        }
        judge()
    }

    private var isQuiet: Bool {
        untaken.isEmpty && toServer.isEmpty && toClient.isEmpty && !client.session.wantsToSend
            && !server.session.wantsToSend && client.session.openStreamCount == 0
            && server.session.openStreamCount == 0
    }

    // MARK: Steps

    private mutating func step() {
        client.now = client.now.advanced(byMilliseconds: 5)
        server.now = client.now
        client.room = 10 + number(below: 40_000)
        server.room = 10 + number(below: 40_000)
        let stream = streams.keys.sorted().randomElement(using: &generator)
        switch number(below: 20) {
        case 0..<3: open()
        case 3..<6: if let stream, streams[stream]?.hasHead == true { respond(stream) }
        case 6..<9: if let stream { move(stream, isClient: true, byteCountMax: 1 + number(below: 90_000)) }
        case 9..<12: if let stream { move(stream, isClient: false, byteCountMax: 1 + number(below: 90_000)) }
        case 12..<14: if !untaken.isEmpty { take(number(below: untaken.count)) }
        case 14: if resets, let stream, number(below: 4) == 0 { reset(stream) }
        case 15..<18: carry(byteCountMax: 1 + number(below: 30_000), isToServer: true)
        default: carry(byteCountMax: 1 + number(below: 30_000), isToServer: false)
        }
    }

    private mutating func half() -> Half {
        var half = Half()
        let byteCount = [0, 1, 100, 20_000, 200_000][number(below: 5)]
        let start = number(below: 256)
        let count = byteCount > 0 ? 1 + number(below: byteCount) : 0
        half.content = Array(Self.pattern[start..<start + count])
        if number(below: 3) == 0 { half.trailers = [TestField("x-sum", "\(half.content.count)")] }
        return half
    }

    private mutating func open() {
        let half = half()
        let fields = number(below: 2) == 0 ? [TestField("x-fill", String(repeating: "f", count: 3_000))] : []
        let endsStream = half.content.isEmpty && half.trailers == nil
        guard let stream = client.request("POST", "/", fields: fields, endsStream: endsStream) else { return }
        trace.append(Int(stream))
        streams[stream] = Stream(request: half)
        streams[stream]?.request.isFinished = endsStream
    }

    private mutating func respond(_ stream: Int32) {
        guard streams[stream]?.hasResponse == false else { return }
        let half = half()
        if number(below: 4) == 0 { server.respond(stream, statusCode: 103, isInterim: true) }
        let endsStream = half.content.isEmpty && half.trailers == nil
        guard server.respond(stream, endsStream: endsStream) else { return }
        streams[stream]?.hasResponse = true
        streams[stream]?.response = half
        streams[stream]?.response.isFinished = endsStream
    }

    /// Writes on, and ends what is written.
    private mutating func move(_ stream: Int32, isClient: Bool, byteCountMax: Int) {
        guard let entry = streams[stream], isClient || entry.hasResponse else { return }
        var half = isClient ? entry.request : entry.response
        guard !half.isFinished else { return }
        let endpoint = isClient ? client : server
        let end = min(half.content.count, half.sentCount + min(byteCountMax, half.content.count))
        half.sentCount += endpoint.write(Array(half.content[half.sentCount..<end]), stream: stream)
        if half.sentCount == half.content.count {
            half.isFinished = true
            if let trailers = half.trailers {
                endpoint.submitTrailers(trailers, stream: stream)
            } else {
                endpoint.session.finish(stream: stream)
            }
        }
        if isClient { streams[stream]?.request = half } else { streams[stream]?.response = half }
    }

    private mutating func take(_ index: Int) {
        let part = untaken.remove(at: index)
        (part.isClient ? client : server).session.consumed(stream: part.stream, byteCount: part.byteCount)
    }

    private mutating func reset(_ stream: Int32) {
        let endpoint = number(below: 2) == 0 ? client : server
        guard endpoint.session.isOpen(stream: stream) else { return }
        streams[stream]?.isReset = true
        if endpoint === server, number(below: 2) == 0, streams[stream]?.hasResponse == true {
            server.session.discardContent(stream: stream)
        } else {
            endpoint.session.reset(stream: stream, code: .cancel)
        }
    }

    private mutating func carry(byteCountMax: Int, isToServer: Bool) {
        let (sender, receiver) = isToServer ? (client, server) : (server, client)
        var wire = isToServer ? toServer : toClient
        // A sender that is ahead waits, as a socket would make it.
        if wire.count < 100_000 { wire += sender.output() }
        note(sender, isClient: isToServer)
        receiver.receive(Array(wire.prefix(byteCountMax)))
        note(receiver, isClient: !isToServer)
        wire.removeFirst(min(byteCountMax, wire.count))
        if isToServer { toServer = wire } else { toClient = wire }
        trace.append(wire.count)
        if let failure = sender.failure ?? receiver.failure { complain("failed: \(failure)") }
    }

    // MARK: What is told

    private mutating func complain(_ text: String) {
        if complaints.count < 5 { complaints.append(text) }
    }

    private mutating func note(_ endpoint: TestEndpoint, isClient: Bool) {
        for event in endpoint.takeEvents() {
            switch event {
            case .settings, .writable, .goAway: break
            case .refusal, .malformed: complain("\(event)")
            case .request(let stream, _, _, _, let endsStream):
                streams[stream]?.hasHead = true
                if endsStream { end(stream, isClient: isClient, trailers: nil) }
            case .response(let stream, let statusCode, _, let endsStream):
                if statusCode >= 200, endsStream { end(stream, isClient: isClient, trailers: nil) }
            case .content(let stream, let bytes):
                untaken.append((isClient: isClient, stream: stream, byteCount: bytes.count))
                if isClient {
                    streams[stream]?.response.received += bytes
                } else {
                    streams[stream]?.request.received += bytes
                }
            case .trailers(let stream, let fields): end(stream, isClient: isClient, trailers: fields)
            case .endOfStream(let stream): end(stream, isClient: isClient, trailers: nil)
            case .reset(let stream, _, _, let isUnprocessed):
                if isUnprocessed { streams[stream]?.isRefused = true }
                if streams[stream]?.isReset == false, !isUnprocessed {
                    complain("\(stream) was reset by nobody")
                }
            case .closed(let stream, _):
                if isClient {
                    streams[stream]?.closedCounts.client += 1
                } else {
                    streams[stream]?.closedCounts.server += 1
                }
            }
        }
    }

    private mutating func end(_ stream: Int32, isClient: Bool, trailers: [TestField]?) {
        guard var entry = streams[stream] else { return complain("\(stream) is nobody's") }
        var half = isClient ? entry.response : entry.request
        if half.hasEnded { complain("\(stream) ended twice") }
        half.hasEnded = true
        half.receivedTrailers = trailers
        if isClient { entry.response = half } else { entry.request = half }
        streams[stream] = entry
    }

    private mutating func judge() {
        if !isQuiet { complain("not quiet") }
        for (stream, entry) in streams {
            if entry.closedCounts.client != 1 { complain("\(stream) closed \(entry.closedCounts) times") }
            if entry.closedCounts.server != (entry.hasHead ? 1 : 0) {
                complain("\(stream) closed \(entry.closedCounts) times")
            }
            for half in [entry.request, entry.response] {
                if !half.content.starts(with: half.received) { complain("\(stream) has other content") }
                let isWhole =
                    half.received == half.content && half.hasEnded && half.receivedTrailers == half.trailers
                if !isWhole, !entry.isReset, !entry.isRefused { complain("\(stream) is not whole") }
                if half.hasEnded, !isWhole { complain("\(stream) ended before its end") }
            }
        }
        if client.pool.queuedPieceCount + server.pool.queuedPieceCount != 0 { complain("pieces are left") }
        if streams.count < 10 { complain("too little happened") }
    }
}

/// SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}
