// The codecs at the beginning of a flow allocate nothing, since every flow passes through them.

import Balancing
import CAllocationCount
import Testing

@Suite struct `Codec allocations` {
    /// How many allocations the calling thread makes in a second run of `work`; the first fills lazy tables.
    private func count(_ work: () -> Bool) -> UInt64 {
        #expect(work())
        allocation_count_take_part(true)
        defer { allocation_count_take_part(false) }
        let before = allocation_own_count()
        var isRight = true
        for _ in 0..<10 { isRight = work() && isRight }
        let after = allocation_own_count()
        allocation_count_take_part(false)
        #expect(isRight)
        return after - before
    }

    @Test func `writing a PROXY header`() throws {
        var generator = SplitMix64(seed: 7)
        var sample = SampleHeader.random(using: &generator)
        sample.authority = Array("www.example.com".utf8)
        sample.tls = SampleHeader.TLS(version: Array("TLSv1.3".utf8))
        sample.isChecksummed = true
        let expected = sample.bytes.count
        var output = InlineArray<2_048, UInt8>(repeating: 0)
        var byteCount = 0
        let allocations = count {
            output = InlineArray(initializingWith: { span in
                sample.write(to: &span)
                byteCount = span.count
                span.append(repeating: 0, count: span.freeCapacity)
            })
            return byteCount == expected && output[0] == 0x0D
        }
        #expect(allocations == 0)
    }

    private func isRead(_ bytes: [UInt8]) -> Bool {
        if case .header(_, bytes.count) = ProxyHeaderParser.parse(bytes.span) { true } else { false }
    }

    @Test func `reading PROXY headers of both versions`() {
        var generator = SplitMix64(seed: 7)
        var sample = SampleHeader.random(using: &generator)
        sample.isChecksummed = true
        let binary = sample.bytes
        let v4Line = Array("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n".utf8)
        let v6Line = Array("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 56324 443\r\n".utf8)
        // No loop: an unoptimised iterator allocates.
        let allocations = count { isRead(binary) && isRead(v4Line) && isRead(v6Line) }
        #expect(allocations == 0)
    }

    @Test func `reading a hello and looking its name up`() throws {
        let bytes = SampleHello.records(SampleHello.greased.message, of: 100)
        let table = ServerNameTable([
            (pattern: try #require(ServerNamePattern("other.example.com")), value: 1),
            (pattern: try #require(ServerNamePattern("*.example.com")), value: 2),
        ])
        let protocolName = Array("h2".utf8)
        let allocations = count {
            guard case .hello(let hello) = ClientHelloParser.parse(bytes.span) else { return false }
            return table.value(for: hello.serverName) == 2
                && hello.applicationProtocols.contains(protocolName.span)
        }
        #expect(allocations == 0)
    }
}
