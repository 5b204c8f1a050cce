// The outermost layer: every error becomes an ErrorReport, and every body has a size.
//
// Hummingbird reads what a handler leaves of a body before it takes the next request. That a body also has a
// deadline, one that nobody wants included, is ConnectionGuard's work.

import AdminModel
import ControlPlane
import Hummingbird
import Logging
import NIOCore

struct ErrorMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: AdminRequestContext,
        next: (Request, AdminRequestContext) async throws -> Response
    ) async throws -> Response {
        do {
            let response = try await next(request, context)
            logAnswer(to: request, status: response.status, context: context)
            return response
        } catch {
            let refusal = refusal(for: error, request: request)
            logAnswer(to: request, status: refusal.status, context: context)
            if refusal.status == .internalServerError {
                context.logger.error(
                    "an admin request failed", metadata: ["error": "\(refusal.report.message)"])
            }
            return try refusal.response()
        }
    }

    private func refusal(for error: any Error, request: Request) -> RequestRefusal {
        switch error {
        case let refusal as RequestRefusal:
            return refusal
        case let error as ControlError:
            return RequestRefusal(error)
        case let error as any HTTPResponseError where error.status == .notFound:
            return .unknownPath(request.uri.path)
        case let error as any HTTPResponseError:
            return RequestRefusal(
                error.status, code: "ValidationError", message: "The request is not understood.")
        default:
            return RequestRefusal(
                .internalServerError, code: "InternalFailure",
                message: "The request failed in the server: \(error).")
        }
    }

    private func logAnswer(to request: Request, status: HTTPResponse.Status, context: AdminRequestContext) {
        context.logger.debug(
            "admin request",
            metadata: [
                "method": "\(request.method.rawValue)", "path": "\(request.uri.path)",
                "status": "\(status.code)",
                "peer": "\(context.peer)",
            ])
    }
}

struct BodyMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: AdminRequestContext,
        next: (Request, AdminRequestContext) async throws -> Response
    ) async throws -> Response {
        guard Self.hasBody(request) else { return try await next(request, context) }
        let byteCountMax = Self.byteCountMax(for: request)
        if let declared = request.headers[.contentLength].flatMap(Int.init), declared > byteCountMax {
            throw RequestRefusal.bodyTooLarge(byteCountMax: byteCountMax)
        }
        var request = request
        do {
            _ = try await request.collectBody(upTo: byteCountMax)
        } catch is NIOTooManyBytesError {
            throw RequestRefusal.bodyTooLarge(byteCountMax: byteCountMax)
        }
        return try await next(request, context)
    }

    private static func byteCountMax(for request: Request) -> Int {
        request.uri.path == "/v1/apply" ? AdminLimits.applyByteCountMax : AdminLimits.requestByteCountMax
    }

    private static func hasBody(_ request: Request) -> Bool {
        request.headers[.transferEncoding] != nil || (request.headers[.contentLength] ?? "0") != "0"
    }
}
