// The store: what was acknowledged is on disk, and is there after kill -9.
//
// SQLite in WAL mode with synchronous=FULL, so that a committed transaction has reached the disk. The
// database is locked exclusively: two appliances on one store would overwrite each other. A change is one
// transaction; a failed one leaves the store as it was.

import Balancing
import Foundation
import GRDB
import Synchronization

/// The store could not be opened, read or written; the message names the file, the cause and the next step.
package struct StoreError: Error, Sendable, CustomStringConvertible {
    package let description: String
}

/// The one handle on the database; `DatabaseQueue` serialises whoever uses it.
package final class Store: Sendable {
    package let location: ApplianceSettings.StateLocation
    private let pageCountMax: Int?
    /// Nil while another process has the file: between `release` and `reopen`.
    private let open: Mutex<DatabaseQueue?>

    /// Opens or creates the store and brings its tables up to date.
    ///
    /// - Parameter pageCountMax: Makes the store full beyond this many pages of 4 KiB; for tests.
    package init(_ location: ApplianceSettings.StateLocation, pageCountMax: Int? = nil) throws(StoreError) {
        self.location = location
        self.pageCountMax = pageCountMax
        open = Mutex(try Self.open(location, pageCountMax: pageCountMax))
    }

    private static func open(
        _ location: ApplianceSettings.StateLocation, pageCountMax: Int?
    ) throws(StoreError) -> DatabaseQueue {
        var configuration = GRDB.Configuration()
        configuration.label = "weir.store"
        // Without this a second appliance on the store would wait instead of being refused.
        configuration.busyMode = .immediateError
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA synchronous = FULL")
            if let pageCountMax { try database.execute(sql: "PRAGMA max_page_count = \(pageCountMax)") }
        }
        do {
            let database: DatabaseQueue
            switch location {
            case .memory:
                database = try DatabaseQueue(configuration: configuration)
            case .file(let path):
                try createDirectory(for: path)
                configuration.journalMode = .wal
                configuration.prepareDatabase { database in
                    try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
                }
                database = try DatabaseQueue(path: path, configuration: configuration)
            }
            try migrator.migrate(database)
            return database
        } catch {
            throw describe(error, doing: "opened", at: location)
        }
    }

    /// Lets another process have the file until `reopen`; meanwhile every call fails. Memory stays.
    package func release() throws(StoreError) {
        if case .file = location { try close() }
    }

    /// Opens the file again. What it holds may be another process's; see `load`.
    package func reopen() throws(StoreError) {
        if open.withLock({ $0 != nil }) { return }
        let database = try Self.open(location, pageCountMax: pageCountMax)
        open.withLock { $0 = database }
    }

    private func database(for verb: String) throws(StoreError) -> DatabaseQueue {
        guard let database = open.withLock({ $0 }) else {
            throw StoreError(
                description:
                    "state store \"\(location)\" cannot be \(verb): this process has let go of it for "
                    + "its successor. Repeat the command.")
        }
        return database
    }

    private static func createDirectory(for path: String) throws {
        let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
        guard !FileManager.default.fileExists(atPath: directory) else { return }
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
    }

    private static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1: load balancers, target groups, targets") { database in
            try database.execute(
                sql: """
                    CREATE TABLE load_balancers (
                        name TEXT PRIMARY KEY NOT NULL,
                        position INTEGER NOT NULL,
                        definition TEXT NOT NULL
                    );
                    CREATE TABLE target_groups (
                        name TEXT PRIMARY KEY NOT NULL,
                        position INTEGER NOT NULL,
                        definition TEXT NOT NULL
                    );
                    CREATE TABLE targets (
                        target_group TEXT NOT NULL REFERENCES target_groups(name) ON DELETE CASCADE,
                        address TEXT NOT NULL,
                        port INTEGER NOT NULL,
                        position INTEGER NOT NULL,
                        weight INTEGER NOT NULL,
                        availability_zone TEXT,
                        PRIMARY KEY (target_group, address, port)
                    ) WITHOUT ROWID;
                    """)
        }
        return migrator
    }

    /// Reads everything.
    package func load() async throws(StoreError) -> StoredState {
        let database = try database(for: "read")
        do {
            return try await database.read(Self.readState)
        } catch {
            throw Self.describe(error, doing: "read", at: location)
        }
    }

    /// Makes the store say `new` in one transaction, writing only what differs from `old`.
    ///
    /// Returns after the commit is on disk. A cancelled caller does not cancel the transaction: nobody
    /// could tell whether it had been committed.
    package func save(_ new: StoredState, replacing old: StoredState) async throws(StoreError) {
        let database = try database(for: "written")
        let result = await withCheckedContinuation { continuation in
            database.asyncWrite(
                { database in try Self.write(new, replacing: old, to: database) },
                completion: { _, result in continuation.resume(returning: result) })
        }
        if case .failure(let error) = result { throw Self.describe(error, doing: "written", at: location) }
    }

    /// Closes the database; every later call fails.
    package func close() throws(StoreError) {
        guard let database = open.withLock({ $0 }) else { return }
        do {
            try database.close()
            open.withLock { $0 = nil }
        } catch {
            throw Self.describe(error, doing: "closed", at: location)
        }
    }

    // MARK: Errors

    private static func describe(
        _ error: any Error, doing verb: String, at location: ApplianceSettings.StateLocation
    ) -> StoreError {
        let cause: String
        let nextStep: String
        switch error {
        case let error as DatabaseError:
            cause = "\(error.message ?? "unknown cause") (SQLite error \(error.resultCode.rawValue))"
            switch error.resultCode {
            case .SQLITE_BUSY, .SQLITE_LOCKED:
                nextStep = "Another process uses it; stop that one, or choose another file under \"state\"."
            case .SQLITE_FULL:
                nextStep = "Make room on its file system, then repeat the command."
            case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_CANTOPEN, .SQLITE_AUTH:
                nextStep =
                    "Let the user that Weir runs as write the file and its directory, or choose "
                    + "another file under \"state\"."
            case .SQLITE_CORRUPT, .SQLITE_NOTADB:
                nextStep = "Restore it from a backup, or move it away and apply the configuration again."
            default:
                nextStep = "Check the file, its directory and the disk."
            }
        case let error as StoredDefinitionError:
            cause = error.message
            nextStep =
                "It was written by another version or by hand; use that version, or move the file "
                + "away and apply the configuration again."
        default:
            cause = (error as NSError).localizedDescription
            nextStep = "Check the file, its directory and the disk."
        }
        return StoreError(
            description: "state store \"\(location)\" cannot be \(verb): \(cause). \(nextStep)")
    }
}
