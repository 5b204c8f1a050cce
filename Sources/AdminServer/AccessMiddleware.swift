// Who may ask: the bearer token, the refusal of too many wrong ones, and browsers that were led here.
//
// Without a token only this machine can connect, but its browsers can too, on behalf of any page they show.
// So a request must name this server by an address (a page's own domain name, rebound to 127.0.0.1, is none)
// and a change must come as JSON, which a page cannot send across origins without asking first.

import AdminModel
import Hummingbird
import Logging
import Synchronization

final class AccessMiddleware: RouterMiddleware {
    typealias Context = AdminRequestContext

    private let token: BearerToken?
    private let isUnixSocket: Bool
    private let limiter = Mutex(FailureLimiter())
    private let clock = ContinuousClock()
    private let startedAt: ContinuousClock.Instant

    init(token: BearerToken?, isUnixSocket: Bool) {
        self.token = token
        self.isUnixSocket = isUnixSocket
        startedAt = clock.now
    }

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        // Load balancers in front, DNS health checks and VRRP scripts send no token, and learn one bit.
        if request.uri.path == "/healthz" { return try await next(request, context) }
        if let token {
            try admit(request, token: token, peer: context.peer, logger: context.logger)
        } else if !isUnixSocket {
            try requireAddressedHost(request)
        }
        if request.method == .post || request.method == .patch { try requireJSON(request) }
        return try await next(request, context)
    }

    private func admit(_ request: Request, token: BearerToken, peer: String, logger: Logger) throws {
        switch token.judge(request.headers[.authorization]) {
        case .granted:
            return
        case .missing:
            throw unauthorized(
                "This server wants a token. Send \"Authorization: Bearer TOKEN\"; for weir, "
                    + "give --token-file FILE or set WEIR_TOKEN_FILE.")
        case .wrong:
            logger.debug("refused a wrong admin token", metadata: ["peer": "\(peer)"])
            try countFailure(of: peer)
            throw unauthorized(
                "The token is not the one of this server. Compare it with the server's token_file.")
        }
    }

    /// Refuses a failure beyond the peer's allowance in other words, without counting it.
    private func countFailure(of peer: String) throws {
        let now = secondsSinceStart
        let wait = limiter.withLock { limiter in
            let wait = limiter.waitSeconds(for: peer, atSeconds: now)
            if wait == nil { limiter.recordFailure(of: peer, atSeconds: now) }
            return wait
        }
        guard let wait else { return }
        var refusal = RequestRefusal(
            .tooManyRequests, code: "Throttling",
            message: "Too many wrong tokens came from \(peer). Try again in \(wait) s, with the right one.")
        refusal.headers[.retryAfter] = String(wait)
        refusal.headers[.connection] = "close"
        throw refusal
    }

    private var secondsSinceStart: Double {
        let elapsed = startedAt.duration(to: clock.now).components
        return Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
    }

    private func unauthorized(_ message: String) -> RequestRefusal {
        var refusal = RequestRefusal(.unauthorized, code: "UnrecognizedClientException", message: message)
        refusal.headers[.wwwAuthenticate] = "Bearer realm=\"weir\""
        // Another guess costs another connection, and whoever has no token keeps none.
        refusal.headers[.connection] = "close"
        return refusal
    }

    private func requireAddressedHost(_ request: Request) throws {
        guard let authority = request.head.authority, !authority.isEmpty else { return }
        guard case .tcp(let host, _) = try? AdminAddress(parsing: authority),
            host == "localhost" || AdminAddress.isAddressLiteral(host)
        else {
            throw RequestRefusal(
                .forbidden, code: "AccessDenied",
                message: "Host \"\(authority)\" is no address of this server. "
                    + "Name it by its IP address or localhost.")
        }
    }

    private func requireJSON(_ request: Request) throws {
        let type = request.headers[.contentType] ?? ""
        let mediaType = type.split(separator: ";").first ?? ""
        guard mediaType.trimmingCharacters(in: .whitespaces).lowercased() == "application/json" else {
            throw RequestRefusal(
                .unsupportedMediaType, code: "UnsupportedMediaType",
                message: "Content-Type \"\(type)\" is not taken. "
                    + "Send JSON with \"Content-Type: application/json\".")
        }
    }
}
