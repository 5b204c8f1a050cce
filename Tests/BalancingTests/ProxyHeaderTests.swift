// PROXY protocol version 2: written as the specification and haproxy have it, read back the same, and nothing
// that a peer may send does more than end its connection.

import Balancing
import Testing

private func parse(_ bytes: [UInt8]) -> ProxyHeaderParser.Outcome { ProxyHeaderParser.parse(bytes.span) }

private let signature = bytes(hex: "0d0a0d0a 000d0a51 5549540a")

private func relayed(
    _ source: String, _ destination: String, _ transport: Transport = .tcp
) throws -> ProxyHeader.Origin {
    try .relayed(
        source: #require(Endpoint(source)), destination: #require(Endpoint(destination)), transport: transport
    )
}

@Suite struct `PROXY header writer` {
    @Test(
        arguments: [
            // Source, destination, transport, and what follows the signature.
            (
                "192.0.2.1:56324", "198.51.100.7:443", .tcp,
                "21 11 000c c0000201 c6336407 dc04 01bb"
            ),
            (
                "192.0.2.1:53", "198.51.100.7:65535", .udp,
                "21 12 000c c0000201 c6336407 0035 ffff"
            ),
            (
                "[2001:db8::1]:1", "[2001:db8::2]:2", .tcp,
                "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 0001 0002"
            ),
            (
                "[2001:db8::1]:1", "[2001:db8::2]:2", .udp,
                "21 22 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 0001 0002"
            ),
            // Mixed families: the IPv4 side is mapped.
            (
                "192.0.2.1:1", "[2001:db8::2]:2", .tcp,
                "21 21 0024 00000000000000000000ffffc0000201 20010db8000000000000000000000002 0001 0002"
            ),
            (
                "[2001:db8::1]:1", "198.51.100.7:2", .udp,
                "21 22 0024 20010db8000000000000000000000001 00000000000000000000ffffc6336407 0001 0002"
            ),
        ] as [(String, String, Transport, String)])
    func `writes addresses as section 2-2 lays them out`(
        source: String, destination: String, transport: Transport, rest: String
    ) throws {
        let sample = SampleHeader(try relayed(source, destination, transport))
        #expect(sample.bytes == signature + bytes(hex: rest))
    }

    @Test func `a header for itself has no addresses`() {
        #expect(SampleHeader(.local).bytes == signature + bytes(hex: "20 00 0000"))
    }

    @Test func `writes every value with its type and length`() throws {
        var sample = SampleHeader(try relayed("192.0.2.1:1", "192.0.2.2:2"))
        sample.applicationProtocol = Array("h2".utf8)
        sample.authority = Array("a.example".utf8)
        sample.uniqueID = [1, 2, 3]
        sample.tls = SampleHeader.TLS(
            client: 7, verifyResult: 0x0102_0304, version: Array("TLSv1.3".utf8),
            commonName: Array("cn".utf8), cipher: Array("c".utf8), signatureAlgorithm: Array("s".utf8),
            keyAlgorithm: Array("k".utf8))
        let tls =
            bytes(hex: "07 01020304 21 0007") + Array("TLSv1.3".utf8) + bytes(hex: "22 0002")
            + Array("cn".utf8)
            + bytes(hex: "23 0001") + Array("c".utf8) + bytes(hex: "24 0001") + Array("s".utf8)
            + bytes(hex: "25 0001") + Array("k".utf8)
        let block =
            bytes(hex: "c0000201 c0000202 0001 0002") + bytes(hex: "01 0002") + Array("h2".utf8)
            + bytes(hex: "02 0009") + Array("a.example".utf8) + [0x20] + counted16(tls)
            + bytes(hex: "05 0003 010203")
        #expect(sample.bytes == signature + [0x21, 0x11] + counted16(block))
    }

    @Test func `computes the checksum that haproxy computes`() throws {
        // Sent by haproxy 2.6 with proxy-v2-options crc32c.
        let sent = signature + bytes(hex: "21 11 0013 7f000001 7f000001 b834 c2c1 03 0004 50b3f715")
        var sample = SampleHeader(try relayed("127.0.0.1:47156", "127.0.0.1:49857"))
        sample.isChecksummed = true
        #expect(sample.bytes == sent)
    }

