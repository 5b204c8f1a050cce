// X-Amzn-Trace-Id: a name for a request that is the same in the logs of all it passes; ELBv2's request tracing.
//
// A request without one gets Root. One that has a Root keeps it, and everything else that applications put there, and
// gets a Self in front in place of any that came; so an application sees both where its request began and this hop.

import Balancing

public enum TraceField {
    /// ELBv2's bound: with a longer head the field is made anew, so that a chain of hops does not grow it for ever.
    public static let headByteCountMax = 7 << 10

    /// Appends the field's value.
    ///
    /// - Parameters:
    ///   - bytes: Those that `head` was read from.
    ///   - unixSeconds: Of now.
    ///   - random: Of which the low 96 bits name the request.
    public static func append(
        for head: RequestHead, _ bytes: Span<UInt8>, unixSeconds: UInt64, random: UInt128,
        to buffer: inout [UInt8]
    ) {
        guard head.byteCount <= headByteCountMax, hasField(head) else {
            return appendNew("Root", unixSeconds, random, to: &buffer)
        }
        var hasRoot = false
        forEachPart(of: head, bytes) { part in hasRoot = hasRoot || isNamed("Root", part, bytes) }
        appendNew(hasRoot ? "Self" : "Root", unixSeconds, random, to: &buffer)
        forEachPart(of: head, bytes) { part in
            guard !isNamed("Self", part, bytes) else { return }
            buffer.append(UInt8(ascii: ";"))
            ByteText.append(bytes.extracting(part), to: &buffer)
        }
    }

    /// `Root=1-67891233-abcdef012345678912345678`
    private static func appendNew(
        _ name: String, _ unixSeconds: UInt64, _ random: UInt128, to buffer: inout [UInt8]
    ) {
        ByteText.append(name, to: &buffer)
        ByteText.append("=1-", to: &buffer)
        ByteText.append(hexadecimal: unixSeconds, digitCount: 8, to: &buffer)
        buffer.append(UInt8(ascii: "-"))
        ByteText.append(hexadecimal: UInt64(truncatingIfNeeded: random >> 64), digitCount: 8, to: &buffer)
        ByteText.append(hexadecimal: UInt64(truncatingIfNeeded: random), digitCount: 16, to: &buffer)
    }

    private static func hasField(_ head: RequestHead) -> Bool {
        var index = 0
        while index < head.fields.count {
            if head.fields[index].id == .amznTraceID { return true }
            index += 1
        }
        return false
    }

    /// The parts between semicolons that are not blank, of all fields of the name.
    private static func forEachPart(
        of head: RequestHead, _ bytes: Span<UInt8>, _ body: (Range<Int>) -> Void
    ) {
        var index = 0
        while index < head.fields.count {
            let field = head.fields[index]
            index += 1
            guard field.id == .amznTraceID, field.value.upperBound <= bytes.count else { continue }
            var start = field.value.lowerBound
            while start < field.value.upperBound {
                var stop = start
                while stop < field.value.upperBound, bytes[stop] != UInt8(ascii: ";") { stop += 1 }
                let part = FieldSyntax.trimmed(start..<stop, bytes)
                if !part.isEmpty { body(part) }
                start = stop + 1
            }
        }
    }

    private static func isNamed(_ name: String, _ part: Range<Int>, _ bytes: Span<UInt8>) -> Bool {
        let end = part.lowerBound + name.utf8.count
        return end < part.upperBound && bytes[end] == UInt8(ascii: "=")
            && ByteRange(part.lowerBound..<end).spells(name, bytes)
    }
}

/// Names a client's connection in the connection log and in the access log: `TID_` and 32 hexadecimal digits.
public struct ConnectionTraceID: Hashable, Sendable, BitwiseCopyable {
    private let bits: UInt128

    /// - Parameter random: All bits are shown.
    public init(random: UInt128) {
        bits = random
    }

    public func append(to buffer: inout [UInt8]) {
        ByteText.append("TID_", to: &buffer)
        ByteText.append(hexadecimal: UInt64(truncatingIfNeeded: bits >> 64), digitCount: 16, to: &buffer)
        ByteText.append(hexadecimal: UInt64(truncatingIfNeeded: bits), digitCount: 16, to: &buffer)
    }
}
