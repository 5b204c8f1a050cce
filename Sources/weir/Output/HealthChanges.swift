// What changed between two looks at the targets, a line each: `health --watch` into a pipe or a file.

import AdminModel

struct HealthChanges: Sendable {
    private struct Key: Hashable, Comparable {
        let group: String
        let target: String

        static func < (left: Key, right: Key) -> Bool {
            (left.group, left.target) < (right.group, right.target)
        }
    }

    private var known: [Key: HealthDescription] = [:]

    /// The lines for everything that differs from the look before; the first look shows every target.
    mutating func lines(for groups: [TargetGroupDescription]) -> [String] {
        var current: [Key: HealthDescription] = [:]
        for group in groups {
            for target in group.targets {
                let key = Key(group: group.name, target: HumanText.endpoint(target.id, target.port))
                current[key] = target.health
            }
        }
        let keys = Set(known.keys).union(current.keys).sorted()
        let lines = keys.compactMap { line(for: $0, from: known[$0], to: current[$0]) }
        known = current
        return lines
    }

    private func line(for key: Key, from old: HealthDescription?, to new: HealthDescription?) -> String? {
        guard old?.state != new?.state || old?.reason != new?.reason else { return nil }
        let transition = [old?.state, new?.state ?? "gone"].compactMap(\.self).joined(separator: " → ")
        return [key.group, key.target, transition, new?.reason, new?.description]
            .compactMap(\.self).filter { !$0.isEmpty }.joined(separator: "  ")
    }
}
