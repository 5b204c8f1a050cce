// The Date field of responses: IMF-fixdate (RFC 9110, section 5.6.7), whatever the machine's locale.

import Balancing

enum HTTPDate {
    static func text(secondsSince1970 seconds: Double) -> String {
        var bytes: [UInt8] = []
        CivilTime(unixSeconds: UInt64(max(0, seconds))).appendHTTPDate(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}
