// The time as HTTP writes it, made once a second; RFC 9110 section 5.6.7, IMF-fixdate.

import Balancing

public struct DateText: Sendable {
    public private(set) var unixSeconds: UInt64 = 0
    public private(set) var bytes: [UInt8] = []

    public init() {
        bytes.reserveCapacity(32)
        CivilTime(unixSeconds: 0).appendHTTPDate(to: &bytes)
    }

    /// Writes the text anew if the second has changed. Allocates nothing.
    public mutating func advance(to unixSeconds: UInt64) {
        guard unixSeconds != self.unixSeconds else { return }
        self.unixSeconds = unixSeconds
        bytes.removeAll(keepingCapacity: true)
        CivilTime(unixSeconds: unixSeconds).appendHTTPDate(to: &bytes)
    }
}
