// Applying a configuration: at start, by `weir apply`, and on SIGHUP.

import AdminModel
import Balancing

extension Registry {
    package func apply(_ request: ApplyRequest) async throws(ControlError) -> ApplyResponse {
        try await apply(
            request.configuration, fileName: "configuration", prune: request.prune, isDryRun: request.dryRun)
    }

    /// Reads the configuration and all certificates again, as SIGHUP asks: nothing is removed that the file does
    /// not name. A bad certificate is a warning: the old one stays.
    ///
    /// - Parameter fileName: Stands before the line number in errors.
    package func reload(_ configuration: String, fileName: String) async throws(ControlError) -> ApplyResponse
    {
        let response = try await apply(configuration, fileName: fileName, prune: false, isDryRun: false)
        logger.info("configuration read again", metadata: ["changes": "\(response.changes.count)"])
        let certificates = try await reloadCertificates()
        return ApplyResponse(
            changes: response.changes, isApplied: response.isApplied,
            warnings: response.warnings + certificates.refused)
    }

    private func apply(
        _ text: String, fileName: String, prune: Bool, isDryRun: Bool
    ) async throws(ControlError) -> ApplyResponse {
        let configuration = try Self.parse(text, fileName: fileName)
        await takeTurn()
        defer { changes.finish() }
        if !isDryRun { try refuseDuringUpgrade() }
        guard !isDraining || isDryRun else {
            throw ControlError(
                kind: .conflict, code: "OperationNotPermitted",
                message: "the appliance is draining and about to end. Apply the configuration to its "
                    + "successor.")
        }
        var candidate = state
        let differences = try candidate.merge(
            configuration, prune: prune, at: clock.now(), secondsSince1970: clock.secondsSince1970())
        try candidate.validate(with: features)
        let warnings = settingsWarnings(configuration)
        guard !isDryRun else {
            // A certificate that would be refused is found out now, and nothing of it is kept.
            if let contexts = try await prepareCertificates(for: candidate, from: configuration) {
                certificateControl?.abandon(contexts)
            }
            return ApplyResponse(changes: differences, isApplied: false, warnings: warnings)
        }
        if !differences.isEmpty { try await commit(candidate, from: configuration) }
        return ApplyResponse(changes: differences, isApplied: true, warnings: warnings)
    }

    private static func parse(_ text: String, fileName: String) throws(ControlError) -> Configuration {
        do throws(ConfigurationErrors) {
            return try Configuration.parse(text, fileName: fileName)
        } catch {
            let lines = error.errors.map(\.description)
            throw ControlError(
                kind: .invalid, code: "ValidationError",
                message: lines.count == 1
                    ? lines[0] : "the configuration has \(lines.count) errors; nothing was changed",
                details: lines)
        }
    }

    /// One line for each setting of the file that differs from the running one: they take effect at start.
    private func settingsWarnings(_ configuration: Configuration) -> [String] {
        let running = Dictionary(
            settings.values.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        return configuration.settings.values.compactMap { key, value in
            guard configuration.namedSettings.contains(key), let old = running[key], old != value else {
                return nil
            }
            return "\(key) is \(value) in the file, but \(old) here; it takes effect at the next start."
        }
    }
}
