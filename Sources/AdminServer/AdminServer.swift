// The admin API as a service: listens, serves until graceful shutdown, leaves no file behind.
//
// Runs on one event loop thread of its own, so that a busy admin API takes no time from anything else. Requests
// and connections are Hummingbird's; the listening socket is ours, since an upgrade hands it over.

import AdminModel
import Foundation
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

package struct AdminServer: Service {
    private typealias Connection = HTTP1Channel.Value

    private let address: AdminAddress
    private let listening: AdminListeningSocket?
    private let hasToken: Bool
    private let responder: RouterResponder<AdminRequestContext>
    private let startup = Startup()
    private let connections = ConnectionBook()
    private let logger: Logger

    /// - Parameters:
    ///   - token: Required from every client when present; must be present unless `address.isLocal`.
    ///   - listening: The server's from now on; nil opens `address`.
    ///   - upgrade: What POST /v1/upgrade does; nil has no such path.
    package init(
        address: AdminAddress, token: String?, registry: some RegistryAccess,
        listening: AdminListeningSocket? = nil, upgrade: UpgradeHandler? = nil, logger: Logger
    ) {
        self.address = address
        self.listening = listening
        self.logger = logger
        hasToken = token.map { !$0.isEmpty } ?? false
        let isUnixSocket = if case .unix = address { true } else { false }
        responder = AdminRoutes(registry: registry, upgrade: upgrade)
            .makeResponder(token: token.map(BearerToken.init), isUnixSocket: isUnixSocket)
    }

    /// Where the server listens, with the real port when port 0 was asked for.
    ///
    /// Waits until it listens. Throws why it does not when it cannot, and `ended` after it has.
    package var boundAddress: AdminAddress {
        get async throws { try await startup.value() }
    }

    /// Serves until graceful shutdown; throws an `AdminServerError` when it cannot listen.
    package func run() async throws {
        do {
            guard address.isLocal || hasToken else { throw AdminServerError.tokenRequired(address) }
            let socket = if let listening { listening } else { try await AdminListeningSocket.open(address) }
            defer { socket.close(keepingFile: connections.isHandedOver) }
            try await serve(socket)
        } catch {
            startup.finish(.failure(error))
            throw error
        }
        startup.finish(.failure(AdminServerError.ended))
    }

    /// Takes no further connection: another process does. Those that are open end after a moment, which lets
    /// requests arrive that are on their way.
    package func handOver() {
        connections.handOver(endingAfter: AdminLimits.handOverGrace)
    }

    private func serve(_ socket: AdminListeningSocket) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let channel = makeChannel()
        let server: NIOAsyncChannel<Connection, Never>
        do {
            server = try await listen(to: socket.duplicate(), channel, on: group)
        } catch {
            try? await group.shutdownGracefully()
            throw AdminServerError.cannotListen(on: address, error)
        }
        connections.begin(server.channel)
        logger.info("the admin API listens", metadata: ["address": "\(socket.address)"])
        startup.finish(.success(socket.address))
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { tasks in
                do {
                    try await server.executeThenClose { arriving in
                        for try await connection in arriving {
                            tasks.addTask { await channel.handle(value: connection, logger: quietLogger) }
                        }
                    }
                } catch {
                    logger.error("the admin API takes no more connections", metadata: ["cause": "\(error)"])
                }
            }
            // Handed over, the process lives on for its flows, and a service that returns early would end it.
            if connections.isHandedOver { try? await gracefulShutdown() }
        } onGracefulShutdown: {
            connections.end()
        }
        try? await group.shutdownGracefully()
    }

    private func listen(
        to descriptor: Int32, _ channel: HTTP1Channel, on group: MultiThreadedEventLoopGroup
    ) async throws -> NIOAsyncChannel<Connection, Never> {
        let (connections, logger) = (connections, quietLogger)
        return try await ServerBootstrap(group: group)
            .serverChannelInitializer { server in
                server.eventLoop.makeCompletedFuture {
                    try server.pipeline.syncOperations.addHandler(
                        AvailableConnectionsChannelHandler(maxConnections: AdminLimits.connectionCountMax))
                }
            }
            .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
            .bind(descriptor) { connection in
                connections.add(connection)
                return channel.setup(channel: connection, logger: logger)
            }
    }

    private func makeChannel() -> HTTP1Channel {
        let (responder, logger) = (responder, quietLogger)
        return HTTP1Channel(
            responder: { request, writer, channel in
                let context = AdminRequestContext(
                    source: ApplicationRequestContextSource(channel: channel, logger: logger))
                var response: Response
                do {
                    response = try await responder.respond(to: request, context: context)
                } catch {
                    // Errors of routes are answered by ErrorMiddleware; this one is the router's own.
                    logger.error("an admin request failed", metadata: ["error": "\(error)"])
                    response = Response(status: .internalServerError, body: .init())
                }
                response.headers[.date] = HTTPDate.text(secondsSince1970: Date().timeIntervalSince1970)
                try await writer.write(response: response.head, body: response.body)
            },
            configuration: HTTP1Channel.Configuration(
                idleTimeout: AdminLimits.idleTimeout,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: AdminLimits.headerByteCountMax,
                    maxHeaderListSize: AdminLimits.headerByteCountMax,
                    maxHeaderFieldCount: AdminLimits.headerCountMax)))
    }

    /// What Hummingbird says at info is ours to say; what it says from warning up is worth hearing.
    private var quietLogger: Logger {
        var logger = logger
        if logger.logLevel == .info { logger.logLevel = .warning }
        return logger
    }
}

