// Expressions as tables: one look-up a byte, nothing to allocate (subset construction, Rabin & Scott, 1959).
//
// A table answers only whether there is a match, which is all a condition asks. It is made when the rules are
// compiled and never grows afterwards. An expression of too many states has no table, and its program is run.

/// One table in a pool.
struct Automaton: Sendable, BitwiseCopyable {
    /// In `AutomatonPool.classes`, 256 of them: which bytes the expression cannot tell apart.
    fileprivate let classStart: UInt32
    /// In `AutomatonPool.transitions`, `classCount` a state.
    fileprivate let transitionStart: UInt32
    fileprivate let classCount: UInt16
    fileprivate let first: UInt16
}

struct AutomatonPool: Sendable {
    static let stateCountMax = 256
    /// In a transition: there is a match already, whatever follows.
    private static let accepts: UInt16 = 0x8000
    /// In a transition: if the text ends here there is a match.
    private static let acceptsAtEnd: UInt16 = 0x4000
    private static let stateMask: UInt16 = 0x3FFF
    /// No match can follow.
    private static let dead: UInt16 = 0

    private var classes: [UInt8] = []
    private var transitions: [UInt16] = []

    /// Whether some part of `bytes[range]` matches.
    @inline(__always)
    func matches(_ automaton: Automaton, _ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var state = automaton.first
        if state & Self.accepts != 0 { return true }
        let classStart = Int(automaton.classStart)
        let transitionStart = Int(automaton.transitionStart)
        let classCount = Int(automaton.classCount)
        for position in range {
            let byteClass = classes[classStart &+ Int(bytes[position])]
            let row = Int(state & Self.stateMask) &* classCount
            state = transitions[transitionStart &+ row &+ Int(byteClass)]
            if state & Self.accepts != 0 { return true }
            if state == Self.dead { return false }
        }
        return state & Self.acceptsAtEnd != 0
    }

    /// Adds the table of an expression; nil when it has none.
    mutating func add(_ expression: RegularExpression) -> Automaton? {
        var builder = AutomatonBuilder(expression)
        guard builder.build() else { return nil }
        let automaton = Automaton(
            classStart: UInt32(classes.count), transitionStart: UInt32(transitions.count),
            classCount: UInt16(builder.classCount), first: encoded(builder.first, builder))
        classes += builder.classes
        transitions += builder.transitions.map { encoded($0, builder) }
        return automaton
    }

    private func encoded(_ state: Int, _ builder: AutomatonBuilder) -> UInt16 {
        UInt16(state) | (builder.acceptsNow[state] ? Self.accepts : 0)
            | (builder.acceptsAtEnd[state] ? Self.acceptsAtEnd : 0)
    }
}

/// A state is the set of instructions at which threads wait: for a byte, for the end, or to know whether a word ends
/// or begins here, which the next byte tells.
private struct AutomatonBuilder {
    private struct State: Hashable {
        var instructions: [UInt16]
        /// The last byte was one of a word; false where nothing asks for it.
        var isBehindWord = false
    }

    private let expression: RegularExpression
    private let looksAtWords: Bool
    private(set) var classes: [UInt8] = Array(repeating: 0, count: 256)
    private(set) var classCount = 0
    /// A byte of each class.
    private var samples: [UInt8] = []
    private var numbers: [State: Int] = [:]
    private var states: [State] = []
    private(set) var transitions: [Int] = []
    private(set) var acceptsNow: [Bool] = []
    private(set) var acceptsAtEnd: [Bool] = []
    private(set) var first = 0
    /// Something like `$^` or `\b^`: whether a place is also the start is nothing that a state knows.
    private var asksForStartLate = false
    /// In which turn of `closure` an instruction was seen last.
    private var turns: [Int]
    private var turn = 0
    private var pending: [UInt16] = []

    init(_ expression: RegularExpression) {
        self.expression = expression
        looksAtWords = expression.program.contains {
            $0.operation == .assertWordBoundary || $0.operation == .assertNoWordBoundary
        }
        turns = Array(repeating: 0, count: expression.program.count)
    }

