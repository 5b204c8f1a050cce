// What `weir certificates` and `weir ssl-policies` show: pure functions from the model to text.

import AdminModel
import Foundation

enum CertificatePages {
    /// From here on an end is coloured; the appliance warns in `weir status` as well.
    private static let warningDays = 30.0
    private static let secondsPerDay = 86_400.0

    static func certificates(
        _ certificates: [CertificateDescription], nowSeconds now: Double, _ style: Style
    ) -> String {
        guard !certificates.isEmpty else { return "There are no certificates in use.\n" }
        var table = TextTable(
            .init("USED BY"), .init("NAMES"), .init("KEY"), .init("EXPIRES IN", .right), .init("EXPIRES"),
            .init("NOTE"), .init("FILE"))
        for certificate in certificates {
            let shown = certificate.names.prefix(3).joined(separator: ", ")
            let more = certificate.names.count > 3 ? " and \(certificate.names.count - 3) more" : ""
            table.add(
                .init(certificate.listener ?? certificate.usedBy, .bold),
                .init(certificate.names.isEmpty ? certificate.subject : shown + more),
                .init(certificate.keyType), timeLeft(of: certificate, now),
                .init(day(certificate.notAfter)), note(on: certificate, now), .init(certificate.file))
        }
        return table.render(style)
    }

    private static func timeLeft(of certificate: CertificateDescription, _ now: Double) -> TextTable.Cell {
        let seconds = certificate.notAfter - now
        if seconds < 0 { return .init("expired", .red) }
        let text = HumanText.duration(seconds: seconds)
        return .init(text, seconds < warningDays * secondsPerDay ? .yellow : nil)
    }

    private static func note(on certificate: CertificateDescription, _ now: Double) -> TextTable.Cell {
        if certificate.notBefore > now { return .init("not valid yet", .red) }
        return certificate.isDefault ? .init("default", .dim) : ""
    }

    static func reload(
        _ response: CertificatesReloadResponse, nowSeconds now: Double, _ style: Style
    ) -> String {
        let count = HumanText.counted(
            response.reloadedCount, "listener or group", plural: "listeners and groups")
        return certificates(response.certificates, nowSeconds: now, style)
            + "\n\(count) now \(response.reloadedCount == 1 ? "uses" : "use") what was read.\n"
    }

    // MARK: Security policies

    static func policies(_ policies: [SSLPoliciesCommand.Policy], _ style: Style) -> String {
        var table = TextTable(
            .init("POLICY"), .init("PROTOCOLS"), .init("CIPHERS", .right), .init("NOTE"))
        for policy in policies {
            table.add(
                .init(policy.name, policy.isDefault ? .bold : nil),
                .init(policy.sslProtocols.joined(separator: ", ")), .init("\(policy.ciphers.count)"),
                .init(policy.isDefault ? "default" : "", .dim))
        }
        return table.render(style)
            + "\n\"weir ssl-policies NAME\" lists the ciphers of one; --output json those of all.\n"
    }

    static func policy(_ policy: SSLPoliciesCommand.Policy, _ style: Style) -> String {
        let lines = policy.ciphers.map { "  \($0)\n" }.joined()
        return style.paint(policy.name, .bold) + (policy.isDefault ? " (default)" : "") + "\n"
            + "  \(policy.sslProtocols.joined(separator: ", "))\n\n"
            + style.paint("CIPHERS", .bold) + "\n" + lines
    }

    // MARK: Words

    private static func day(_ secondsSince1970: Double) -> String {
        Date(timeIntervalSince1970: secondsSince1970).formatted(.iso8601.year().month().day())
    }
}
