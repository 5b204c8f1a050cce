// Where the admin API listens: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.
//
// One spelling for the configuration file, the server and the command line. Whether an address is reachable
// from other machines decides whether a token is required, so `isLocal` errs towards false.

import Foundation

package enum AdminAddress: Hashable, Sendable {
    case tcp(host: String, port: Int)
    case unix(path: String)

    package static let defaultPort = 9900
    package static let standard = AdminAddress.tcp(host: "127.0.0.1", port: defaultPort)

    /// Reads `HOST[:PORT]`, `[IPV6][:PORT]` or `unix:/path`.
    package init(parsing text: String) throws(AdminAddressError) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst("unix:".count))
            guard path.hasPrefix("/") else { throw AdminAddressError(text: text, cause: .relativePath) }
            self = .unix(path: path)
            return
        }
        let (host, port) = Self.splitPort(of: text)
        guard !host.isEmpty, !host.contains("/"), !host.contains(" ") else {
            throw AdminAddressError(text: text, cause: .shape)
        }
        guard let port else {
            self = .tcp(host: host, port: Self.defaultPort)
            return
        }
        guard let number = Int(port), (0...65_535).contains(number) else {
            throw AdminAddressError(text: text, cause: .port)
        }
        self = .tcp(host: host, port: number)
    }

    /// True when only this machine can connect: a Unix socket, 127.0.0.0/8, ::1 or `localhost`.
    package var isLocal: Bool {
        switch self {
        case .unix: true
        case .tcp(let host, _): host == "localhost" || Self.isLoopbackLiteral(host)
        }
    }

    /// True for a numeric IPv4 or IPv6 address without brackets.
    package static func isAddressLiteral(_ text: String) -> Bool {
        var ipv4 = in_addr()
        var ipv6 = in6_addr()
        return inet_pton(AF_INET, text, &ipv4) == 1 || inet_pton(AF_INET6, text, &ipv6) == 1
    }

    private static func isLoopbackLiteral(_ text: String) -> Bool {
        text == "::1" || (text.hasPrefix("127.") && isAddressLiteral(text))
    }

    /// Splits `host:port`; a bare IPv6 address, which has several colons, has no port.
    private static func splitPort(of text: String) -> (host: String, port: String?) {
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            let host = String(text[text.index(after: text.startIndex)..<end])
            let rest = text[text.index(after: end)...]
            if rest.isEmpty { return (host, nil) }
            // "[::1]x" has neither a port nor a meaning: the empty host makes the caller refuse it.
            return rest.hasPrefix(":") ? (host, String(rest.dropFirst())) : ("", nil)
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return (text, nil) }
        return (String(parts[0]), String(parts[1]))
    }
}

extension AdminAddress: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}

/// Why a text is no admin address.
package struct AdminAddressError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Cause: Sendable {
        case shape
        case port
        case relativePath
    }

    package let text: String
    package let cause: Cause

    package init(text: String, cause: Cause) {
        self.text = text
        self.cause = cause
    }

    package var description: String {
        switch cause {
        case .shape:
            "admin address \"\(text)\" is not understood. Write HOST:PORT, [IPV6]:PORT or unix:/path."
        case .port:
            "admin address \"\(text)\": the port must be a number from 0 to 65535. "
                + "Write HOST:PORT, for instance 127.0.0.1:\(AdminAddress.defaultPort)."
        case .relativePath:
            "admin address \"\(text)\": a Unix socket needs an absolute path. "
                + "Write unix:/path, for instance unix:/run/weir/admin.sock."
        }
    }
}
