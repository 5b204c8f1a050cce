// Numbers, addresses and dates as bytes, against what makes strings of them.

import Balancing
import Foundation
import Testing

@Suite struct `Byte text` {
    private func text(_ write: (inout [UInt8]) -> Void) -> String {
        var buffer: [UInt8] = []
        write(&buffer)
        return String(decoding: buffer, as: UTF8.self)
    }

    @Test(arguments: [0, 1, 9, 10, 99, 12_345, UInt64.max])
    func `decimal numbers`(number: UInt64) {
        #expect(text { ByteText.append(number, to: &$0) } == "\(number)")
    }

    @Test func `padded numbers`() {
        #expect(text { ByteText.append(7, digitCount: 3, to: &$0) } == "007")
        #expect(text { ByteText.append(0, digitCount: 2, to: &$0) } == "00")
        #expect(text { ByteText.append(1_234, digitCount: 3, to: &$0) } == "1234")
        #expect(text { ByteText.append(hexadecimal: 0xABCDEF, digitCount: 8, to: &$0) } == "00abcdef")
        #expect(text { ByteText.append(hexadecimal: 0xABCDEF, digitCount: 2, to: &$0) } == "ef")
    }

    @Test func `addresses and endpoints`() throws {
        var generator = SplitMix64(seed: 5)
        var samples = (0..<20_000).map { _ in IPAddress.random(using: &generator) }
        samples += try [
            "::", "::1", "1::", "1:0:0:2::", "::ffff:1.2.3.4", "::2:0:0:0:1", "1:2:3:4:5:6:7:0",
            "0:2:3:4:5:6:7:8", "255.255.255.255", "0.0.0.0",
        ].map { try address($0) }
        for sample in samples {
            #expect(text { ByteText.append(sample, to: &$0) } == sample.description)
            let endpoint = Endpoint(address: sample, port: UInt16(truncatingIfNeeded: sample.low))
            #expect(text { ByteText.append(endpoint, to: &$0) } == endpoint.description)
        }
    }

    @Test func `dates`() {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        var generator = SplitMix64(seed: 6)
        let samples: [UInt64] =
            [0, 86_399, 951_782_400, 951_868_800, 4_107_542_400, 253_402_300_799]
            + (0..<2_000).map { _ in .random(in: 0...253_402_300_799, using: &generator) }
        for seconds in samples {
            let date = Date(timeIntervalSince1970: Double(seconds))
            let parts = calendar.dateComponents(
                [.year, .month, .day, .hour, .minute, .second, .weekday], from: date)
            let time = CivilTime(unixSeconds: seconds)
            #expect(time.year == parts.year && time.month == parts.month && time.day == parts.day)
            #expect(time.hour == parts.hour && time.minute == parts.minute && time.second == parts.second)
            #expect(time.weekday + 1 == parts.weekday)
        }
    }

    @Test func `date forms`() {
        let time = CivilTime(unixSeconds: 1_445_412_480)
        #expect(text { time.appendHTTPDate(to: &$0) } == "Wed, 21 Oct 2015 07:28:00 GMT")
        #expect(text { time.appendISO8601(to: &$0) } == "2015-10-21T07:28:00Z")
        #expect(text { time.appendISO8601(microseconds: 42, to: &$0) } == "2015-10-21T07:28:00.000042Z")
        #expect(
            text { CivilTime(unixSeconds: .max).appendHTTPDate(to: &$0) } == "Fri, 31 Dec 9999 23:59:59 GMT")
    }
}
