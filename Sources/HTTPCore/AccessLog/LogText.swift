// How the logs of application mode write what comes from others: so that nothing a client says can forge a field or
// a line.
//
// As ELBv2's: quotes and what is not printable ASCII become \xHH. The backslash does as well, so that a line can be
// read back, and a blank outside of quotes, where it would end the field. What was cut ends with `\...`, which no
// escaped text can.

import Balancing

enum LogText {
    private static let cutMark = "\\..."

    /// What the wall clock said at an instant of the monotonic clock.
    struct WallClock {
        private let unixNanoseconds: UInt64
        private let now: Instant

        init(unixNanoseconds: UInt64, at now: Instant) {
            self.unixNanoseconds = unixNanoseconds
            self.now = now
        }

        /// Appends `2018-07-02T22:23:00.186641Z`.
        func append(_ instant: Instant, to line: inout [UInt8]) {
            let age = now.nanoseconds(since: instant)
            let nanoseconds = unixNanoseconds - min(age, unixNanoseconds)
            CivilTime(unixSeconds: nanoseconds / 1_000_000_000).appendISO8601(
                microseconds: nanoseconds / 1_000 % 1_000_000, to: &line)
        }
    }

    static func appendEscaped(
        _ text: Span<UInt8>, isCut: Bool = false, isQuoted: Bool = true, to line: inout [UInt8]
    ) {
        var index = 0
        while index < text.count {
            let byte = text[index]
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), 0..<0x20, 0x7F...0xFF:
                appendCode(byte, to: &line)
            case UInt8(ascii: " ") where !isQuoted:
                appendCode(byte, to: &line)
            default:
                line.append(byte)
            }
            index += 1
        }
        if isCut { ByteText.append(cutMark, to: &line) }
    }

    private static func appendCode(_ byte: UInt8, to line: inout [UInt8]) {
        ByteText.append("\\x", to: &line)
        line.append(upperDigit(byte >> 4))
        line.append(upperDigit(byte & 0xF))
    }

    private static func upperDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }

    /// A blank and the text, or a blank and `-`.
    static func appendField(_ text: String?, to line: inout [UInt8]) {
        line.append(UInt8(ascii: " "))
        guard let text, !text.isEmpty else { return line.append(UInt8(ascii: "-")) }
        appendEscaped(text.utf8.span, isQuoted: false, to: &line)
    }

    /// A blank and the text in quotes, or a blank and `"-"`.
    static func appendQuotedField(_ text: String?, to line: inout [UInt8]) {
        ByteText.append(" \"", to: &line)
        if let text, !text.isEmpty {
            appendEscaped(text.utf8.span, to: &line)
        } else {
            line.append(UInt8(ascii: "-"))
        }
        line.append(UInt8(ascii: "\""))
    }

    static func appendNumber(_ number: UInt64, to line: inout [UInt8]) {
        line.append(UInt8(ascii: " "))
        ByteText.append(number, to: &line)
    }

    /// A blank and seconds with three decimals.
    static func appendSeconds(nanoseconds: UInt64, to line: inout [UInt8]) {
        let milliseconds = nanoseconds / 1_000_000
        line.append(UInt8(ascii: " "))
        ByteText.append(milliseconds / 1_000, to: &line)
        line.append(UInt8(ascii: "."))
        ByteText.append(milliseconds % 1_000, digitCount: 3, to: &line)
    }
}
