// `weir explain`: where a flow would go, and why.

import AdminModel
import ArgumentParser

struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Tell where a client's flow would go, and why, step by step.",
        discussion: "Computed from what the workers route by at this moment; nothing is sent."
    )

    @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
    var listener: String

    @Argument(help: "The client, as ADDRESS or ADDRESS:PORT; an IPv6 address with a port as [IPV6]:PORT.")
    var client: String

    @OptionGroup var options: ClientOptions

    func run() async throws {
        let answer = try await options.makeClient().explain(listener: listener, client: client)
        try options.output.show(answer) { DetailPages.explanation(answer, $0) }
    }
}
