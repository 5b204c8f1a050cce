// The subjects that are fuzzed: each takes any bytes, and stops the process when something is wrong.
//
// A subject decides alone by its bytes, so that an input which stops it does so again. Invariants are
// preconditions: libFuzzer keeps the input that breaks one. Debug builds only, as the subjects look inside.

package enum FuzzTarget: String, CaseIterable, Sendable {
    case configuration
    case probeAnswers = "probe-answers"
    case udpFlows = "udp-flows"
    case adminBodies = "admin-bodies"
    case proxyHeaders = "proxy-headers"
    case clientHellos = "client-hellos"
    case http1
    case http2
    case rules

    package func run(_ bytes: [UInt8]) async {
        #if DEBUG
        switch self {
        case .configuration: ConfigurationSubject.run(bytes)
        case .probeAnswers: ProbeAnswersSubject.run(bytes)
        case .udpFlows: UDPFlowsSubject.run(bytes)
        case .adminBodies: await AdminBodiesSubject.run(bytes)
        case .proxyHeaders: ProxyHeadersSubject.run(bytes)
        case .clientHellos: ClientHellosSubject.run(bytes)
        case .http1: HTTP1Subject.run(bytes)
        case .http2: HTTP2Subject.run(bytes)
        case .rules: RulesSubject.run(bytes)
        }
        #endif
    }
}

/// Reads decisions off an input; at its end every decision is zero.
struct ByteSource {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    /// 0..<bound.
    mutating func number(below bound: Int) -> Int { Int(byte()) % bound }

    mutating func bytes(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    var remaining: [UInt8] { Array(rest) }
}
