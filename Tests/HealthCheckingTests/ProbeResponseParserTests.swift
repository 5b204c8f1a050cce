// The parser of HTTP probe answers: the table of ProbeResponseExample, every split, and seeded garbage.

import Balancing
import HTTPCore
import HealthChecking
import Testing

@Suite struct `Probe response parser` {
    @Test(arguments: ProbeResponseExample.all)
    func `an answer is read whole`(example: ProbeResponseExample) {
        expect(example, of: parse([Array(example.text.utf8)], isClosed: example.isClosed))
    }

    @Test(arguments: ProbeResponseExample.all)
    func `how an answer is cut changes nothing`(example: ProbeResponseExample) {
        let bytes = Array(example.text.utf8)
        expect(example, of: parse(bytes.map { [$0] }, isClosed: example.isClosed))
        for cut in bytes.indices {
            expect(
                example, of: parse([Array(bytes[..<cut]), Array(bytes[cut...])], isClosed: example.isClosed))
        }
    }

    @Test func `without need for the body the head completes`() {
        var parser = ProbeResponseParser()
        parser.feed(Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe".utf8)[...])
        #expect(parser.state == .complete)
        #expect(parser.body.isEmpty)
    }

    @Test func `fields are looked up without case and keep their lines apart`() {
        var parser = ProbeResponseParser(keeping: ["X-State"])
        parser.feed(
            Array("HTTP/1.1 200 OK\r\nx-STATE: \tdrain \r\nOther: 1\r\nX-State:a\r\n b\r\n\r\n".utf8)[...])
        #expect(parser.values(of: "x-state") == ["drain", "a b"])
        #expect(parser.values(of: "other") == [])
    }

    @Test func `a longer body than may be kept is complete at the bound`() {
        var parser = ProbeResponseParser(isBodyWanted: true)
        parser.feed(Array("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".utf8)[...])
        let piece = [UInt8](repeating: 120, count: 1_000)
        for _ in 0..<65 { parser.feed(piece[...]) }
        #expect(parser.state == .body)
        for _ in 0..<1_000 { parser.feed(piece[...]) }
        #expect(parser.state == .complete)
        #expect(parser.body.count == 65_536)
    }

    @Test(arguments: ["X: y\r\n", "HTTP/1.1 100 More\r\n\r\n", "x"])
    func `a header without end is refused at the bound`(piece: String) {
        var parser = ProbeResponseParser(keeping: ["X"])
        parser.feed(Array((piece.hasPrefix("HTTP") ? "" : "HTTP/1.1 200 OK\r\n").utf8)[...])
        for _ in 0..<70_000 { parser.feed(Array(piece.utf8)[...]) }
        #expect(parser.state == .malformed("its header has more than 65536 bytes"))
        #expect(parser.statusCode == nil)
    }

    /// 21,000 lines that continue one field: seconds when each of them copies what came before.
    @Test func `a field in very many lines costs no more than its bytes`() {
        var parser = ProbeResponseParser(keeping: ["X-State"])
        parser.feed(Array("HTTP/1.1 200 OK\r\nX-State:\n".utf8)[...])
        let piece = Array(" b\n\t\n".utf8)
        let begun = ContinuousClock.now
        for _ in 0..<13_000 { parser.feed(piece[...]) }
        #expect(ContinuousClock.now - begun < .seconds(5))
        parser.feed(Array("\n".utf8)[...])
        #expect(parser.values(of: "x-state") == [String(repeating: "b ", count: 12_999) + "b"])
    }

    @Test(arguments: UInt64(0)..<256)
    func `garbage never traps and never depends on how it was cut`(seed: UInt64) {
        var generator = SplitMix64(seed: seed)
        for _ in 0..<20 {
            let bytes = garbage(using: &generator)
            let whole = parse([bytes], isClosed: true)
            let single = parse(bytes.map { [$0] }, isClosed: true)
            #expect(whole.state == single.state)
            #expect(whole.statusCode == single.statusCode)
            #expect(whole.body == single.body)
        }
    }

    /// A good answer with some of its bytes exchanged, doubled or dropped.
    private func garbage(using generator: inout SplitMix64) -> [UInt8] {
        let examples = ProbeResponseExample.all
        var bytes = Array((examples.randomElement(using: &generator)?.text ?? "").utf8)
        for _ in 0..<Int.random(in: 0...6, using: &generator) where !bytes.isEmpty {
            let index = Int.random(in: bytes.indices, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
            case 1: bytes.remove(at: index)
            case 2: bytes.insert(contentsOf: bytes[index...].prefix(20), at: index)
            default: bytes[index] = "\r\n:;, 0F9\0\u{7F}".utf8.randomElement(using: &generator) ?? 0
            }
        }
        return bytes
    }

    private func parse(_ pieces: [[UInt8]], isClosed: Bool) -> ProbeResponseParser {
        var parser = ProbeResponseParser(isBodyWanted: true)
        for piece in pieces { parser.feed(piece[...]) }
        if isClosed { parser.finish() }
        return parser
    }

    private func expect(_ example: ProbeResponseExample, of parser: ProbeResponseParser) {
        #expect(parser.state == example.state)
        #expect(parser.statusCode == example.code)
        #expect(String(decoding: parser.body, as: UTF8.self) == example.body)
    }
}
