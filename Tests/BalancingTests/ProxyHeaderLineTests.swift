// PROXY protocol version 1: exactly the line of section 2.1 and nothing near it.

import Balancing
import Testing

private func parse(_ text: String) -> ProxyHeaderParser.Outcome {
    ProxyHeaderParser.parse(Array(text.utf8).span)
}

@Suite struct `PROXY header line` {
    @Test(
        arguments: [
            (
                "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1:56324",
                "192.168.0.11:443"
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535",
                "255.255.255.255:65535"
            ),
            // As haproxy 2.6 sent it.
            ("PROXY TCP6 ::1 ::1 50702 51391\r\n", "[::1]:50702", "[::1]:51391"),
            (
                "PROXY TCP6 2001:DB8::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 1 2\r\n", "[2001:db8::1]:1",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:2"
            ),
            // What inet_ntop prints for mapped addresses.
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2\r\n", "[::ffff:192.0.2.1]:1",
                "[::ffff:192.0.2.2]:2"
            ),
        ])
    func `reads addresses and ports`(text: String, source: String, destination: String) throws {
        let origin = ProxyHeader.Origin.relayed(
            source: try #require(Endpoint(source)), destination: try #require(Endpoint(destination)),
            transport: .tcp)
        for tail in ["", "GET / HTTP/1.1\r\n\r\n", "\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"] {
            guard case .header(let header, text.utf8.count) = parse(text + tail) else {
                Issue.record("\(parse(text + tail))")
                continue
            }
            #expect(header.version == .v1 && header.origin == origin)
        }
    }

    @Test func `ports may be zero`() throws {
        guard case .header(let header, _) = parse("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"),
            case .relayed(let source, let destination, .tcp) = header.origin
        else {
            Issue.record("not read")
            return
        }
        #expect(source == Endpoint(address: .anyV4, port: 0) && destination == source)
    }

    @Test(arguments: [
        "PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN anything, even \u{1} and é\r\n",
        "PROXY UNKNOWN ffff:f:f:f:f:f:f:ffff ffff:f:f:f:f:f:f:ffff 65535 65535\r\n",
        "PROXY UNKNOWN " + String(repeating: "x", count: 91) + "\r\n",
    ])
    func `unknown counts, whatever follows`(text: String) {
        guard case .header(let header, text.utf8.count) = parse(text + "rest") else {
            Issue.record("\(parse(text))")
            return
        }
        #expect(header.version == .v1 && header.origin == .unknown)
    }

    @Test(arguments: [
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "PROXY TCP6 ::1 ::2 1 2\r\n",
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN something\r\n", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
    ])
    func `every beginning needs more, and never more than there will be`(text: String) {
        for count in 0..<text.utf8.count {
            guard
                case .needMore(let atLeast) = parse(String(decoding: text.utf8.prefix(count), as: UTF8.self))
            else {
                Issue.record("\(count) bytes of \(text)")
                continue
            }
            #expect(atLeast > count && atLeast <= text.utf8.count)
        }
    }

    @Test(
        arguments: [
            // The beginning.
            ("PROXZ", .signature), ("PROXY\t", .signature), ("proxy ", .signature), ("PROXY\r\n", .signature),
            ("P\r", .signature), ("POST / HTTP/1.1\r\n", .signature),
            // The protocol.
            ("PROXY  TCP4", .lineProtocol), ("PROXY TCP5", .lineProtocol), ("PROXY tcp4 ", .lineProtocol),
            ("PROXY UDP4 ", .lineProtocol), ("PROXY TCP4\t", .lineProtocol),
            ("PROXY TCP4\r\n", .lineProtocol),
            ("PROXY UNKNOWNS", .lineProtocol), ("PROXY UNKNOW\r\n", .lineProtocol),
            ("PROXY \r\n", .lineProtocol),
            // The end.
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", .line), ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\r", .line),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rx", .line), ("PROXY UNKNOWN\n", .lineProtocol),
            ("PROXY UNKNOWN \n", .line), ("PROXY UNKNOWN x\ry\r\n", .line),
            ("PROXY UNKNOWN " + String(repeating: "x", count: 93), .line),
            ("PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n", .line),
            ("PROXY TCP4 " + String(repeating: "1", count: 96), .line),
            // Addresses.
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 x", .lineAddress), ("PROXY TCP4 1.1.1.1\t", .lineAddress),
            ("PROXY TCP4 \r\n", .lineAddress), ("PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 1.1.1.1.1 1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 ::1 ::1 1 1\r\n", .lineAddress), ("PROXY TCP6 1.1.1.1 ::1 1 1\r\n", .lineAddress),
            ("PROXY TCP6 ::1 1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP6 1::2::3 ::1 1 1\r\n", .lineAddress),
            ("PROXY TCP6 12345:: ::1 1 1\r\n", .lineAddress),
            ("PROXY TCP6 ::1%lo ::1 1 1\r\n", .lineAddress), ("PROXY TCP6 [::1] ::1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 0x1.1.1.1 1.1.1.1 1 1\r\n", .lineAddress),
            ("PROXY TCP4 1.1.1.1\r\n", .lineAddress),
            // Ports.
            ("PROXY TCP4 1.1.1.1 1.1.1.1\r\n", .linePort), ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1  1 1\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 00\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 1 100000\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 a 1\r\n", .linePort),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n", .lineAddress),
            ("PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", .lineAddress),
        ] as [(String, ProxyHeaderParser.Fault)])
    func `refuses anything else`(text: String, fault: ProxyHeaderParser.Fault) {
        #expect(parse(text) == .invalid(fault))
    }

    @Test func `any line of random addresses reads back`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let source = Endpoint.random(using: &generator)
            var destination = Endpoint.random(using: &generator)
            while destination.address.family != source.address.family {
                destination = Endpoint.random(using: &generator)
            }
            let family = source.address.family == .v4 ? "TCP4" : "TCP6"
            let text =
                "PROXY \(family) \(source.address) \(destination.address) "
                + "\(source.port) \(destination.port)\r\n"
            guard case .header(let header, text.utf8.count) = parse(text) else {
                Issue.record("seed \(seed): \(text)")
                continue
            }
            #expect(
                header.origin == .relayed(source: source, destination: destination, transport: .tcp),
                "seed \(seed)")
        }
    }
}
