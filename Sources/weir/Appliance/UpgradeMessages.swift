// What the two processes of an upgrade say to each other, beside sockets and flow records.
//
//   running process                          new process
//   offer (state, sockets) ────────────────>
//                          <──────────────── ready, or failed
//   flows, flows, …, begin ────────────────>
//                          <──────────────── serving
//
// JSON between two releases: a new field is optional, and a meaning never changes. What cannot be said so takes
// another version of the frame (HandoverFrame).

import ControlPlane
import Foundation
import LinuxIO

/// Descriptors: the admin server's socket, then the listening sockets, which say themselves what they are.
struct UpgradeOffer: Codable, Sendable {
    var processId: Int32
    var version: String
    /// The admin address as configured; whoever is configured otherwise opens its own.
    var admin: String
    /// Whether the file of a Unix admin socket is removed by the last process that serves it.
    var ownsAdminFile: Bool
    var registry: HandedOverRegistry
    /// Those that seal session tickets, so that clients resume across the upgrade; nil when a file has them.
    var ticketKeys: Data?
}

struct UpgradeReadiness: Codable, Sendable {
    var version: String
}

struct UpgradeRefusal: Codable, Sendable {
    var message: String
    var details: [String]
}

enum UpgradeCoding {
    static func encode(_ value: some Encodable) -> [UInt8] {
        // These values hold nothing that JSON cannot say.
        (try? JSONEncoder().encode(value)).map { Array($0) } ?? []
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) -> Value? {
        try? JSONDecoder().decode(type, from: Data(bytes))
    }
}

/// Runs a conversation, which blocks, on a thread of its own.
func onOwnThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        do {
            _ = try DataPlaneThread(name: "weir-upgrade", processor: nil) {
                continuation.resume(with: Result { try body() })
            }
        } catch {
            continuation.resume(throwing: error)
        }
    }
}
