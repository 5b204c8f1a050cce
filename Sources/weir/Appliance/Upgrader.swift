// The running process's side of an upgrade: starts the new one, hands over, and goes on if that fails.
//
// Nothing is given up before the other process says that it serves: sockets, flows and the admin API are handed
// over as copies, and reading from them stops for the moment in which nobody knows whose turn it is. What arrives
// then waits in the sockets' queues.

import AdminModel
import AdminServer
import Balancing
import ControlPlane
import Foundation
import LinuxIO
import Logging
import Serving
import Synchronization

final class Upgrader: Sendable {
    static let timeoutSecondsDefault = 30
    static let timeoutSeconds = 1...300
    /// From `begin` to `serving`: all that is left to do is to take flows in.
    private static let switchSeconds = 30

    private let workers: ModeWorkers
    private let contexts: TLSContexts
    private let registry: Registry
    private let admin: AdminListeningSocket
    private let adminAddress: AdminAddress
    private let ownsAdminFile: Bool
    private let program: String
    private let logger: Logger
    /// Known once it exists: it asks for upgrades, so it is made after this.
    private let server = Mutex<AdminServer?>(nil)
    /// What the process does once another serves.
    private let onHandedOver = Mutex<(@Sendable () async -> Void)?>(nil)

    init(
        workers: ModeWorkers, contexts: TLSContexts, registry: Registry, admin: AdminListeningSocket,
        adminAddress: AdminAddress, ownsAdminFile: Bool, program: String, logger: Logger
    ) {
        self.workers = workers
        self.contexts = contexts
        self.registry = registry
        self.admin = admin
        self.adminAddress = adminAddress
        self.ownsAdminFile = ownsAdminFile
        self.program = program
        self.logger = logger
    }

    /// - Parameters:
    ///   - server: Pauses while nobody knows which process serves.
    ///   - action: Runs once, when another process serves: the rest of this one is to end flows.
    func attach(_ server: AdminServer, whenHandedOver action: @escaping @Sendable () async -> Void) {
        self.server.withLock { $0 = server }
        onHandedOver.withLock { $0 = action }
    }

