// Reads the files that commands take, with errors for people.

import Balancing
import Foundation

enum FileText {
    /// The text of `path`, or of standard input for "-"; bounded, since the appliance refuses more.
    static func read(_ path: String) throws(CommandFailure) -> String {
        let handle: FileHandle
        do {
            handle =
                path == "-"
                ? .standardInput
                : try FileHandle(forReadingFrom: URL(filePath: path, directoryHint: .notDirectory))
        } catch {
            throw CommandFailure(message: "cannot read \(path): \(cause(of: error)).")
        }
        let data: Data
        do {
            data = try handle.read(upToCount: Limits.configurationByteCountMax + 1) ?? Data()
        } catch {
            throw CommandFailure(message: "cannot read \(path): \(cause(of: error)).")
        }
        guard data.count <= Limits.configurationByteCountMax else {
            throw CommandFailure(
                message: "\(path) is larger than \(Limits.configurationByteCountMax) bytes, the most that a "
                    + "configuration may have.")
        }
        guard let text = String(bytes: data, encoding: .utf8) else {
            throw CommandFailure(message: "\(path) is not UTF-8 text.")
        }
        return text
    }

    /// The system's word where there is one: "No such file or directory", not a domain and a number.
    static func cause(of error: any Error) -> String {
        if let code = ((error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError)?.code {
            return String(cString: strerror(Int32(truncatingIfNeeded: code))).lowercased()
        }
        switch (error as? CocoaError)?.code {
        case .fileReadNoSuchFile?: return "no such file"
        case .fileReadNoPermission?: return "permission denied"
        default: return error.localizedDescription
        }
    }
}
