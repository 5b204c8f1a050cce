// Why the admin server does not serve.

import AdminModel
import Foundation
import NIOCore

package enum AdminServerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Others can reach the address, so that a token is needed.
    case tokenRequired(AdminAddress)
    case cannotListen(on: AdminAddress, cause: String)
    /// Asked for its address after it has ended.
    case ended

    static func cannotListen(on address: AdminAddress, _ error: any Error) -> AdminServerError {
        switch error {
        case let error as AdminServerError: error
        case let error as IOError where error.errnoCode == EADDRINUSE:
            .cannotListen(on: address, cause: "the address is in use (EADDRINUSE)")
        case let error as IOError:
            .cannotListen(on: address, cause: String(cString: strerror(error.errnoCode)))
        default: .cannotListen(on: address, cause: "\(error)")
        }
    }

    package var description: String {
        switch self {
        case .tokenRequired(let address):
            "admin: \(address) can be reached from other machines, so it needs a token. "
                + "Set admin.token_file, or listen on a loopback address or a Unix socket."
        case .cannotListen(let address, let cause):
            "admin: cannot listen on \(address): \(cause). "
                + "Stop what is there or choose another address with --admin or admin.listen."
        case .ended:
            "admin: the server has ended."
        }
    }
}
