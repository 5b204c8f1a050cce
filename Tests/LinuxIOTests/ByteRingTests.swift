// The ring of texts beside the ring of records.

import LinuxIO
import Synchronization
import Testing

@Suite struct `Byte ring` {
    private func append(_ text: String, to ring: ByteRing) -> UInt64? { ring.append(text.utf8.span) }

    private func taken(_ ring: ByteRing, _ position: UInt64?, _ count: Int) throws -> String {
        let known = try #require(position)
        return ring.take(at: known, count: count) { bytes in
            var copy: [UInt8] = []
            for index in bytes.indices { copy.append(bytes[index]) }
            return String(decoding: copy, as: UTF8.self)
        }
    }

    @Test func `pieces come out as they went in`() throws {
        let ring = ByteRing(capacity: 16)
        for round in 0..<50 {
            let text = String(repeating: "\(round % 10)", count: round % 17)
            #expect(try taken(ring, append(text, to: ring), text.utf8.count) == text)
        }
    }

    @Test func `a full ring refuses a piece and keeps those it has`() throws {
        let ring = ByteRing(capacity: 8)
        let first = append("abc", to: ring)
        let second = append("defgh", to: ring)
        #expect(append("i", to: ring) == nil)
        #expect(append("too long for it", to: ring) == nil)
        #expect(try taken(ring, first, 3) == "abc")
        #expect(append("ijkl", to: ring) == nil)
        let third = append("ijk", to: ring)
        #expect(try taken(ring, second, 5) == "defgh")
        #expect(try taken(ring, third, 3) == "ijk")
    }

    /// "cdefgh" does not fit behind "xyz" and would be torn: it begins at the start, when that is free.
    @Test func `a piece is never torn at the end`() throws {
        let ring = ByteRing(capacity: 8)
        #expect(try taken(ring, append("xyz", to: ring), 3) == "xyz")
        let whole = append("cdefgh", to: ring)
        #expect(try taken(ring, whole, 6) == "cdefgh")
    }

    @Test func `what is taken back makes room`() throws {
        let ring = ByteRing(capacity: 8)
        #expect(try taken(ring, append("xyz", to: ring), 3) == "xyz")
        #expect(append("abcdefgh", to: ring) != nil)
        ring.takeBackLast()
        let kept = append("ijklmnop", to: ring)
        #expect(try taken(ring, kept, 8) == "ijklmnop")
    }

    @Test func `an empty piece needs no room`() throws {
        let ring = ByteRing(capacity: 4)
        _ = append("abcd", to: ring)
        let empty = append("", to: ring)
        #expect(try taken(ring, empty, 0) == "")
        #expect(append("abcd", to: ring) != nil)
    }

    private struct Record: BitwiseCopyable, Sendable {
        let position: UInt64
        let count: Int
        let number: UInt64
    }

    // writer:  bytes 0, record 0, bytes 1 … no room? then the same again …
    // reader:                    record 0, bytes 0 …
    @Test func `a reader on another thread finds the bytes of every record`() throws {
        let ring = ByteRing(capacity: 64)
        let records = RecordRing<Record>(capacity: 8)
        let last: UInt64 = 20_000
        let refusalCount = Atomic<Int>(0)
        let writer = try DataPlaneThread(name: "ring-writer", processor: nil) {
            var number: UInt64 = 0
            while number <= last {
                let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: Int(number % 23))
                guard let position = ring.append(piece.span) else {
                    refusalCount.add(1, ordering: .relaxed)
                    continue
                }
                if records.append(Record(position: position, count: piece.count, number: number)) {
                    number += 1
                } else {
                    ring.takeBackLast()
                    refusalCount.add(1, ordering: .relaxed)
                }
            }
        }
        var expected: UInt64 = 0
        var isRight = true
        while expected <= last {
            _ = records.drain { record in
                let number = record.number
                ring.take(at: record.position, count: record.count) { bytes in
                    isRight = isRight && number == expected && record.count == Int(number % 23)
                    for index in bytes.indices {
                        isRight = isRight && bytes[index] == UInt8(truncatingIfNeeded: number)
                    }
                }
                expected += 1
            }
        }
        writer.join()
        #expect(isRight)
        #expect(refusalCount.load(ordering: .relaxed) > 0)
    }
}
