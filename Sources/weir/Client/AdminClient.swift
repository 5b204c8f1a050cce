// The admin API as calls: paths, queries and bodies in, the shared model out.

import AdminModel
import Foundation
import NIOHTTP1

struct AdminClient: Sendable {
    /// Reading answers from memory.
    static let readTimeoutSeconds = 15
    /// Changes wait for the store, for new sockets and for every worker.
    static let changeTimeoutSeconds = 120

    let address: AdminAddress
    let token: String?

    // MARK: Reading

    func status() async throws(ClientError) -> StatusReport {
        try await get("status")
    }

    func loadBalancers() async throws(ClientError) -> [LoadBalancerDescription] {
        try await get("load-balancers")
    }

    func loadBalancer(named name: String) async throws(ClientError) -> LoadBalancerDescription {
        try await get("load-balancers", name)
    }

    func listeners() async throws(ClientError) -> [ListenerDescription] {
        try await get("listeners")
    }

    func listener(_ id: String) async throws(ClientError) -> ListenerDescription {
        try await get("listeners", id)
    }

    func targetGroups() async throws(ClientError) -> [TargetGroupDescription] {
        try await get("target-groups")
    }

    func targetGroup(named name: String) async throws(ClientError) -> TargetGroupDescription {
        try await get("target-groups", name)
    }

    func flows(countMax: Int) async throws(ClientError) -> FlowsResponse {
        try await get("flows", query: [("limit", String(countMax))])
    }

    func explain(_ request: ExplainRequest) async throws(ClientError) -> ExplainResponse {
        let once = [
            ("host", request.host), ("path", request.path), ("method", request.method),
            ("query", request.query), ("server_name", request.serverName),
        ].compactMap { name, value in value.map { (name, $0) } }
        return try await get(
            "explain",
            query: [("listener", request.listener), ("client", request.client)] + once
                + request.headers.map { ("header", $0) } + request.alpn.map { ("alpn", $0) })
    }

    func rules(of listener: String) async throws(ClientError) -> RulesResponse {
        try await get("listeners", listener, "rules")
    }

    func rule(_ priority: String, of listener: String) async throws(ClientError) -> RuleDescription {
        try await get("listeners", listener, "rules", priority)
    }

    func certificates() async throws(ClientError) -> CertificatesResponse {
        try await get("certificates")
    }

    // MARK: Changing

    func reloadCertificates() async throws(ClientError) -> CertificatesReloadResponse {
        try await post([String: String](), to: "certificates", "reload")
    }

    func register(
        _ targets: [TargetSpecification], in group: String
    ) async throws(ClientError) -> TargetsResponse {
        try await post(TargetsRequest(targets: targets), to: "target-groups", group, "targets")
    }

    func deregister(
        _ targets: [TargetSpecification], in group: String
    ) async throws(ClientError) -> TargetsResponse {
        try await post(TargetsRequest(targets: targets), to: "target-groups", group, "targets", "deregister")
    }

    func createListener(
        _ request: ListenerRequest, of loadBalancer: String
    ) async throws(ClientError) -> ListenerDescription {
        try await post(request, to: "load-balancers", loadBalancer, "listeners")
    }

    func modifyListener(
        _ id: String, _ request: ListenerRequest
    ) async throws(ClientError) -> ListenerDescription {
        try await change(.PATCH, request, at: "listeners", id)
    }

    func deleteListener(_ id: String) async throws(ClientError) -> ListenerDescription {
        try await delete("listeners", id)
    }

    func createRule(_ request: RuleRequest, of listener: String) async throws(ClientError) -> RuleDescription
    {
        try await post(request, to: "listeners", listener, "rules")
    }

    func modifyRule(
        _ priority: String, _ request: RuleRequest, of listener: String
    ) async throws(ClientError) -> RuleDescription {
        try await change(.PATCH, request, at: "listeners", listener, "rules", priority)
    }

    func deleteRule(_ priority: String, of listener: String) async throws(ClientError) -> RulesResponse {
        try await delete("listeners", listener, "rules", priority)
    }

