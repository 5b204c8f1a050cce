// Runs a program over bytes: all threads in step, each instruction at most once per byte, groups kept per thread.
//
// Threads stand in order of preference, so the leftmost match that Perl would prefer is found without going back.

/// Room for running programs; kept by a worker, so that a warm one allocates nothing.
struct RegularExpressionScratch: ~Copyable, Sendable {
    /// The threads of one step: which instructions, in order, and the places each has noted.
    struct Threads: Sendable {
        var order: [UInt16] = []
        /// Where an instruction stands in `order`; means something only if `order` agrees (Briggs & Torczon, 1993).
        var positions: [UInt16] = []
        var count = 0
        var places: [UInt32] = []

        func contains(_ instruction: UInt16) -> Bool {
            let position = Int(positions[Int(instruction)])
            return position < count && order[position] == instruction
        }

        mutating func append(_ instruction: UInt16) {
            order[count] = instruction
            positions[Int(instruction)] = UInt16(truncatingIfNeeded: count)
            count += 1
        }

        mutating func reserve(instructionCount: Int, placeCount: Int) {
            guard instructionCount > order.count else { return }
            order = Array(repeating: 0, count: instructionCount)
            positions = order
            places = Array(repeating: 0, count: instructionCount * placeCount)
        }
    }

    /// What is left to do while following splits: go to an instruction, or give a place its old value back.
    enum Pending: Sendable {
        case follow(UInt16)
        case restore(place: UInt16, value: UInt32)
    }

    /// Places of the whole match and of nine groups.
    static let placeCount = 2 * (RegularExpression.groupCountMax + 1)
    static let noPlace = UInt32.max

    var current = Threads()
    var following = Threads()
    var pending: [Pending] = []
    /// The places of the thread that is being followed.
    var places = Array(repeating: noPlace, count: placeCount)
    /// The places of the best match so far.
    private(set) var found = Array(repeating: noPlace, count: placeCount)
    /// How many of them the running expression has.
    private(set) var usedPlaceCount = 0
    /// Instructions looked at since the scratch was made: what tests measure instead of time.
    var stepCount: UInt64 = 0

    init() {}

    mutating func reserve(for expression: borrowing RegularExpression, notingPlaces: Bool) {
        let groupCount = min(expression.groupCount, RegularExpression.groupCountMax)
        usedPlaceCount = notingPlaces ? 2 * (groupCount + 1) : 0
        let count = expression.program.count
        current.reserve(instructionCount: count, placeCount: Self.placeCount)
        following.reserve(instructionCount: count, placeCount: Self.placeCount)
        pending.reserveCapacity(2 * count + Self.placeCount)
    }

    mutating func noteMatch() {
        for index in 0..<usedPlaceCount { found[index] = places[index] }
    }

    /// What group `number` matched; zero is the whole. Nil for one that took no part.
    func range(ofGroup number: Int) -> Range<Int>? {
        guard 2 * number + 1 < usedPlaceCount else { return nil }
        let start = found[2 * number]
        let end = found[2 * number + 1]
        guard start != Self.noPlace, end != Self.noPlace, start <= end else { return nil }
        return Int(start)..<Int(end)
    }
}

extension RegularExpression {
    /// Whether some part of `bytes[range]` matches; where and what is in `scratch` afterwards.
    ///
    /// With `notingPlaces` off it ends at the first sign of a match, and only the answer means something.
    func firstMatch(
        in bytes: Span<UInt8>, _ range: Range<Int>, notingPlaces: Bool = true,
        _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        scratch.reserve(for: self, notingPlaces: notingPlaces)
        scratch.current.count = 0
        var hasMatch = false
        var position = range.lowerBound
        while true {
            if !hasMatch {
                for index in 0..<scratch.usedPlaceCount {
                    scratch.places[index] = RegularExpressionScratch.noPlace
                }
                follow(0, at: position, in: bytes, range, isNext: false, &scratch)
            }
            // No thread is left that would be preferred to the match that there is.
            guard scratch.current.count > 0 else { return hasMatch }
            if step(at: position, in: bytes, range, &scratch) {
                hasMatch = true
                if !notingPlaces { return true }
            }
            swap(&scratch.current, &scratch.following)
            scratch.following.count = 0
            if position >= range.upperBound { return hasMatch }
            position += 1
        }
    }

