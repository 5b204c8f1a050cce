// What is asked for of listeners and rules, in the shape that the configuration file has for them.
//
// The registry reads these as it reads a file, so that a value is judged alike wherever it comes from.

/// A rule to create, or what of one is to change.
package struct RuleRequest: Codable, Sendable, Equatable {
    /// Of a rule to create; that of an existing one changes by `RulePrioritiesRequest`.
    package var priority: Int?
    /// Nil keeps those of an existing rule, as do the others.
    package var conditions: [ConditionDescription]?
    package var action: ActionDescription?
    /// Empty removes them.
    package var transforms: [TransformDescription]?

    package init(
        priority: Int? = nil, conditions: [ConditionDescription]? = nil, action: ActionDescription? = nil,
        transforms: [TransformDescription]? = nil
    ) {
        self.priority = priority
        self.conditions = conditions
        self.action = action
        self.transforms = transforms
    }
}

/// New priorities of some rules of a listener, all at once: two may change places.
package struct RulePrioritiesRequest: Codable, Sendable, Equatable {
    package struct Change: Codable, Sendable, Equatable {
        package var priority: Int
        package var newPriority: Int

        package init(priority: Int, newPriority: Int) {
            self.priority = priority
            self.newPriority = newPriority
        }
    }

    package var priorities: [Change]

    package init(priorities: [Change]) {
        self.priorities = priorities
    }
}

/// The files of a certificate, on the machine of the appliance.
package struct CertificateSpecification: Codable, Sendable, Equatable {
    package var certificate: String
    package var privateKey: String
    package var ocspResponse: String?

    package init(certificate: String, privateKey: String, ocspResponse: String? = nil) {
        self.certificate = certificate
        self.privateKey = privateKey
        self.ocspResponse = ocspResponse
    }
}

package struct MutualAuthenticationSpecification: Codable, Sendable, Equatable {
    /// `off`, `passthrough` or `verify`; the others belong to `verify`.
    package var mode: String
    package var caCertificates: String?
    package var crl: String?
    package var ignoreClientCertificateExpiry: Bool?
    /// `on` or `off`.
    package var advertiseTrustStoreCaNames: String?

    package init(
        mode: String, caCertificates: String? = nil, crl: String? = nil,
        ignoreClientCertificateExpiry: Bool? = nil, advertiseTrustStoreCaNames: String? = nil
    ) {
        self.mode = mode
        self.caCertificates = caCertificates
        self.crl = crl
        self.ignoreClientCertificateExpiry = ignoreClientCertificateExpiry
        self.advertiseTrustStoreCaNames = advertiseTrustStoreCaNames
    }
}

/// A listener to create, or what of one is to change; nil keeps what an existing listener has.
package struct ListenerRequest: Codable, Sendable, Equatable {
    package var port: Int?
    package var `protocol`: String?
    package var defaultAction: ActionDescription?
    package var sslPolicy: String?
    package var certificates: [CertificateSpecification]?
    package var alpnPolicy: String?
    package var mutualAuthentication: MutualAuthenticationSpecification?
    package var proxyProtocol: ProxyProtocolDescription?
    /// Attributes that are not named stay as they are.
    package var attributes: [String: String]?

    package init() {}
}

/// A flow or request to explain. What belongs to requests is for application listeners, what belongs to the
/// ClientHello for TCP listeners with rules.
package struct ExplainRequest: Codable, Sendable, Equatable {
    /// `LOAD_BALANCER:PORT`.
    package var listener: String
    /// `ADDRESS` or `ADDRESS:PORT`.
    package var client: String
    package var host: String?
    /// With or without a query behind a question mark.
    package var path: String?
    package var method: String?
    package var query: String?
    /// `NAME:VALUE` each.
    package var headers: [String]
    package var serverName: String?
    package var alpn: [String]

    package init(listener: String, client: String) {
        self.listener = listener
        self.client = client
        headers = []
        alpn = []
    }
}
