// The routes under /v1, /healthz and /metrics: each reads its arguments, asks the registry, writes JSON.
//
// No decision about load balancing is made here.

import AdminModel
import ControlPlane
import Foundation
import Hummingbird
import NIOCore

/// Replaces the process; returns when the new one serves.
package typealias UpgradeHandler =
    @Sendable (UpgradeRequest) async throws(ControlError) -> UpgradeResponse

struct AdminRoutes<Access: RegistryAccess>: Sendable {
    typealias Handler = @Sendable (Request, AdminRequestContext) async throws -> Response

    let registry: Access
    let upgrade: UpgradeHandler?

    func makeResponder(token: BearerToken?, isUnixSocket: Bool) -> RouterResponder<AdminRequestContext> {
        let router = Router(context: AdminRequestContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: ErrorMiddleware())
        router.add(middleware: FormMiddleware())
        router.add(middleware: AccessMiddleware(token: token, isUnixSocket: isUnixSocket))
        router.add(middleware: BodyMiddleware())
        addReads(to: router)
        addChanges(to: router)
        addListeners(to: router)
        return router.buildResponder()
    }

    // MARK: Reading

    private func addReads(to router: Router<AdminRequestContext>) {
        get("/healthz", of: router) { request, _ in try await health(request) }
        get("/metrics", of: router) { _, _ in
            .text(StatusMetrics.text(for: await registry.status()), type: PrometheusText.contentType)
        }
        get("/v1/status", of: router) { _, _ in try .json(await registry.status()) }
        get("/v1/load-balancers", of: router) { _, _ in try .json(await registry.loadBalancers()) }
        get("/v1/load-balancers/:name", of: router) { _, context in
            try .json(await registry.loadBalancer(named: context.pathArgument("name")))
        }
        get("/v1/listeners", of: router) { _, _ in
            try .json(await registry.loadBalancers().flatMap(\.listeners))
        }
        get("/v1/target-groups", of: router) { _, _ in try .json(await registry.targetGroups()) }
        get("/v1/target-groups/:name", of: router) { _, context in
            try .json(await registry.targetGroup(named: context.pathArgument("name")))
        }
        get("/v1/certificates", of: router) { _, _ in try .json(await registry.certificates()) }
        get("/v1/flows", of: router) { request, _ in
            try .json(await registry.flows(countMax: flowCountMax(of: request)))
        }
        get("/v1/explain", of: router) { request, _ in
            try .json(await registry.explain(explainRequest(in: request)))
        }
    }

    private func explainRequest(in request: Request) throws -> ExplainRequest {
        var explain = ExplainRequest(
            listener: try request.queryArgument("listener"), client: try request.queryArgument("client"))
        let arguments = request.uri.queryParameters
        explain.host = arguments["host"].map(String.init)
        explain.path = arguments["path"].map(String.init)
        explain.method = arguments["method"].map(String.init)
        explain.query = arguments["query"].map(String.init)
        explain.headers = arguments.getAll("header").map { String($0) }
        explain.serverName = arguments["server_name"].map(String.init)
        explain.alpn = arguments.getAll("alpn").map { String($0) }
        return explain
    }

    /// Says whether the process serves or, with a name, whether that load balancer is available.
    private func health(_ request: Request) async throws -> Response {
        guard let name = request.uri.queryParameters["load_balancer"] else { return .text("ok\n") }
        let loadBalancer = try await registry.loadBalancer(named: String(name))
        return loadBalancer.isAvailable
            ? .text("ok\n") : .text("unavailable: too few healthy targets\n", status: .serviceUnavailable)
    }

    private func flowCountMax(of request: Request) throws -> Int {
        guard let text = request.uri.queryParameters["limit"] else { return AdminLimits.flowCountDefault }
        guard let count = Int(text), (1...AdminLimits.flowCountMax).contains(count) else {
            throw RequestRefusal.invalid(
                "limit \"\(text)\" must be a number from 1 to \(AdminLimits.flowCountMax).")
        }
        return count
    }

    // MARK: Changing

    private func addChanges(to router: Router<AdminRequestContext>) {
        add(
            "/v1/target-groups/:name/targets",
            [
                .get: { _, context in
                    let group = try await registry.targetGroup(named: context.pathArgument("name"))
                    return try .json(TargetsResponse(targets: group.targets))
                },
                .post: { request, context in
                    let targets = try await targetsRequest(in: request)
                    return try .json(await registry.register(targets, in: context.pathArgument("name")))
                },
            ], to: router)
        add(
            "/v1/target-groups/:name/targets/deregister",
            [
                .post: { request, context in
                    let targets = try await targetsRequest(in: request)
                    return try .json(await registry.deregister(targets, in: context.pathArgument("name")))
                }
            ], to: router)
        add(
            "/v1/certificates/reload",
            [.post: { _, _ in try .json(await registry.reloadCertificates()) }], to: router)
        add(
            "/v1/apply",
            [
                .post: { request, _ in
                    try .json(await registry.apply(JSONBody.decode(ApplyRequest.self, from: request)))
                }
            ], to: router)
        guard let upgrade else { return }
        add(
            "/v1/upgrade",
            [
                .post: { request, _ in
                    try .json(await upgrade(JSONBody.decode(UpgradeRequest.self, from: request)))
                }
            ], to: router)
    }

