// Files that are only ever appended to.

import CLinux
import Glibc

extension Descriptor {
    public static let standardOutput = Descriptor(rawValue: STDOUT_FILENO)

    /// Opens a file to append to, and creates it with mode 0640; see open(2), O_APPEND. The caller closes it.
    ///
    /// Several processes may append to one file: each write stands whole. Never waits for the reader of a FIFO,
    /// and never follows a symbolic link: where a log may be written, others may too.
    public static func openForAppending(_ path: String) throws(SystemCallError) -> Descriptor {
        Descriptor(rawValue: Int32(try check(unsafe weir_open_append(path), "open")))
    }

    /// Appends all of `bytes`, or returns why not: `.timedOut` when a pipe has had no room for so long.
    ///
    /// At most 4,096 bytes to a pipe go whole or not at all; see pipe(7), PIPE_BUF.
    public func append(_ bytes: [UInt8], patienceMilliseconds: Int) -> Errno? {
        let result = unsafe bytes.withUnsafeBytes { buffer in
            unsafe weir_append(
                rawValue, buffer.baseAddress, buffer.count, Int32(clamping: patienceMilliseconds))
        }
        return result < 0 ? Errno(-result) : nil
    }
}

extension Machine {
    /// Nanoseconds since 1970 by the wall clock, which may step.
    public static func wallClockNanoseconds() -> UInt64 { weir_realtime_nanoseconds() }
}
