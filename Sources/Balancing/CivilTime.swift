// The calendar in UTC, from the Unix time, and the two ways in which the data plane writes it.

public struct CivilTime: Hashable, Sendable, BitwiseCopyable {
    public let year: Int
    /// 1–12.
    public let month: Int
    /// 1–31.
    public let day: Int
    public let hour: Int
    public let minute: Int
    public let second: Int
    /// From Sunday, 0–6.
    public let weekday: Int

    /// The last second that has four digits for its year; later ones are shown as this one.
    private static let unixSecondsMax: UInt64 = 253_402_300_799

    /// - Parameter unixSeconds: Since 1970-01-01T00:00:00Z, without leap seconds.
    public init(unixSeconds: UInt64) {
        let (days, rest) = min(unixSeconds, Self.unixSecondsMax).quotientAndRemainder(dividingBy: 86_400)
        // The civil calendar in eras of 400 years that begin on 1 March, so that leap days come last.
        let shifted = Int(days) + 719_468
        let (era, dayOfEra) = shifted.quotientAndRemainder(dividingBy: 146_097)
        let leapDays = dayOfEra / 1_460 - dayOfEra / 36_524 + dayOfEra / 146_096
        let yearOfEra = (dayOfEra - leapDays) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        hour = Int(rest) / 3_600
        minute = Int(rest) / 60 % 60
        second = Int(rest) % 60
        // The first day was a Thursday.
        weekday = (Int(days) + 4) % 7
    }

    /// `Wed, 21 Oct 2015 07:28:00 GMT`; RFC 9110 section 5.6.7, IMF-fixdate, 29 bytes.
    public func appendHTTPDate(to buffer: inout [UInt8]) {
        appendName(of: weekday, in: "SunMonTueWedThuFriSat", to: &buffer)
        ByteText.append(", ", to: &buffer)
        ByteText.append(UInt64(day), digitCount: 2, to: &buffer)
        buffer.append(UInt8(ascii: " "))
        appendName(of: month - 1, in: "JanFebMarAprMayJunJulAugSepOctNovDec", to: &buffer)
        buffer.append(UInt8(ascii: " "))
        ByteText.append(UInt64(year), digitCount: 4, to: &buffer)
        buffer.append(UInt8(ascii: " "))
        appendTimeOfDay(to: &buffer)
        ByteText.append(" GMT", to: &buffer)
    }

    /// `2018-07-02T22:23:00.186641Z`; without microseconds `2018-07-02T22:23:00Z`.
    public func appendISO8601(microseconds: UInt64? = nil, to buffer: inout [UInt8]) {
        ByteText.append(UInt64(year), digitCount: 4, to: &buffer)
        buffer.append(UInt8(ascii: "-"))
        ByteText.append(UInt64(month), digitCount: 2, to: &buffer)
        buffer.append(UInt8(ascii: "-"))
        ByteText.append(UInt64(day), digitCount: 2, to: &buffer)
        buffer.append(UInt8(ascii: "T"))
        appendTimeOfDay(to: &buffer)
        if let microseconds {
            buffer.append(UInt8(ascii: "."))
            ByteText.append(microseconds % 1_000_000, digitCount: 6, to: &buffer)
        }
        buffer.append(UInt8(ascii: "Z"))
    }

    private func appendTimeOfDay(to buffer: inout [UInt8]) {
        ByteText.append(UInt64(hour), digitCount: 2, to: &buffer)
        buffer.append(UInt8(ascii: ":"))
        ByteText.append(UInt64(minute), digitCount: 2, to: &buffer)
        buffer.append(UInt8(ascii: ":"))
        ByteText.append(UInt64(second), digitCount: 2, to: &buffer)
    }

    /// Names of three letters each, one after the other.
    private func appendName(of index: Int, in names: String, to buffer: inout [UInt8]) {
        let bytes = names.utf8.span
        ByteText.append(bytes.extracting(3 * index..<3 * index + 3), to: &buffer)
    }
}