    func setRulePriorities(
        _ request: RulePrioritiesRequest, of listener: String
    ) async throws(ClientError) -> RulesResponse {
        try await post(request, to: "listeners", listener, "rule-priorities")
    }

    func apply(_ request: ApplyRequest) async throws(ClientError) -> ApplyResponse {
        try await post(request, to: "apply")
    }

    func upgrade(_ request: UpgradeRequest) async throws(ClientError) -> UpgradeResponse {
        // The appliance's own limit and what follows it, whichever is longer.
        let patience = max(Self.changeTimeoutSeconds, (request.timeoutSeconds ?? 30) + 90)
        return try await post(request, timeoutSeconds: patience, to: "upgrade")
    }

    // MARK: Requests

    private func get<Value: Decodable>(
        _ path: String..., query: [(String, String)] = []
    ) async throws(ClientError) -> Value {
        let target = Self.target(path, query: query)
        let exchange = HTTPExchange(address: address, responseTimeoutSeconds: Self.readTimeoutSeconds)
        return try decode(try await exchange.send(.GET, target, headers: headers, body: nil))
    }

    private func post<Value: Decodable>(
        _ body: some Encodable, timeoutSeconds: Int = changeTimeoutSeconds, to path: String...
    ) async throws(ClientError) -> Value {
        try await send(.POST, body, timeoutSeconds: timeoutSeconds, to: path)
    }

    private func change<Value: Decodable>(
        _ method: HTTPMethod, _ body: some Encodable, at path: String...
    ) async throws(ClientError) -> Value {
        try await send(method, body, timeoutSeconds: Self.changeTimeoutSeconds, to: path)
    }

    private func delete<Value: Decodable>(_ path: String...) async throws(ClientError) -> Value {
        let exchange = HTTPExchange(address: address, responseTimeoutSeconds: Self.changeTimeoutSeconds)
        return try decode(
            try await exchange.send(.DELETE, Self.target(path, query: []), headers: headers, body: nil))
    }

    private func send<Value: Decodable>(
        _ method: HTTPMethod, _ body: some Encodable, timeoutSeconds: Int, to path: [String]
    ) async throws(ClientError) -> Value {
        let bytes: Data
        do {
            bytes = try AdminCoding.encoder().encode(body)
        } catch {
            throw .refused(
                status: 0, ErrorReport(code: "ValidationError", message: "cannot be sent: \(error)."))
        }
        let exchange = HTTPExchange(address: address, responseTimeoutSeconds: timeoutSeconds)
        return try decode(
            try await exchange.send(
                method, Self.target(path, query: []),
                headers: headers + [("Content-Type", "application/json")],
                body: Array(bytes)))
    }

    private var headers: [(String, String)] {
        var headers = [("Accept", "application/json"), ("User-Agent", "weir/\(WeirVersion.current)")]
        if let token { headers.append(("Authorization", "Bearer \(token)")) }
        return headers
    }

    private func decode<Value: Decodable>(_ response: HTTPExchange.Response) throws(ClientError) -> Value {
        let data = Data(response.body)
        let decoder = AdminCoding.decoder()
        guard (200..<300).contains(response.status) else {
            guard let report = try? decoder.decode(ErrorReport.self, from: data) else {
                throw .notWeir(address, cause: "HTTP status \(response.status)")
            }
            throw .refused(status: response.status, report)
        }
        do {
            return try decoder.decode(Value.self, from: data)
        } catch {
            throw .notWeir(address, cause: "its answer cannot be read, perhaps another version")
        }
    }

    /// The request target: each part percent-encoded, so that no name can change the path.
    static func target(_ path: [String], query: [(String, String)]) -> String {
        let parts = path.map { "/" + encode($0) }.joined()
        let arguments = query.map { "\(encode($0.0))=\(encode($0.1))" }.joined(separator: "&")
        return "/v1\(parts)\(arguments.isEmpty ? "" : "?\(arguments)")"
    }

    private static func encode(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? ""
    }

    /// RFC 3986, section 2.3, and the colon of listener ids, which a path segment may hold.
    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:")
}
