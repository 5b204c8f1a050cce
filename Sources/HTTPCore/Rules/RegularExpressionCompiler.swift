// Turns the tree of an expression into a program; Thompson's construction, with repetitions written out.

struct RegularExpressionCompiler {
    private(set) var program: [RegularExpression.Instruction] = []
    private(set) var sets: [ByteSet] = []
    private var setNumbers: [ByteSet: UInt16] = [:]

    /// The whole program: the match between places 0 and 1, and acceptance.
    mutating func compile(_ tree: RegularExpressionTree) {
        emit(.save, 0)
        add(tree)
        emit(.save, 1)
        emit(.accept)
    }

    /// Too long a program is refused afterwards, so it need not be right, only bounded.
    private var isFull: Bool { program.count > RegularExpression.instructionCountMax }

    private mutating func emit(_ operation: RegularExpression.Instruction.Operation, _ first: Int = 0) {
        program.append(RegularExpression.Instruction(operation: operation, first: UInt16(first)))
    }

    private mutating func add(_ tree: RegularExpressionTree) {
        guard !isFull else { return }
        switch tree {
        case .empty: break
        case .set(let set): emit(.consume, number(of: set))
        case .start: emit(.assertStart)
        case .end: emit(.assertEnd)
        case .wordBoundary(let isBoundary): emit(isBoundary ? .assertWordBoundary : .assertNoWordBoundary)
        case .group(let inner, let number): addGroup(inner, number)
        case .sequence(let parts):
            for part in parts { add(part) }
        case .alternatives(let choices): addAlternatives(choices)
        case .repetition(let inner, let minimum, let maximum, let isGreedy):
            addRepetition(inner, minimum: minimum, maximum: maximum, isGreedy: isGreedy)
        }
    }

    private mutating func number(of set: ByteSet) -> Int {
        if let known = setNumbers[set] { return Int(known) }
        setNumbers[set] = UInt16(sets.count)
        sets.append(set)
        return sets.count - 1
    }

    private mutating func addGroup(_ inner: RegularExpressionTree, _ number: Int?) {
        // Groups that nothing can refer to need no places.
        guard let number, number <= RegularExpression.groupCountMax else { return add(inner) }
        emit(.save, 2 * number)
        add(inner)
        emit(.save, 2 * number + 1)
    }

    private mutating func addAlternatives(_ choices: [RegularExpressionTree]) {
        var jumps: [Int] = []
        for choice in choices.dropLast() {
            let split = addSplit()
            add(choice)
            jumps.append(program.count)
            emit(.jump)
            setTargets(of: split, first: split + 1, second: program.count, isGreedy: true)
        }
        if let last = choices.last { add(last) }
        for jump in jumps { program[jump].first = UInt16(clamping: program.count) }
    }

    private mutating func addRepetition(
        _ inner: RegularExpressionTree, minimum: Int, maximum: Int?, isGreedy: Bool
    ) {
        for _ in 0..<minimum where !isFull { add(inner) }
        guard let maximum else {
            addLoop(inner, isGreedy: isGreedy)
            return
        }
        // x{0,3} is (x(x(x)?)?)?, so that all splits may leave for the same end.
        var splits: [Int] = []
        for _ in minimum..<max(minimum, maximum) where !isFull {
            splits.append(addSplit())
            add(inner)
        }
        for split in splits {
            setTargets(of: split, first: split + 1, second: program.count, isGreedy: isGreedy)
        }
    }

    /// `x*`. What may match nothing becomes `(x+)?`: a loop that began with its split would forget the groups of
    /// an empty round, which Perl keeps.
    private mutating func addLoop(_ inner: RegularExpressionTree, isGreedy: Bool) {
        let entry = addSplit()
        add(inner)
        if inner.matchesEmpty {
            let again = addSplit()
            setTargets(of: again, first: entry + 1, second: program.count, isGreedy: isGreedy)
        } else {
            emit(.jump, min(entry, Int(UInt16.max)))
        }
        setTargets(of: entry, first: entry + 1, second: program.count, isGreedy: isGreedy)
    }

    private mutating func addSplit() -> Int {
        emit(.split)
        return program.count - 1
    }

    private mutating func setTargets(of split: Int, first: Int, second: Int, isGreedy: Bool) {
        program[split].first = UInt16(clamping: isGreedy ? first : second)
        program[split].second = UInt16(clamping: isGreedy ? second : first)
    }
}
