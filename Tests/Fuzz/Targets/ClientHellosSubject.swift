// Any bytes as a ClientHello: judged the same however they arrive and in whatever records.
#if DEBUG

import Balancing

enum ClientHellosSubject {
    private enum Verdict: Equatable {
        case needMore(Int)
        case hello(ServerName?, [String])
        case notTLS
        case oversized
        case invalid(ClientHelloParser.Fault)
    }

    private static func judge(_ bytes: [UInt8]) -> Verdict {
        switch ClientHelloParser.parse(bytes.span) {
        case .needMore(let byteCount): .needMore(byteCount)
        case .hello(let hello): .hello(hello.serverName, hello.applicationProtocols.names)
        case .notTLS: .notTLS
        case .oversized: .oversized
        case .invalid(let fault): .invalid(fault)
        }
    }

    static func run(_ bytes: [UInt8]) {
        let whole = judge(bytes)
        if case .needMore(let atLeast) = whole {
            precondition(atLeast > bytes.count && atLeast <= Limits.clientHelloPeekByteCountMax)
        }
        if case .hello(let name, let protocols) = whole {
            check(name, protocols)
            let message = unrecorded(bytes)
            for size in [1, 2, 7, 100, 1 << 14] where message.count / size * (size + 5) < 30_000 {
                precondition(judge(recorded(message, of: size)) == whole, "records of \(size) say the same")
            }
        }
        for count in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 256)) {
            let part = judge(Array(bytes[..<count]))
            switch (part, whole) {
            case (.needMore(let atLeast), .needMore(let wholeAtLeast)):
                precondition(atLeast > count && atLeast <= wholeAtLeast)
            case (.needMore(let atLeast), .hello):
                precondition(atLeast > count && atLeast <= bytes.count, "waits for nothing beyond")
            case (.needMore, _):
                break
            default:
                precondition(part == whole, "a verdict stands, whatever follows")
            }
        }
    }

    private static func check(_ name: ServerName?, _ protocols: [String]) {
        precondition(protocols.allSatisfy { !$0.isEmpty })
        guard let name else { return }
        precondition(ServerName(name.description) == name && (1...253).contains(name.byteCount))
        guard let pattern = ServerNamePattern(name.description) else {
            preconditionFailure("a name is a pattern")
        }
        let table = ServerNameTable([(pattern: pattern, value: 1)], default: 0)
        precondition(table.value(for: name) == 1)
    }

    /// The handshake bytes of all whole records.
    private static func unrecorded(_ bytes: [UInt8]) -> [UInt8] {
        var message: [UInt8] = []
        var rest = bytes[...]
        while rest.count >= 5 {
            let head = Array(rest.prefix(5))
            guard head[0] == 22, head[1] == 3 else { break }
            rest = rest.dropFirst(5)
            message += rest.prefix(Int(head[3]) << 8 | Int(head[4]))
            rest = rest.dropFirst(Int(head[3]) << 8 | Int(head[4]))
        }
        return message
    }

    private static func recorded(_ message: [UInt8], of size: Int) -> [UInt8] {
        stride(from: 0, to: message.count, by: size).flatMap { start in
            let fragment = message[start..<min(start + size, message.count)]
            return [22, 3, 3, UInt8(fragment.count >> 8), UInt8(fragment.count & 0xFF)] + fragment
        }
    }
}
#endif
