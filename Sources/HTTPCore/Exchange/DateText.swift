// The time as HTTP writes it, made once a second; RFC 9110 section 5.6.7, IMF-fixdate.

public struct DateText: Sendable {
    public private(set) var unixSeconds: UInt64 = 0
    /// Always 29 bytes.
    private var text: [UInt8]

    public init() {
        text = Array("Thu, 01 Jan 1970 00:00:00 GMT".utf8)
    }

    public var bytes: [UInt8] { text }

    /// Writes the text anew if the second has changed. Allocates nothing.
    public mutating func advance(to unixSeconds: UInt64) {
        guard unixSeconds != self.unixSeconds else { return }
        self.unixSeconds = unixSeconds
        // Beyond the year 9999 the form has no room.
        let seconds = min(unixSeconds, 253_402_300_799)
        let day = seconds / 86_400
        let civil = Self.civil(fromDays: day)
        put(Self.weekdays, at: Int((day + 4) % 7) * 3, count: 3, to: 0)
        put(civil.day, digits: 2, at: 5)
        put(Self.months, at: (Int(civil.month) - 1) * 3, count: 3, to: 8)
        put(civil.year, digits: 4, at: 12)
        put(seconds % 86_400 / 3_600, digits: 2, at: 17)
        put(seconds % 3_600 / 60, digits: 2, at: 20)
        put(seconds % 60, digits: 2, at: 23)
    }

    private static let weekdays = Array("SunMonTueWedThuFriSat".utf8)
    private static let months = Array("JanFebMarAprMayJunJulAugSepOctNovDec".utf8)

    private mutating func put(_ names: [UInt8], at start: Int, count: Int, to position: Int) {
        for index in 0..<count { text[position + index] = names[start + index] }
    }

    private mutating func put(_ number: UInt64, digits: Int, at position: Int) {
        var rest = number
        for index in (0..<digits).reversed() {
            text[position + index] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
    }

    /// The Gregorian date of a day since 1970, by counting years from March (Hinnant, "chrono-compatible
    /// low-level date algorithms", civil_from_days).
    private static func civil(fromDays days: UInt64) -> (year: UInt64, month: UInt64, day: UInt64) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        )
    }
}
