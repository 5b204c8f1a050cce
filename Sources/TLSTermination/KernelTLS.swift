// Whether the running kernel encrypts records itself (kTLS); asked, never assumed.

import Balancing
import CLinux
import LinuxIO

package enum KernelTLS {
    /// Puts the `tls` protocol on a connected pair of TCP sockets on loopback and says whether it took.
    ///
    /// Costs three sockets once at start; false also when they cannot be had.
    package static func isOffered() -> Bool {
        let loopback = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 0)
        do {
            let listener = OwnedDescriptor(try .socket(.tcp, .v4))
            guard listener.descriptor.bind(to: loopback) == nil,
                listener.descriptor.listen(backlog: 1) == nil,
                let endpoint = listener.descriptor.localEndpoint()
            else { return false }
            let client = OwnedDescriptor(try .socket(.tcp, .v4))
            // On loopback the handshake is over before connect returns, so nothing has to be waited for.
            let failure = client.descriptor.connect(to: endpoint)
            guard failure == nil || failure == .inProgress else { return false }
            return unsafe weir_set_upper_protocol(client.descriptor.rawValue, "tls") == 0
        } catch {
            return false
        }
    }
}
