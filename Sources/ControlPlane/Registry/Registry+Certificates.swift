// Certificates as the registry uses and shows them. Who reads them is behind `CertificateControl`.

import AdminModel
import Balancing
import Foundation

extension Registry {
    /// Below this many days to its end a certificate is a warning.
    static let certificateWarningDays = 30

    /// The certificates in use.
    package func certificates() async -> CertificatesResponse {
        CertificatesResponse(certificates: describeCertificates())
    }

    /// Reads all certificates, keys and lists again; each that is bad is refused, and its old one stays.
    package func reloadCertificates() async throws(ControlError) -> CertificatesReloadResponse {
        await takeTurn()
        defer { changes.finish() }
        guard let control = certificateControl else {
            return CertificatesReloadResponse(reloadedCount: 0, refused: [], certificates: [])
        }
        let outcome = await control.reload()
        logger.info(
            "certificates read again",
            metadata: ["reloaded": "\(outcome.reloadedCount)", "refused": "\(outcome.problems.count)"])
        for problem in outcome.problems {
            logger.error(
                "certificate refused, the old one stays",
                metadata: ["owner": "\(problem.owner)", "cause": "\(problem.message)"])
        }
        return CertificatesReloadResponse(
            reloadedCount: outcome.reloadedCount,
            refused: outcome.problems.map { "\($0.owner): \($0.message)" },
            certificates: describeCertificates())
    }

    /// Builds what `candidate` needs and the published state has not; nil when it needs nothing new.
    ///
    /// - Parameter configuration: Where a file's line is found, when a file brought the change.
    func prepareCertificates(
        for candidate: RegistryState, from configuration: Configuration?
    ) async throws(ControlError) -> CertificateTicket? {
        let demand = candidate.tlsDemand
        guard demand != installedDemand, let control = certificateControl else { return nil }
        do throws(CertificateProblems) {
            return try await control.prepare(demand)
        } catch {
            let lines = error.problems.map { problem in
                let place = problem.file.flatMap { file in
                    configuration?.fileLines[file].map { "\(configuration?.fileName ?? ""):\($0): " }
                }
                return "\(place ?? "")\(problem.owner): \(problem.message)"
            }
            throw ControlError(
                kind: .invalid, code: "InvalidConfigurationRequest",
                message: lines.count == 1
                    ? lines[0] : "\(lines.count) problems with certificates; nothing was changed",
                details: lines)
        }
    }

    /// One line for each certificate that ends soon, has ended or has not begun.
    func certificateWarnings() -> [String] {
        let now = clock.secondsSince1970()
        return (certificateControl?.certificates ?? []).compactMap { facts in
            let name = facts.names.first.map { " (\($0))" } ?? ""
            let subject = "\(facts.owner): certificate \(facts.file)\(name)"
            let nextStep = "Renew it, then run \"weir certificates reload\"."
            if now < Double(facts.notBefore) {
                return "\(subject) is not valid before \(Self.day(facts.notBefore)). "
                    + "Check it and this machine's clock."
            }
            let secondsLeft = Double(facts.notAfter) - now
            if secondsLeft < 0 { return "\(subject) expired on \(Self.day(facts.notAfter)). \(nextStep)" }
            let days = Int(secondsLeft / 86_400)
            guard days < Self.certificateWarningDays else { return nil }
            let left = days == 0 ? "within a day" : days == 1 ? "in 1 day" : "in \(days) days"
            return "\(subject) expires \(left), on \(Self.day(facts.notAfter)). \(nextStep)"
        }
    }

    func describeCertificates() -> [CertificateDescription] {
        (certificateControl?.certificates ?? []).map { facts in
            let (listener, group): (String?, String?) =
                switch facts.owner {
                case .listener(let id): (id.description, nil)
                case .targetGroup(let name), .healthCheck(let name): (nil, name)
                case .appliance: (nil, nil)
                }
            return CertificateDescription(
                usedBy: facts.owner.description, listener: listener, targetGroup: group, file: facts.file,
                subject: facts.subject, serial: facts.serial, names: facts.names, keyType: facts.keyType,
                notBefore: Double(facts.notBefore), notAfter: Double(facts.notAfter),
                isDefault: facts.isDefault)
        }
    }

    private static func day(_ secondsSince1970: Int64) -> String {
        Date(timeIntervalSince1970: Double(secondsSince1970)).formatted(.iso8601.year().month().day())
    }
}
