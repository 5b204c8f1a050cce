// Decides what each rule is looked up by, and grows the tree; off the workers, once per snapshot.
//
// At each node the part of the request is taken that divides the rules best. Of all that a rule asks of that part,
// the key is what fewest rules ask for: `/shop/*/cart` and `/shop/*/pay` share their beginning, so their ends are
// better keys.

import Balancing

struct RuleIndexBuilder {
    /// So few rules are held against the request one by one.
    private static let leafRuleCountMax = 4
    /// To look up one part of a request costs as much as to hold so many rules against it, roughly. A division that
    /// saves more is worth it, however many rules it leaves over: those are divided by another part.
    private static let lookUpCost = 8.0
    /// Rules with many values stand in many branches; past so many entries the rest is listed, not divided.
    private static let entryCountMax = 1 << 20

    /// What one value of a condition can be looked up by. `kind` and lengths tell the node what to ask for.
    private struct Key: Hashable {
        enum Kind: Hashable {
            case whole
            case beginning(Int)
            case end(Int)
            case gram
            case source(UInt16)
        }

        let kind: Kind
        let hash: UInt64
        /// For query values asked for under any key.
        var isKeyless = false
    }

    /// The keys of each value of one condition, of which one each will do.
    private typealias Choices = [[Key]]

    private(set) var index = RuleIndex()
    private var entryCount = 0
    /// By rule and dimension: the conditions of that kind which can be looked up.
    private var choices: [[RuleDimension: [Choices]]] = []

    /// The tree's root is its last node.
    init(_ conditions: [[RuleCondition]], rules: [Int]) {
        choices = conditions.map { list in
            var result: [RuleDimension: [Choices]] = [:]
            for condition in list {
                let dimension = condition.dimension
                if let found = Self.choices(for: condition) { result[dimension, default: []].append(found) }
                if case .httpHeader(let name, _) = condition, let first = name.utf8.first,
                    let last = name.utf8.last
                {
                    index.headerNameFilter |= RuleIndex.nameBit(
                        count: name.utf8.count, first: first, last: last)
                }
            }
            return result
        }
        _ = build(rules, without: [])
    }

    // MARK: The tree

    private mutating func build(_ rules: [Int], without used: Set<RuleDimension>) -> UInt32 {
        guard rules.count > Self.leafRuleCountMax, entryCount < Self.entryCountMax else {
            return addLeaf(rules)
        }
        var best: (cost: Double, dimension: RuleDimension, division: Division)?
        for dimension in RuleDimension.allCases where !used.contains(dimension) {
            let division = divide(rules, by: dimension)
            guard division.cost < best?.cost ?? Double(rules.count) - Self.lookUpCost else { continue }
            best = (division.cost, dimension, division)
        }
        guard let best else { return addLeaf(rules) }
        return addNode(best.dimension, best.division, used.union([best.dimension]))
    }

    private mutating func addLeaf(_ rules: [Int]) -> UInt32 {
        var node = RuleIndex.Node()
        node.firstRule = rules.first.map { UInt32($0) } ?? .max
        node.ruleStart = UInt32(index.leafRules.count)
        node.ruleCount = UInt32(rules.count)
        index.leafRules += rules.map { UInt32($0) }
        index.nodes.append(node)
        entryCount += rules.count
        return UInt32(index.nodes.count - 1)
    }

    private mutating func addNode(
        _ dimension: RuleDimension, _ division: Division, _ used: Set<RuleDimension>
    ) -> UInt32 {
        var children: [(key: Key, node: UInt32)] = []
        for (key, rules) in division.groups { children.append((key, build(rules, without: used))) }
        var node = RuleIndex.Node(dimension: dimension)
        if !division.otherwise.isEmpty { node.otherwise = build(division.otherwise, without: used) }
        let below = children.map(\.node) + (division.otherwise.isEmpty ? [] : [node.otherwise])
        node.firstRule = below.map { index.nodes[Int($0)].firstRule }.min() ?? .max
        var beginnings: Set<UInt16> = []
        var ends: Set<UInt16> = []
        for (key, _) in children {
            switch key.kind {
            case .whole: node.hasWholes = true
            case .beginning(let length): beginnings.insert(UInt16(length))
            case .end(let length): ends.insert(UInt16(length))
            case .gram:
                node.hasGrams = true
                node.gramFilter |= 1 &<< (key.hash & 63)
            case .source(let length): beginnings.insert(length)
            }
            if key.isKeyless { node.hasKeylessValues = true }
        }
        (node.beginningStart, node.beginningCount) = addLengths(beginnings)
        (node.endStart, node.endCount) = addLengths(ends)
        (node.slotStart, node.slotMask) = addTable(children)
        index.nodes.append(node)
        return UInt32(index.nodes.count - 1)
    }

