// ClientHellos: real and composed ones, cut everywhere, and what only looks like one.

import Balancing
import Testing

/// An outcome as a plain value.
enum HelloOutcome: Equatable {
    case needMore(Int)
    case hello(String?, [String])
    case notTLS
    case oversized
    case invalid(ClientHelloParser.Fault)
}

private func parse(_ bytes: [UInt8]) -> HelloOutcome {
    switch ClientHelloParser.parse(bytes.span) {
    case .needMore(let byteCount): .needMore(byteCount)
    case .hello(let hello): .hello(hello.serverName?.description, hello.applicationProtocols.names)
    case .notTLS: .notTLS
    case .oversized: .oversized
    case .invalid(let fault): .invalid(fault)
    }
}

private func parse(_ extensions: [[UInt8]]) -> HelloOutcome {
    var hello = SampleHello()
    hello.extensions = extensions
    return parse(hello.bytes)
}

@Suite struct `ClientHello parser` {
    /// What `openssl s_client` of OpenSSL 3.0 sent, and what it had been asked to ask for.
    private static let real: [(bytes: [UInt8], expected: HelloOutcome)] = [
        // -servername WWW.Example.COM -alpn h2,http/1.1
        (
            bytes(
                hex: """
                    160301014e0100014a03037339f449e2bcc1629b5622eb479aeb279c97a2cb654f3d990ca3287a9f6fe6
                    9420e14d0d3ec112d6ed872e88387144608cb40693b25318e91695d12d5f82e25426003e130213031301
                    c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033
                    009d009c003d003c0035002f00ff010000c300000014001200000f5757572e4578616d706c652e434f4d
                    000b000403000102000a00160014001d0017001e0019001801000101010201030104002300000010000e
                    000c02683208687474702f312e310016000000170000000d002a0028040305030603080708080809080a
                    080b080408050806040105010601030303010302040205020602002b0009080304030303020301002d00
                    020101003300260024001d002025e6f23a9020c1f6f347e7a736276a76223301d0c20c769d3dc0f42c44
                    54ec53
                    """), .hello("www.example.com", ["h2", "http/1.1"])
        ),
        // -servername example.org -tls1_2
        (
            bytes(
                hex: """
                    16030100cb010000c703039b164c49fe60ed18956023a20e9b6dcfa19fb7843d070bc64232ac58a02056
                    d6000038c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009
                    c0130033009d009c003d003c0035002f00ff0100006600000010000e00000b6578616d706c652e6f7267
                    000b000403000102000a000c000a001d0017001e00190018002300000016000000170000000d002a0028
                    040305030603080708080809080a080b080408050806040105010601030303010302040205020602
                    """), .hello("example.org", [])
        ),
        // -noservername
        (
            bytes(
                hex: """
                    1603010124010001200303ffe9f36ef787f9336a94c09e5d679eaddf99c0bcc6bfc14a6b2b54b5bc48b9
                    ad209c8c84c5535d947d3ffb58293e36260768d780e439745ca45ed65b807466c26f003e130213031301
                    c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033
                    009d009c003d003c0035002f00ff01000099000b000403000102000a00160014001d0017001e00190018
                    01000101010201030104002300000016000000170000000d002a0028040305030603080708080809080a
                    080b080408050806040105010601030303010302040205020602002b0009080304030303020301002d00
                    020101003300260024001d00207512e651736051b7c84014b975ae025837f38eec86436a10cfa128c585
                    713621
                    """), .hello(nil, [])
        ),
    ]

    @Test func `reads what OpenSSL sends, whatever follows`() {
        for (bytes, expected) in Self.real {
            #expect(parse(bytes) == expected)
            #expect(parse(bytes + [0, 1, 2]) == expected)
        }
    }

