// A refused request: the HTTP status and the report that the client reads.

import AdminModel
import ControlPlane
import Hummingbird

struct RequestRefusal: Error {
    var status: HTTPResponse.Status
    var report: ErrorReport
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, code: String, message: String, details: [String]? = nil) {
        self.status = status
        report = ErrorReport(code: code, message: message, details: details)
    }

    init(_ error: ControlError) {
        let status: HTTPResponse.Status =
            switch error.kind {
            case .notFound: .notFound
            case .invalid: .badRequest
            case .conflict: .conflict
            case .failed: .internalServerError
            case .unavailable: .serviceUnavailable
            }
        self.init(
            status, code: error.code, message: error.message,
            details: error.details.isEmpty ? nil : error.details)
    }

    static func unknownPath(_ path: String) -> RequestRefusal {
        RequestRefusal(
            .notFound, code: "PathNotFound",
            message: "There is nothing at \(path). The admin API begins at /v1/status.")
    }

    static func methodNotAllowed(
        _ method: HTTPRequest.Method, path: String, allowed: [String]
    ) -> RequestRefusal {
        var refusal = RequestRefusal(
            .methodNotAllowed, code: "MethodNotAllowed",
            message: "\(path) does not take \(method.rawValue). Use \(allowed.joined(separator: " or ")).")
        refusal.headers[.allow] = allowed.joined(separator: ", ")
        return refusal
    }

    static func bodyTooLarge(byteCountMax: Int) -> RequestRefusal {
        RequestRefusal(
            .contentTooLarge, code: "RequestEntityTooLarge",
            message: "The request body is larger than \(byteCountMax) bytes. Send less in one request.")
    }

    static func invalid(_ message: String) -> RequestRefusal {
        RequestRefusal(.badRequest, code: "ValidationError", message: message)
    }

    func response() throws -> Response {
        var response = try Response.json(report, status: status)
        for field in headers { response.headers.append(field) }
        return response
    }
}

extension Response {
    /// A JSON answer in the admin API's coding.
    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        let data = try AdminCoding.encoder().encode(value)
        return Response(
            status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: data)))
    }

    static func text(
        _ text: String, status: HTTPResponse.Status = .ok, type: String = "text/plain; charset=utf-8"
    ) -> Response {
        Response(
            status: status, headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
