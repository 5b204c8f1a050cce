// Rows of the store, read whole and written by difference.

import Balancing
import Foundation
import GRDB

extension Store {
    static func readState(_ database: Database) throws -> StoredState {
        var state = StoredState()
        var indices: [String: Int] = [:]
        for row in try Row.fetchAll(
            database,
            sql: "SELECT name, definition FROM target_groups ORDER BY "
                + "position, name")
        {
            let name: String = try value(row, 0)
            let definition: StoredTargetGroup = try decode(value(row, 1), of: "target group \"\(name)\"")
            indices[name] = state.groups.count
            do throws(StoredDefinitionError) {
                state.groups.append(StoredGroup(group: try definition.targetGroup(named: name), targets: []))
            } catch {
                throw StoredDefinitionError(message: "target group \"\(name)\": \(error.message)")
            }
        }
        try readTargets(database, into: &state, indices: indices)
        for row in try Row.fetchAll(
            database,
            sql: "SELECT name, definition FROM load_balancers ORDER BY "
                + "position, name")
        {
            let name: String = try value(row, 0)
            let definition: StoredLoadBalancer = try decode(value(row, 1), of: "load balancer \"\(name)\"")
            do throws(StoredDefinitionError) {
                state.loadBalancers.append(try definition.loadBalancer(named: name))
            } catch {
                throw StoredDefinitionError(message: "load balancer \"\(name)\": \(error.message)")
            }
        }
        return state
    }

    private static func readTargets(
        _ database: Database, into state: inout StoredState, indices: [String: Int]
    ) throws {
        let rows = try Row.fetchCursor(
            database,
            sql: """
                SELECT target_group, address, port, weight, availability_zone FROM targets
                ORDER BY target_group, position, address, port
                """)
        while let row = try rows.next() {
            let name: String = try value(row, 0)
            let text: String = try value(row, 1)
            let number: Int = try value(row, 2)
            let weight: Int = try value(row, 3)
            guard let index = indices[name], let address = IPAddress(text),
                let port = UInt16(exactly: number),
                port > 0, TargetRule.weights.contains(weight), TargetRule.objection(to: address) == nil
            else {
                throw StoredDefinitionError(
                    message: "target \"\(text)\" port \(number) of \"\(name)\" is "
                        + "none")
            }
            let zone = String.fromDatabaseValue(row[4])
            state.groups[index].targets.append(
                Target(id: TargetID(address: address, port: port), weight: weight, availabilityZone: zone))
        }
    }

    /// One column; GRDB's own subscript would trap on a value of another type.
    private static func value<Value: DatabaseValueConvertible>(_ row: Row, _ column: Int) throws -> Value {
        let stored: DatabaseValue = row[column]
        guard let value = Value.fromDatabaseValue(stored) else {
            throw StoredDefinitionError(message: "a column holds \(stored) instead of a value of its type")
        }
        return value
    }

    private static func decode<Definition: Decodable>(_ text: String, of subject: String) throws -> Definition
    {
        do {
            return try JSONDecoder().decode(Definition.self, from: Data(text.utf8))
        } catch {
            throw StoredDefinitionError(message: "the definition of \(subject) is not readable")
        }
    }

    private static func encode(_ definition: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(definition), as: UTF8.self)
    }

    static func write(_ new: StoredState, replacing old: StoredState, to database: Database) throws {
        let oldGroups = Dictionary(
            old.groups.enumerated().map { ($1.group.name, (position: $0, stored: $1)) },
            uniquingKeysWith: { first, _ in first })
        let newNames = Set(new.groups.map(\.group.name))
        for name in oldGroups.keys where !newNames.contains(name) {
            try database.execute(sql: "DELETE FROM target_groups WHERE name = ?", arguments: [name])
        }
        for (position, stored) in new.groups.enumerated() {
            let before = oldGroups[stored.group.name]
            if before?.position != position || before?.stored.group != stored.group {
                try upsert(
                    "target_groups", name: stored.group.name, position: position,
                    definition: encode(StoredTargetGroup(stored.group)), to: database)
            }
            let oldTargets = before?.stored.targets ?? []
            if oldTargets != stored.targets {
                try writeTargets(stored.targets, replacing: oldTargets, of: stored.group.name, to: database)
            }
        }
        try writeLoadBalancers(new.loadBalancers, replacing: old.loadBalancers, to: database)
    }

    private static func writeTargets(
        _ new: [Target], replacing old: [Target], of group: String, to database: Database
    ) throws {
        let before = Dictionary(
            old.enumerated().map { ($1.id, (position: $0, target: $1)) },
            uniquingKeysWith: { first, _ in first })
        let kept = Set(new.map(\.id))
        for target in old where !kept.contains(target.id) {
            try database.execute(
                sql: "DELETE FROM targets WHERE target_group = ? AND address = ? AND port = ?",
                arguments: [group, target.id.address.description, Int(target.id.port)])
        }
        for (position, target) in new.enumerated() {
            // A position only orders the list: not worth rewriting for all that follow a removed target.
            if let known = before[target.id], known.target == target { continue }
            try database.execute(
                sql: """
                    INSERT INTO targets (target_group, address, port, position, weight, availability_zone)
                    VALUES (?, ?, ?, ?, ?, ?)
                    ON CONFLICT (target_group, address, port) DO UPDATE
                    SET weight = excluded.weight, availability_zone = excluded.availability_zone
                    """,
                arguments: [
                    group, target.id.address.description, Int(target.id.port), position, target.weight,
                    target.availabilityZone,
                ])
        }
    }

    private static func writeLoadBalancers(
        _ new: [LoadBalancer], replacing old: [LoadBalancer], to database: Database
    ) throws {
        let before = Dictionary(
            old.enumerated().map { ($1.name, (position: $0, loadBalancer: $1)) },
            uniquingKeysWith: { first, _ in first })
        let kept = Set(new.map(\.name))
        for name in before.keys where !kept.contains(name) {
            try database.execute(sql: "DELETE FROM load_balancers WHERE name = ?", arguments: [name])
        }
        for (position, loadBalancer) in new.enumerated() {
            if let known = before[loadBalancer.name], known.position == position,
                known.loadBalancer == loadBalancer
            {
                continue
            }
            try upsert(
                "load_balancers", name: loadBalancer.name, position: position,
                definition: encode(StoredLoadBalancer(loadBalancer)), to: database)
        }
    }

    private static func upsert(
        _ table: String, name: String, position: Int, definition: String, to database: Database
    ) throws {
        try database.execute(
            sql: """
                INSERT INTO \(table) (name, position, definition) VALUES (?, ?, ?)
                ON CONFLICT (name) DO UPDATE
                SET position = excluded.position, definition = excluded.definition
                """,
            arguments: [name, position, definition])
    }
}
