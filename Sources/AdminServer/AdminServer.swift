// The admin API as a service: binds its address, serves until graceful shutdown, leaves no file behind.
//
// Runs on one event loop thread of its own, so that a busy admin API takes no time from anything else.

import AdminModel
import Foundation
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

package struct AdminServer: Service {
    private let address: AdminAddress
    private let hasToken: Bool
    private let responder: RouterResponder<AdminRequestContext>
    private let startup = Startup()
    private let logger: Logger
    private let deadlines: AdminLimits.Deadlines

    /// - Parameters:
    ///   - token: Required from every client when present; must be present unless `address.isLocal`.
    ///   - deadlines: Tests shorten them.
    package init(
        address: AdminAddress, token: String?, registry: some RegistryAccess, logger: Logger,
        deadlines: AdminLimits.Deadlines = AdminLimits.Deadlines()
    ) {
        self.address = address
        self.deadlines = deadlines
        self.logger = logger
        hasToken = token.map { !$0.isEmpty } ?? false
        let isUnixSocket = if case .unix = address { true } else { false }
        responder = AdminRoutes(registry: BoundedRegistry(registry, seconds: deadlines.workSeconds))
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
            switch address {
            case .tcp(let host, let port): try await serve(.hostname(host, port: port)) { $0 }
            case .unix(let path): try await serveUnixSocket(path: path)
            }
        } catch {
            startup.finish(.failure(error))
            throw error
        }
        startup.finish(.failure(AdminServerError.ended))
    }

    private func serveUnixSocket(path: String) async throws {
        let file = try await UnixSocketFile.prepare(path: path)
        let identity = Mutex<UnixSocketFile.Identity?>(nil)
        defer {
            if let identity = identity.withLock({ $0 }) { file.remove(identity) } else { file.discard() }
        }
        try await serve(.unixDomainSocket(path: file.bindPath)) { address in
            let published = try file.publish()
            identity.withLock { $0 = published }
            return address
        }
    }

    /// Runs Hummingbird; `onBound` may still refuse to go on.
    private func serve(
        _ bindAddress: BindAddress, onBound: @escaping @Sendable (AdminAddress) throws -> AdminAddress
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let refusal = Mutex<(any Error)?>(nil)
        let census = ConnectionCensus(countMax: AdminLimits.connectionCountMax)
        let deadlines = deadlines
        let application = Application(
            responder: responder,
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [ConnectionGuard(census: census, limits: deadlines)],
                    idleTimeout: AdminLimits.idleTimeout,
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: AdminLimits.headerByteCountMax,
                        maxHeaderListSize: AdminLimits.headerByteCountMax,
                        maxHeaderFieldCount: AdminLimits.headerCountMax))),
            configuration: ApplicationConfiguration(
                address: bindAddress,
                availableConnectionsDelegate: .maximum(
                    AdminLimits.acceptedConnectionCountMax, logger: quietLogger)),
            onServerRunning: { channel in
                do {
                    announce(try onBound(address(of: channel)))
                } catch {
                    refusal.withLock { $0 = error }
                    channel.close(promise: nil)
                }
            },
            eventLoopGroupProvider: .shared(group),
            logger: quietLogger
        )
        do {
            try await application.run()
        } catch {
            try? await group.shutdownGracefully()
            throw AdminServerError.cannotListen(on: address, error)
        }
        try? await group.shutdownGracefully()
        if let error = refusal.withLock({ $0 }) { throw error }
    }

    private func announce(_ bound: AdminAddress) {
        logger.info("the admin API listens", metadata: ["address": "\(bound)"])
        startup.finish(.success(bound))
    }

    private func address(of channel: any Channel) -> AdminAddress {
        switch address {
        case .unix: address
        case .tcp(let host, let port): .tcp(host: host, port: channel.localAddress?.port ?? port)
        }
    }

    /// Hummingbird announces itself at info and would name the socket's temporary place; what it says from
    /// warning up is worth hearing.
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
