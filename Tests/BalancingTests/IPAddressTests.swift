// IP addresses and endpoints: what is read, what is refused, and RFC 5952 in print.

import Balancing
import Testing

@Suite struct `IP address` {
    @Test(arguments: [
        // As written, and as RFC 5952 prints it.
        ("0.0.0.0", "0.0.0.0"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.10", "192.0.2.10"),
        ("255.255.255.255", "255.255.255.255"),
        ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8::ABCD", "2001:db8::abcd"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        // Section 4.2.2: one zero group alone is not shortened.
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        // Section 4.2.3: the longest run; of equal ones the first.
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("1:0:0:0:0:0:0:0", "1::"),
        ("0:0:0:0:0:0:0:2", "::2"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("fe80::1", "fe80::1"),
        // Dotted quads at the end: kept for mapped addresses (section 5), hexadecimal for the rest.
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("::FFFF:c000:0201", "::ffff:192.0.2.1"),
        ("::192.0.2.1", "::c000:201"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:c000:201"),
    ])
    func `prints by RFC 5952 what it read`(text: String, canonical: String) throws {
        #expect(try address(text).description == canonical)
        #expect(try address(canonical) == address(text))
    }

    @Test(arguments: [
        "", " ", "localhost", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.256",
        "1.2.3.1000",
        "01.2.3.4", "1.2.3.04", "1.2.3.-4", "+1.2.3.4", "1.2.3.4 ", " 1.2.3.4", "0x1.2.3.4", "1.2.3.4/24",
        "1.2.3.٤",
        ":", ":::", "1:", ":1", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:",
        ":2:3:4:5:6:7:8",
        "1::2::3", "::1::", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "12345::", "g::",
        "::-1",
        "::1%eth0", "[::1]", "::1 ", "::1.2.3", "::1.2.3.256", "::1.2.3.4:5", "1.2.3.4::", "1.2.3.4::1",
        "1:2:3:4:5:6:7:1.2.3.4", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", "::ffff:01.2.3.4",
    ])
    func `refuses what is not an address`(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func `any address survives printing and reading`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            for _ in 0..<16 {
                let address = IPAddress.random(using: &generator)
                #expect(IPAddress(address.description) == address, "seed \(seed)")
            }
        }
    }

    @Test func `a mapped address stays IPv6`() throws {
        let mapped = try address("::ffff:192.0.2.1")
        #expect(mapped.family == .v6)
        #expect(try mapped != address("192.0.2.1"))
    }

    @Test(arguments: [
        // Text, unspecified, loopback, multicast.
        ("0.0.0.0", true, false, false), ("::", true, false, false), ("127.0.0.1", false, true, false),
        ("127.255.255.254", false, true, false), ("128.0.0.1", false, false, false),
        ("::1", false, true, false),
        ("::2", false, false, false), ("224.0.0.1", false, false, true),
        ("239.255.255.255", false, false, true),
        ("240.0.0.1", false, false, false), ("ff02::1", false, false, true), ("fe80::1", false, false, false),
        ("0.0.0.1", false, false, false),
    ])
    func `knows its special ranges`(
        text: String, isUnspecified: Bool, isLoopback: Bool, isMulticast: Bool
    ) throws {
        let address = try address(text)
        #expect(address.isUnspecified == isUnspecified)
        #expect(address.isLoopback == isLoopback)
        #expect(address.isMulticast == isMulticast)
    }
}

@Suite struct `Endpoint text` {
    @Test(arguments: [
        ("192.0.2.1:80", "192.0.2.1:80"), ("192.0.2.1:65535", "192.0.2.1:65535"), ("[::1]:80", "[::1]:80"),
        ("[2001:DB8:0::1]:443", "[2001:db8::1]:443"), ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]:1"),
    ])
    func `prints what it read`(text: String, canonical: String) throws {
        #expect(try #require(Endpoint(text)).description == canonical)
    }

    @Test(arguments: [
        "", "80", ":80", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:-1",
        "192.0.2.1:+1",
        "192.0.2.1: 80", "192.0.2.1:80 ", "192.0.2.1:80:80", "192.0.2.1:http", "[192.0.2.1]:80", "::1",
        "[::1]",
        "[::1]80", "[::1]:", "[::1:80", "::1]:80", "[]:80", "[::1]:0", "[::1]:65536", "[[::1]]:80", "host:80",
        "192.0.2.1:٨٠",
    ])
    func `refuses what is not an address and a port`(text: String) {
        #expect(Endpoint(text) == nil)
    }

    @Test func `any endpoint survives printing and reading`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let endpoint = Endpoint.random(using: &generator)
            #expect(Endpoint(endpoint.description) == endpoint, "seed \(seed)")
        }
    }

    @Test(
        arguments: [
            ("192.0.2.1", "192.0.2.1", nil), ("192.0.2.1:80", "192.0.2.1", 80),
            ("2001:db8::1", "2001:db8::1", nil),
            ("[2001:db8::1]", "2001:db8::1", nil), ("[2001:db8::1]:80", "2001:db8::1", 80),
            // A bare IPv6 address has no port: its last group only looks like one.
            ("2001:db8::1:80", "2001:db8::1:80", nil),
        ] as [(String, String, UInt16?)])
    func `a target's port may be left out`(text: String, host: String, port: UInt16?) throws {
        let parsed = try #require(AddressAndPort(text))
        #expect(try parsed.address == address(host))
        #expect(parsed.port == port)
    }
}

@Suite struct `Listener ID` {
    @Test(arguments: ["edge:443", "a:1", "with-dash:65535"])
    func `prints what it read`(text: String) throws {
        #expect(try #require(ListenerID(text)).description == text)
    }

    @Test(arguments: [
        "", "edge", ":443", "edge:", "edge:0", "edge:65536", "edge:-1", "edge:+443", "edge:http",
    ])
    func `refuses what is not a load balancer and a port`(text: String) {
        #expect(ListenerID(text) == nil)
    }
}
