// The options of every command that talks to the appliance.

import AdminModel
import ArgumentParser
import Foundation

struct ClientOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The appliance: HOST:PORT, [IPV6]:PORT or unix:/path. "
                + "Otherwise WEIR_ADMIN, otherwise \(AdminAddress.standard).",
            valueName: "address"),
        transform: parseAddress)
    var admin: AdminAddress?

    @Option(
        help: ArgumentHelp(
            "A file that holds the appliance's token. Otherwise WEIR_TOKEN_FILE.", valueName: "file"),
        completion: .file())
    var tokenFile: String?

    @Option(name: .shortAndLong, help: "How to show the answer.")
    var output: OutputFormat = .table

    /// The address and token, from the options or the environment.
    func makeClient(
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws -> AdminClient {
        var address = admin
        if address == nil, let text = environment["WEIR_ADMIN"], !text.isEmpty {
            do {
                address = try AdminAddress(parsing: text)
            } catch {
                throw ValidationError("WEIR_ADMIN: \(error)")
            }
        }
        let file = tokenFile ?? environment["WEIR_TOKEN_FILE"].flatMap { $0.isEmpty ? nil : $0 }
        return AdminClient(address: address ?? .standard, token: try file.map(Self.readToken))
    }

    static func parseAddress(_ text: String) throws -> AdminAddress {
        do {
            return try AdminAddress(parsing: text)
        } catch {
            throw ValidationError("\(error)")
        }
    }

    private static func readToken(file: String) throws -> String {
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw CommandFailure(message: "cannot read the token file \(file): \(FileText.cause(of: error)).")
        }
        let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        // A line break inside would end the header field early.
        guard !token.isEmpty, !token.contains(where: \.isNewline) else {
            throw CommandFailure(message: "the token file \(file) must hold one line with the token.")
        }
        return token
    }
}