    private mutating func addLengths(_ lengths: Set<UInt16>) -> (start: UInt32, count: UInt32) {
        defer { index.lengths += lengths.sorted() }
        return (UInt32(index.lengths.count), UInt32(lengths.count))
    }

    private mutating func addTable(_ children: [(key: Key, node: UInt32)]) -> (start: UInt32, mask: UInt32) {
        var count = 2
        while count < 2 * children.count { count *= 2 }
        let start = index.slots.count
        index.slots += Array(repeating: RuleIndex.Slot(key: 0, node: RuleIndex.none), count: count)
        for (key, node) in children {
            var slot = Int(truncatingIfNeeded: key.hash) & (count - 1)
            while index.slots[start + slot].node != RuleIndex.none { slot = (slot + 1) & (count - 1) }
            index.slots[start + slot] = RuleIndex.Slot(key: key.hash, node: node)
        }
        return (UInt32(start), UInt32(count - 1))
    }

    // MARK: Dividing

    private struct Division {
        /// Rules in rising order; in the order of their lowest rules, so that one configuration makes one tree.
        var groups: [(key: Key, rules: [Int])] = []
        var otherwise: [Int] = []

        /// About how many rules are left to look at for a request that finds one of the keys.
        var cost: Double {
            let entries = groups.reduce(0) { $0 + $1.rules.count }
            let squares = groups.reduce(0) { $0 + $1.rules.count * $1.rules.count }
            return Double(otherwise.count) + (entries == 0 ? 0 : Double(squares) / Double(entries))
        }
    }

    private func divide(_ rules: [Int], by dimension: RuleDimension) -> Division {
        // How many rules could use a key.
        var frequencies: [Key: Int] = [:]
        for rule in rules {
            var seen: Set<Key> = []
            for condition in choices[rule][dimension] ?? [] {
                for keys in condition { seen.formUnion(keys) }
            }
            for key in seen { frequencies[key, default: 0] += 1 }
        }
        var division = Division()
        // Two keys of one hash would be one entry in a table: whoever has the hash first gives it its kind, and
        // the few rules of another kind are listed instead.
        var places: [UInt64: Int] = [:]
        for rule in rules {
            let keys = self.keys(of: rule, dimension, frequencies)
            let isClear = keys.allSatisfy { key in
                places[key.hash].map { division.groups[$0].key == key } ?? true
            }
            guard !keys.isEmpty, isClear else {
                division.otherwise.append(rule)
                continue
            }
            for key in Set(keys) {
                if let place = places[key.hash] {
                    division.groups[place].rules.append(rule)
                } else {
                    places[key.hash] = division.groups.count
                    division.groups.append((key, [rule]))
                }
            }
        }
        return division
    }

    /// The keys of that condition of a rule which fewest others share; none if it has none.
    private func keys(of rule: Int, _ dimension: RuleDimension, _ frequencies: [Key: Int]) -> [Key] {
        var best: (frequency: Int, keys: [Key]) = (.max, [])
        for condition in choices[rule][dimension] ?? [] {
            // Of equals the first, which is the kind that is cheapest to look up.
            let keys = condition.compactMap { keys in keys.min { frequencies[$0] ?? 0 < frequencies[$1] ?? 0 }
            }
            let frequency = keys.map { frequencies[$0] ?? 0 }.max() ?? .max
            if frequency < best.frequency { best = (frequency, keys) }
        }
        return best.keys
    }

    // MARK: Keys

    /// Nil when some value cannot be looked up: the rule could apply whatever the tables say.
    private static func choices(for condition: RuleCondition) -> Choices? {
        var result: Choices = []
        switch condition {
        case .hostHeader(let texts):
            result = keys(of: texts, ConditionPool.hostReading, seed: RuleKey.start())
        case .pathPattern(let texts):
            result = keys(of: texts, ConditionPool.pathReading, seed: RuleKey.start())
        case .httpHeader(let name, let texts):
            let name = name.utf8.reduce(RuleKey.start()) { RuleKey.add(TextReading.lowercased($1), to: $0) }
            // That there is such a field is a key as well.
            let seed = RuleKey.divide(name)
            let present = Key(kind: .beginning(0), hash: RuleKey.beginning(seed))
            result = keys(of: texts, ConditionPool.headerReading, seed: seed).map { $0 + [present] }
        case .httpRequestMethod(let methods):
            result = methods.map { [wholeKey(Array($0.utf8), RuleKey.start())] }
        case .queryString(let pairs):
            result = pairs.map { keys(of: $0) }
        case .sourceIP(let ranges):
            result = ranges.map { range in
                let length = UInt16(range.address.family.rawValue) << 8 | UInt16(range.length)
                return [Key(kind: .source(length), hash: RuleKey.source(range.address, length: range.length))]
            }
        }
        return result.isEmpty || result.contains(where: \.isEmpty) ? nil : result
    }

