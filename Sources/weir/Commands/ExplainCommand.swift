// `weir explain`: where a flow would go, and why.

import AdminModel
import ArgumentParser

struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Tell where a client's flow or request would go, and why, step by step.",
        discussion: "Computed from what the workers route by at this moment; nothing is sent."
    )

    @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
    var listener: String

    @Argument(help: "The client, as ADDRESS or ADDRESS:PORT; an IPv6 address with a port as [IPV6]:PORT.")
    var client: String

    @Option(
        help: "HTTP and HTTPS listeners: the host that the request asks for. Otherwise the listen address.")
    var host: String?

    @Option(help: "HTTP and HTTPS listeners: the path, with or without a query. Otherwise \"/\".")
    var path: String?

    @Option(help: "HTTP and HTTPS listeners: the request method. Otherwise GET.")
    var method: String?

    @Option(help: "HTTP and HTTPS listeners: the query, without its question mark.")
    var query: String?

    @Option(
        name: .customLong("header"),
        help: ArgumentHelp("HTTP and HTTPS listeners: a header; may be repeated.", valueName: "name:value"))
    var headers: [String] = []

    @Option(help: "TCP listeners with rules: the server name in the client's TLS greeting.")
    var serverName: String?

    @Option(help: "TCP listeners with rules: a protocol that the client offers, such as h2; may be repeated.")
    var alpn: [String] = []

    @OptionGroup var options: ClientOptions

    func run() async throws {
        var request = ExplainRequest(listener: listener, client: client)
        request.host = host
        request.path = path
        request.method = method
        request.query = query
        request.headers = headers
        request.serverName = serverName
        request.alpn = alpn
        let answer = try await options.makeClient().explain(request)
        try options.output.show(answer) { DetailPages.explanation(answer, $0) }
    }
}
