// What a request must look like before anybody reads its meaning: one clear refusal for each way to be odd.

import Foundation
import HTTPTypes
import Hummingbird

struct FormMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: AdminRequestContext,
        next: (Request, AdminRequestContext) async throws -> Response
    ) async throws -> Response {
        try RequestForm.check(request)
        return try await next(request, context)
    }
}

enum RequestForm {
    /// Methods that some path takes or refuses by name; every other is refused for all paths.
    static let knownMethods: Set<HTTPRequest.Method> = [
        .get, .head, .post, .put, .patch, .delete, .options,
    ]

    static func check(_ request: Request) throws {
        guard knownMethods.contains(request.method) else {
            throw RequestRefusal.methodNotAllowed(
                request.method, path: request.uri.path, allowed: ["GET", "HEAD", "POST"])
        }
        // The first Host became the authority; a second one would let two readers see two servers.
        if let name = HTTPField.Name("Host"), request.headers[name] != nil {
            throw RequestRefusal.invalid("The request has more than one Host field. Send one.")
        }
        try checkPercentEncoding(of: request.uri.path, "path")
        try checkPercentEncoding(of: request.uri.query ?? "", "query")
    }

    private static func checkPercentEncoding(of text: String, _ part: String) throws {
        guard text.utf8.contains(UInt8(ascii: "%")), text.removingPercentEncoding == nil else { return }
        throw RequestRefusal.invalid(
            "\"\(text.prefix(64))\" in the \(part) is not valid percent-encoding. "
                + "Write each byte as % and two hexadecimal digits, which together are UTF-8.")
    }
}
