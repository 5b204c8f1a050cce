// A look into a closed store before privileges are given up.
//
// By SQLite's own interface: GRDB reads on a dispatch queue, whose threads would keep, or lose, other privileges than
// those that all later threads inherit.

import Foundation
import GRDBSQLite

extension Store {
    /// Whether a target group of the store preserves client addresses, on the calling thread alone.
    ///
    /// False also when there is no store, another process has it, or it cannot be read: opening it later explains that.
    package static func preservesClientIP(in location: ApplianceSettings.StateLocation) -> Bool {
        guard case .file(let path) = location, FileManager.default.fileExists(atPath: path) else {
            return false
        }
        var database: OpaquePointer?
        defer { sqlite3_close(database) }
        // A store in WAL mode cannot be read without writing to it.
        guard sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil) == SQLITE_OK,
            sqlite3_exec(database, "PRAGMA locking_mode = EXCLUSIVE", nil, nil, nil) == SQLITE_OK
        else { return false }
        let query = """
            SELECT 1 FROM target_groups
            WHERE json_extract(definition, '$.attributes."preserve_client_ip.enabled"') = 'true' LIMIT 1
            """
        var statement: OpaquePointer?
        defer { sqlite3_finalize(statement) }
        guard sqlite3_prepare_v2(database, query, -1, &statement, nil) == SQLITE_OK else { return false }
        return sqlite3_step(statement) == SQLITE_ROW
    }
}
