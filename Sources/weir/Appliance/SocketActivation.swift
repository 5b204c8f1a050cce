// Sockets that systemd has opened for the appliance; see sd_listen_fds(3), systemd.socket(5).
//
// They are taken in place of binding: a listener's by its address, the admin API's by the name "admin" or by its
// address. So a port below 1024 needs no capability, and connections wait while the appliance restarts.

import AdminModel
import Balancing
import Foundation
import LinuxIO
import Serving

struct SocketActivation: Sendable {
    /// SD_LISTEN_FDS_START.
    private static let firstDescriptor: Int32 = 3
    private static let countMax = 4_096

    let admin: Descriptor?
    let sockets: [InheritedSocket]
    /// What was passed and cannot be used, in one line each.
    let warnings: [String]

    static let none = SocketActivation(admin: nil, sockets: [], warnings: [])

    /// What was passed to this process. Call on the main thread before any other exists: it changes the environment.
    static func fromEnvironment(admin address: AdminAddress) -> SocketActivation {
        let environment = ProcessInfo.processInfo.environment
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        guard let process = environment["LISTEN_PID"], Int32(process) == getpid(),
            let text = environment["LISTEN_FDS"]
        else { return .none }
        guard let count = Int(text), (0...countMax).contains(count) else {
            return SocketActivation(
                admin: nil, sockets: [],
                warnings: ["LISTEN_FDS is \"\(text)\", from 0 to \(countMax) are possible; it is ignored."])
        }
        let names =
            environment["LISTEN_FDNAMES"]?.split(separator: ":", omittingEmptySubsequences: false) ?? []
        var admin: Descriptor?
        var sockets: [InheritedSocket] = []
        var warnings: [String] = []
        for index in 0..<count {
            let descriptor = Descriptor(rawValue: firstDescriptor + Int32(index))
            let name = index < names.count ? String(names[index]) : "unknown"
            guard let description = descriptor.describeSocket(),
                let transport = description.transport, transport == .udp || description.isListening
            else {
                warnings.append(
                    "descriptor \(descriptor.rawValue) (\(name)) of the service manager is no listening socket; it is "
                        + "closed.")
                descriptor.close()
                continue
            }
            descriptor.makeOwn()
            if transport == .tcp, name == "admin" || matches(description.address, address) {
                if let other = admin { other.close() }
                admin = descriptor
                continue
            }
            guard case .network(let endpoint) = description.address else {
                warnings.append(
                    "Unix socket \(name) of the service manager is not the admin API's; it is closed. Name it with "
                        + "FileDescriptorName=admin.")
                descriptor.close()
                continue
            }
            sockets.append(
                InheritedSocket(
                    endpoint: endpoint, transport: transport, socket: descriptor,
                    sharesPort: description.sharesPort))
        }
        return SocketActivation(admin: admin, sockets: sockets, warnings: warnings)
    }

    private static func matches(_ address: SocketDescription.Address, _ admin: AdminAddress) -> Bool {
        switch (address, admin) {
        case (.unix(let path), .unix(let wanted)): path == wanted
        case (.network(let endpoint), .tcp(let host, let port)):
            endpoint.address.description == host && Int(endpoint.port) == port
        case (.unix, .tcp), (.network, .unix): false
        }
    }
}
