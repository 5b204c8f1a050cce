// "Did you mean": the known word that is fewest edits away from a mistyped one.

enum NearestKey {
    /// The nearest of `known`, or nil when none is near enough to be meant.
    static func find(_ word: String, in known: [String]) -> String? {
        // Keys are short; a longer word is no typing slip, and its distance would cost its length squared.
        guard word.utf8.count <= 128 else { return nil }
        let bound = max(2, word.count / 3)
        return known.map { (key: $0, distance: distance(word, $0)) }
            .filter { $0.distance <= bound }
            .min { $0.distance < $1.distance }?
            .key
    }

    /// Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours.
    static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.lowercased())
        let right = Array(right.lowercased())
        var beforeLast = [Int](repeating: 0, count: right.count + 1)
        var last = Array(0...right.count)
        for row in 0..<left.count {
            var current = [row + 1] + [Int](repeating: 0, count: right.count)
            for column in 0..<right.count {
                let replacement = last[column] + (left[row] == right[column] ? 0 : 1)
                current[column + 1] = min(replacement, last[column + 1] + 1, current[column] + 1)
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    current[column + 1] = min(current[column + 1], beforeLast[column - 1] + 1)
                }
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }

    /// `; did you mean "x"?`, or the list of what is known when nothing is near.
    static func advice(for word: String, in known: [String]) -> String {
        if let nearest = find(word, in: known) { return "; did you mean \"\(nearest)\"?" }
        return "; known are: \(known.joined(separator: ", "))."
    }
}
