// A real admin server on port 0 or a Unix socket, for the time of one test body.

import AdminModel
import AdminServer
import Foundation
import Logging
import ServiceLifecycle

@testable import weir

/// Runs `body` against a server and ends it gracefully, also when the body throws.
func withServer(
    at address: AdminAddress = .tcp(host: "127.0.0.1", port: 0), token: String? = nil,
    registry: StubRegistry = StubRegistry(), upgrade: UpgradeHandler? = nil,
    deadlines: AdminLimits.Deadlines = AdminLimits.Deadlines(),
    _ body: (AdminAddress) async throws -> Void
) async throws {
    var logger = Logger(label: "admin-tests")
    logger.logLevel = .critical
    let server = AdminServer(
        address: address, token: token, registry: registry, upgrade: upgrade, logger: logger,
        deadlines: deadlines)
    let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        let result: Result<Void, any Error>
        do {
            try await body(try await server.boundAddress)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await group.triggerGracefulShutdown()
        do {
            try await tasks.waitForAll()
        } catch {
            // Why the server could not start is what `boundAddress` has already thrown.
            try result.get()
            throw error
        }
        try result.get()
    }
}

/// One request with nothing added, and the decoded report when it is refused.
func request(
    _ method: String, _ target: String, at address: AdminAddress, headers: [(String, String)] = [],
    body: String? = nil
) async throws -> (status: Int, text: String) {
    let exchange = HTTPExchange(address: address, responseTimeoutSeconds: 20)
    let response = try await exchange.send(
        .RAW(value: method), target, headers: headers, body: body.map { Array($0.utf8) })
    return (response.status, String(decoding: response.body, as: UTF8.self))
}

let json = [("Content-Type", "application/json")]

/// A directory of its own that is gone afterwards.
func withTemporaryDirectory(_ body: (String) async throws -> Void) async throws {
    let directory = FileManager.default.temporaryDirectory.appending(
        path: "weir-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    try await body(directory.path() + "/")
}
