// Asks the table of a node for whatever a request has to offer, and marks the nodes that it leads to.

import Balancing

extension RuleIndex {
    /// Adds to `marks` the nodes below `node` that a request leads to.
    func lookUp(
        _ node: Node, _ text: RequestText, _ head: borrowing RequestHead, _ bytes: Span<UInt8>,
        client: IPAddress, _ marks: inout RuleMarks
    ) {
        // Taken out last, when a better rule may have been found already.
        marks.push(node.otherwise)
        switch node.dimension {
        case nil:
            break
        case .host:
            guard let host = text.host else { return }
            lookUp(node, host, RuleKey.start(), ConditionPool.hostReading, bytes, &marks)
        case .path:
            lookUp(node, text.path, RuleKey.start(), ConditionPool.pathReading, bytes, &marks)
        case .method:
            let method = head.methodBytes.range.clamped(to: bytes.indices)
            lookUp(node, method, RuleKey.start(), TextReading(), bytes, &marks)
        case .header:
            lookUpHeaders(node, head, bytes, &marks)
        case .query:
            lookUpQuery(node, text.query, bytes, &marks)
        case .sourceIP:
            for place in 0..<Int(node.beginningCount) {
                let length = lengths[Int(node.beginningStart) + place]
                guard length >> 8 == UInt16(client.family.rawValue) else { continue }
                marks.push(child(of: node, for: RuleKey.source(client, length: UInt8(length & 0xFF))))
            }
        }
    }

    private func lookUpHeaders(
        _ node: Node, _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ marks: inout RuleMarks
    ) {
        for index in 0..<head.fields.count {
            let field = head.fields[index]
            let name = field.name.range.clamped(to: bytes.indices)
            guard !name.isEmpty else { continue }
            let bit = Self.nameBit(
                count: name.count, first: bytes[name.lowerBound], last: bytes[name.upperBound - 1])
            guard headerNameFilter & bit != 0 else { continue }
            var seed = RuleKey.start()
            for position in name { seed = RuleKey.add(TextReading.lowercased(bytes[position]), to: seed) }
            let value = field.value.range.clamped(to: bytes.indices)
            lookUp(node, value, RuleKey.divide(seed), ConditionPool.headerReading, bytes, &marks)
        }
    }

    private func lookUpQuery(
        _ node: Node, _ query: Range<Int>, _ bytes: Span<UInt8>, _ marks: inout RuleMarks
    ) {
        let reading = ConditionPool.queryReading
        var parts = QueryParts(query)
        while let part = parts.next(bytes) {
            var seed = RuleKey.start()
            var position = part.key.lowerBound
            while position < part.key.upperBound {
                seed = RuleKey.add(reading.next(bytes, &position, part.key.upperBound), to: seed)
            }
            lookUp(node, part.value, RuleKey.divide(seed), reading, bytes, &marks)
            if node.hasKeylessValues {
                lookUp(node, part.value, RuleKey.divide(0), reading, bytes, &marks)
                if part.isBare { lookUp(node, part.key, RuleKey.divide(0), reading, bytes, &marks) }
            }
        }
    }

    /// Asks for the beginnings, the whole, the ends and the grams of one text.
    @inline(__always)
    private func lookUp(
        _ node: Node, _ range: Range<Int>, _ seed: UInt64, _ reading: TextReading, _ bytes: Span<UInt8>,
        _ marks: inout RuleMarks
    ) {
        lookUpForwards(node, range, seed, reading, bytes, &marks)
        if node.endCount > 0 { lookUpBackwards(node, range, seed, reading, bytes, &marks) }
        if node.hasGrams { lookUpGrams(node, range, seed, reading, bytes, &marks) }
    }

    @inline(__always)
    private func lookUpForwards(
        _ node: Node, _ range: Range<Int>, _ seed: UInt64, _ reading: TextReading, _ bytes: Span<UInt8>,
        _ marks: inout RuleMarks
    ) {
        var hash = seed
        var length = 0
        var position = range.lowerBound
        for place in 0..<Int(node.beginningCount) {
            let wanted = Int(lengths[Int(node.beginningStart) + place])
            while length < wanted, position < range.upperBound {
                hash = RuleKey.add(reading.next(bytes, &position, range.upperBound), to: hash)
                length &+= 1
            }
            guard length == wanted else { break }
            marks.push(child(of: node, for: RuleKey.beginning(hash)))
        }
        guard node.hasWholes else { return }
        while position < range.upperBound {
            guard length < RuleKey.byteCountMax else { return }
            hash = RuleKey.add(reading.next(bytes, &position, range.upperBound), to: hash)
            length &+= 1
        }
        marks.push(child(of: node, for: RuleKey.whole(hash)))
    }

    /// Never of what is percent-decoded, which cannot be read backwards.
    private func lookUpBackwards(
        _ node: Node, _ range: Range<Int>, _ seed: UInt64, _ reading: TextReading, _ bytes: Span<UInt8>,
        _ marks: inout RuleMarks
    ) {
        var hash = seed
        var length = 0
        for place in 0..<Int(node.endCount) {
            let wanted = Int(lengths[Int(node.endStart) + place])
            guard wanted <= range.count else { return }
            while length < wanted {
                length &+= 1
                let byte = bytes[range.upperBound - length]
                hash = RuleKey.add(reading.ignoresCase ? TextReading.lowercased(byte) : byte, to: hash)
            }
            marks.push(child(of: node, for: RuleKey.end(hash)))
        }
    }

    private func lookUpGrams(
        _ node: Node, _ range: Range<Int>, _ seed: UInt64, _ reading: TextReading, _ bytes: Span<UInt8>,
        _ marks: inout RuleMarks
    ) {
        var gram: UInt32 = 0
        var position = range.lowerBound
        while position < range.upperBound {
            let byte = bytes[position]
            gram = gram << 8 | UInt32(reading.ignoresCase ? TextReading.lowercased(byte) : byte)
            position &+= 1
            guard position - range.lowerBound >= RuleKey.gramByteCount else { continue }
            let key = RuleKey.gram(seed, gram)
            guard node.gramFilter &>> (key & 63) & 1 != 0 else { continue }
            marks.push(child(of: node, for: key))
        }
    }
}
