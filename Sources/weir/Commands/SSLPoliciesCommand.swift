// `weir ssl-policies`: the security policies of this executable; asks no appliance.

import ArgumentParser
import Balancing

struct SSLPoliciesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssl-policies",
        abstract: "List the security policies for TLS listeners: protocols and ciphers.",
        discussion: "The names and lists are those of Elastic Load Balancing. No appliance is needed."
    )

    /// The shape of ELBv2's DescribeSSLPolicies, in this command line's spelling.
    struct Policy: Encodable, Equatable {
        let name: String
        let isDefault: Bool
        let sslProtocols: [String]
        /// Best first, in OpenSSL's spelling.
        let ciphers: [String]

        init(_ policy: SecurityPolicy) {
            name = policy.name
            isDefault = policy == .default
            sslProtocols = TLSVersion.allCases.filter(policy.versions.contains).map(\.name)
            ciphers = policy.ciphers
        }
    }

    @Argument(help: "Show only this policy, and its ciphers one by one.")
    var name: String?

    @Option(name: .shortAndLong, help: "How to show the answer.")
    var output: OutputFormat = .table

    func run() async throws {
        if let name {
            let policy = Policy(try Self.policy(named: name))
            try output.show(policy) { CertificatePages.policy(policy, $0) }
        } else {
            let policies = SecurityPolicy.all.map(Policy.init)
            try output.show(policies) { CertificatePages.policies(policies, $0) }
        }
    }

    static func policy(named name: String) throws(CommandFailure) -> SecurityPolicy {
        guard let policy = SecurityPolicy.named(name) else {
            throw CommandFailure(
                message: "\"\(name)\" is no security policy. \"weir ssl-policies\" lists them.")
        }
        return policy
    }
}