/// The open connections and the channel that takes them, so that both can be ended from outside.
private final class ConnectionBook: Sendable {
    private struct State {
        var server: (any Channel)?
        var open: [ObjectIdentifier: any Channel] = [:]
        var isEnding = false
        var isHandedOver = false
    }

    private let state = Mutex(State())

    var isHandedOver: Bool { state.withLock { $0.isHandedOver } }

    func begin(_ server: any Channel) {
        let isEnding = state.withLock { state in
            state.server = server
            return state.isEnding || state.isHandedOver
        }
        if isEnding { server.close(promise: nil) }
    }

    func add(_ channel: any Channel) {
        let isEnding = state.withLock { state in
            state.open[ObjectIdentifier(channel)] = channel
            return state.isEnding
        }
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { $0.open[ObjectIdentifier(channel)] = nil }
        }
        if isEnding { channel.close(promise: nil) }
    }

    /// Ends connections without a request now, the others with their answer.
    func end() {
        let (server, open) = state.withLock { state in
            state.isEnding = true
            return (state.server, Array(state.open.values))
        }
        server?.close(promise: nil)
        for channel in open { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    }

    func handOver(endingAfter grace: TimeAmount) {
        let server = state.withLock { state in
            state.isHandedOver = true
            return state.server
        }
        guard let server else { return }
        server.eventLoop.scheduleTask(in: grace) { self.end() }
        server.close(promise: nil)
    }
}

/// The outcome of starting, for any number of waiters; the last outcome told is the one that new waiters get.
private final class Startup: Sendable {
    private enum State {
        case waiting([CheckedContinuation<AdminAddress, any Error>])
        case finished(Result<AdminAddress, any Error>)
    }

    private let state = Mutex(State.waiting([]))

    func value() async throws -> AdminAddress {
        try await withCheckedThrowingContinuation { continuation in
            let result: Result<AdminAddress, any Error>? = state.withLock { state in
                switch state {
                case .finished(let result):
                    return result
                case .waiting(let waiters):
                    state = .waiting(waiters + [continuation])
                    return nil
                }
            }
            if let result { continuation.resume(with: result) }
        }
    }

    func finish(_ result: Result<AdminAddress, any Error>) {
        let waiters: [CheckedContinuation<AdminAddress, any Error>] = state.withLock { state in
            defer { state = .finished(result) }
            if case .waiting(let waiters) = state { return waiters }
            return []
        }
        for waiter in waiters { waiter.resume(with: result) }
    }
}