    /// False when the expression has too many states, or asks for the start where only the end is known.
    mutating func build() -> Bool {
        divideBytes()
        _ = number(of: State(instructions: []))
        first = number(of: State(instructions: closure([0], isAtStart: true)))
        let restart = closure([0], isAtStart: false)
        var number = 0
        while number < states.count {
            guard states.count <= AutomatonPool.stateCountMax else { return false }
            let state = states[number]
            for byte in samples { transitions.append(self.number(of: after(byte, state, restart))) }
            number += 1
        }
        return !asksForStartLate
    }

    /// Bytes that are in the same sets are one class.
    private mutating func divideBytes() {
        var known: [[Bool]: UInt8] = [:]
        for byte in UInt8.min...UInt8.max {
            var signature = expression.sets.map { $0.contains(byte) }
            if looksAtWords { signature.append(RegularExpression.isWordByte(byte)) }
            if let number = known[signature] {
                classes[Int(byte)] = number
            } else {
                classes[Int(byte)] = UInt8(samples.count)
                known[signature] = UInt8(samples.count)
                samples.append(byte)
            }
        }
        classCount = samples.count
    }

    private mutating func number(of state: State) -> Int {
        if let known = numbers[state] { return known }
        let number = states.count
        numbers[state] = number
        states.append(state)
        acceptsNow.append(hasAccepted(state.instructions))
        let ending = closure(
            state.instructions, isAtStart: false, isAtEnd: true, isAtBoundary: state.isBehindWord)
        acceptsAtEnd.append(hasAccepted(ending))
        return number
    }

    private func hasAccepted(_ instructions: [UInt16]) -> Bool {
        instructions.contains { expression.program[Int($0)].operation == .accept }
    }

    private mutating func after(_ byte: UInt8, _ state: State, _ restart: [UInt16]) -> State {
        var instructions = state.instructions
        let isWordByte = looksAtWords && RegularExpression.isWordByte(byte)
        if looksAtWords {
            instructions = closure(
                instructions, isAtStart: false, isAtBoundary: state.isBehindWord != isWordByte)
            // It matched up to here; what is ahead of the byte says so only now.
            if hasAccepted(instructions) { return State(instructions: instructions) }
        }
        var next = restart
        for number in instructions {
            let instruction = expression.program[Int(number)]
            if instruction.operation == .consume, expression.sets[Int(instruction.first)].contains(byte) {
                next.append(number + 1)
            }
        }
        let waiting = closure(next, isAtStart: false)
        return State(instructions: waiting, isBehindWord: isWordByte && !waiting.isEmpty)
    }

    /// Where threads wait that are sent off at `starts`, in rising order.
    ///
    /// With `isAtBoundary` nil, it is not known yet whether a word begins or ends here.
    private mutating func closure(
        _ starts: [UInt16], isAtStart: Bool, isAtEnd: Bool = false, isAtBoundary: Bool? = nil
    ) -> [UInt16] {
        turn += 1
        pending = starts
        var waiting: [UInt16] = []
        while let number = pending.popLast() {
            guard turns[Int(number)] != turn else { continue }
            turns[Int(number)] = turn
            let instruction = expression.program[Int(number)]
            switch instruction.operation {
            case .consume, .accept: waiting.append(number)
            case .split:
                pending.append(instruction.first)
                pending.append(instruction.second)
            case .jump: pending.append(instruction.first)
            case .save: pending.append(number + 1)
            case .assertStart:
                if isAtStart { pending.append(number + 1) }
                if isAtEnd || isAtBoundary != nil { asksForStartLate = true }
            case .assertEnd:
                waiting.append(number)
                if isAtEnd { pending.append(number + 1) }
            case .assertWordBoundary, .assertNoWordBoundary:
                guard let isAtBoundary else {
                    waiting.append(number)
                    continue
                }
                if isAtBoundary == (instruction.operation == .assertWordBoundary) {
                    pending.append(number + 1)
                }
            }
        }
        return waiting.sorted()
    }
}
