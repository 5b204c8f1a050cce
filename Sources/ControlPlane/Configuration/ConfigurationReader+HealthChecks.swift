// Health checks: ELBv2's settings, and Weir's own for UDP probes and lame ducks.

import Balancing
import Yams

extension ConfigurationReader {
    static let healthCheckKeys = [
        "enabled", "protocol", "port", "interval", "timeout", "healthy_threshold", "unhealthy_threshold",
        "path",
        "matcher", "udp", "lame_duck", "tls",
    ]

    /// - Parameter group: As far as it was read. HTTPS and TLS checks without `tls` of their own use the group's.
    mutating func readHealthCheck(of owner: Scope, group: TargetGroup) -> HealthCheck {
        var check = HealthCheck(forGroupOf: group.protocol, version: group.protocolVersion)
        guard let scope = child("health_check", of: owner, keys: Self.healthCheckKeys) else { return check }
        if let known = readProbeProtocol(scope, group: group) {
            check.protocol = known
            if group.protocol.isNetwork {
                check.timeoutSeconds = HealthCheck.defaultTimeoutSeconds(for: known)
            }
        }
        if let isEnabled = boolean("enabled", of: scope) { check.isEnabled = isEnabled }
        readCheckPort(scope, into: &check)
        readSchedule(scope, into: &check)
        readHTTP(scope, group: group, into: &check)
        readDatagram(scope, into: &check)
        check.tls = readTargetTLS(
            of: scope, belongsHere: check.protocol.usesTLS,
            place: "belongs to HTTPS and TLS health checks, but this one is \(check.protocol.rawValue). "
                + "Set health_check.protocol: HTTPS or TLS, or leave it out.")
        if check.protocol.usesTLS, scope.fields["tls"] == nil, let tls = group.tls { check.tls = tls }
        return check
    }

    private mutating func readProbeProtocol(
        _ scope: Scope, group: TargetGroup
    ) -> HealthCheck.ProbeProtocol? {
        guard let text = text("protocol", of: scope) else { return nil }
        let known = HealthCheck.ProbeProtocol(rawValue: text)
        if !group.protocol.isNetwork {
            if let known, known.isHTTP { return known }
            note(
                "protocol", of: scope,
                "is \"\(Self.shortened(text))\"; an \(group.protocol.rawValue) target group is checked by HTTP or "
                    + "HTTPS (in capitals).")
            return nil
        }
        if let known { return known }
        note(
            "protocol", of: scope,
            "is \"\(Self.shortened(text))\"; it must be TCP, HTTP, HTTPS, TLS or UDP (in capitals).")
        return nil
    }

    private mutating func readCheckPort(_ scope: Scope, into check: inout HealthCheck) {
        guard let text = text("port", of: scope), text != "traffic-port" else { return }
        guard let number = Self.wholeNumber(text), let port = UInt16(exactly: number), port > 0 else {
            note(
                "port", of: scope,
                "is \"\(Self.shortened(text))\"; it must be traffic-port or a whole number from 1 to 65535.")
            return
        }
        check.port = .number(port)
    }

    private mutating func readSchedule(_ scope: Scope, into check: inout HealthCheck) {
        let interval = integer("interval", of: scope, in: 1...300, unit: " s")
        let timeout = integer("timeout", of: scope, in: 1...120, unit: " s")
        if let interval { check.intervalSeconds = interval }
        if let timeout { check.timeoutSeconds = timeout }
        // A value that was refused above must not be refused twice in different words.
        let isIntervalKnown = interval != nil || scope.fields["interval"] == nil
        let isTimeoutKnown = timeout != nil || scope.fields["timeout"] == nil
        if isIntervalKnown, isTimeoutKnown, check.timeoutSeconds >= check.intervalSeconds {
            let key = timeout != nil ? "timeout" : "interval"
            let bound =
                "it must be below the interval (\(check.intervalSeconds) s), or probes overlap. "
                + "Lower timeout or raise interval."
            if key == "timeout" {
                note("timeout", of: scope, "is \(check.timeoutSeconds) s; \(bound)")
            } else {
                note(
                    at: scope.fields["interval"]?.position, path: scope.path(to: "timeout"),
                    subject: scope.subject,
                    "\(scope.prefix)timeout is \(check.timeoutSeconds) s by default; \(bound)")
            }
        }
        if let count = integer("healthy_threshold", of: scope, in: 2...10) {
            check.healthyThresholdCount = count
        }
        if let count = integer("unhealthy_threshold", of: scope, in: 2...10) {
            check.unhealthyThresholdCount = count
        }
    }

