// The appliance's own settings: admin, state, workers and what stands beside them at the top.

import Balancing
import Yams

extension ConfigurationReader {
    static let settingKeys = [
        "admin", "state", "workers", "availability_zone", "hash_seed", "source_addresses",
        "congestion_control",
        "run_as", "drain_timeout", "upgrade_drain_timeout", "log", "limits", "tls",
    ]

    mutating func readSettings(_ top: Scope, into configuration: inout Configuration) {
        var settings = ApplianceSettings()
        var named: Set<String> = []
        for key in Self.settingKeys where top.fields[key] != nil { named.insert(key) }

        readAdmin(top, into: &settings, named: &named)
        if let state = text("state", of: top) { settings.state = ApplianceSettings.StateLocation(state) }
        readWorkers(top, into: &settings)
        if let zone = text("availability_zone", of: top) {
            if TargetRule.isValidZone(zone) {
                settings.availabilityZone = zone
            } else {
                note("availability_zone", of: top, Self.zoneObjection(zone))
            }
        }
        readHashSeed(top, into: &settings)
        readSourceAddresses(top, into: &settings)
        readCongestionControl(top, into: &settings, named: &named)
        readRunAs(top, into: &settings)
        if let seconds = integer("drain_timeout", of: top, in: 0...Limits.drainTimeoutSecondsMax, unit: " s")
        {
            settings.drainTimeoutSeconds = seconds
        }
        if let seconds = integer(
            "upgrade_drain_timeout", of: top, in: 0...Limits.upgradeDrainTimeoutSecondsMax, unit: " s")
        {
            settings.upgradeDrainTimeoutSeconds = seconds
        }
        readLog(top, into: &settings, named: &named)
        readLimits(top, into: &settings, named: &named)
        readApplianceTLS(top, into: &settings, named: &named)

        configuration.settings = settings
        configuration.namedSettings = named
    }

    private mutating func readAdmin(
        _ top: Scope, into settings: inout ApplianceSettings, named: inout Set<String>
    ) {
        guard let admin = child("admin", of: top, keys: ["listen", "token_file"]) else { return }
        for key in admin.fields.keys { named.insert("admin.\(key)") }
        if let text = text("token_file", of: admin) { settings.tokenFile = text }
        guard let text = text("listen", of: admin) else { return }
        guard let address = ApplianceSettings.AdminAddress(text) else {
            note(
                "listen", of: admin,
                "is \"\(Self.shortened(text))\"; it must be ADDRESS:PORT, [IPV6]:PORT or unix:/path "
                    + "(a path of at most 107 bytes).")
            return
        }
        settings.adminAddress = address
        if !address.isLocal, settings.tokenFile == nil {
            note(
                "listen", of: admin,
                "is \(address), which other machines can reach; that needs admin.token_file, or anybody "
                    + "could change the load balancer. Name a token file, or listen on 127.0.0.1 or a Unix "
                    + "socket.")
        }
    }

    private mutating func readWorkers(_ top: Scope, into settings: inout ApplianceSettings) {
        guard let text = text("workers", of: top), text != "auto" else { return }
        guard let count = Self.wholeNumber(text), (1...Limits.workerCountMax).contains(count) else {
            note(
                "workers", of: top,
                "is \"\(Self.shortened(text))\"; it must be auto or a whole number from 1 to "
                    + "\(Limits.workerCountMax).")
            return
        }
        settings.workers = .count(count)
    }

    private mutating func readHashSeed(_ top: Scope, into settings: inout ApplianceSettings) {
        guard let text = text("hash_seed", of: top) else { return }
        let bytes = Array(text.utf8)
        let digits = bytes.compactMap(hexDigitValue)
        guard bytes.count == 32, digits.count == 32 else {
            // The value is a secret: the message says how long it is, not what it is.
            note(
                "hash_seed", of: top,
                "has \(bytes.count) characters; it must be 32 hexadecimal digits in quotes. "
                    + "\"openssl rand -hex 16\" makes one.")
            return
        }
        let word = { (range: Range<Int>) in digits[range].reduce(UInt64(0)) { $0 << 4 | UInt64($1) } }
        settings.hashSeed = HashSeed(first: word(0..<16), second: word(16..<32))
    }

    private mutating func readSourceAddresses(_ top: Scope, into settings: inout ApplianceSettings) {
        let nodes = list(
            "source_addresses", of: top, countMax: Limits.sourceAddressCountMax, nextStep: "Remove some.")
        settings.sourceAddresses = readAddresses(
            nodes ?? [], key: "source_addresses", of: top, allowsUnspecified: false)
    }

