// Requests of the admin API, read as the configuration file is: as YAML, of which JSON is a part.

import AdminModel
import Balancing
import HTTPCore
import Yams

extension ConfigurationReader {
    /// A rule in the shape of the file.
    private struct RuleText: Encodable {
        let priority: Int?
        let conditions: [ConditionDescription]?
        let actions: [ActionDescription]?
        let transforms: [TransformDescription]?
    }

    /// A listener in the shape of the file, without its rules.
    private struct ListenerText: Encodable {
        let port: Int?
        let `protocol`: String?
        let defaultAction: ActionDescription?
        let sslPolicy: String?
        let certificates: [CertificateSpecification]?
        let alpnPolicy: String?
        let mutualAuthentication: MutualAuthenticationSpecification?
        let proxyProtocol: ProxyProtocolDescription?
        let attributes: [String: String]?
    }

    /// Reads a whole rule of an application listener.
    static func applicationRule(
        _ request: RuleRequest, of listener: Listener, id: ListenerID
    ) throws(ControlError) -> ListenerRule {
        let place = RedirectWriter.Context(isSecure: listener.protocol == .https, port: listener.port)
        return try read(text(of: request), subject: "listener \(id)", keys: ruleKeys) { reader, scope in
            guard let priority = reader.readPriority(of: scope) else {
                _ = reader.readApplicationRule(scope, priority: 0, listener: place)
                return nil
            }
            return reader.readApplicationRule(scope, priority: priority, listener: place)
        }
    }

    /// Reads a whole rule of a TCP listener.
    static func passthroughRule(
        _ request: RuleRequest, id: ListenerID
    ) throws(ControlError) -> PassthroughRule {
        // Of transforms the reader says that they have no place here.
        try read(text(of: request), subject: "listener \(id)", keys: passthroughRuleKeys) { reader, scope in
            let priority = reader.readPriority(of: scope)
            return reader.readPassthroughRule(scope, priority: priority ?? 0)
        }
    }

    /// Reads a whole listener, but for its rules.
    static func listener(
        _ request: ListenerRequest, of loadBalancer: LoadBalancer
    ) throws(ControlError) -> Listener {
        let text = ListenerText(
            port: request.port, protocol: request.protocol, defaultAction: request.defaultAction,
            sslPolicy: request.sslPolicy, certificates: request.certificates, alpnPolicy: request.alpnPolicy,
            mutualAuthentication: request.mutualAuthentication, proxyProtocol: request.proxyProtocol,
            attributes: request.attributes)
        let name =
            request.port.map { "listener \(loadBalancer.name):\($0)" }
            ?? "listener of \"\(loadBalancer.name)\""
        return try read(text, subject: name, keys: listenerKeys) { reader, scope in
            let port = reader.readListenerPort(scope)
            return reader.readListener(scope, port: port, kind: loadBalancer.kind)
        }
    }

    private static func text(of request: RuleRequest) -> RuleText {
        RuleText(
            priority: request.priority, conditions: request.conditions,
            actions: request.action.map { [$0] },
            transforms: request.transforms.flatMap { $0.isEmpty ? nil : $0 })
    }

    /// Reads what `text` is in JSON; all problems come as one error.
    private static func read<Value>(
        _ text: some Encodable, subject: String, keys: [String],
        _ read: (inout ConfigurationReader, Scope) -> Value?
    ) throws(ControlError) -> Value {
        let node: Node?
        do {
            let json = try AdminCoding.encoder().encode(text)
            node = try Yams.compose(yaml: String(decoding: json, as: UTF8.self))
        } catch {
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: "\(subject): the request has text that cannot be kept, such as a control character. "
                    + "Leave it out.")
        }
        var reader = ConfigurationReader(fileName: "request")
        if let node, let scope = reader.scope(of: node, subject: subject, prefix: "", path: "", keys: keys),
            let value = read(&reader, scope), reader.problems.isEmpty
        {
            return value
        }
        let messages = reader.problems.map(\.message)
        throw ControlError(
            kind: .invalid, code: "ValidationError",
            message: messages.count == 1
                ? messages[0] : "\(subject): the request has \(messages.count) errors; nothing was changed",
            details: messages)
    }
}

// MARK: - From values to requests

extension ListenerRequest {
    /// All of a listener but its rules, so that a request can change a part of it.
    init(_ listener: Listener) {
        self.init()
        port = Int(listener.port)
        self.protocol = listener.protocol.rawValue
        defaultAction = listener.defaultAction.adminDescription
        attributes = listener.attributes.dictionary
        proxyProtocol = listener.proxyProtocol?.adminDescription
        guard let tls = listener.tls else { return }
        sslPolicy = tls.policy.name
        certificates = tls.certificates.map {
            CertificateSpecification(
                certificate: $0.certificate, privateKey: $0.privateKey, ocspResponse: $0.ocspResponse)
        }
        alpnPolicy = listener.protocol == .https ? nil : tls.alpn.rawValue
        mutualAuthentication = MutualAuthenticationSpecification(tls.mutualAuthentication)
    }

    /// What `changes` names takes the place of what is here.
    func merged(with changes: ListenerRequest) -> ListenerRequest {
        var merged = self
        // A listener that leaves TLS leaves its certificates too, one that comes to it has to name some.
        if let new = changes.protocol, new != self.protocol {
            if TrafficProtocol(rawValue: new)?.usesTLS == false {
                (merged.sslPolicy, merged.certificates, merged.alpnPolicy) = (nil, nil, nil)
                merged.mutualAuthentication = nil
            }
            if TrafficProtocol(rawValue: new)?.carriesUDP == true { merged.proxyProtocol = nil }
            merged.protocol = new
        }
        if let port = changes.port { merged.port = port }
        if let action = changes.defaultAction { merged.defaultAction = action }
        if let policy = changes.sslPolicy { merged.sslPolicy = policy }
        if let certificates = changes.certificates { merged.certificates = certificates }
        if let policy = changes.alpnPolicy { merged.alpnPolicy = policy }
        if let mutual = changes.mutualAuthentication { merged.mutualAuthentication = mutual }
        if let headers = changes.proxyProtocol { merged.proxyProtocol = headers }
        if let attributes = changes.attributes {
            merged.attributes = (merged.attributes ?? [:]).merging(attributes) { _, new in new }
        }
        return merged
    }
}

extension MutualAuthenticationSpecification {
    init(_ mutual: MutualAuthentication) {
        self.init(mode: mutual.mode)
        guard case .verify(let trust) = mutual else { return }
        caCertificates = trust.caCertificates
        crl = trust.revocationLists
        ignoreClientCertificateExpiry = trust.ignoresExpiry
        advertiseTrustStoreCaNames = trust.advertisesNames ? "on" : "off"
    }
}

extension RuleRequest {
    init(_ rule: RuleDescription) {
        self.init(
            priority: rule.priority, conditions: rule.conditions, action: rule.action,
            transforms: rule.transforms)
    }

    /// What `changes` names takes the place of what is here; the priority stays.
    func merged(with changes: RuleRequest) -> RuleRequest {
        RuleRequest(
            priority: priority, conditions: changes.conditions ?? conditions,
            action: changes.action ?? action, transforms: changes.transforms ?? transforms)
    }
}
