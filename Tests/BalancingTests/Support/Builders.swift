// Short ways to write the values that most tests need.

import Balancing
import Testing

/// An address from text that the test knows to be right.
func address(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> IPAddress {
    try #require(IPAddress(text), "not an address: \(text)", sourceLocation: sourceLocation)
}

extension HashSeed {
    static let test = HashSeed(first: 0x0706_0504_0302_0100, second: 0x0f0e_0d0c_0b0a_0908)
}

extension FlowKey {
    /// A client's TCP flow to 192.0.2.1:80.
    static func tcp(from client: IPAddress, port: UInt16) -> FlowKey {
        FlowKey(
            client: Endpoint(address: client, port: port),
            local: Endpoint(address: IPAddress(v4: 0xC000_0201), port: 80), transport: .tcp)
    }

    static func random(using generator: inout SplitMix64) -> FlowKey {
        FlowKey(
            client: .random(using: &generator), local: .random(using: &generator),
            transport: Bool.random(using: &generator) ? .tcp : .udp)
    }
}

extension Endpoint {
    static func random(using generator: inout SplitMix64) -> Endpoint {
        Endpoint(address: .random(using: &generator), port: .random(in: 1 ... .max, using: &generator))
    }
}

extension IPAddress {
    /// Either family; IPv6 groups are zero half of the time, so that every shape of `::` comes up.
    static func random(using generator: inout SplitMix64) -> IPAddress {
        if Bool.random(using: &generator) {
            return IPAddress(v4: UInt32.random(in: 0 ... .max, using: &generator))
        }
        var words: (UInt64, UInt64) = (0, 0)
        for _ in 0..<4 {
            words.0 = words.0 << 16 | randomGroup(using: &generator)
            words.1 = words.1 << 16 | randomGroup(using: &generator)
        }
        return IPAddress(v6High: words.0, v6Low: words.1)
    }

    private static func randomGroup(using generator: inout SplitMix64) -> UInt64 {
        switch Int.random(in: 0..<8, using: &generator) {
        case 0..<4: 0
        case 4: 0xFFFF
        case 5: .random(in: 1..<16, using: &generator)
        default: .random(in: 0...0xFFFF, using: &generator)
        }
    }
}
