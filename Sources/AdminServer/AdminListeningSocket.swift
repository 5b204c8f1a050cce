// The admin server's listening socket: opened here, or inherited from systemd or the process before this one.
//
// A socket of its own and not the server library's, because an upgrade hands it over: no client may see a refused
// connection in between. See socket(7), unix(7).

import AdminModel
import Foundation
import NIOCore

package struct AdminListeningSocket: Sendable {
    /// Open for the life of the server, which works on a duplicate.
    package let descriptor: Int32
    /// With the real port when port 0 was asked for.
    package let address: AdminAddress
    /// The file of a Unix socket, which goes with the last process that serves it.
    private let file: (socket: UnixSocketFile, identity: UnixSocketFile.Identity)?

    private static let backlog: Int32 = 256

    /// Binds and listens. Clients may connect from then on; they wait until the server runs.
    package static func open(_ address: AdminAddress) async throws(AdminServerError) -> AdminListeningSocket {
        switch address {
        case .tcp(let host, let port):
            return try openTCP(host: host, port: port)
        case .unix(let path):
            let file = try await UnixSocketFile.prepare(path: path)
            do throws(AdminServerError) {
                let descriptor = try openUnix(path: file.bindPath, shownAs: address)
                let identity = try file.publish()
                return AdminListeningSocket(
                    descriptor: descriptor, address: address, file: (file, identity))
            } catch {
                file.discard()
                throw error
            }
        }
    }

    /// Takes a socket that listens already.
    ///
    /// - Parameter ownsFile: A Unix socket's file is removed at the end; systemd's is not ours to remove.
    package init(inherited descriptor: Int32, address: AdminAddress, ownsFile: Bool) {
        self.descriptor = descriptor
        switch address {
        case .tcp(let host, _):
            self.address = .tcp(host: host, port: Self.port(of: descriptor) ?? 0)
            file = nil
        case .unix(let path):
            self.address = address
            file = ownsFile ? UnixSocketFile.inherited(path: path) : nil
        }
    }

    private init(
        descriptor: Int32, address: AdminAddress,
        file: (socket: UnixSocketFile, identity: UnixSocketFile.Identity)?
    ) {
        self.descriptor = descriptor
        self.address = address
        self.file = file
    }

    /// A duplicate for the server library, which closes it.
    func duplicate() throws(AdminServerError) -> Int32 {
        let duplicate = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard duplicate >= 0 else { throw Self.failure(address, errno) }
        return duplicate
    }

    /// Closes our copy and, unless another process serves it, removes the file of a Unix socket.
    package func close(keepingFile: Bool) {
        if let file, !keepingFile { file.socket.remove(file.identity) }
        _ = Foundation.close(descriptor)
    }

    // MARK: Opening

    private static func openTCP(host: String, port: Int) throws(AdminServerError) -> AdminListeningSocket {
        let address = AdminAddress.tcp(host: host, port: port)
        let resolved: SocketAddress
        do {
            resolved = try SocketAddress.makeAddressResolvingHost(host, port: port)
        } catch {
            throw .cannotListen(on: address, cause: "the name has no address")
        }
        let isIPv6 = resolved.protocol == .inet6
        let descriptor = socket(isIPv6 ? AF_INET6 : AF_INET, listeningType, 0)
        guard descriptor >= 0 else { throw failure(address, errno) }
        var isOn: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
        let isBound = resolved.withSockAddr { bind(descriptor, $0, socklen_t($1)) == 0 }
        guard isBound, listen(descriptor, backlog) == 0 else {
            let code = errno
            _ = Foundation.close(descriptor)
            throw failure(address, code)
        }
        return AdminListeningSocket(
            descriptor: descriptor, address: .tcp(host: host, port: Self.port(of: descriptor) ?? port),
            file: nil)
    }

    private static func openUnix(path: String, shownAs address: AdminAddress) throws(AdminServerError)
        -> Int32
    {
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: name.sun_path) else {
            throw .cannotListen(on: address, cause: "the path is too long for a Unix socket (107 bytes)")
        }
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, listeningType, 0)
        guard descriptor >= 0 else { throw failure(address, errno) }
        let isBound = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isBound, listen(descriptor, backlog) == 0 else {
            let code = errno
            _ = Foundation.close(descriptor)
            throw failure(address, code)
        }
        return descriptor
    }

    private static var listeningType: Int32 {
        Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    }

    private static func port(of descriptor: Int32) -> Int? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let isKnown = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isKnown, storage.ss_family == sa_family_t(AF_INET) || storage.ss_family == sa_family_t(AF_INET6)
        else { return nil }
        // The port stands at the same place in both; see ip(7), ipv6(7).
        let port = withUnsafeBytes(of: storage) { $0.load(fromByteOffset: 2, as: UInt16.self) }
        return Int(UInt16(bigEndian: port))
    }

    private static func failure(_ address: AdminAddress, _ code: Int32) -> AdminServerError {
        .cannotListen(
            on: address,
            cause: code == EADDRINUSE
                ? "the address is in use (EADDRINUSE)" : String(cString: strerror(code)))
    }
}
