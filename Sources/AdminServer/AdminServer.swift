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
    private let acceptor = AdminAcceptor()
    private let logger: Logger
    private let deadlines: AdminLimits.Deadlines

    /// - Parameters:
    ///   - token: Required from every client when present; must be present unless `address.isLocal`.
    ///   - listening: The server's from now on; nil opens `address`.
    ///   - upgrade: What POST /v1/upgrade does; nil has no such path.
    ///   - deadlines: Tests shorten them.
    package init(
        address: AdminAddress, token: String?, registry: some RegistryAccess,
        listening: AdminListeningSocket? = nil, upgrade: UpgradeHandler? = nil, logger: Logger,
        deadlines: AdminLimits.Deadlines = AdminLimits.Deadlines()
    ) {
        self.address = address
        self.listening = listening
        self.deadlines = deadlines
        self.logger = logger
        hasToken = token.map { !$0.isEmpty } ?? false
        let isUnixSocket = if case .unix = address { true } else { false }
        // An upgrade has a limit of its own.
        responder = AdminRoutes(
            registry: BoundedRegistry(registry, seconds: deadlines.workSeconds), upgrade: upgrade
        )
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
            defer { socket.close(keepingFile: acceptor.isHandedOver) }
            try await serve(socket)
        } catch {
            startup.finish(.failure(error))
            throw error
        }
        startup.finish(.failure(AdminServerError.ended))
    }

    // MARK: - Handing over

    /// Takes no further connection; those that arrive wait in the socket's queue. Open ones go on.
    package func pause() async {
        await acceptor.pause()
    }

    /// Takes connections again.
    package func resume() async {
        await acceptor.resume()
    }

    /// Another process takes connections. Those that are open here end after a moment, which lets requests arrive
    /// that are on their way. `run` goes on until shutdown.
    package func handOver() async {
        await acceptor.pause()
        acceptor.handOver(endingAfter: AdminLimits.handOverGrace)
    }

    // MARK: - Serving

    private func serve(_ socket: AdminListeningSocket) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let channel = makeChannel()
        let logger = quietLogger
        let arrivals = try await startAccepting(on: socket, channel, group)
        self.logger.info("the admin API listens", metadata: ["address": "\(socket.address)"])
        startup.finish(.success(socket.address))
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { tasks in
                for await connection in arrivals {
                    tasks.addTask { await channel.handle(value: connection, logger: logger) }
                }
            }
            // Handed over, the process lives on for its flows, and a service that returns early would end it.
            if acceptor.isHandedOver { try? await gracefulShutdown() }
        } onGracefulShutdown: {
            // Handed over, connections have a moment left, and end by themselves.
            if !acceptor.isHandedOver { acceptor.end() }
        }
        try? await group.shutdownGracefully()
    }

    /// Connections as they arrive; the sequence ends when none can arrive any more.
    private func startAccepting(
        on socket: AdminListeningSocket, _ channel: HTTP1Channel, _ group: MultiThreadedEventLoopGroup
    ) async throws -> AsyncStream<Connection> {
        let (arrivals, continuation) = AsyncStream.makeStream(of: Connection.self)
        let (acceptor, logger) = (acceptor, quietLogger)
        do {
            try await acceptor.begin(on: group.any(), onEnd: { continuation.finish() }) {
                // Not as NIO's sequence of connections: one that is being set up when the listening channel closes
                // would be dropped there, which traps.
                try await ServerBootstrap(group: group)
                    .serverChannelInitializer { server in
                        server.eventLoop.makeCompletedFuture {
                            try server.pipeline.syncOperations.addHandler(
                                AvailableConnectionsChannelHandler(
                                    maxConnections: AdminLimits.acceptedConnectionCountMax))
                        }
                    }
                    .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
                    .childChannelInitializer { connection in
                        acceptor.add(connection)
                        return channel.setup(channel: connection, logger: logger).map {
                            _ = continuation.yield($0)
                        }
                    }
                    .withBoundSocket(socket.duplicate()).get()
            }
        } catch {
            continuation.finish()
            try? await group.shutdownGracefully()
            throw AdminServerError.cannotListen(on: address, error)
        }
        return arrivals
    }

    private func makeChannel() -> HTTP1Channel {
        let (responder, logger, deadlines) = (responder, quietLogger, deadlines)
        let census = ConnectionCensus(countMax: AdminLimits.connectionCountMax)
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
                additionalChannelHandlers: [ConnectionGuard(census: census, limits: deadlines)],
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
