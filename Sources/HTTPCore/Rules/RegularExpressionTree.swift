// An expression as a tree, and what can be read off it without running it: texts that every match must hold, by
// which the index finds rules.

indirect enum RegularExpressionTree: Sendable {
    case empty
    case set(ByteSet)
    case start
    case end
    case wordBoundary(Bool)
    case group(RegularExpressionTree, number: Int?)
    case sequence([RegularExpressionTree])
    case alternatives([RegularExpressionTree])
    case repetition(RegularExpressionTree, minimum: Int, maximum: Int?, isGreedy: Bool)

    /// Whether it may match nothing at all.
    var matchesEmpty: Bool {
        switch self {
        case .empty, .start, .end, .wordBoundary: true
        case .set: false
        case .group(let tree, _): tree.matchesEmpty
        case .sequence(let parts): parts.allSatisfy(\.matchesEmpty)
        case .alternatives(let choices): choices.contains(where: \.matchesEmpty)
        case .repetition(let tree, let minimum, _, _): minimum == 0 || tree.matchesEmpty
        }
    }

    /// Runs of bytes that stand in every match.
    func literals(ignoringCase: Bool) -> [[UInt8]] {
        guard case .sequence(let parts) = self else { return [] }
        var runs: [[UInt8]] = []
        var run: [UInt8] = []
        for part in parts {
            if case .set(let set) = part, let byte = set.literalByte(ignoringCase: ignoringCase) {
                run.append(byte)
                continue
            }
            runs.append(run)
            run = []
            if case .group(let inner, _) = part { runs += inner.literals(ignoringCase: ignoringCase) }
        }
        return (runs + [run]).filter { !$0.isEmpty }
    }

    /// The bytes that every text it matches begins with (or ends with); empty when it is not held to that end.
    func literal(atEnd: Bool, ignoringCase: Bool) -> [UInt8] {
        guard case .sequence(var parts) = self else { return [] }
        if atEnd { parts.reverse() }
        switch (parts.first, atEnd) {
        case (.start, false), (.end, true): break
        default: return []
        }
        var bytes: [UInt8] = []
        for part in parts.dropFirst() {
            guard case .set(let set) = part, let byte = set.literalByte(ignoringCase: ignoringCase) else {
                break
            }
            bytes.append(byte)
        }
        return atEnd ? bytes.reversed() : bytes
    }
}

extension ByteSet {
    /// The byte it stands for; in lower case when it is both cases of a letter and case does not matter.
    fileprivate func literalByte(ignoringCase: Bool) -> UInt8? {
        if let onlyByte {
            // An upper-case letter alone cannot occur when case does not matter.
            return onlyByte
        }
        guard ignoringCase else { return nil }
        return (UInt8(ascii: "a")...UInt8(ascii: "z")).first { self == ByteSet([$0, $0 ^ 0x20]) }
    }
}
