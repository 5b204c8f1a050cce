// Numbers as people read them. JSON and YAML carry the raw ones.

import AdminModel
import Foundation

enum HumanText {
    /// `12s`, `3m12s`, `2h05m`, `4d03h`.
    static func duration(seconds: Double) -> String {
        let total = Int(min(max(seconds, 0), 1e12))
        let (days, hours, minutes, rest) = (total / 86_400, total / 3_600 % 24, total / 60 % 60, total % 60)
        if days > 0 { return "\(days)d\(padded(hours))h" }
        if hours > 0 { return "\(hours)h\(padded(minutes))m" }
        if minutes > 0 { return "\(minutes)m\(padded(rest))s" }
        return "\(rest)s"
    }

    /// `512 B`, `1.5 KiB`, `12 MiB`: binary units, two digits where they tell something.
    static func byteCount(_ count: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        var value = Double(count)
        var index = 0
        // 1023.95 would be printed as 1024.0 of the smaller unit.
        while value >= 1_023.95, index < units.count - 1 {
            value /= 1_024
            index += 1
        }
        if index == 0 { return "\(count) B" }
        return String(format: value < 10 ? "%.1f %@" : "%.0f %@", value, units[index])
    }

    static func byteRate(_ count: UInt64, perSeconds seconds: Double) -> String {
        guard seconds > 0 else { return "–" }
        return byteCount(UInt64(min(Double(count) / seconds, 1e18))) + "/s"
    }

    /// `1,234,567`.
    static func count(_ count: UInt64) -> String {
        var text = ""
        for (index, digit) in String(count).reversed().enumerated() {
            if index > 0, index.isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }

    /// `1 target`, `3 targets`.
    static func counted(_ count: Int, _ noun: String, plural: String? = nil) -> String {
        count == 1 ? "1 \(noun)" : "\(count) \(plural ?? noun + "s")"
    }

    /// `0.8 ms`, `12 ms`.
    static func milliseconds(_ value: Double) -> String {
        String(format: value < 10 ? "%.1f ms" : "%.0f ms", value)
    }

    /// A target's address, an IPv6 one in brackets.
    static func endpoint(_ id: String, _ port: Int) -> String {
        AdminAddress.tcp(host: id, port: port).description
    }

    private static func padded(_ number: Int) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
