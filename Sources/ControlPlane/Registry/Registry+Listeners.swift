// Listeners, created, changed and deleted one by one.

import AdminModel
import Balancing
import HTTPCore

extension Registry {
    /// The listener has the rules that later requests give it, and none yet.
    package func createListener(
        _ request: ListenerRequest, of loadBalancer: String
    ) async throws(ControlError) -> ListenerDescription {
        await takeTurn()
        defer { changes.finish() }
        try refuseChanges()
        var candidate = state
        let position = try position(ofLoadBalancer: loadBalancer)
        let listener = try ConfigurationReader.listener(request, of: candidate.loadBalancers[position])
        try Self.refuseTaken(listener.port, of: candidate.loadBalancers[position])
        candidate.loadBalancers[position].listeners.append(listener)
        try await commit(numbered: candidate)
        return try await self.listener("\(loadBalancer):\(listener.port)")
    }

    /// What the request does not name stays as it is, and so do live flows.
    ///
    /// With another port the listener has another name, and its counters begin anew.
    package func modifyListener(
        _ text: String, _ request: ListenerRequest
    ) async throws(ControlError) -> ListenerDescription {
        let id = try await changeListener(text) { (listener, id) throws(ControlError) in
            let before = listener
            var changed = try ConfigurationReader.listener(
                ListenerRequest(before).merged(with: request),
                of: LoadBalancer(name: id.loadBalancer, kind: before.protocol.kind, addresses: []))
            changed.rules = before.rules
            changed.applicationRules = before.applicationRules
            listener = changed
            try Self.refuseMisfits(of: changed, id: id)
        }
        return try await listener(id.description)
    }

    /// Live flows go on; what waits in the accept queue is taken first.
    package func deleteListener(_ text: String) async throws(ControlError) -> ListenerDescription {
        await takeTurn()
        defer { changes.finish() }
        try refuseChanges()
        let (loadBalancer, listener) = try findListener(text)
        let description = describe(listener, of: loadBalancer, allCounters())
        var candidate = state
        let position = try position(ofLoadBalancer: loadBalancer.name)
        candidate.loadBalancers[position].listeners.removeAll { $0.port == listener.port }
        try await commit(numbered: candidate)
        return description
    }

    // MARK: Changing one

    /// Changes a listener and returns its name, which may be another one then.
    func changeListener(
        _ text: String, _ change: (inout Listener, ListenerID) throws(ControlError) -> Void
    ) async throws(ControlError) -> ListenerID {
        await takeTurn()
        defer { changes.finish() }
        try refuseChanges()
        let (loadBalancer, before) = try findListener(text)
        var listener = before
        try change(&listener, ListenerID(loadBalancer: loadBalancer.name, port: before.port))
        let id = ListenerID(loadBalancer: loadBalancer.name, port: listener.port)
        guard listener != before else { return id }
        var candidate = state
        let position = try position(ofLoadBalancer: loadBalancer.name)
        guard let index = loadBalancer.listeners.firstIndex(where: { $0.port == before.port }) else {
            return id
        }
        if listener.port != before.port { try Self.refuseTaken(listener.port, of: loadBalancer) }
        candidate.loadBalancers[position].listeners[index] = listener
        try await commit(numbered: candidate)
        return id
    }

    /// Refuses what cannot be changed any more, or not now.
    func refuseChanges() throws(ControlError) {
        try refuseDuringUpgrade()
        guard !isDraining else {
            throw ControlError(
                kind: .conflict, code: "OperationNotPermitted",
                message: "the appliance is draining and about to end. Repeat the command with its successor.")
        }
    }

    private func commit(numbered candidate: RegistryState) async throws(ControlError) {
        var candidate = candidate
        try candidate.numberListeners(at: clock.now())
        try candidate.validate(with: features)
        try await commit(candidate)
    }

    private func position(ofLoadBalancer name: String) throws(ControlError) -> Int {
        if let position = state.loadBalancers.firstIndex(where: { $0.name == name }) { return position }
        throw loadBalancerNotFound(name)
    }

    private static func refuseTaken(_ port: UInt16, of loadBalancer: LoadBalancer) throws(ControlError) {
        guard loadBalancer.listeners.contains(where: { $0.port == port }) else { return }
        throw ControlError(
            kind: .conflict, code: "DuplicateListener",
            message:
                "listener \(loadBalancer.name):\(port) exists already. Choose another port, or modify that "
                + "listener.")
    }

    /// Rules that a listener of another protocol or port cannot keep.
    private static func refuseMisfits(of listener: Listener, id: ListenerID) throws(ControlError) {
        if !listener.rules.isEmpty, listener.protocol != .tcp {
            throw ControlError(
                kind: .conflict, code: "OperationNotPermitted",
                message:
                    "listener \(id) has rules by the TLS greeting, which a \(listener.protocol.rawValue) listener "
                    + "cannot follow. Delete them first.")
        }
        let place = RedirectWriter.Context(isSecure: listener.protocol == .https, port: listener.port)
        for rule in listener.applicationRules {
            guard let fault = RuleFault.check(rule, listener: place).first else { continue }
            throw ControlError(
                kind: .conflict, code: "OperationNotPermitted",
                message: "listener \(id): rule \(rule.priority): \(fault.message)")
        }
    }
}
