// The settings of the appliance itself: all that a configuration file says beside load balancers and
// target groups. They take effect at start; a later file that differs is answered with a warning.

import Balancing

package struct ApplianceSettings: Sendable, Equatable {
    package enum AdminAddress: Sendable, Hashable, CustomStringConvertible {
        case network(Endpoint)
        /// The path of a Unix socket.
        case unix(String)

        /// Reads `127.0.0.1:9900`, `[::1]:9900` or `unix:/path`; nil for anything else.
        package init?(_ text: String) {
            if text.hasPrefix("unix:") {
                let path = String(text.dropFirst("unix:".count))
                // 107 bytes and a terminating zero fit into sockaddr_un; see unix(7).
                guard path.hasPrefix("/"), path.utf8.count <= 107 else { return nil }
                self = .unix(path)
            } else {
                guard let endpoint = Endpoint(text) else { return nil }
                self = .network(endpoint)
            }
        }

        /// True when only processes of this machine can connect.
        package var isLocal: Bool {
            switch self {
            case .network(let endpoint): endpoint.address.isLoopback
            case .unix: true
            }
        }

        package var description: String {
            switch self {
            case .network(let endpoint): endpoint.description
            case .unix(let path): "unix:\(path)"
            }
        }
    }

    package enum StateLocation: Sendable, Hashable, CustomStringConvertible {
        /// Nothing survives the process.
        case memory
        case file(String)

        /// `memory`, or a path.
        package init(_ text: String) {
            self = text == "memory" ? .memory : .file(text)
        }

        package var description: String {
            switch self {
            case .memory: "memory"
            case .file(let path): path
            }
        }
    }

    package enum Workers: Sendable, Hashable, CustomStringConvertible {
        /// One per core of the process's affinity mask.
        case auto
        /// 1–64.
        case count(Int)

        package var description: String {
            switch self {
            case .auto: "auto"
            case .count(let count): String(count)
            }
        }
    }

    package enum LogLevel: String, Sendable, CaseIterable {
        case trace, debug, info, notice, warning, error, critical
    }

    package enum LogFormat: String, Sendable, CaseIterable {
        case text, json
    }

    package var adminAddress = AdminAddress.network(Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 9900))
    /// The file whose first line a client must present; required unless the admin address is local.
    package var tokenFile: String?
    package var state = StateLocation.file("/var/lib/weir/state.sqlite")
    package var workers = Workers.auto
    /// The zone of this appliance, for groups whose cross-zone balancing is off.
    package var availabilityZone: String?
    /// Nil draws a secret one at start.
    package var hashSeed: HashSeed?
    /// Addresses towards targets; empty lets the kernel choose.
    package var sourceAddresses: [IPAddress] = []
    /// Names as in tcp_available_congestion_control; see tcp(7). Nil leaves the system's.
    package var clientCongestionControl: String?
    package var targetCongestionControl: String?
    /// `USER` or `USER:GROUP` to become after binding.
    package var runAs: String?
    /// How long SIGTERM waits for live flows, 0–3600.
    package var drainTimeoutSeconds = 30
    /// How long the process that was upgraded keeps its live flows, 0–86400.
    package var upgradeDrainTimeoutSeconds = 3_600
    package var logLevel = LogLevel.info
    package var logFormat = LogFormat.text
    package var tcpFlowCountMax = Limits.tcpFlowCountDefault
    package var udpFlowCountMax = Limits.udpFlowCountDefault
    /// The keys of session tickets, which appliances may share; nil draws and rotates them in memory.
    package var ticketKeyFile: String?
    /// From the first byte expected to the end of the handshake, either side, 1–300.
    package var handshakeTimeoutSeconds = Limits.handshakeTimeoutSeconds
    /// At most this many handshakes at a time in each worker, 1–65,536.
    package var handshakeCountMax = Limits.handshakeCountMax

    package init() {}

    /// Every setting under its key, as text, for comparison; the seed is a secret and shows only as a digest.
    package var values: [(key: String, value: String)] {
        [
            ("admin.listen", adminAddress.description),
            ("admin.token_file", tokenFile ?? "none"),
            ("state", state.description),
            ("workers", workers.description),
            ("availability_zone", availabilityZone ?? "none"),
            ("hash_seed", hashSeed.map { "set (\(Self.digest($0)))" } ?? "none"),
            ("source_addresses", sourceAddresses.map(\.description).joined(separator: ", ")),
            ("congestion_control.client", clientCongestionControl ?? "the system's"),
            ("congestion_control.target", targetCongestionControl ?? "the system's"),
            ("run_as", runAs ?? "none"),
            ("drain_timeout", String(drainTimeoutSeconds)),
            ("upgrade_drain_timeout", String(upgradeDrainTimeoutSeconds)),
            ("log.level", logLevel.rawValue),
            ("log.format", logFormat.rawValue),
            ("limits.tcp_flows", String(tcpFlowCountMax)),
            ("limits.udp_flows", String(udpFlowCountMax)),
            ("tls.ticket_key_file", ticketKeyFile ?? "none"),
            ("tls.handshake_timeout", String(handshakeTimeoutSeconds)),
            ("tls.concurrent_handshakes", String(handshakeCountMax)),
        ]
    }

    private static func digest(_ seed: HashSeed) -> String {
        String(UInt16(truncatingIfNeeded: SipHash.hash("weir".utf8, seed: seed)), radix: 16)
    }
}
