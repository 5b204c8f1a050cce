// The channel that takes admin connections, and the connections: both can be ended from outside.
//
//   begin ──> accepting <──> paused ──> handed over ──> ended
//                 └─────────────────────────────────────┘
//
// While two processes have one listening socket, only one may accept: NIO takes a readable socket from which
// nothing can be accepted for a defect.

import NIOCore
import Synchronization

final class AdminAcceptor: Sendable {
    private struct State {
        var server: (any Channel)?
        var eventLoop: (any EventLoop)?
        var open: [ObjectIdentifier: any Channel] = [:]
        var listen: (@Sendable () async throws -> any Channel)?
        var onEnd: (@Sendable () -> Void)?
        var isEnding = false
        var isHandedOver = false
    }

    private let state = Mutex(State())

    var isHandedOver: Bool { state.withLock { $0.isHandedOver } }

    /// - Parameters:
    ///   - onEnd: Runs once, when no connection can arrive any more.
    ///   - listen: Opens the listening channel; again after each pause.
    func begin(
        on eventLoop: any EventLoop, onEnd: @escaping @Sendable () -> Void,
        listen: @escaping @Sendable () async throws -> any Channel
    ) async throws {
        state.withLock { state in
            state.eventLoop = eventLoop
            state.listen = listen
            state.onEnd = onEnd
        }
        adopt(try await listen())
    }

    private func adopt(_ server: any Channel) {
        let isEnding = state.withLock { state in
            if !state.isEnding { state.server = server }
            return state.isEnding
        }
        if isEnding { server.close(promise: nil) }
    }

    /// Counts a connection; on its event loop.
    func add(_ channel: any Channel) {
        let isEnding = state.withLock { state in
            state.open[ObjectIdentifier(channel)] = channel
            return state.isEnding
        }
        channel.closeFuture.whenComplete { [self] _ in
            let isLast = state.withLock { state in
                state.open[ObjectIdentifier(channel)] = nil
                return state.isHandedOver && state.open.isEmpty
            }
            if isLast { end() }
        }
        if isEnding { channel.close(promise: nil) }
    }

    func pause() async {
        let server = state.withLock { state in
            defer { state.server = nil }
            return state.server
        }
        try? await server?.close()
    }

    func resume() async {
        let listen = state.withLock { $0.isEnding || $0.server != nil ? nil : $0.listen }
        // The socket is bound and listens: only a lack of descriptors can be in the way, and then clients wait.
        if let server = try? await listen?() { adopt(server) }
    }

    func handOver(endingAfter grace: TimeAmount) {
        let eventLoop = state.withLock { state in
            state.isHandedOver = true
            return state.eventLoop
        }
        eventLoop?.scheduleTask(in: grace) { self.end() }
        // Without connections there is nothing to wait for.
        if state.withLock({ $0.open.isEmpty }) { end() }
    }

    /// Ends connections without a request now, the others with their answer.
    func end() {
        let (server, eventLoop, open, onEnd) = state.withLock { state in
            state.isEnding = true
            defer { (state.server, state.onEnd) = (nil, nil) }
            return (state.server, state.eventLoop, Array(state.open.values), state.onEnd)
        }
        for channel in open { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        if let server {
            // Connections are set up on the event loop, where the close is the last that happens to the channel.
            server.closeFuture.whenComplete { _ in onEnd?() }
            server.close(promise: nil)
        } else {
            eventLoop?.execute { onEnd?() }
        }
    }
}