    /// Hands over to a new process; returns when that one serves, and throws why it does not.
    func upgrade(_ request: UpgradeRequest) async throws(ControlError) -> UpgradeResponse {
        let timeoutSeconds = request.timeoutSeconds ?? Self.timeoutSecondsDefault
        guard Self.timeoutSeconds.contains(timeoutSeconds) else {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message:
                    "timeout_seconds is \(timeoutSeconds); it must be from \(Self.timeoutSeconds.lowerBound) to "
                    + "\(Self.timeoutSeconds.upperBound).")
        }
        if let objection = request.binary.flatMap({ ProgramFile.objection(to: $0) }) {
            throw ControlError(kind: .invalid, code: "ValidationError", message: objection)
        }
        let path = request.binary ?? program
        let past = try await registry.beginUpgrade()
        logger.info("upgrading", metadata: ["binary": "\(path)"])
        do {
            let response = try await handOver(past, to: path, timeoutSeconds: timeoutSeconds)
            await conclude(response)
            return response
        } catch {
            await registry.abandonUpgrade()
            let failure = error as? CommandFailure ?? CommandFailure(message: "\(error).")
            logger.error("the upgrade failed, this process goes on: \(failure.message)")
            for detail in failure.details { logger.error("\(detail)") }
            throw ControlError(
                kind: .failed, code: "UpgradeFailed",
                message: "\(path) does not take over, and the running process goes on: \(failure.message)",
                details: failure.details)
        }
    }

    private func handOver(
        _ past: HandedOverRegistry, to path: String, timeoutSeconds: Int
    ) async throws -> UpgradeResponse {
        let deadline = Instant.now.advanced(bySeconds: timeoutSeconds)
        let shares = await listShares()
        let (successor, channel) = try start(path)
        let collected = HandOverCollector()
        do {
            let version = try await prepare(successor, channel, past, shares, until: deadline)
            guard await !registry.isEnding else {
                throw CommandFailure(message: "the running process is about to end.")
            }
            await server.withLock { $0 }?.pause()
            await withCheckedContinuation { continuation in
                workers.handOver(to: collected) { continuation.resume() }
            }
            try await switchOver(channel, shares, collected)
            await withCheckedContinuation { continuation in
                workers.release { continuation.resume() }
            }
            let flows = collected.flows
            for flow in flows { flow.socket.close() }
            return UpgradeResponse(
                processId: Int(successor.processID), version: version, formerProcessId: Int(getpid()),
                remainingFlowCount: Int(clamping: await registry.liveTCPFlowCount()),
                handedOverFlowCount: flows.count)
        } catch {
            _ = try? await onOwnThread { successor.end() }
            await takeBack(collected)
            throw error
        }
    }

    // MARK: - Preparing

    private func listShares() async -> [ListenerShare] {
        let collector = HandOverCollector()
        await withCheckedContinuation { continuation in
            workers.listShares(into: collector) { continuation.resume() }
        }
        return collector.shares
    }

    /// The same command line, but for the program; what was for this process alone is left out of the environment.
    private func start(_ path: String) throws -> (Successor, HandoverChannel) {
        let (near, far) = try HandoverChannel.pair()
        var environment = ProcessInfo.processInfo.environment
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { environment[name] = nil }
        environment[UpgradePredecessor.variable] = String(far.descriptor.rawValue)
        do throws(SystemCallError) {
            let successor = try Successor.start(
                path: path, arguments: [path] + CommandLine.arguments.dropFirst(),
                environment: environment.map { "\($0)=\($1)" }, inheriting: far.descriptor)
            return (successor, near)
        } catch {
            throw CommandFailure(message: "\(path) cannot be started: \(error.errno.text.lowercased()).")
        }
    }

    /// Makes the offer and waits until the new process has prepared everything; returns its version.
    private func prepare(
        _ successor: Successor, _ channel: HandoverChannel, _ past: HandedOverRegistry,
        _ shares: [ListenerShare], until deadline: Instant
    ) async throws -> String {
        let offer = UpgradeOffer(
            processId: getpid(), version: WeirVersion.current, admin: adminAddress.description,
            ownsAdminFile: ownsAdminFile, registry: past,
            ticketKeys: contexts.ticketKeyRecords.map { Data($0) })
        let descriptors = [Descriptor(rawValue: admin.descriptor)] + shares.map(\.socket)
        return try await onOwnThread {
            let reply: HandoverMessage
            do throws(HandoverError) {
                try channel.send(
                    HandoverMessage(
                        kind: .offer, payload: UpgradeCoding.encode(offer), descriptors: descriptors),
                    until: deadline)
                reply = try channel.receive(until: deadline)
            } catch {
                throw Self.describe(error, of: successor)
            }
            switch reply.kind {
            case .ready:
                return UpgradeCoding.decode(UpgradeReadiness.self, from: reply.payload)?.version ?? "unknown"
            case .failed:
                let refusal = UpgradeCoding.decode(UpgradeRefusal.self, from: reply.payload)
                throw CommandFailure(
                    message: refusal?.message ?? "the new process gave no reason.",
                    details: refusal?.details ?? [])
            case .offer, .flows, .begin, .serving:
                throw CommandFailure(message: "the new process answered something else than readiness.")
            }
        }
    }

    private static func describe(_ error: HandoverError, of successor: Successor) -> CommandFailure {
        switch error {
        case .closed:
            // Its end of the socket closes a moment before it can be waited for.
            let status = successor.exitStatus(until: Instant.now.advanced(bySeconds: 1))
            return CommandFailure(
                message: status.map { status in
                    status > 128
                        ? "signal \(status - 128) ended it before it was ready."
                        : "it ended with status \(status) before it was ready."
                } ?? "it broke off the hand-over.")
        case .timedOut:
            return CommandFailure(message: "it was not ready in time and was ended.")
        case .format, .failed, .tooLong:
            return CommandFailure(message: "\(error).")
        }
    }

    // MARK: - Switching

    private func switchOver(
        _ channel: HandoverChannel, _ shares: [ListenerShare], _ collected: HandOverCollector
    ) async throws {
        let indices = Dictionary(
            shares.enumerated().map { (ShareKey($1), $0) }, uniquingKeysWith: { first, _ in first })
        try await onOwnThread {
            let deadline = Instant.now.advanced(bySeconds: Self.switchSeconds)
            do throws(HandoverError) {
                try Self.send(collected.flows, indices, on: channel, until: deadline)
                try channel.send(HandoverMessage(kind: .begin), until: deadline)
                guard try channel.receive(until: deadline).kind == .serving else {
                    throw HandoverError.closed
                }
            } catch {
                throw CommandFailure(message: "it was ready, but did not come to serve: \(error).")
            }
        }
    }

    private static func send(
        _ flows: [HandOverCollector.Flow], _ indices: [ShareKey: Int], on channel: HandoverChannel,
        until deadline: Instant
    ) throws(HandoverError) {
        var rest = flows[...]
        while !rest.isEmpty {
            let part = rest.prefix(HandoverFrame.descriptorCountMax)
            rest = rest.dropFirst(part.count)
            var payload: [UInt8] = []
            for given in part {
                var flow = given.flow
                // A socket that was not offered is one that the new process cannot answer through either.
                flow.socketIndex = indices[ShareKey(given)] ?? Int(UInt32.max)
                flow.append(to: &payload)
            }
            try channel.send(
                HandoverMessage(kind: .flows, payload: payload, descriptors: part.map(\.socket)),
                until: deadline)
        }
    }

    private struct ShareKey: Hashable {
        let binding: ListenerBinding
        let worker: Int
        let share: Int

        init(_ share: ListenerShare) {
            (binding, worker, self.share) = (share.binding, share.worker, share.share)
        }

        init(_ flow: HandOverCollector.Flow) {
            (binding, worker, share) = (flow.binding, flow.worker, flow.share)
        }
    }

    private func takeBack(_ collected: HandOverCollector) async {
        await withCheckedContinuation { continuation in
            workers.takeBack(collected) { continuation.resume() }
        }
        await withCheckedContinuation { continuation in
            workers.resume { continuation.resume() }
        }
        await server.withLock { $0 }?.resume()
    }

    // MARK: - After the switch

    private func conclude(_ response: UpgradeResponse) async {
        // While this process lives the other is its child, and nobody else could clear away what is left of it.
        signal(SIGCHLD, SIG_IGN)
        ServiceManager.notify(.mainProcess(response.processId))
        await registry.finishUpgrade()
        logger.info(
            "handed over",
            metadata: [
                "process": "\(response.processId)", "version": "\(response.version)",
                "udp_flows": "\(response.handedOverFlowCount)",
                "remaining_tcp_flows": "\(response.remainingFlowCount)",
            ])
        await server.withLock { $0 }?.handOver()
        let action = onHandedOver.withLock { $0 }
        await action?()
    }
}