    // MARK: HTTP

    private mutating func readHTTP(_ scope: Scope, group: TargetGroup, into check: inout HealthCheck) {
        for key in ["path", "matcher", "lame_duck"] where scope.fields[key] != nil && !check.protocol.isHTTP {
            note(
                key, of: scope,
                "belongs to HTTP and HTTPS health checks, but this one is \(check.protocol.rawValue). "
                    + "Set health_check.protocol: HTTP, or leave it out.")
        }
        if let path = text("path", of: scope) {
            // Anything but visible ASCII would end the request line; see RFC 9112 section 3.
            if path.hasPrefix("/"), path.utf8.count <= Limits.healthCheckPathLengthMax,
                path.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
            {
                check.path = path
            } else {
                note(
                    "path", of: scope,
                    "is \"\(Self.shortened(path))\"; it must begin with \"/\" and have at most "
                        + "\(Limits.healthCheckPathLengthMax) visible ASCII characters.")
            }
        }
        if let text = text("matcher", of: scope) {
            let codes = group.statusCodes
            if let matcher = StatusMatcher(text, in: codes) {
                check.matcher = matcher
            } else {
                let isGRPC = codes == StatusMatcher.grpcCodes
                note(
                    "matcher", of: scope,
                    "is \"\(Self.shortened(text))\"; it must list \(isGRPC ? "gRPC codes" : "codes") and ranges from "
                        + "\(codes.lowerBound) to \(codes.upperBound), such as "
                        + "\"\(isGRPC ? "0,12" : "200-299,301")\".")
            }
        }
        check.lameDuck = readLameDuck(scope)
    }

    private mutating func readLameDuck(_ scope: Scope) -> LameDuck? {
        guard let fields = child("lame_duck", of: scope, keys: ["header", "body"]) else { return nil }
        var sign = LameDuck()
        if let header = text("header", of: fields) {
            let parts = header.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let name = Self.trimmed(parts[0])
            let value = parts.count > 1 ? Self.trimmed(parts[1]) : ""
            if Self.isFieldName(name), header.utf8.count <= Limits.lameDuckTextLengthMax {
                sign.headerName = name
                sign.headerValue = value.isEmpty ? nil : value
            } else {
                note(
                    "header", of: fields,
                    "is \"\(Self.shortened(header))\"; it must be NAME or \"NAME: VALUE\", at most "
                        + "\(Limits.lameDuckTextLengthMax) characters.")
            }
        }
        if let body = text("body", of: fields) {
            if (1...Limits.lameDuckTextLengthMax).contains(body.utf8.count) {
                sign.bodyToken = body
            } else {
                note(
                    "body", of: fields,
                    "has \(body.utf8.count) bytes; it must be a token of 1 to "
                        + "\(Limits.lameDuckTextLengthMax) bytes.")
            }
        }
        if fields.fields["header"] == nil, fields.fields["body"] == nil {
            note("lame_duck", of: scope, "names no sign. Give header or body.")
            return nil
        }
        return sign
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }

    /// A token of RFC 9110 section 5.6.2.
    private static func isFieldName(_ name: String) -> Bool {
        let marks = Array("!#$%&'*+-.^_`|~".utf8)
        return !name.isEmpty
            && name.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                    || marks.contains(byte)
            }
    }

    // MARK: UDP

    static let datagramKeys = [
        "preset", "payload", "payload_hex", "expect", "expect_hex", "expect_prefix", "expect_prefix_hex",
    ]

    private mutating func readDatagram(_ scope: Scope, into check: inout HealthCheck) {
        let proofless =
            "A UDP probe without an expected answer proves nothing: a dead service is as silent "
            + "as a living one."
        guard scope.fields["udp"] != nil else {
            if check.protocol == .udp {
                note(
                    "udp", of: scope,
                    "is missing. \(proofless) Give udp: { preset: dns } "
                        + "or udp: { payload: …, expect: … }.")
            }
            return
        }
        guard check.protocol == .udp else {
            note(
                "udp", of: scope,
                "belongs to UDP health checks, but this one is \(check.protocol.rawValue). "
                    + "Set health_check.protocol: UDP, or leave it out.")
            return
        }
        guard let fields = child("udp", of: scope, keys: Self.datagramKeys) else { return }
        if fields.fields["preset"] != nil {
            readPreset(fields, into: &check)
            return
        }
        let payload = bytes("payload", of: fields, limit: Limits.probePayloadByteCountMax)
        if fields.fields["payload"] == nil, fields.fields["payload_hex"] == nil {
            note("payload", of: fields, "is missing. Give payload, payload_hex or preset.")
        }
        let expected = ["expect", "expect_hex", "expect_prefix", "expect_prefix_hex"]
            .filter { fields.fields[$0] != nil }
        switch expected.count {
        case 0:
            note(
                "expect", of: fields,
                "is missing. \(proofless) Give expect, expect_prefix or their _hex "
                    + "forms.")
        case 1:
            let isPrefix = expected[0].hasPrefix("expect_prefix")
            let key = isPrefix ? "expect_prefix" : "expect"
            guard let expectation = bytes(key, of: fields, limit: Limits.probePayloadByteCountMax),
                let payload
            else { return }
            check.datagram = DatagramProbe(
                payload: payload, expectation: isPrefix ? .prefix(expectation) : .contains(expectation))
        default:
            note(
                at: fields.mark, path: fields.path, subject: fields.subject,
                "\(fields.prefix.dropLast()) has \(expected.joined(separator: " and ")). Keep one of them.")
        }
    }

    private mutating func readPreset(_ fields: Scope, into check: inout HealthCheck) {
        let others = Self.datagramKeys.dropFirst().filter { fields.fields[$0] != nil }
        if !others.isEmpty {
            note(
                "preset", of: fields,
                "is given beside \(others.joined(separator: " and ")). A preset has its own payload and "
                    + "answer; keep one."
            )
        }
        guard let text = text("preset", of: fields) else { return }
        switch text {
        case "dns": check.datagram = .dns
        case "ntp": check.datagram = .ntp
        default: note("preset", of: fields, "is \"\(Self.shortened(text))\"; it must be dns or ntp.")
        }
    }

    /// Bytes given as text under `key` or as hexadecimal digits under `key_hex`; never empty.
    private mutating func bytes(_ key: String, of fields: Scope, limit: Int) -> [UInt8]? {
        let hexKey = "\(key)_hex"
        if fields.fields[key] != nil, fields.fields[hexKey] != nil {
            note(hexKey, of: fields, "is given beside \(key). Keep one of them.")
            return nil
        }
        let bytes: [UInt8]
        if let text = text(key, of: fields) {
            bytes = Array(text.utf8)
        } else if let text = text(hexKey, of: fields) {
            guard let decoded = Self.decodeHex(text) else {
                note(
                    hexKey, of: fields,
                    "is \"\(Self.shortened(text))\"; it must be pairs of hexadecimal digits, such as "
                        + "\"0a0b\".")
                return nil
            }
            bytes = decoded
        } else {
            return nil
        }
        guard (1...limit).contains(bytes.count) else {
            note(
                fields.fields[key] != nil ? key : hexKey, of: fields,
                "has \(bytes.count) bytes; it must have 1 to \(limit).")
            return nil
        }
        return bytes
    }

    private static func decodeHex(_ text: String) -> [UInt8]? {
        let digits = text.utf8.filter { $0 != UInt8(ascii: " ") }.map(hexDigitValue)
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }
}