    @Test func `every beginning needs more, and never more than there will be`() {
        for (bytes, _) in Self.real + [(SampleHello.greased.bytes, .notTLS)] {
            for count in bytes.indices {
                guard case .needMore(let atLeast) = parse(Array(bytes[..<count])) else {
                    Issue.record("\(count) bytes")
                    continue
                }
                #expect(atLeast > count && atLeast <= bytes.count)
                // The length of the whole is known from the message's head on.
                if count >= 9 { #expect(atLeast == bytes.count) }
            }
        }
    }

    @Test func `records of any size read the same`() {
        for (bytes, expected) in Self.real {
            let message = Array(bytes[5...])
            for size in 1...message.count {
                let cut = SampleHello.records(message, of: size)
                #expect(parse(cut) == expected, "records of \(size)")
                guard size < 4 || size % 50 == 0 else { continue }
                for count in cut.indices {
                    guard case .needMore(let atLeast) = parse(Array(cut[..<count])) else {
                        Issue.record("\(count) bytes in records of \(size)")
                        continue
                    }
                    #expect(atLeast > count && atLeast <= cut.count)
                }
            }
        }
    }

    @Test func `passes over made-up values wherever they stand`() {
        let expected = HelloOutcome.hello("outer.example.com", ["\u{0A}\u{0A}", "h2", "http/1.1"])
        let hello = SampleHello.greased
        #expect(parse(hello.bytes) == expected)
        #expect(parse(SampleHello.records(hello.message, of: 1)) == expected)
        #expect(parse(SampleHello.records(hello.message, of: 500)) == expected)
    }

    @Test func `a hello may end before its extensions`() {
        var hello = SampleHello()
        hello.version = [3, 1]
        hello.extensions = nil
        #expect(parse(hello.bytes) == .hello(nil, []))
        hello.extensions = []
        #expect(parse(hello.bytes) == .hello(nil, []))
    }

    @Test func `knows which protocols are offered`() {
        var hello = SampleHello()
        hello.extensions = [SampleHello.applicationProtocols(["http/1.1", "h2", "acme-tls/1"])]
        guard case .hello(let parsed) = ClientHelloParser.parse(hello.bytes.span) else {
            Issue.record("\(parse(hello.bytes))")
            return
        }
        for (name, isOffered) in [
            ("h2", true), ("http/1.1", true), ("acme-tls/1", true), ("h", false), ("h22", false), ("", false),
            ("H2", false), ("http/1.0", false), ("1.1", false),
        ] {
            let bytes = Array(name.utf8)
            #expect(parsed.applicationProtocols.contains(bytes.span) == isOffered, "\(name)")
        }
        #expect(!parsed.applicationProtocols.isEmpty)
    }

    @Test func `keeps as many protocols as have room`() {
        let names = (0..<40).map { "protocol-\($0)" }
        guard case .hello(nil, let kept) = parse([SampleHello.applicationProtocols(names)]) else {
            Issue.record("not read")
            return
        }
        #expect(kept == Array(names.prefix(kept.count)))
        #expect(kept.map { $0.utf8.count + 1 }.reduce(0, +) <= 255 && kept.count >= 20)
        // A name that alone is too long keeps later ones out, too: those kept are the client's first.
        let long = String(repeating: "x", count: 255)
        #expect(parse([SampleHello.applicationProtocols([long, "h2"])]) == .hello(nil, []))
    }

    @Test(arguments: [
        "a.test.", "A.TEST", "a.test",
    ])
    func `names come in one spelling`(name: String) {
        #expect(parse([SampleHello.serverName(name)]) == .hello("a.test", []))
    }

    @Test(arguments: [
        "-a.test", "a..test", ".", "a b", "a\0.test", "ä.test", "*.test", "a:443", "[::1]",
        String(repeating: "a.", count: 300) + "a",
    ])
    func `a name that is none is absent`(name: String) {
        #expect(parse([SampleHello.serverName(name)]) == .hello(nil, []))
        // What follows it is read all the same.
        #expect(
            parse([SampleHello.serverName(name), SampleHello.applicationProtocols(["h2"])])
                == .hello(nil, ["h2"]))
    }

    @Test func `other types of names are passed over`() {
        let other = [7] + counted16([1, 2, 3])
        let host = [0] + counted16(Array("a.test".utf8))
        #expect(parse([SampleHello.field(0, counted16(other + host))]) == .hello("a.test", []))
        #expect(parse([SampleHello.field(0, counted16(host + other))]) == .hello("a.test", []))
        #expect(parse([SampleHello.field(0, counted16(other))]) == .hello(nil, []))
    }

