// Conditions as flat values, and how one request is held against them.

import Balancing

/// A condition of a compiled rule: where its values are.
struct CompiledCondition: Sendable, BitwiseCopyable {
    enum Kind: UInt8, Sendable, BitwiseCopyable {
        case host
        case path
        case header
        case method
        /// Patterns in pairs, of the key and of the value.
        case query
        /// Values are in `ConditionPool.prefixes`.
        case sourceIP
    }

    let kind: Kind
    /// In `ConditionPool.patterns`, or in `prefixes`.
    let start: UInt32
    let count: UInt32
    /// The name of a header, exact.
    var name = TextPattern(kind: .nothing, reading: TextReading())
}

struct ConditionPool: Sendable {
    static let hostReading = TextReading(ignoresCase: true)
    static let pathReading = TextReading()
    static let headerReading = TextReading(ignoresCase: true)
    static let queryReading = TextReading(ignoresCase: true, decodes: true)

    private(set) var patterns: [TextPattern] = []
    private(set) var prefixes: [IPPrefix] = []
    private(set) var pool = PatternPool()

    mutating func add(_ condition: RuleCondition) -> CompiledCondition {
        let start = UInt32(patterns.count)
        switch condition {
        case .hostHeader(let texts):
            add(texts, Self.hostReading)
            return CompiledCondition(kind: .host, start: start, count: UInt32(patterns.count) - start)
        case .pathPattern(let texts):
            add(texts, Self.pathReading)
            return CompiledCondition(kind: .path, start: start, count: UInt32(patterns.count) - start)
        case .httpHeader(let name, let texts):
            add(texts, Self.headerReading)
            return CompiledCondition(
                kind: .header, start: start, count: UInt32(patterns.count) - start,
                name: pool.add(exact: name, reading: Self.headerReading))
        case .httpRequestMethod(let methods):
            patterns += methods.map { pool.add(exact: $0, reading: TextReading()) }
            return CompiledCondition(kind: .method, start: start, count: UInt32(methods.count))
        case .queryString(let pairs):
            for pair in pairs {
                let anything = TextPattern(kind: .anything, reading: Self.queryReading)
                patterns.append(
                    pair.key.map { pool.add(wildcard: $0, reading: Self.queryReading, isQuery: true) }
                        ?? anything)
                patterns.append(pool.add(wildcard: pair.value, reading: Self.queryReading, isQuery: true))
            }
            return CompiledCondition(kind: .query, start: start, count: UInt32(2 * pairs.count))
        case .sourceIP(let ranges):
            let start = UInt32(prefixes.count)
            prefixes += ranges
            return CompiledCondition(kind: .sourceIP, start: start, count: UInt32(ranges.count))
        }
    }

    /// A value that does not compile was refused long ago; should one come here, it never matches.
    private mutating func add(_ texts: TextPatterns, _ reading: TextReading) {
        patterns += texts.wildcards.map { pool.add(wildcard: $0, reading: reading) }
        for text in texts.regularExpressions {
            if let expression = try? RegularExpression(text, ignoringCase: reading.ignoresCase) {
                patterns.append(pool.add(expression: expression, reading: reading))
            } else {
                patterns.append(TextPattern(kind: .nothing, reading: reading))
            }
        }
    }

    /// Whether any value of the condition fits.
    func isMet(
        _ condition: CompiledCondition, by text: RequestText, _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>, client: IPAddress, _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        switch condition.kind {
        case .host:
            guard let host = text.host else { return false }
            return fits(condition, bytes, host, &scratch)
        case .path:
            return fits(condition, bytes, text.path, &scratch)
        case .method:
            return fits(condition, bytes, head.methodBytes.range.clamped(to: bytes.indices), &scratch)
        case .header:
            return hasHeader(condition, head, bytes, &scratch)
        case .query:
            return hasQuery(condition, bytes, text.query, &scratch)
        case .sourceIP:
            for index in 0..<Int(condition.count)
            where prefixes[Int(condition.start) + index].contains(client) {
                return true
            }
            return false
        }
    }

    private func fits(
        _ condition: CompiledCondition, _ bytes: Span<UInt8>, _ range: Range<Int>,
        _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        for index in 0..<Int(condition.count)
        where pool.matches(patterns[Int(condition.start) + index], bytes, range, &scratch) {
            return true
        }
        return false
    }

    /// One line of a repeated field is enough.
    private func hasHeader(
        _ condition: CompiledCondition, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        let nameCount = condition.name.count
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            guard field.name.count == nameCount,
                pool.matches(condition.name, bytes, field.name.range.clamped(to: bytes.indices), &scratch)
            else { continue }
            if fits(condition, bytes, field.value.range.clamped(to: bytes.indices), &scratch) { return true }
        }
        return false
    }

    private func hasQuery(
        _ condition: CompiledCondition, _ bytes: Span<UInt8>, _ query: Range<Int>,
        _ scratch: inout RegularExpressionScratch
    ) -> Bool {
        var parts = QueryParts(query)
        while let part = parts.next(bytes) {
            var index = Int(condition.start)
            let end = index + Int(condition.count)
            while index < end {
                let key = patterns[index]
                let value = patterns[index + 1]
                index += 2
                guard pool.matches(key, bytes, part.key, &scratch) else { continue }
                if pool.matches(value, bytes, part.value, &scratch) { return true }
                // A part without an equals sign is a key without a value, or a value without a key.
                if part.isBare, key.kind == .anything, pool.matches(value, bytes, part.key, &scratch) {
                    return true
                }
            }
        }
        return false
    }
}

/// Walks over the parts of a query, which ampersands divide.
struct QueryParts {
    struct Part {
        let key: Range<Int>
        /// Empty when there is no equals sign.
        let value: Range<Int>
        let isBare: Bool
    }

    private var position: Int
    private let end: Int

    init(_ query: Range<Int>) {
        position = query.lowerBound
        end = query.upperBound
    }

    /// The next part that is not empty.
    mutating func next(_ bytes: Span<UInt8>) -> Part? {
        while position < end {
            let start = position
            var equals: Int?
            while position < end, bytes[position] != UInt8(ascii: "&") {
                if equals == nil, bytes[position] == UInt8(ascii: "=") { equals = position }
                position += 1
            }
            let partEnd = position
            position += 1
            guard partEnd > start else { continue }
            if let equals {
                return Part(key: start..<equals, value: equals + 1..<partEnd, isBare: false)
            }
            return Part(key: start..<partEnd, value: partEnd..<partEnd, isBare: true)
        }
        return nil
    }
}
