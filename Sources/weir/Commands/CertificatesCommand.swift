// `weir certificates`: those in use and when they end; `reload` reads their files again.

import AdminModel
import ArgumentParser
import Foundation

struct CertificatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates",
        abstract: "List the certificates in use, or read their files again.",
        subcommands: [List.self, Reload.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the certificates in use: by whom, for which names, until when.")

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let response = try await options.makeClient().certificates()
            try options.output.show(response.certificates) {
                CertificatePages.certificates(response.certificates, nowSeconds: Date.nowSeconds, $0)
            }
        }
    }

    struct Reload: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read all certificates, keys, CA bundles and revocation lists again.",
            discussion: """
                New connections get the new ones, live ones are not touched. A bad file is refused, and what \
                was read before stays in use; then the exit status is 1.
                """)

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let response = try await options.makeClient().reloadCertificates()
            try options.output.show(response) {
                CertificatePages.reload(response, nowSeconds: Date.nowSeconds, $0)
            }
            guard response.refused.isEmpty else {
                let count = HumanText.counted(response.refused.count, "problem")
                throw CommandFailure(
                    message: "\(count); what was in use before stays in use.", details: response.refused)
            }
        }
    }
}
