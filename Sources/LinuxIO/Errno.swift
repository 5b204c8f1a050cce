// Error numbers as values, and what a failed call tells people.

import CLinux

/// An error number of the system; see errno(3).
public struct Errno: Error, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: Int32

    public init(_ rawValue: Int32) {
        self.rawValue = rawValue
    }

    public static let wouldBlock = Errno(11)
    public static let tooManyOpenFiles = Errno(24)
    public static let tooManyOpenFilesInSystem = Errno(23)
    public static let noMemory = Errno(12)
    public static let noBufferSpace = Errno(105)
    public static let inProgress = Errno(115)
    public static let connectionReset = Errno(104)
    public static let brokenPipe = Errno(32)
    public static let connectionRefused = Errno(111)
    public static let timedOut = Errno(110)
    public static let hostUnreachable = Errno(113)
    public static let networkUnreachable = Errno(101)
    public static let addressInUse = Errno(98)
    public static let addressNotAvailable = Errno(99)
    public static let permissionDenied = Errno(13)
    public static let notPermitted = Errno(1)
    public static let invalidArgument = Errno(22)
    public static let messageTooLong = Errno(90)
    public static let inputOutput = Errno(5)
    public static let noEntry = Errno(2)

    /// Out of descriptors, memory or buffers: passing weather, on which new flows are shed.
    public var isExhaustion: Bool {
        self == .tooManyOpenFiles || self == .tooManyOpenFilesInSystem || self == .noMemory
            || self == .noBufferSpace
    }

    /// The symbolic name, such as `EACCES`.
    public var name: String { unsafe String(cString: weir_error_name(rawValue)) }

    /// The system's sentence, such as `Permission denied`.
    public var text: String {
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
    public var description: String { "\(text) (\(name))" }
}

/// A call that failed where nothing but giving up is left.
public struct SystemCallError: Error, Sendable, CustomStringConvertible {
    public let call: String
    public let errno: Errno

    public init(_ call: String, _ errno: Errno) {
        self.call = call
        self.errno = errno
    }

    public var description: String { "\(call): \(errno)" }
}

/// Turns `-errno` into a thrown error, for calls off the data path.
func check(_ result: Int32, _ call: StaticString) throws(SystemCallError) -> Int32 {
    guard result >= 0 else { throw SystemCallError("\(call)", Errno(-result)) }
    return result
}