    private func targetsRequest(in request: Request) async throws -> TargetsRequest {
        let targets = try await JSONBody.decode(TargetsRequest.self, from: request)
        guard (1...AdminLimits.targetsPerRequestMax).contains(targets.targets.count) else {
            throw RequestRefusal.invalid(
                "\(targets.targets.count) targets in one request; it takes from 1 to "
                    + "\(AdminLimits.targetsPerRequestMax). Split the list.")
        }
        return targets
    }

    // MARK: Listeners and rules

    private func addListeners(to router: Router<AdminRequestContext>) {
        add(
            "/v1/load-balancers/:name/listeners",
            [
                .get: { _, context in
                    try .json(await registry.loadBalancer(named: context.pathArgument("name")).listeners)
                },
                .post: { request, context in
                    let wanted = try await JSONBody.decode(ListenerRequest.self, from: request)
                    return try .json(await registry.createListener(wanted, of: context.pathArgument("name")))
                },
            ], to: router)
        add(
            "/v1/listeners/:id",
            [
                .get: { _, context in try .json(await registry.listener(context.pathArgument("id"))) },
                .patch: { request, context in
                    let wanted = try await JSONBody.decode(ListenerRequest.self, from: request)
                    return try .json(await registry.modifyListener(context.pathArgument("id"), wanted))
                },
                .delete: { _, context in
                    try .json(await registry.deleteListener(context.pathArgument("id")))
                },
            ], to: router)
        add(
            "/v1/listeners/:id/rules",
            [
                .get: { _, context in try .json(await registry.rules(of: context.pathArgument("id"))) },
                .post: { request, context in
                    let wanted = try await JSONBody.decode(RuleRequest.self, from: request)
                    return try .json(await registry.createRule(wanted, of: context.pathArgument("id")))
                },
            ], to: router)
        add(
            "/v1/listeners/:id/rules/:priority",
            [
                .get: { _, context in
                    try .json(
                        await registry.rule(
                            context.pathArgument("priority"), of: context.pathArgument("id")))
                },
                .patch: { request, context in
                    let wanted = try await JSONBody.decode(RuleRequest.self, from: request)
                    return try .json(
                        await registry.modifyRule(
                            context.pathArgument("priority"), wanted, of: context.pathArgument("id")))
                },
                .delete: { _, context in
                    try .json(
                        await registry.deleteRule(
                            context.pathArgument("priority"), of: context.pathArgument("id")))
                },
            ], to: router)
        add(
            "/v1/listeners/:id/rule-priorities",
            [
                .post: { request, context in
                    let wanted = try await JSONBody.decode(RulePrioritiesRequest.self, from: request)
                    return try .json(
                        await registry.setRulePriorities(wanted, of: context.pathArgument("id")))
                }
            ], to: router)
    }

    // MARK: Adding routes

    private func get(_ path: RouterPath, of router: Router<AdminRequestContext>, handler: @escaping Handler) {
        add(path, [.get: handler], to: router)
    }

    /// Adds a path; its other methods answer 405 with those it takes, where the router alone would say 404.
    private func add(
        _ path: RouterPath, _ handlers: [HTTPRequest.Method: Handler], to router: Router<AdminRequestContext>
    ) {
        for (method, handler) in handlers { router.on(path, method: method, use: handler) }
        let allowed = handlers.keys.map(\.rawValue).sorted()
        for method in RequestForm.knownMethods where handlers[method] == nil {
            // The router answers HEAD wherever there is a GET.
            if method == .head, handlers[.get] != nil { continue }
            router.on(path, method: method) { request, _ -> Response in
                throw RequestRefusal.methodNotAllowed(method, path: request.uri.path, allowed: allowed)
            }
        }
    }
}

extension AdminRequestContext {
    /// A variable part of the path, percent-decoded.
    func pathArgument(_ name: String) throws -> String {
        let raw = try parameters.require(name)
        guard let decoded = raw.removingPercentEncoding else {
            throw RequestRefusal.invalid("\"\(raw)\" in the path is not valid percent-encoding.")
        }
        return decoded
    }
}

extension Request {
    func queryArgument(_ name: String) throws -> String {
        guard let value = uri.queryParameters[name[...]], !value.isEmpty else {
            throw RequestRefusal.invalid(
                "The query argument \"\(name)\" is missing. Add ?\(name)=… to the address.")
        }
        return String(value)
    }
}
