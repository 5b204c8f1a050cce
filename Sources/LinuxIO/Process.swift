// Time, randomness, processors, descriptor limits.

import Balancing
import CCapability
import CLinux
import Glibc

extension Instant {
    /// clock_gettime(2), CLOCK_MONOTONIC: unmoved by steps of the wall clock.
    public static var now: Instant { Instant(nanoseconds: weir_monotonic_nanoseconds()) }
}

public enum Machine {
    /// The processors this process may use, as `taskset` or a container chose; see sched_getaffinity(2).
    public static func allowedProcessors() -> [Int] {
        var processors = [Int32](repeating: 0, count: 8192)
        let found = unsafe processors.withUnsafeMutableBufferPointer { pointer in
            unsafe weir_affinity(pointer.baseAddress, Int32(pointer.count))
        }
        guard found > 0 else { return [0] }
        return processors.prefix(Int(found)).map(Int.init)
    }

    /// A secret for hashes, from getrandom(2).
    public static func randomSeed() throws(SystemCallError) -> HashSeed {
        var words: (UInt64, UInt64) = (0, 0)
        let result = unsafe weir_random(&words, MemoryLayout.size(ofValue: words))
        _ = try check(result, "getrandom")
        return HashSeed(first: words.0, second: words.1)
    }

    /// A writer to a closed pipe or socket gets EPIPE instead of dying; see signal(7).
    public static func ignoreBrokenPipes() {
        _ = weir_ignore_sigpipe()
    }

    /// Raises the soft limit to what is wanted, as far as the hard limit lets it; returns what is in force.
    ///
    /// Tries the hard limit too, which needs CAP_SYS_RESOURCE; see getrlimit(2), RLIMIT_NOFILE.
    public static func raiseDescriptorLimit(to wanted: UInt64) -> UInt64 {
        var soft: UInt64 = 0
        var hard: UInt64 = 0
        guard unsafe weir_descriptor_limit(&soft, &hard) == 0 else { return 1024 }
        if soft >= wanted { return soft }
        if hard < wanted, weir_set_descriptor_limit(wanted, wanted) == 0 { return wanted }
        let reachable = min(wanted, hard)
        return weir_set_descriptor_limit(reachable, hard) == 0 ? reachable : soft
    }

    /// The local ports that the kernel chooses from; see ip(7), ip_local_port_range.
    public static func ephemeralPorts() -> ClosedRange<UInt16> {
        let fallback: ClosedRange<UInt16> = 32_768...60_999
        guard let text = readSmallFile("/proc/sys/net/ipv4/ip_local_port_range") else { return fallback }
        let bounds = text.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\n" }).compactMap {
            UInt16($0)
        }
        return bounds.count == 2 && bounds[1] >= bounds[0] ? bounds[0]...bounds[1] : fallback
    }

    /// The first 4 KiB of a file such as those of /proc; nil when it cannot be read.
    public static func readSmallFile(_ path: String) -> String? {
        let raw = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else { return nil }
        let file = OwnedDescriptor(Descriptor(rawValue: raw))
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe bytes.withUnsafeMutableBytes { pointer in
            unsafe weir_read(file.descriptor.rawValue, pointer.baseAddress, pointer.count)
        }
        guard count >= 0 else { return nil }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