    /// Castagnoli's polynomial over "123456789", and the vectors of RFC 3720 appendix B.4.
    @Test(
        arguments: [
            (Array("123456789".utf8), 0xE306_9283), ([], 0), ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
            ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43), (Array(0...31), 0x46DD_794E),
            (Array((0...31).reversed()), 0x113F_DB5C),
        ] as [([UInt8], UInt32)])
    func `computes CRC32c`(bytes: [UInt8], expected: UInt32) {
        var checksum = CRC32C()
        checksum.add(bytes.span)
        #expect(checksum.value == expected)
    }

    @Test func `leaves out what is too long, and the rest stands`() throws {
        let origin = try relayed("192.0.2.1:1", "192.0.2.2:2")
        var sample = SampleHeader(origin)
        sample.authority = [UInt8](repeating: 0x61, count: 256)
        sample.uniqueID = [UInt8](repeating: 0x61, count: 129)
        sample.applicationProtocol = Array("h2".utf8)
        var expected = SampleHeader(origin)
        expected.applicationProtocol = sample.applicationProtocol
        #expect(sample.bytes == expected.bytes)
    }

    @Test func `fits the room it is given, checksum included`() throws {
        let source = try #require(Endpoint("192.0.2.1:1"))
        let value = [UInt8](repeating: 7, count: 100)
        for capacity in ProxyHeaderWriter.plainByteCountMax...200 {
            var isTaken = false
            let bytes = [UInt8](capacity: capacity) { output in
                var writer = ProxyHeaderWriter(
                    source: source, destination: source, transport: .tcp, to: &output)
                isTaken = writer.append(uniqueID: value.span, to: &output)
                writer.finish(isChecksummed: true, to: &output)
            }
            // Fixed part, addresses, value, checksum.
            #expect(isTaken == (capacity >= 16 + 12 + 103 + 7))
            #expect(bytes.count == (isTaken ? 138 : 35))
            guard case .header(let header, bytes.count) = parse(bytes) else {
                Issue.record("\(capacity): \(parse(bytes))")
                continue
            }
            #expect(header.isChecksummed && (header.uniqueID != nil) == isTaken)
        }
    }

    @Test func `begins behind what stands in the output already`() throws {
        var sample = SampleHeader(try relayed("192.0.2.1:1", "192.0.2.2:2"))
        sample.tls = SampleHeader.TLS(version: Array("TLSv1.2".utf8))
        sample.isChecksummed = true
        let behind = [UInt8](capacity: 500) { output in
            output.append(9)
            output.append(9)
            sample.write(to: &output)
        }
        #expect(behind == [9, 9] + sample.bytes)
    }
}

@Suite struct `PROXY header parser` {
    /// Sent by haproxy 2.6 for `openssl s_client -servername www.example.com -alpn h2 -cert …`.
    private static let sentByHaproxy = bytes(
        hex: """
            0d0a0d0a000d0a515549540a2111008e7f0000017f000001c6b8c48703000431684bd2010002683202000f7777772e6578
            616d706c652e636f6d05000e776569722d726571756573742d312000500700000000210007544c5376312e3322000e636c
            69656e742e6578616d706c652500075253413230343824000a5253412d534841323536230016544c535f4145535f323536
            5f47434d5f534841333834
            """)

    @Test func `reads all that haproxy says of a TLS client`() throws {
        var expected = SampleHeader(try relayed("127.0.0.1:50872", "127.0.0.1:50311"))
        expected.applicationProtocol = Array("h2".utf8)
        expected.authority = Array("www.example.com".utf8)
        expected.uniqueID = Array("weir-request-1".utf8)
        expected.tls = SampleHeader.TLS(
            client: 7, verifyResult: 0, version: Array("TLSv1.3".utf8),
            commonName: Array("client.example".utf8), cipher: Array("TLS_AES_256_GCM_SHA384".utf8),
            signatureAlgorithm: Array("RSA-SHA256".utf8), keyAlgorithm: Array("RSA2048".utf8))
        expected.isChecksummed = true
        let sent = Self.sentByHaproxy
        guard case .header(let header, let byteCount) = parse(sent + [1, 2, 3]) else {
            Issue.record("\(parse(sent))")
            return
        }
        #expect(header.version == .v2)
        #expect(byteCount == sent.count)
        #expect(SampleHeader(header, in: sent) == expected)
    }

    @Test func `reads back what was written, whatever follows`() {
        for seed in Seeds.all {
            var generator = SplitMix64(seed: seed)
            let sample = SampleHeader.random(using: &generator)
            let bytes = sample.bytes
            guard case .header(let header, let byteCount) = parse(bytes + signature) else {
                Issue.record("seed \(seed): \(parse(bytes))")
                continue
            }
            #expect(byteCount == bytes.count, "seed \(seed)")
            #expect(SampleHeader(header, in: bytes) == sample, "seed \(seed)")
        }
    }

