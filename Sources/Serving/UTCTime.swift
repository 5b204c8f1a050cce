// Moments as the access logs of network mode write them.

import Balancing

package enum UTCTime {
    /// ISO 8601 without a zone, as ELBv2 logs it: `2018-12-20T02:59:40`.
    package static func text(unixSeconds: UInt64) -> String {
        var bytes: [UInt8] = []
        CivilTime(unixSeconds: unixSeconds).appendISO8601(to: &bytes)
        // Without the zone's letter.
        return String(decoding: bytes.dropLast(), as: UTF8.self)
    }
}