    @Test(
        arguments: [
            // Server names: nothing, half, a length of its own, two names, an empty one.
            (SampleHello.field(0, []), .serverName), (SampleHello.field(0, [0]), .serverName),
            (SampleHello.field(0, [0, 0]), .serverName),
            (SampleHello.field(0, [0, 3, 0, 0, 0]), .serverName),
            (SampleHello.field(0, [0, 4, 0, 0, 2, 97]), .serverName),
            (SampleHello.field(0, [0, 5, 0, 0, 1, 97]), .serverName),
            (SampleHello.field(0, [0, 3, 0, 0, 1, 97]), .serverName),
            (SampleHello.field(0, [0, 8, 0, 0, 1, 97, 0, 0, 1, 98]), .serverName),
            (SampleHello.field(0, [0, 6, 0, 0, 1, 97, 0, 0]), .serverName),
            // Protocols: nothing, an empty one, one that ends beyond the list.
            (SampleHello.field(16, []), .applicationProtocols),
            (SampleHello.field(16, [0, 0]), .applicationProtocols),
            (SampleHello.field(16, [0, 1, 0]), .applicationProtocols),
            (SampleHello.field(16, [0, 3, 2, 104, 50, 0]), .applicationProtocols),
            (SampleHello.field(16, [0, 3, 3, 104, 50]), .applicationProtocols),
            (SampleHello.field(16, [0, 4, 2, 104, 50]), .applicationProtocols),
            // Extensions that end beyond the message.
            ([0, 99, 0, 1], .message), ([0, 99, 0], .message), ([0], .message),
        ] as [([UInt8], ClientHelloParser.Fault)])
    func `refuses extensions that contradict themselves`(bytes: [UInt8], fault: ClientHelloParser.Fault) {
        #expect(parse([bytes]) == .invalid(fault))
    }

    @Test func `refuses two answers to one question`() {
        let name = SampleHello.serverName("a.test")
        let protocols = SampleHello.applicationProtocols(["h2"])
        #expect(parse([name, protocols, name]) == .invalid(.repeatedExtension(0)))
        #expect(parse([protocols, protocols]) == .invalid(.repeatedExtension(16)))
    }