    @Test func `every beginning of a header needs more, and never more than there will be`() {
        for seed in 0..<8 as Range<UInt64> {
            var generator = SplitMix64(seed: seed)
            let bytes = SampleHeader.random(using: &generator).bytes
            for count in 0..<bytes.count {
                guard case .needMore(let atLeast) = parse(Array(bytes[..<count])) else {
                    Issue.record("seed \(seed), \(count) bytes")
                    continue
                }
                #expect(atLeast > count && atLeast <= bytes.count, "seed \(seed), \(count) bytes")
                if count >= 16 { #expect(atLeast == bytes.count) }
            }
        }
    }

    @Test func `a checksum finds every changed byte`() {
        let sent = Self.sentByHaproxy
        for index in sent.indices {
            for bit in 0..<8 {
                var bytes = sent
                bytes[index] ^= 1 << bit
                switch parse(bytes) {
                case .invalid: break
                // A longer length waits for bytes that do not come.
                case .needMore(let atLeast): #expect(index == 14 || index == 15, "\(atLeast)")
                case .header(let header, let byteCount):
                    // What makes the checksum itself unreadable: another type in its place.
                    #expect(!header.isChecksummed && byteCount == bytes.count && index == 28, "byte \(index)")
                }
            }
        }
    }

    @Test func `any single changed byte is taken calmly`() {
        for seed in 0..<8 as Range<UInt64> {
            var generator = SplitMix64(seed: seed)
            let sent = SampleHeader.random(using: &generator).bytes
            for index in sent.indices {
                for value in [0, 1, 0x20, 0x7F, 0x80, 0xFF] as [UInt8] {
                    var bytes = sent
                    bytes[index] = value
                    if case .header(_, let byteCount) = parse(bytes) {
                        #expect(byteCount <= bytes.count)
                    }
                }
            }
        }
    }

    @Test(
        arguments: [
            // Version and command.
            ("10 11 000c", .versionOrCommand(0x10)), ("31 11 000c", .versionOrCommand(0x31)),
            ("22 11 000c", .versionOrCommand(0x22)), ("01", .versionOrCommand(0x01)),
            // Family and transport.
            ("21 10 000c", .familyOrTransport(0x10)), ("21 01 0000", .familyOrTransport(0x01)),
            ("21 13", .familyOrTransport(0x13)), ("21 41", .familyOrTransport(0x41)),
            ("21 ff", .familyOrTransport(0xFF)), ("21 30", .familyOrTransport(0x30)),
            // Length: one byte more than 2,048 in all; most of all.
            ("21 11 07f1", .tooLong(byteCount: 2_049)), ("20 00 ffff", .tooLong(byteCount: 65_551)),
            // Ends within the addresses.
            ("21 11 000b c0000201c000020200010 0", .addresses), ("21 11 0000", .addresses),
            ("21 21 000c c0000201 c0000202 0001 0002", .addresses), ("21 31 0001 00", .addresses),
            // Values: half a head, too long, lengths that are none of theirs.
            ("21 11 000d c0000201 c0000202 0001 0002 ee", .valueHead),
            ("21 11 000e c0000201 c0000202 0001 0002 ee00", .valueHead),
            ("21 11 0010 c0000201 c0000202 0001 0002 ee0002 00", .value(type: 0xEE)),
            ("21 11 000f c0000201 c0000202 0001 0002 030000", .value(type: 3)),
            ("21 11 0012 c0000201 c0000202 0001 0002 030003 000000", .value(type: 3)),
            ("21 11 0013 c0000201 c0000202 0001 0002 200004 01000000", .value(type: 0x20)),
            // An inner value that ends beyond its outer one.
            ("21 11 0017 c0000201 c0000202 0001 0002 200008 0100000000 210001", .value(type: 0x21)),
            ("21 11 0016 c0000201 c0000202 0001 0002 200007 0100000000 2100", .valueHead),
            // Twice.
            ("21 11 0014 c0000201 c0000202 0001 0002 01000161 01000162", .repeatedValue(type: 1)),
            ("21 11 0012 c0000201 c0000202 0001 0002 020000 020000", .repeatedValue(type: 2)),
            ("21 11 0012 c0000201 c0000202 0001 0002 050000 050000", .repeatedValue(type: 5)),
            (
                "21 11 001a c0000201 c0000202 0001 0002 03000400000000 03000400000000",
                .repeatedValue(type: 3)
            ),
            (
                "21 11 001c c0000201 c0000202 0001 0002 2000050100000000 2000050100000000",
                .repeatedValue(type: 0x20)
            ),
            (
                "21 11 001a c0000201 c0000202 0001 0002 20000b0100000000 220000 220000",
                .repeatedValue(type: 0x22)
            ),
            // A checksum that is wrong, also where nothing else counts.
            ("21 11 0013 c0000201 c0000202 0001 0002 030004 00000000", .checksum),
            ("20 00 0007 030004 00000000", .checksum), ("21 00 0007 030004 00000000", .checksum),
            ("20 11 0013 c0000201 c0000202 0001 0002 030004 00000000", .checksum),
        ] as [(String, ProxyHeaderParser.Fault)])
    func `refuses what no honest sender sends`(rest: String, fault: ProxyHeaderParser.Fault) {
        #expect(parse(signature + bytes(hex: rest)) == .invalid(fault))
    }

    @Test func `refuses values beyond their bounds`() throws {
        let head = bytes(hex: "c0000201 c0000202 0001 0002")
        for (type, countMax) in [(2, 255), (5, 128)] as [(UInt8, Int)] {
            for count in [countMax, countMax + 1] {
                let block = head + [type] + counted16([UInt8](repeating: 1, count: count))
                let outcome = parse(signature + [0x21, 0x11] + counted16(block))
                if count > countMax {
                    #expect(outcome == .invalid(.value(type: type)))
                } else if case .invalid = outcome {
                    Issue.record("\(type), \(count)")
                }
            }
        }
    }

    @Test func `accepts a header as long as the bound`() {
        let block = [UInt8](repeating: 0, count: Limits.proxyHeaderByteCountMax - 16)
        let bytes = signature + [0x20, 0x00] + counted16(block)
        #expect(parse(bytes) == .header(header(.local), byteCount: Limits.proxyHeaderByteCountMax))
    }

    /// As the parser returns it when there are no values.
    private func header(_ origin: ProxyHeader.Origin) -> ProxyHeader {
        guard case .header(let header, _) = parse(SampleHeader(origin).bytes) else {
            preconditionFailure("a plain header must be readable")
        }
        return header
    }

    @Test(arguments: [
        // No block, a block of another family, values of unknown kinds, nonsense.
        "20 00 0000", "20 11 000c c0000201 c0000202 0001 0002", "20 ff 0001 00", "20 11 0003 010203",
        "20 00 0003 01ffff", "20 00 0006 010000 010000", "20 31 0000",
    ])
    func `a local header counts, whatever its block says`(rest: String) {
        let bytes = signature + bytes(hex: rest)
        #expect(parse(bytes + [1]) == .header(header(.local), byteCount: bytes.count))
    }

    @Test(arguments: ["21 00 0000", "21 00 0005 0102030405", "21 31 00d8", "21 32 00d8"])
    func `relayed by what has no address is unknown`(rest: String) {
        var bytes = signature + bytes(hex: rest)
        if bytes[13] != 0 { bytes += [UInt8](repeating: 0x2F, count: 216) }
        guard case .header(let header, bytes.count) = parse(bytes) else {
            Issue.record("\(parse(bytes))")
            return
        }
        #expect(header.origin == .unknown)
    }

    @Test func `passes over values that it does not know`() throws {
        // Padding, a namespace, a cloud's endpoint, an experiment and the future.
        let block =
            bytes(hex: "c0000201 c0000202 0001 0002") + bytes(hex: "04 0003 000000 30 0002 6e73")
            + bytes(hex: "ea 0005 01 76706365 f0 0000 ff 0001 00 01 0002 6832")
        let bytes = signature + [0x21, 0x11] + counted16(block)
        guard case .header(let header, bytes.count) = parse(bytes) else {
            Issue.record("\(parse(bytes))")
            return
        }
        #expect(SampleHeader(header, in: bytes).applicationProtocol == Array("h2".utf8))
    }

    @Test func `other protocols are refused at the first byte that shows them`() {
        for text in ["GET / HTTP/1.1", "\u{16}\u{3}\u{1}", "\0", "SSH-2.0-x", "\r\nPROXY", "QUIT"] {
            let bytes = Array(text.utf8)
            let end = bytes.indices.first { index in
                if case .invalid = parse(Array(bytes[...index])) { true } else { false }
            }
            #expect(end == (text.hasPrefix("\r\n") ? 2 : 0), "\(text)")
            #expect(parse(bytes) == .invalid(.signature), "\(text)")
        }
    }
}