    /// Moves all threads over the byte at `position`; whether one has matched, which ends those it is preferred to.
    private func step(
        at position: Int, in bytes: Span<UInt8>, _ range: Range<Int>,
        _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        scratch.following.count = 0
        for index in 0..<scratch.current.count {
            let number = scratch.current.order[index]
            let instruction = program[Int(number)]
            scratch.stepCount &+= 1
            switch instruction.operation {
            case .consume:
                guard position < range.upperBound, sets[Int(instruction.first)].contains(bytes[position])
                else {
                    continue
                }
                takePlaces(of: number, &scratch)
                follow(number + 1, at: position + 1, in: bytes, range, isNext: true, &scratch)
            case .accept:
                takePlaces(of: number, &scratch)
                scratch.noteMatch()
                return true
            case .split, .jump, .save, .assertStart, .assertEnd, .assertWordBoundary, .assertNoWordBoundary:
                continue
            }
        }
        return false
    }

    private func takePlaces(of number: UInt16, _ scratch: inout RegularExpressionScratch) {
        let start = Int(number) * RegularExpressionScratch.placeCount
        for index in 0..<scratch.usedPlaceCount {
            scratch.places[index] = scratch.current.places[start + index]
        }
    }

    /// Adds the threads that `start` leads to without a byte, in order of preference.
    private func follow(
        _ start: UInt16, at position: Int, in bytes: Span<UInt8>, _ range: Range<Int>, isNext: Bool,
        _ scratch: inout RegularExpressionScratch
    ) {
        scratch.pending.append(.follow(start))
        while let pending = scratch.pending.popLast() {
            switch pending {
            case .restore(let place, let value):
                scratch.places[Int(place)] = value
            case .follow(let number):
                scratch.stepCount &+= 1
                if isNext {
                    guard !scratch.following.contains(number) else { continue }
                    scratch.following.append(number)
                } else {
                    guard !scratch.current.contains(number) else { continue }
                    scratch.current.append(number)
                }
                let instruction = program[Int(number)]
                switch instruction.operation {
                case .split:
                    scratch.pending.append(.follow(instruction.second))
                    scratch.pending.append(.follow(instruction.first))
                case .jump:
                    scratch.pending.append(.follow(instruction.first))
                case .save:
                    let place = instruction.first
                    scratch.pending.append(.restore(place: place, value: scratch.places[Int(place)]))
                    scratch.places[Int(place)] = UInt32(truncatingIfNeeded: position)
                    scratch.pending.append(.follow(number + 1))
                case .consume, .accept:
                    notePlaces(of: number, isNext: isNext, &scratch)
                case .assertStart, .assertEnd, .assertWordBoundary, .assertNoWordBoundary:
                    if holds(instruction.operation, at: position, in: bytes, range) {
                        scratch.pending.append(.follow(number + 1))
                    }
                }
            }
        }
    }

    private func notePlaces(of number: UInt16, isNext: Bool, _ scratch: inout RegularExpressionScratch) {
        let start = Int(number) * RegularExpressionScratch.placeCount
        for index in 0..<scratch.usedPlaceCount {
            if isNext {
                scratch.following.places[start + index] = scratch.places[index]
            } else {
                scratch.current.places[start + index] = scratch.places[index]
            }
        }
    }

    private func holds(
        _ assertion: Instruction.Operation, at position: Int, in bytes: Span<UInt8>, _ range: Range<Int>
    ) -> Bool {
        switch assertion {
        case .assertStart: return position == range.lowerBound
        case .assertEnd: return position == range.upperBound
        case .assertWordBoundary, .assertNoWordBoundary:
            let isBehindWord = position > range.lowerBound && Self.isWordByte(bytes[position - 1])
            let isBeforeWord = position < range.upperBound && Self.isWordByte(bytes[position])
            return (isBehindWord != isBeforeWord) == (assertion == .assertWordBoundary)
        case .consume, .split, .jump, .save, .accept: return true
        }
    }
}