    private static func keys(of pair: QueryPattern) -> [Key] {
        let reading = ConditionPool.queryReading
        let value = WildcardToken.tokens(of: pair.value, reading: reading, isQuery: true)
        guard let keyText = pair.key else {
            // An end would need reading backwards, which percent-encoding does not allow.
            return keys(of: value, seed: RuleKey.divide(0), hasEnds: false, hasGrams: false).map {
                Key(kind: $0.kind, hash: $0.hash, isKeyless: true)
            }
        }
        let key = WildcardToken.tokens(of: keyText, reading: reading, isQuery: true)
        guard key.allSatisfy({ $0 < WildcardToken.anyByte }) else { return [] }
        let seed = RuleKey.divide(
            key.reduce(RuleKey.start()) { RuleKey.add(UInt8(truncatingIfNeeded: $1), to: $0) })
        return keys(of: value, seed: seed, hasEnds: false, hasGrams: false)
            + [Key(kind: .beginning(0), hash: RuleKey.beginning(seed))]
    }

    private static func keys(of texts: TextPatterns, _ reading: TextReading, seed: UInt64) -> Choices {
        texts.wildcards.map {
            keys(of: WildcardToken.tokens(of: $0, reading: reading, isQuery: false), seed: seed)
        } + texts.regularExpressions.map { keys(ofExpression: $0, reading, seed: seed) }
    }

    private static func keys(
        of tokens: [UInt16], seed: UInt64, hasEnds: Bool = true, hasGrams: Bool = true
    ) -> [Key] {
        let isLiteral = { (token: UInt16) in token < WildcardToken.anyByte }
        let bytes = { (tokens: ArraySlice<UInt16>) in tokens.map { UInt8(truncatingIfNeeded: $0) } }
        guard tokens.contains(where: { !isLiteral($0) }) else {
            return tokens.count <= RuleKey.byteCountMax ? [wholeKey(bytes(tokens[...]), seed)] : []
        }
        var keys = beginningKeys(bytes(tokens.prefix(while: isLiteral)), seed)
        if hasEnds {
            let end = tokens.reversed().prefix(while: isLiteral).reversed()
            keys += endKeys(bytes(Array(end)[...]), seed)
        }
        if hasGrams {
            for run in tokens.split(whereSeparator: { !isLiteral($0) }) { keys += gramKeys(bytes(run), seed) }
        }
        return keys
    }

    private static func keys(ofExpression text: String, _ reading: TextReading, seed: UInt64) -> [Key] {
        guard let expression = try? RegularExpression(text, ignoringCase: reading.ignoresCase) else {
            return []
        }
        return beginningKeys(expression.literalPrefix, seed) + endKeys(expression.literalSuffix, seed)
            + expression.literals.flatMap { gramKeys($0, seed) }
    }

    private static func wholeKey(_ bytes: [UInt8], _ seed: UInt64) -> Key {
        Key(kind: .whole, hash: RuleKey.whole(bytes.reduce(seed) { RuleKey.add($1, to: $0) }))
    }

    private static func beginningKeys(_ bytes: [UInt8], _ seed: UInt64) -> [Key] {
        guard (1...RuleKey.byteCountMax).contains(bytes.count) else { return [] }
        let hash = RuleKey.beginning(bytes.reduce(seed) { RuleKey.add($1, to: $0) })
        return [Key(kind: .beginning(bytes.count), hash: hash)]
    }

    private static func endKeys(_ bytes: [UInt8], _ seed: UInt64) -> [Key] {
        guard (1...RuleKey.byteCountMax).contains(bytes.count) else { return [] }
        let hash = RuleKey.end(bytes.reversed().reduce(seed) { RuleKey.add($1, to: $0) })
        return [Key(kind: .end(bytes.count), hash: hash)]
    }

    private static func gramKeys(_ bytes: [UInt8], _ seed: UInt64) -> [Key] {
        guard bytes.count >= RuleKey.gramByteCount else { return [] }
        return (0...bytes.count - RuleKey.gramByteCount).map { start in
            let gram = bytes[start..<start + RuleKey.gramByteCount].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            return Key(kind: .gram, hash: RuleKey.gram(seed, gram))
        }
    }
}

extension RuleCondition {
    fileprivate var dimension: RuleDimension {
        switch self {
        case .hostHeader: .host
        case .pathPattern: .path
        case .httpHeader: .header
        case .httpRequestMethod: .method
        case .queryString: .query
        case .sourceIP: .sourceIP
        }
    }
}
