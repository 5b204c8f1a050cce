// What the appliance tells whoever started it; see sd_notify(3).
//
// Without NOTIFY_SOCKET in the environment nobody asked, and nothing is sent. A lost message is no reason to
// serve less, so failures are ignored.

import Balancing
import Foundation
import LinuxIO

enum ServiceManager {
    enum Message {
        /// All listeners are served.
        case ready
        /// The configuration is being applied again; `ready` follows.
        case reloading
        /// Draining, or about to end.
        case stopping
        /// Another process serves; from this message on the manager listens to that one. See NotifyAccess=main.
        case mainProcess(Int)

        fileprivate var text: String {
            switch self {
            case .ready: "READY=1"
            // systemd orders the message by the monotonic clock; see Type=notify-reload.
            case .reloading: "RELOADING=1\nMONOTONIC_USEC=\(Instant.now.nanoseconds / 1_000)"
            case .stopping: "STOPPING=1"
            case .mainProcess(let id): "MAINPID=\(id)"
            }
        }
    }

    static func notify(_ message: Message) {
        guard let name = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"],
            name.hasPrefix("/") || name.hasPrefix("@")
        else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var path = Array(name.utf8)
        // A leading "@" stands for the zero byte of an abstract name; see unix(7).
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.count < capacity else { return }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let length = socklen_t(MemoryLayout.offset(of: \sockaddr_un.sun_path).map { $0 + path.count } ?? 0)
        let bytes = Array(message.text.utf8)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}
