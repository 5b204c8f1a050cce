// TLS and PROXY protocol under the keys of the configuration file, and as the admin API shows them.

import AdminModel
import Balancing

extension TLSListenerSettings {
    var values: [(key: String, value: String)] {
        var values = [
            ("ssl_policy", policy.name),
            ("certificates", certificates.map(\.text).joined(separator: ", ")),
            ("alpn_policy", alpn.rawValue),
            ("mutual_authentication.mode", mutualAuthentication.mode),
        ]
        if case .verify(let trust) = mutualAuthentication {
            values += [
                ("mutual_authentication.ca_certificates", trust.caCertificates),
                ("mutual_authentication.crl", trust.revocationLists ?? "none"),
                (
                    "mutual_authentication.ignore_client_certificate_expiry",
                    trust.ignoresExpiry ? "true" : "false"
                ),
                (
                    "mutual_authentication.advertise_trust_store_ca_names",
                    trust.advertisesNames ? "on" : "off"
                ),
            ]
        }
        return values
    }

    var adminDescription: ListenerTLSDescription {
        ListenerTLSDescription(
            sslPolicy: policy.name, alpnPolicy: alpn.rawValue,
            mutualAuthentication: mutualAuthentication.mode,
            certificates: certificates.map(\.certificate))
    }
}

extension CertificateFiles {
    fileprivate var text: String {
        "\(certificate) with \(privateKey)" + (ocspResponse.map { " and \($0)" } ?? "")
    }
}

extension TLSTargetSettings {
    /// The values under `tls`, or under `health_check.tls`.
    func values(under prefix: String) -> [(key: String, value: String)] {
        [
            ("\(prefix)tls.server_name", serverName ?? "none"), ("\(prefix)tls.ca_file", caFile ?? "none"),
            ("\(prefix)tls.certificate", certificate?.text ?? "none"),
        ]
    }

    var adminDescription: TargetTLSDescription {
        TargetTLSDescription(serverName: serverName, caFile: caFile, certificate: certificate?.certificate)
    }
}

extension TargetGroupAttributes {
    /// What targets see of the client: see `TargetGroupDescription.clientAddress`.
    var clientAddress: String {
        switch (preservesClientIP, sendsProxyProtocol) {
        case (false, false): "replaced"
        case (true, false): "preserved"
        case (false, true): "proxy-v2"
        case (true, true): "preserved+proxy-v2"
        }
    }
}

extension ProxyProtocolSettings {
    var adminDescription: ProxyProtocolDescription {
        var accept: [String] = []
        if accepts.contains(.v1) { accept.append("v1") }
        if accepts.contains(.v2) { accept.append("v2") }
        return ProxyProtocolDescription(accept: accept, trusted: trusted.map(\.description))
    }

    var text: String {
        let description = adminDescription
        return "\(description.accept.joined(separator: ", ")) from "
            + description.trusted.joined(separator: ", ")
    }
}