    @Test func `refuses parts of impossible length`() {
        var hello = SampleHello()
        hello.sessionID = [UInt8](repeating: 0, count: 33)
        #expect(parse(hello.bytes) == .invalid(.message))
        hello = SampleHello()
        hello.ciphers = [0x13]
        #expect(parse(hello.bytes) == .invalid(.message))
        hello.ciphers = []
        #expect(parse(hello.bytes) == .invalid(.message))
        hello = SampleHello()
        hello.compressions = []
        #expect(parse(hello.bytes) == .invalid(.message))
        // The extensions end before the message or after it.
        let message = SampleHello().message
        #expect(
            parse(SampleHello.records([1] + counted24(message[4...] + [0]), of: 999)) == .invalid(.message))
        #expect(
            parse(SampleHello.records([1] + counted24(Array(message[4..<(message.count - 1)])), of: 999))
                == .invalid(.message))
        #expect(parse(SampleHello.records([1, 0, 0, 0], of: 999)) == .invalid(.message))
    }

    @Test(
        arguments: [
            // Not TLS: text, an SSL 2.0 hello, alerts, application data, another version.
            (Array("GET / HTTP/1.1\r\n".utf8), .notTLS), ([0x80, 0x2E, 1, 3, 1], .notTLS), ([0], .notTLS),
            ([21, 3, 1], .notTLS), ([23], .notTLS), ([22, 2], .notTLS), ([22, 4, 0, 0, 1], .notTLS),
            // TLS, and then not.
            ([22, 3, 1, 0, 0], .invalid(.recordLength(0))),
            ([22, 3, 1, 0x40, 1], .invalid(.recordLength(16_385))),
            ([22, 3, 1, 0, 4, 2], .invalid(.messageType(2))),
            ([22, 3, 1, 0, 1, 1, 21], .invalid(.record)), ([22, 3, 1, 0, 1, 1, 22, 2], .invalid(.record)),
            ([22, 3, 1, 0, 1, 1, 22, 3, 3, 0, 0], .invalid(.recordLength(0))),
            // One byte less than the shortest hello has.
            ([22, 3, 1, 0, 4, 1, 0, 0, 40], .invalid(.message)),
            // 16 KiB and one byte; 16 MiB.
            ([22, 3, 1, 0, 4, 1, 0, 0x40, 1], .oversized),
            ([22, 3, 1, 0, 4, 1, 0xFF, 0xFF, 0xFF], .oversized),
        ] as [([UInt8], HelloOutcome)])
    func `says at once what cannot become a hello`(bytes: [UInt8], expected: HelloOutcome) {
        #expect(parse(bytes) == expected)
    }

    @Test func `takes a hello as long as the bound, in up to so many records`() {
        var hello = SampleHello()
        let name = SampleHello.serverName("a.test")
        let rest = Limits.clientHelloByteCountMax + 4 - hello.message.count - name.count - 4
        hello.extensions = [name, SampleHello.field(21, [UInt8](repeating: 0, count: rest))]
        #expect(hello.message.count == Limits.clientHelloByteCountMax + 4)
        #expect(parse(hello.bytes) == .hello("a.test", []))
        #expect(parse(SampleHello.records(hello.message, of: 10)) == .hello("a.test", []))
        // Records of two bytes take more than may be peeked at, which shows before all of them are there.
        let cut = SampleHello.records(hello.message, of: 2)
        #expect(cut.count > Limits.clientHelloPeekByteCountMax)
        #expect(parse(cut) == .oversized)
        let outcomes = stride(from: 0, to: cut.count, by: 1_000).map { parse(Array(cut[..<$0])) }
        #expect(outcomes.first == .needMore(50) && outcomes[25] == .oversized)
        hello.extensions?.append(SampleHello.field(99, []))
        #expect(parse(hello.bytes) == .oversized)
    }

    @Test func `any single changed byte is taken calmly`() {
        for bytes in Self.real.map(\.bytes) + [SampleHello.records(SampleHello.greased.message, of: 300)] {
            for index in bytes.indices {
                for value in [0, 1, 0x16, 0x7F, 0x80, 0xFF] as [UInt8] {
                    var changed = bytes
                    changed[index] = value
                    if case .needMore(let atLeast) = parse(changed) { #expect(atLeast > changed.count) }
                }
            }
        }
    }

    @Test func `random extensions read as they were written, cut at random`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            var hello = SampleHello()
            hello.sessionID = .random(count: Int.random(in: 0...32, using: &generator), using: &generator)
            hello.ciphers = .random(count: 2 * Int.random(in: 1...40, using: &generator), using: &generator)
            let name = Bool.random(using: &generator) ? "host-\(seed).example.test" : nil
            let protocols = (0..<Int.random(in: 0...5, using: &generator)).map { "protocol/\($0)" }
            var extensions = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                SampleHello.field(
                    UInt16.random(in: 17 ... .max, using: &generator),
                    .random(count: Int.random(in: 0...60, using: &generator), using: &generator))
            }
            if let name { extensions.append(SampleHello.serverName(name)) }
            if !protocols.isEmpty { extensions.append(SampleHello.applicationProtocols(protocols)) }
            hello.extensions = extensions.shuffled(using: &generator)
            let size = Int.random(in: 1...400, using: &generator)
            let bytes = SampleHello.records(hello.message, of: size)
            #expect(parse(bytes) == .hello(name, protocols), "seed \(seed)")
            let count = Int.random(in: 0..<bytes.count, using: &generator)
            guard case .needMore(let atLeast) = parse(Array(bytes[..<count])) else {
                Issue.record("seed \(seed): \(count) bytes")
                continue
            }
            #expect(atLeast > count && atLeast <= bytes.count, "seed \(seed)")
        }
    }
}
