// Files read whole, off the data path; those with secrets only if nobody else may read them.

import Glibc
import LinuxIO

/// The bytes of `file`, at most `byteCountMax`.
///
/// With `isSecret`, refuses a file that group or others have any right to. Checked on the open file, so that no
/// other can take its place between the look and the reading; a symbolic link counts as what it points to.
func readFile(
    _ file: String, byteCountMax: Int, isSecret: Bool = false
) throws(TLSConfigurationError) -> [UInt8] {
    let raw = unsafe open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard raw >= 0 else { throw .unreadable(file: file, Errno(errno)) }
    let owned = OwnedDescriptor(Descriptor(rawValue: raw))
    var status = stat()
    guard unsafe fstat(raw, &status) == 0 else { throw .unreadable(file: file, Errno(errno)) }
    if status.st_mode & S_IFMT == S_IFDIR { throw .unreadable(file: file, .isDirectory) }
    if isSecret, status.st_mode & 0o077 != 0 {
        throw .openFileMode(file: file, mode: UInt32(status.st_mode))
    }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(raw, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw .unreadable(file: file, Errno(errno)) }
        guard count > 0 else { break }
        bytes += buffer[..<count]
        guard bytes.count <= byteCountMax else { throw .tooLarge(file: file, byteCountMax: byteCountMax) }
    }
    _ = consume owned
    return bytes
}

extension Errno {
    static let isDirectory = Errno(EISDIR)
}
