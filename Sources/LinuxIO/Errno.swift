// Error numbers as values, and what a failed call tells people.

import CLinux

/// An error number of the system; see errno(3).
package struct Errno: Error, Hashable, Sendable, BitwiseCopyable {
    package let rawValue: Int32

    package init(_ rawValue: Int32) {
        self.rawValue = rawValue
    }

    package static let wouldBlock = Errno(11)
    package static let tooManyOpenFiles = Errno(24)
    package static let tooManyOpenFilesInSystem = Errno(23)
    package static let noMemory = Errno(12)
    package static let noBufferSpace = Errno(105)
    package static let inProgress = Errno(115)
    package static let connectionReset = Errno(104)
    package static let brokenPipe = Errno(32)
    package static let connectionRefused = Errno(111)
    package static let timedOut = Errno(110)
    package static let hostUnreachable = Errno(113)
    package static let networkUnreachable = Errno(101)
    package static let addressInUse = Errno(98)
    package static let addressNotAvailable = Errno(99)
    package static let permissionDenied = Errno(13)
    package static let notPermitted = Errno(1)
    package static let invalidArgument = Errno(22)
    package static let messageTooLong = Errno(90)
    package static let inputOutput = Errno(5)
    package static let noEntry = Errno(2)

    /// Out of descriptors, memory or buffers: passing weather, on which new flows are shed.
    package var isExhaustion: Bool {
        self == .tooManyOpenFiles || self == .tooManyOpenFilesInSystem || self == .noMemory
            || self == .noBufferSpace
    }

    /// The symbolic name, such as `EACCES`.
    package var name: String { unsafe String(cString: weir_error_name(rawValue)) }

    /// The system's sentence, such as `Permission denied`.
    package var text: String {
        var buffer = [CChar](repeating: 0, count: 128)
        unsafe buffer.withUnsafeMutableBufferPointer { pointer in
            // A non-empty array always has a base address.
            if let base = pointer.baseAddress {
                unsafe weir_describe_error(rawValue, base, pointer.count)
            }
        }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

extension Errno: CustomStringConvertible {
    package var description: String { "\(text) (\(name))" }
}

/// A call that failed where nothing but giving up is left.
package struct SystemCallError: Error, Sendable, CustomStringConvertible {
    package let call: String
    package let errno: Errno

    package init(_ call: String, _ errno: Errno) {
        self.call = call
        self.errno = errno
    }

    package var description: String { "\(call): \(errno)" }
}

/// Turns `-errno` into a thrown error, for calls off the data path.
func check(_ result: Int32, _ call: StaticString) throws(SystemCallError) -> Int32 {
    guard result >= 0 else { throw SystemCallError("\(call)", Errno(-result)) }
    return result
}
