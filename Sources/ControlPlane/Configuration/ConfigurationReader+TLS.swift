// TLS of listeners, target groups and health checks.
//
// Only names and paths are judged here. What stands in the files is for `CertificateControl` to say, when the
// configuration is applied: the file may be checked on a machine that has none of them.

import Balancing
import Yams

extension ConfigurationReader {
    static let tlsListenerKeys = ["ssl_policy", "certificates", "alpn_policy", "mutual_authentication"]

    static let unavailableListenerKeys = [
        "certificate_arn":
            "Weir reads files: certificates: [ { certificate: FILE, private_key: FILE } ]."
    ]

    /// Nil unless the listener is TLS or HTTPS and has certificates.
    mutating func readListenerTLS(
        of listener: Scope, protocol: TrafficProtocol?
    ) -> TLSListenerSettings? {
        guard let `protocol`, `protocol`.usesTLS else {
            if let `protocol` {
                for key in Self.tlsListenerKeys where listener.fields[key] != nil {
                    note(
                        key, of: listener,
                        "belongs to \(`protocol`.isNetwork ? "TLS" : "HTTPS") listeners, but this one is "
                            + "\(`protocol`.rawValue). Set protocol: \(`protocol`.isNetwork ? "TLS" : "HTTPS"), or "
                            + "leave it out.")
                }
            }
            return nil
        }
        var settings = TLSListenerSettings(certificates: readCertificates(of: listener))
        if let name = text("ssl_policy", of: listener) {
            if let policy = SecurityPolicy.named(name) {
                settings.policy = policy
            } else {
                let nearest = NearestKey.find(name, in: SecurityPolicy.all.map(\.name))
                note(
                    "ssl_policy", of: listener,
                    "is \"\(Self.shortened(name))\", which is no security policy; "
                        + (nearest.map { "did you mean \"\($0)\"?" }
                            ?? "\"weir ssl-policies\" lists them."))
            }
        }
        if `protocol` == .https, listener.fields["alpn_policy"] != nil {
            note(
                "alpn_policy", of: listener,
                "belongs to TLS listeners. An HTTPS listener offers HTTP/2 and HTTP/1.1, or HTTP/1.1 alone when the "
                    + "load balancer's attribute routing.http2.enabled is false. Leave it out.")
        } else if let policy = choice("alpn_policy", of: listener, as: ALPNPolicy.self) {
            settings.alpn = policy
        }
        if let mutual = readMutualAuthentication(of: listener) { settings.mutualAuthentication = mutual }
        return settings.certificates.isEmpty ? nil : settings
    }

    private mutating func readCertificates(of listener: Scope) -> [CertificateFiles] {
        let example =
            "Give certificates: [ { certificate: FILE, private_key: FILE } ]; the first is the default."
        guard listener.fields["certificates"] != nil else {
            note("certificates", of: listener, "is missing. \(example)")
            return []
        }
        guard
            let nodes = list(
                "certificates", of: listener, countMax: Limits.certificatesPerListenerMax,
                nextStep: "Join names in fewer certificates, or use a second listener.")
        else { return [] }
        if nodes.isEmpty { note("certificates", of: listener, "is empty. \(example)") }
        var certificates: [CertificateFiles] = []
        for (index, node) in nodes.enumerated() {
            guard
                let fields = scope(
                    of: node, subject: listener.subject, prefix: "\(listener.prefix)certificates[\(index)].",
                    path: "\(listener.path(to: "certificates"))[\(index)]",
                    keys: ["certificate", "private_key", "ocsp_response"])
            else { continue }
            let certificate = requiredFile("certificate", of: fields, "Give the PEM file of the certificate.")
            let key = requiredFile("private_key", of: fields, "Give the PEM file of its key.")
            let response = file("ocsp_response", of: fields)
            guard let certificate, let key else { continue }
            if let known = certificates.firstIndex(where: { $0.certificate == certificate }) {
                note(
                    "certificate", of: fields,
                    "is \(Self.shortened(certificate)), which certificates[\(known)] has already. Keep one.")
                continue
            }
            certificates.append(
                CertificateFiles(certificate: certificate, privateKey: key, ocspResponse: response))
        }
        return certificates
    }

    private enum ClientMode: String, CaseIterable {
        case off, passthrough, verify
    }

    private enum Switch: String, CaseIterable {
        case on, off
    }

