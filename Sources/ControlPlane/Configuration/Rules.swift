// Rules that hold wherever a value comes from: the configuration file, the admin API or the store.

import Balancing

/// What load balancers and target groups may be called.
enum NameRule {
    static let sentence =
        "it must be 1 to \(Limits.nameLengthMax) letters, digits or \"-\", and neither begin nor end with "
        + "\"-\"."

    static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        let dash = UInt8(ascii: "-")
        guard (1...Limits.nameLengthMax).contains(bytes.count), bytes.first != dash, bytes.last != dash
        else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), dash:
                true
            default:
                false
            }
        }
    }
}

/// What a target may be.
enum TargetRule {
    static let weights = 0...999

    /// Why flows cannot go to an address; nil when they can.
    static func objection(to address: IPAddress) -> String? {
        if address.isUnspecified { return "it names no machine. Give the address of one" }
        if address.isMulticast {
            return "it is a multicast address, which is not one machine. Give a "
                + "unicast address"
        }
        return nil
    }

    static func isValidZone(_ zone: String) -> Bool {
        !zone.isEmpty && zone.count <= Limits.zoneNameLengthMax
            && zone.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}

/// Which listeners can live side by side, and which groups they can feed.
enum ListenerFit {
    /// ELBv2's table: TCP feeds TCP; TLS feeds TCP and TLS; UDP feeds UDP and TCP_UDP; TCP_UDP feeds TCP_UDP;
    /// HTTP and HTTPS feed HTTP and HTTPS.
    static func canForward(_ listener: TrafficProtocol, to group: TrafficProtocol) -> Bool {
        switch listener {
        case .tcp: group == .tcp
        case .udp: group == .udp || group == .tcpUDP
        case .tcpUDP: group == .tcpUDP
        case .tls: group == .tcp || group == .tls
        case .http, .https: group == .http || group == .https
        }
    }

    static func groupsSentence(for listener: TrafficProtocol) -> String {
        switch listener {
        case .tcp: "a TCP listener forwards to TCP groups"
        case .udp: "a UDP listener forwards to UDP and TCP_UDP groups"
        case .tcpUDP: "a TCP_UDP listener forwards to TCP_UDP groups"
        case .tls: "a TLS listener forwards to TCP and TLS groups"
        case .http, .https: "an \(listener.rawValue) listener forwards to HTTP and HTTPS groups"
        }
    }

    static func transports(of protocol: TrafficProtocol) -> [Transport] {
        (`protocol`.carriesTCP ? [.tcp] : []) + (`protocol`.carriesUDP ? [.udp] : [])
    }

    /// True when both cannot listen on one port: the same address, or a wildcard of the same family.
    static func overlap(_ left: IPAddress, _ right: IPAddress) -> Bool {
        left.family == right.family && (left == right || left.isUnspecified || right.isUnspecified)
    }

    /// Two listen addresses that cannot both be served.
    struct Overlap: Equatable {
        let first: ListenerID
        let firstAddress: IPAddress
        let second: ListenerID
        let secondAddress: IPAddress
        let transport: Transport
    }

    /// Every overlap across load balancers, one for each pair of listeners.
    ///
    /// Quadratic only in the listeners of one port and transport.
    static func overlaps(among loadBalancers: [LoadBalancer]) -> [Overlap] {
        struct Slot: Hashable {
            let port: UInt16
            let transport: Transport
        }
        var taken: [Slot: [(id: ListenerID, addresses: [IPAddress])]] = [:]
        var found: [Overlap] = []
        for loadBalancer in loadBalancers {
            for listener in loadBalancer.listeners {
                let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
                for transport in transports(of: listener.protocol) {
                    let slot = Slot(port: listener.port, transport: transport)
                    for other in taken[slot, default: []] where other.id != id {
                        guard let pair = firstOverlap(other.addresses, loadBalancer.addresses),
                            !found.contains(where: { $0.first == other.id && $0.second == id })
                        else { continue }
                        found.append(
                            Overlap(
                                first: other.id, firstAddress: pair.0, second: id, secondAddress: pair.1,
                                transport: transport))
                    }
                    taken[slot, default: []].append((id, loadBalancer.addresses))
                }
            }
        }
        return found
    }

    private static func firstOverlap(_ left: [IPAddress], _ right: [IPAddress]) -> (IPAddress, IPAddress)? {
        for first in left {
            if let second = right.first(where: { overlap(first, $0) }) { return (first, second) }
        }
        return nil
    }
}