    /// Reads a list of addresses and notes those that are none, that are multicast or that stand twice.
    mutating func readAddresses(
        _ nodes: [Node], key: String, of scope: Scope, allowsUnspecified: Bool
    ) -> [IPAddress] {
        var addresses: [IPAddress] = []
        for (index, node) in nodes.enumerated() {
            let path = "\(scope.path(to: key))[\(index)]"
            guard case .scalar(let scalar) = node, let address = IPAddress(scalar.string) else {
                note(
                    at: node.position, path: path, subject: scope.subject,
                    "\(scope.prefix)\(key)[\(index)] is \(Self.describe(node)); it must be an IPv4 or IPv6 "
                        + "address.")
                continue
            }
            if address.isMulticast || (address.isUnspecified && !allowsUnspecified) {
                note(
                    at: node.position, path: path, subject: scope.subject,
                    "\(scope.prefix)\(key)[\(index)] is \(address); it must be a unicast address of this "
                        + "machine.")
            } else if addresses.contains(address) {
                note(
                    at: node.position, path: path, subject: scope.subject,
                    "\(scope.prefix)\(key) lists \(address) twice. Keep one.")
            } else {
                addresses.append(address)
            }
        }
        return addresses
    }

    private mutating func readCongestionControl(
        _ top: Scope, into settings: inout ApplianceSettings, named: inout Set<String>
    ) {
        guard let scope = child("congestion_control", of: top, keys: ["client", "target"]) else { return }
        for key in scope.fields.keys { named.insert("congestion_control.\(key)") }
        settings.clientCongestionControl = algorithm("client", of: scope)
        settings.targetCongestionControl = algorithm("target", of: scope)
    }

    private mutating func algorithm(_ key: String, of scope: Scope) -> String? {
        guard let text = text(key, of: scope) else { return nil }
        let isName =
            (1...15).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x5F }
        guard isName else {
            note(
                key, of: scope,
                "is \"\(Self.shortened(text))\"; it must be the name of an algorithm, such as cubic or bbr. "
                    + "\"sysctl net.ipv4.tcp_available_congestion_control\" lists them.")
            return nil
        }
        return text
    }

    private mutating func readRunAs(_ top: Scope, into settings: inout ApplianceSettings) {
        guard let text = text("run_as", of: top) else { return }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let isValid =
            (1...2).contains(parts.count)
            && parts.allSatisfy { part in
                (1...32).contains(part.utf8.count) && part.first != "-"
                    && part.utf8.allSatisfy { byte in
                        (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte)
                            || (0x30...0x39).contains(byte)
                            || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
                            || byte == UInt8(ascii: ".")
                    }
            }
        guard isValid else {
            note("run_as", of: top, "is \"\(Self.shortened(text))\"; it must be USER or USER:GROUP.")
            return
        }
        settings.runAs = text
    }

    private mutating func readLog(
        _ top: Scope, into settings: inout ApplianceSettings, named: inout Set<String>
    ) {
        guard let scope = child("log", of: top, keys: ["level", "format"]) else { return }
        for key in scope.fields.keys { named.insert("log.\(key)") }
        if let level = choice("level", of: scope, as: ApplianceSettings.LogLevel.self) {
            settings.logLevel = level
        }
        if let format = choice("format", of: scope, as: ApplianceSettings.LogFormat.self) {
            settings.logFormat = format
        }
    }

    private mutating func readLimits(
        _ top: Scope, into settings: inout ApplianceSettings, named: inout Set<String>
    ) {
        guard let scope = child("limits", of: top, keys: ["tcp_flows", "udp_flows"]) else { return }
        for key in scope.fields.keys { named.insert("limits.\(key)") }
        let range = 1...Limits.configuredFlowCountMax
        if let count = integer("tcp_flows", of: scope, in: range) { settings.tcpFlowCountMax = count }
        if let count = integer("udp_flows", of: scope, in: range) { settings.udpFlowCountMax = count }
    }

    private mutating func readApplianceTLS(
        _ top: Scope, into settings: inout ApplianceSettings, named: inout Set<String>
    ) {
        let keys = ["ticket_key_file", "handshake_timeout", "concurrent_handshakes"]
        guard let scope = child("tls", of: top, keys: keys) else { return }
        for key in scope.fields.keys { named.insert("tls.\(key)") }
        settings.ticketKeyFile = file("ticket_key_file", of: scope)
        let seconds = 1...Limits.configuredHandshakeTimeoutSecondsMax
        if let timeout = integer("handshake_timeout", of: scope, in: seconds, unit: " s") {
            settings.handshakeTimeoutSeconds = timeout
        }
        if let count = integer("concurrent_handshakes", of: scope, in: 1...Limits.configuredHandshakeCountMax)
        {
            settings.handshakeCountMax = count
        }
    }

    static func zoneObjection(_ zone: String) -> String {
        "is \"\(shortened(zone))\"; it must be 1 to \(Limits.zoneNameLengthMax) printable characters "
            + "without spaces."
    }
}
