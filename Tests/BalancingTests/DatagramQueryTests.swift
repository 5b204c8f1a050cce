// UDP probes: what is sent, and which answers count.

import Balancing
import Testing

@Suite struct `Datagram query` {
    @Test func `a plain payload is sent as it is`() {
        let query = makeQuery(DatagramProbe(payload: [1, 2, 3], expectation: .prefix([4])), seed: 1)
        #expect(query.bytes == [1, 2, 3])
        #expect(query.isAnswered(by: [4, 5]))
        #expect(!query.isAnswered(by: [5, 4]))
        #expect(!query.isAnswered(by: []))
    }

    @Test func `an expected part may stand anywhere`() {
        let query = makeQuery(DatagramProbe(payload: [1], expectation: .contains([1, 1, 2])), seed: 1)
        #expect(query.isAnswered(by: [0, 1, 1, 1, 2, 0]))
        #expect(query.isAnswered(by: [1, 1, 2]))
        #expect(!query.isAnswered(by: [1, 1]))
        #expect(!query.isAnswered(by: [1, 1, 0, 2]))
    }

    @Test func `an empty expectation proves nothing`() {
        #expect(
            !makeQuery(DatagramProbe(payload: [], expectation: .contains([])), seed: 1).isAnswered(by: [1]))
        #expect(!makeQuery(DatagramProbe(payload: [], expectation: .prefix([])), seed: 1).isAnswered(by: [1]))
    }

    // MARK: DNS

    @Test func `a DNS query has an id of its own`() {
        let first = makeQuery(.dns, seed: 1)
        let second = makeQuery(.dns, seed: 2)
        #expect(first.bytes[..<2] != second.bytes[..<2])
        #expect(first.bytes[2...] == [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1])
    }

    @Test func `a DNS response to the same id counts whatever its rcode`() {
        let query = makeQuery(.dns, seed: 3)
        var answer = query.bytes
        #expect(!query.isAnswered(by: answer[...]), "a query that comes back is no response")
        answer[2] |= 0x80
        answer[3] = 5
        #expect(query.isAnswered(by: answer[...]))
        #expect(query.isAnswered(by: answer[..<12]))
        #expect(!query.isAnswered(by: answer[..<11]))
        answer[0] ^= 1
        #expect(!query.isAnswered(by: answer[...]))
    }

    @Test func `a DNS name is encoded as labels`() throws {
        let probe = try #require(DatagramProbe.dns(name: "a.example."))
        #expect(probe.payload[12...] == [1, 97, 7, 101, 120, 97, 109, 112, 108, 101, 0, 0, 1, 0, 1])
        #expect(DatagramProbe.dns(name: ".") == .dns)
    }

    @Test(arguments: ["", "a..b", ".a", String(repeating: "x", count: 64), "a b", "\u{E9}"])
    func `what is no domain name is refused`(name: String) {
        #expect(DatagramProbe.dns(name: name) == nil)
    }

    @Test func `a DNS name has at most 255 bytes on the wire`() {
        let label = String(repeating: "x", count: 63)
        #expect(DatagramProbe.dns(name: "\(label).\(label).\(label).\(String(label.dropLast(2)))") != nil)
        #expect(DatagramProbe.dns(name: "\(label).\(label).\(label).\(String(label.dropLast(1)))") == nil)
    }

    // MARK: NTP

    @Test func `an NTP answer must echo our timestamp`() {
        let query = makeQuery(.ntp, seed: 4)
        #expect(query.bytes.count == 48)
        #expect(query.bytes[0] == 0x23)
        #expect(!query.isAnswered(by: query.bytes[...]))
        let answer = ntpAnswer(to: query)
        #expect(query.isAnswered(by: answer[...]))
        #expect(query.isAnswered(by: (answer + [0, 0, 0, 1])[...]))
        #expect(!query.isAnswered(by: answer[..<47]))
        for (index, value) in [(0, 0x23), (0, 0x21), (1, 0), (1, 16), (24, Int(answer[24]) ^ 1)] {
            var wrong = answer
            wrong[index] = UInt8(value)
            #expect(!query.isAnswered(by: wrong[...]), "byte \(index) is \(value)")
        }
    }

    @Test func `a payload too short for its number is lengthened`() {
        #expect(makeQuery(DatagramProbe(payload: [], expectation: .dnsResponse), seed: 1).bytes.count == 2)
        let query = makeQuery(DatagramProbe(payload: [0x1B], expectation: .ntpResponse), seed: 1)
        #expect(query.bytes.count == 48)
        #expect(query.isAnswered(by: ntpAnswer(to: query)[...]))
    }

    private func ntpAnswer(to query: DatagramQuery) -> [UInt8] {
        var answer = [UInt8](repeating: 9, count: 48)
        answer[0] = 0x24
        answer[1] = 2
        for index in 0..<8 { answer[24 + index] = query.bytes[40 + index] }
        return answer
    }

    private func makeQuery(_ probe: DatagramProbe, seed: UInt64) -> DatagramQuery {
        var generator = CountingGenerator(state: seed)
        return DatagramQuery(probe, using: &generator)
    }
}

/// Gives other bytes for other seeds; nothing more is asked of it here.
private struct CountingGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 1
        return state &* 0x9e37_79b9_7f4a_7c15
    }
}
