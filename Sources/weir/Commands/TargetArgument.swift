// TARGET on the command line: `ID[:PORT]`, an IPv6 address with a port in brackets.

import AdminModel
import ArgumentParser

enum TargetArgument {
    static func parse(_ text: String) throws -> TargetSpecification {
        guard !text.isEmpty else { throw ValidationError("a target must not be empty. Write ID[:PORT].") }
        if text.hasPrefix("[") { return try parseBracketed(text) }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        // A bare IPv6 address has several colons and no port.
        guard parts.count == 2 else { return TargetSpecification(id: text) }
        return TargetSpecification(id: parts[0], port: try parsePort(parts[1], of: text))
    }

    private static func parseBracketed(_ text: String) throws -> TargetSpecification {
        guard let end = text.firstIndex(of: "]") else {
            throw ValidationError("\"\(text)\" has no closing bracket. Write [IPV6]:PORT.")
        }
        let id = String(text[text.index(after: text.startIndex)..<end])
        let rest = text[text.index(after: end)...]
        if rest.isEmpty { return TargetSpecification(id: id) }
        guard rest.hasPrefix(":") else {
            throw ValidationError("\"\(rest)\" after the bracket is no port. Write [IPV6]:PORT.")
        }
        return TargetSpecification(id: id, port: try parsePort(String(rest.dropFirst()), of: text))
    }

    private static func parsePort(_ port: String, of text: String) throws -> Int {
        guard let number = Int(port), (1...65_535).contains(number) else {
            throw ValidationError("port \"\(port)\" of \"\(text)\" must be a number from 1 to 65535.")
        }
        return number
    }
}
