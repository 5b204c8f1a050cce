// TLS on the admin API: certificates in use, and how listeners and groups are set up.

/// A certificate in use. No key is ever shown, only the names of files.
package struct CertificateDescription: Codable, Sendable, Equatable {
    /// For people: `listener edge:443`.
    package var usedBy: String
    /// `LOAD_BALANCER:PORT` when a listener shows it.
    package var listener: String?
    /// The group when targets or health checks are shown it.
    package var targetGroup: String?
    package var file: String
    /// RFC 2253.
    package var subject: String
    /// Hexadecimal.
    package var serial: String
    /// Host names that it answers for.
    package var names: [String]
    /// `RSA`, `ECDSA` or `Ed25519`.
    package var keyType: String
    /// In seconds since 1970, as is `notAfter`.
    package var notBefore: Double
    package var notAfter: Double
    /// Answers when no other certificate of the listener does.
    package var isDefault: Bool

    package init(
        usedBy: String, listener: String?, targetGroup: String?, file: String, subject: String,
        serial: String,
        names: [String], keyType: String, notBefore: Double, notAfter: Double, isDefault: Bool
    ) {
        self.usedBy = usedBy
        self.listener = listener
        self.targetGroup = targetGroup
        self.file = file
        self.subject = subject
        self.serial = serial
        self.names = names
        self.keyType = keyType
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.isDefault = isDefault
    }
}

package struct CertificatesResponse: Codable, Sendable, Equatable {
    package var certificates: [CertificateDescription]

    package init(certificates: [CertificateDescription]) {
        self.certificates = certificates
    }
}

/// What reading all certificates again came to.
package struct CertificatesReloadResponse: Codable, Sendable, Equatable {
    /// Listeners and groups that use what was read now.
    package var reloadedCount: Int
    /// One line for each that goes on with what it had: who, the file, the cause and the next step.
    package var refused: [String]
    package var certificates: [CertificateDescription]

    package init(reloadedCount: Int, refused: [String], certificates: [CertificateDescription]) {
        self.reloadedCount = reloadedCount
        self.refused = refused
        self.certificates = certificates
    }
}

/// How a TLS listener is set up.
package struct ListenerTLSDescription: Codable, Sendable, Equatable {
    package var sslPolicy: String
    package var alpnPolicy: String
    /// `off`, `passthrough` or `verify`.
    package var mutualAuthentication: String
    /// The files of the certificates, the default first.
    package var certificates: [String]

    package init(sslPolicy: String, alpnPolicy: String, mutualAuthentication: String, certificates: [String])
    {
        self.sslPolicy = sslPolicy
        self.alpnPolicy = alpnPolicy
        self.mutualAuthentication = mutualAuthentication
        self.certificates = certificates
    }
}

/// How Weir speaks TLS to targets.
package struct TargetTLSDescription: Codable, Sendable, Equatable {
    package var serverName: String?
    /// Nil takes certificates of targets as they come.
    package var caFile: String?
    /// Shown to targets that ask for one.
    package var certificate: String?

    package init(serverName: String?, caFile: String?, certificate: String?) {
        self.serverName = serverName
        self.caFile = caFile
        self.certificate = certificate
    }
}

/// Who may tell a listener the addresses of clients.
package struct ProxyProtocolDescription: Codable, Sendable, Equatable {
    /// `v1`, `v2`.
    package var accept: [String]
    package var trusted: [String]

    package init(accept: [String], trusted: [String]) {
        self.accept = accept
        self.trusted = trusted
    }
}
