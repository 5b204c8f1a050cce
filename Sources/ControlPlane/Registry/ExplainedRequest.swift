// A request that nobody sent, for `explain`: the head that a parser would make of it.

import AdminModel
import Balancing
import HTTPCore

struct ExplainedRequest {
    private(set) var head = RequestHead()
    private(set) var bytes: [UInt8] = []
    /// As it is asked for: that of the listener when nobody says.
    let host: String
    let isHostGiven: Bool
    let method: String
    let target: String

    /// - Parameter local: Where the client arrives; a client that connects to an address asks for that.
    init(_ request: ExplainRequest, local: Endpoint) throws(ControlError) {
        isHostGiven = request.host != nil
        let address = local.address
        host = request.host ?? (address.family == .v6 ? "[\(address)]" : address.description)
        method = request.method ?? "GET"
        var (path, query) = Self.split(request.path ?? "/")
        if let given = request.query {
            guard query == nil else {
                throw Self.invalid(
                    "the path has a query already, and another one is given beside it. Keep one")
            }
            query = given.hasPrefix("?") ? String(given.dropFirst()) : given
        }
        if path.isEmpty { path = "/" }
        guard path.hasPrefix("/") else {
            throw Self.invalid("path \"\(ConfigurationReader.shortened(path))\" must begin with \"/\"")
        }
        target = path + (query.map { "?\($0)" } ?? "")

        head.methodBytes = append(method)
        if method == "GET" { head.method = .get }
        head.target = append(target)
        head.path = ByteRange(start: head.target.start, count: UInt32(path.utf8.count))
        if let query {
            head.hasQuery = true
            head.query = ByteRange(
                start: head.path.start + head.path.count + 1, count: UInt32(query.utf8.count))
        }
        head.authority = append(host)
        for text in request.headers {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw Self.invalid("header \"\(ConfigurationReader.shortened(text))\" must be NAME:VALUE")
            }
            let value = parts[1].drop { $0 == " " || $0 == "\t" }
            head.fields.append(
                HeadField(name: append(String(parts[0])), value: append(String(value)), id: .other))
        }
    }

    private mutating func append(_ text: String) -> ByteRange {
        let start = bytes.count
        bytes += text.utf8
        return ByteRange(start..<bytes.count)
    }

    private static func split(_ target: String) -> (path: String, query: String?) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        return (String(parts[0]), parts.count > 1 ? String(parts[1]) : nil)
    }

    private static func invalid(_ message: String) -> ControlError {
        ControlError(kind: .invalid, code: "ValidationError", message: "\(message).")
    }
}
