// What can go wrong between a command and the appliance.

import AdminModel
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

enum ClientError: Error, Equatable, Sendable {
    /// No connection: nothing was asked.
    case unreachable(AdminAddress, cause: String)
    /// Connected, but no whole answer in time: what was asked may have happened.
    case timedOut(AdminAddress, seconds: Int)
    /// The connection ended before a whole answer: what was asked may have happened.
    case interrupted(AdminAddress, cause: String)
    /// Whatever answers there does not speak the admin API.
    case notWeir(AdminAddress, cause: String)
    /// The appliance said no.
    case refused(status: Int, ErrorReport)

    var failure: CommandFailure {
        switch self {
        case .unreachable(let address, let cause):
            CommandFailure(
                message: "cannot reach the appliance at \(address): \(cause). \(Self.nextStep(after: cause))",
                exitCode: CommandFailure.unreachable)
        case .timedOut(let address, let seconds):
            CommandFailure(
                message: "the appliance at \(address) did not answer within \(seconds) s. "
                    + "The request may still take effect; look with \"weir status\".")
        case .interrupted(let address, let cause):
            CommandFailure(
                message:
                    "the appliance at \(address) ended the connection before its answer was whole: \(cause). "
                    + "The request may have taken effect; look with \"weir status\".")
        case .notWeir(let address, let cause):
            CommandFailure(
                message: "what listens at \(address) does not answer like Weir's admin API (\(cause)). "
                    + "Name the appliance with --admin ADDRESS or WEIR_ADMIN.")
        case .refused(_, let report):
            // A single problem is the message already.
            CommandFailure(
                message: report.message,
                details: report.details == [report.message] ? [] : report.details ?? [])
        }
    }

    private static func nextStep(after cause: String) -> String {
        cause == systemText(EACCES)
            ? "Its socket is for the user that it runs as: become that user or root."
            : "Start it with \"weir run\", or name another with --admin ADDRESS or WEIR_ADMIN."
    }

    /// The words for an error of NIO while connecting.
    static func connectCause(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let last = error.connectionErrors.last { return connectCause(last.error) }
            return "the name \(error.host) has no address"
        case let error as IOError: return systemText(error.errnoCode)
        case ChannelError.connectTimeout: return "no answer to the connection attempt"
        case is SocketAddressError: return "the name has no address"
        default: return "\(error)"
        }
    }

    /// The words for an error of NIO once connected.
    static func exchangeError(_ error: any Error, address: AdminAddress) -> ClientError {
        switch error {
        case let error as ClientError: error
        case let error as IOError: .interrupted(address, cause: systemText(error.errnoCode))
        case let error as HTTPParserError: .notWeir(address, cause: "\(error)")
        default: .interrupted(address, cause: "\(error)")
        }
    }

    private static func systemText(_ code: Int32) -> String {
        String(cString: strerror(code)).lowercased()
    }
}
