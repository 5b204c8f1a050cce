// Any bytes as the answer to a probe: read the same in whatever pieces they come, and never beyond the bounds.
#if DEBUG

import Balancing
import HTTPCore

enum ProbeAnswersSubject {
    static func run(_ bytes: [UInt8]) {
        var source = ByteSource(bytes)
        let choice = source.byte()
        if choice & 1 == 0 {
            readAsHTTP(source.remaining, isBodyWanted: choice & 2 != 0, isClosed: choice & 4 != 0)
        } else {
            judgeAsDatagram(&source)
        }
    }

    // MARK: HTTP

    private struct Reading: Equatable {
        let state: ProbeResponseParser.State
        let statusCode: Int?
        let body: [UInt8]
        let values: [String]
    }

    private static func readAsHTTP(_ bytes: [UInt8], isBodyWanted: Bool, isClosed: Bool) {
        func read(_ pieces: [ArraySlice<UInt8>]) -> Reading {
            var parser = ProbeResponseParser(keeping: ["X-State"], isBodyWanted: isBodyWanted)
            for piece in pieces { parser.feed(piece) }
            if isClosed { parser.finish() }
            return Reading(
                state: parser.state, statusCode: parser.statusCode, body: parser.body,
                values: parser.values(of: "x-state"))
        }
        let whole = read([bytes[...]])
        precondition(whole.body.count <= Limits.probeResponseByteCountMax)
        precondition(isBodyWanted || whole.body.isEmpty)
        precondition(
            whole.statusCode.map { (200...999).contains($0) } ?? true, "interim answers do not count")
        switch whole.state {
        case .head, .malformed: break
        case .body, .complete: precondition(whole.statusCode != nil)
        }
        precondition(read(bytes.indices.map { bytes[$0...$0] }) == whole, "byte by byte")
        // Every cut of a short answer, some of a long one.
        for cut in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 128)) {
            precondition(read([bytes[..<cut], bytes[cut...]]) == whole, "cut in two")
        }
    }

    // MARK: Datagrams

    private static func judgeAsDatagram(_ source: inout ByteSource) {
        let kind = source.number(below: 4)
        let expected = source.bytes(source.number(below: 12))
        let payload = source.bytes(source.number(below: 64))
        let expectation: DatagramProbe.Expectation =
            switch kind {
            case 0: .contains(expected)
            case 1: .prefix(expected)
            case 2: .dnsResponse
            default: .ntpResponse
            }
        var generator = ByteGenerator(source: source)
        let query = DatagramQuery(
            DatagramProbe(payload: payload, expectation: expectation), using: &generator)
        let answer = generator.source.remaining
        let isAnswered = query.isAnswered(by: answer[...])
        // A slice that does not begin at zero, as it stands in a buffer of many.
        precondition(query.isAnswered(by: ([0xFF] + answer)[1...]) == isAnswered, "wherever it stands")
        let byDefinition: Bool =
            switch expectation {
            case .contains:
                !expected.isEmpty && answer.count >= expected.count
                    && (0...(answer.count - expected.count)).contains {
                        Array(answer[$0..<$0 + expected.count]) == expected
                    }
            case .prefix:
                !expected.isEmpty && Array(answer.prefix(expected.count)) == expected
            case .dnsResponse:
                answer.count >= 12 && answer[2] >= 0x80 && Array(answer[..<2]) == Array(query.bytes[..<2])
            case .ntpResponse:
                answer.count >= 48 && [4, 5].contains(answer[0] % 8) && answer[1] > 0 && answer[1] < 16
                    && Array(answer[24..<32]) == Array(query.bytes[40..<48])
            }
        precondition(isAnswered == byDefinition, "as the protocol says")
    }

    /// Random numbers that the input chooses, so that an answer can echo them.
    private struct ByteGenerator: RandomNumberGenerator {
        var source: ByteSource

        mutating func next() -> UInt64 {
            var word: UInt64 = 0
            for _ in 0..<8 { word = word << 8 | UInt64(source.byte()) }
            return word
        }
    }
}
#endif