    private static let trustKeys = [
        "ca_certificates", "crl", "ignore_client_certificate_expiry", "advertise_trust_store_ca_names",
    ]

    private mutating func readMutualAuthentication(of listener: Scope) -> MutualAuthentication? {
        guard
            let fields = child(
                "mutual_authentication", of: listener, keys: ["mode"] + Self.trustKeys,
                unavailable: ["trust_store_arn": "Weir reads a file: ca_certificates: FILE."])
        else { return nil }
        guard fields.fields["mode"] != nil else {
            note("mode", of: fields, "is missing. Give off, passthrough or verify.")
            return nil
        }
        guard let mode = choice("mode", of: fields, as: ClientMode.self) else { return nil }
        guard mode == .verify else {
            for key in Self.trustKeys where fields.fields[key] != nil {
                note(
                    key, of: fields,
                    "belongs to mode verify, but the mode is \(mode.rawValue). "
                        + "Set mode: verify, or leave it out.")
            }
            return mode == .off ? .off : .passthrough
        }
        let authorities = requiredFile(
            "ca_certificates", of: fields, "Give the PEM file of the CAs whose clients may enter.")
        var trust = ClientTrust(caCertificates: authorities ?? "", revocationLists: file("crl", of: fields))
        if let ignores = boolean("ignore_client_certificate_expiry", of: fields) {
            trust.ignoresExpiry = ignores
        }
        if let advertises = choice("advertise_trust_store_ca_names", of: fields, as: Switch.self) {
            trust.advertisesNames = advertises == .on
        }
        return authorities == nil ? nil : .verify(trust)
    }

    // MARK: Towards targets

    /// The settings under `tls`; the default ones where there are none.
    ///
    /// - Parameter owner: Nil when the key has no place here; `place` then says where it has.
    mutating func readTargetTLS(of owner: Scope, belongsHere: Bool, place: String) -> TLSTargetSettings? {
        guard belongsHere else {
            if owner.fields["tls"] != nil { note("tls", of: owner, place) }
            return nil
        }
        var settings = TLSTargetSettings()
        guard
            let fields = child(
                "tls", of: owner, keys: ["server_name", "ca_file", "verify", "certificate", "private_key"])
        else { return settings }
        if let name = text("server_name", of: fields) {
            if ServerName(name) != nil || IPAddress(name) != nil {
                settings.serverName = name
            } else {
                note(
                    "server_name", of: fields,
                    "is \"\(Self.shortened(name))\"; it must be the host name or address in the targets' "
                        + "certificates.")
            }
        }
        let authorities = file("ca_file", of: fields)
        let verifies = boolean("verify", of: fields)
        if verifies == true, fields.fields["ca_file"] == nil {
            note(
                "verify", of: fields,
                "is true, but nothing says whom to trust. Give ca_file, or leave verify out.")
        }
        settings.caFile = verifies == false ? nil : authorities
        settings.certificate = readClientCertificate(fields)
        return settings
    }

    private mutating func readClientCertificate(_ fields: Scope) -> CertificateFiles? {
        let certificate = file("certificate", of: fields)
        let key = file("private_key", of: fields)
        for (given, missing) in [("certificate", "private_key"), ("private_key", "certificate")]
        where fields.fields[given] != nil && fields.fields[missing] == nil {
            note(given, of: fields, "is given without \(missing). Give both, or none.")
        }
        guard let certificate, let key else { return nil }
        return CertificateFiles(certificate: certificate, privateKey: key)
    }

    // MARK: Files

    /// A path, remembered with its line for what is found in the file later.
    mutating func file(_ key: String, of scope: Scope) -> String? {
        guard let path = text(key, of: scope) else { return nil }
        // Of a relative one nobody knows what it is relative to: "weir apply" may run anywhere.
        guard path.hasPrefix("/"), path.utf8.count < 4_096, !path.utf8.contains(0) else {
            note(
                key, of: scope,
                "is \"\(Self.shortened(path))\"; it must be the whole path of a file, beginning with \"/\".")
            return nil
        }
        if let line = scope.fields[key]?.position?.line, fileLines[path] == nil { fileLines[path] = line }
        return path
    }

    private mutating func requiredFile(_ key: String, of scope: Scope, _ nextStep: String) -> String? {
        guard scope.fields[key] != nil else {
            note(key, of: scope, "is missing. \(nextStep)")
            return nil
        }
        return file(key, of: scope)
    }
}
