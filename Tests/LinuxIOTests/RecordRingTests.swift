// The ring between a worker and the writer of its log.

import LinuxIO
import Synchronization
import Testing

@Suite struct `Record ring` {
    private struct Record: BitwiseCopyable, Equatable, Sendable {
        var number: UInt64
        /// Always the number's complement: a record read half-written shows.
        var check: UInt64
        var filling = InlineArray<40, UInt64>(repeating: 0)

        init(_ number: UInt64) {
            self.number = number
            check = ~number
            filling[39] = number
        }

        var isWhole: Bool { check == ~number && filling[39] == number }

        static func == (one: Self, other: Self) -> Bool {
            one.number == other.number && one.isWhole && other.isWhole
        }
    }

    private func drained(_ ring: RecordRing<Record>) -> [UInt64] {
        var numbers: [UInt64] = []
        let count = ring.drain { record in
            #expect(record.isWhole)
            numbers.append(record.number)
        }
        #expect(count == numbers.count)
        return numbers
    }

    @Test func `records come out in the order they went in, round and round`() {
        let ring = RecordRing<Record>(capacity: 4)
        var next: UInt64 = 0
        for count in [0, 1, 3, 4, 2, 4, 4, 1] {
            let expected = Array(next..<next + UInt64(count))
            for number in expected { #expect(ring.append(Record(number))) }
            #expect(drained(ring) == expected)
            next += UInt64(count)
        }
    }

    @Test func `a full ring refuses a record and keeps those it has`() {
        let ring = RecordRing<Record>(capacity: 4)
        for number in 0..<4 as Range<UInt64> { #expect(ring.append(Record(number))) }
        #expect(!ring.append(Record(4)))
        #expect(!ring.append(Record(5)))
        #expect(drained(ring) == [0, 1, 2, 3])
        #expect(ring.append(Record(6)))
        #expect(drained(ring) == [6])
    }

    @Test func `a capacity that is no power of two is rounded up`() {
        #expect(RecordRing<Record>(capacity: 1).capacity == 1)
        #expect(RecordRing<Record>(capacity: 5).capacity == 8)
    }

    // writer:  0 1 2 … full? then the same number again … last
    // reader:      0 … 1 2 …                                  last
    @Test func `a reader on another thread gets every record once, whole and in order`() throws {
        let ring = RecordRing<Record>(capacity: 8)
        let last: UInt64 = 20_000
        let refusalCount = Atomic<Int>(0)
        let writer = try DataPlaneThread(name: "ring-writer", processor: nil) {
            var number: UInt64 = 0
            while number <= last {
                if ring.append(Record(number)) {
                    number += 1
                } else {
                    refusalCount.add(1, ordering: .relaxed)
                }
            }
        }
        var expected: UInt64 = 0
        var isInOrder = true
        while expected <= last {
            _ = ring.drain { record in
                isInOrder = isInOrder && record.isWhole && record.number == expected
                expected += 1
            }
        }
        writer.join()
        #expect(isInOrder)
        #expect(expected == last + 1)
        #expect(drained(ring) == [])
        // With eight places for twenty thousand records it was full now and then.
        #expect(refusalCount.load(ordering: .relaxed) > 0)
    }
}
