// Whom connections and failures are counted for.

import Balancing
import NIOCore

enum PeerName {
    /// The client's address without its port; one name for all clients of a Unix socket.
    ///
    /// Of an IPv6 address only the network of 64 bits counts: whoever has one address of it has all of them.
    static func of(_ channel: any Channel) -> String {
        channel.remoteAddress?.ipAddress.map(of(address:)) ?? "the Unix socket"
    }

    static func of(address text: String) -> String {
        guard let address = IPAddress(text), address.family == .v6, !address.isLoopback else { return text }
        // An IPv4 client of a socket for both families is ::ffff:0:0/96, all of it one network of 64 bits.
        if address.high == 0, address.low >> 32 == 0xFFFF {
            return IPAddress(v4: UInt32(truncatingIfNeeded: address.low)).description
        }
        return "\(IPAddress(v6High: address.high, v6Low: 0))/64"
    }
}
