// The new process's side of an upgrade: takes over from the process that started it.
//
// Until `begin` arrives nothing here may be seen from outside: every failure ends this process with its reason on
// the socket, and the other goes on as if nothing had been.

import Balancing
import ControlPlane
import Foundation
import LinuxIO
import Serving

/// The process that this one takes over from.
final class UpgradePredecessor: Sendable {
    static let variable = "WEIR_HANDOVER_FD"
    /// How long the other process may take for its next word; it has everything at hand.
    private static let patienceSeconds = 30

    let offer: UpgradeOffer
    let admin: Descriptor
    let sockets: [InheritedSocket]
    private let channel: HandoverChannel

    /// Nil when nobody hands over. Call on the main thread before any other exists: it changes the environment.
    static func fromEnvironment() throws(CommandFailure) -> UpgradePredecessor? {
        guard let text = ProcessInfo.processInfo.environment[variable] else { return nil }
        unsetenv(variable)
        guard let number = Int32(text), number > 2 else {
            throw CommandFailure(
                message:
                    "\(variable) is \"\(text)\", which is no descriptor. It is set by \"weir upgrade\" alone; "
                    + "unset it.")
        }
        let descriptor = Descriptor(rawValue: number)
        guard descriptor.describeSocket() != nil else {
            throw CommandFailure(
                message: "\(variable) is \(number), which is no socket. It is set by \"weir upgrade\" alone; "
                    + "unset it.")
        }
        descriptor.makeOwn()
        return try UpgradePredecessor(HandoverChannel(descriptor))
    }

    private init(_ channel: HandoverChannel) throws(CommandFailure) {
        self.channel = channel
        let deadline = Instant.now.advanced(bySeconds: Self.patienceSeconds)
        let message: HandoverMessage
        do throws(HandoverError) {
            message = try channel.receive(until: deadline)
        } catch {
            let failure = CommandFailure(message: "the hand-over cannot begin: \(error).")
            Self.refuse(failure, on: channel)
            throw failure
        }
        guard message.kind == .offer, let admin = message.descriptors.first,
            let offer = UpgradeCoding.decode(UpgradeOffer.self, from: message.payload)
        else {
            for descriptor in message.descriptors { descriptor.close() }
            let failure = CommandFailure(
                message: "what the running process offers is not understood. Restart instead of upgrading.")
            Self.refuse(failure, on: channel)
            throw failure
        }
        self.offer = offer
        self.admin = admin
        sockets = message.descriptors.dropFirst().map { InheritedSocket(describing: $0) }
    }

    /// Tells the other process why this one does not start.
    func refuse(_ failure: CommandFailure) {
        Self.refuse(failure, on: channel)
    }

    private static func refuse(_ failure: CommandFailure, on channel: HandoverChannel) {
        let refusal = UpgradeRefusal(message: failure.message, details: failure.details)
        // If it is gone, or has begun to believe us, there is nobody to tell.
        try? channel.send(
            HandoverMessage(kind: .failed, payload: UpgradeCoding.encode(refusal)),
            until: Instant.now.advanced(bySeconds: patienceSeconds))
    }

    /// Says that everything is prepared, takes the flows, and serves. Nothing can fail after `begin`.
    func takeOver(_ workers: ModeWorkers, _ registry: Registry, version: String) async throws(CommandFailure)
    {
        let arrived: [(flow: HandedOverFlow, socket: Descriptor)]
        do {
            arrived = try await onOwnThread { [channel] in
                try Self.converse(on: channel, version: version)
            }
        } catch {
            throw CommandFailure(message: "the hand-over broke off: \(error).")
        }
        // Datagrams and connections wait from here on, so the registry is asked once, not for each flow.
        let numbers = await registry.inheritedNumbers
        var adopted: [AdoptedFlow] = []
        for (flow, socket) in arrived {
            guard let target = numbers[flow.target.rawValue] else {
                socket.close()
                continue
            }
            adopted.append(AdoptedFlow(flow: flow, target: target, socket: socket))
        }
        let flows = adopted
        await withCheckedContinuation { continuation in
            workers.adopt(flows) { continuation.resume() }
        }
        await withCheckedContinuation { continuation in
            workers.resume { continuation.resume() }
        }
        // Whether it hears that or has ended: this process serves.
        _ = try? await onOwnThread { [channel] in
            try channel.send(
                HandoverMessage(kind: .serving), until: Instant.now.advanced(bySeconds: Self.patienceSeconds))
        }
        await registry.takeOver()
    }

    private static func converse(
        on channel: HandoverChannel, version: String
    ) throws(HandoverError) -> [(flow: HandedOverFlow, socket: Descriptor)] {
        var arrived: [(flow: HandedOverFlow, socket: Descriptor)] = []
        try channel.send(
            HandoverMessage(
                kind: .ready, payload: UpgradeCoding.encode(UpgradeReadiness(version: version))),
            until: Instant.now.advanced(bySeconds: patienceSeconds))
        while true {
            let message = try channel.receive(until: Instant.now.advanced(bySeconds: patienceSeconds))
            switch message.kind {
            case .flows:
                guard let flows = HandedOverFlow.records(in: message.payload),
                    flows.count == message.descriptors.count
                else {
                    throw .format(
                        .descriptorCount(
                            said: message.payload.count / HandedOverFlow.recordByteCount,
                            arrived: message.descriptors.count))
                }
                arrived += zip(flows, message.descriptors).map { ($0, $1) }
            case .begin:
                return arrived
            case .offer, .ready, .failed, .serving:
                throw .format(.unknownKind(message.kind.rawValue))
            }
        }
    }
}

extension InheritedSocket {
    /// A socket as it describes itself; one that is none fits no listener and is closed as unwanted.
    init(describing socket: Descriptor) {
        let description = socket.describeSocket()
        var endpoint = Endpoint(address: IPAddress(v4: 0), port: 0)
        if case .network(let known) = description?.address { endpoint = known }
        self.init(
            endpoint: endpoint, transport: description?.transport ?? .tcp, socket: socket,
            sharesPort: description?.sharesPort ?? false)
    }
}
