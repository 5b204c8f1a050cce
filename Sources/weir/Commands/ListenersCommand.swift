// `weir listeners`: list, show, create, modify and delete.

import AdminModel
import ArgumentParser

struct ListenersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "listeners",
        abstract: "List, show, create, modify and delete listeners.",
        subcommands: [List.self, Show.self, Create.self, Modify.self, Delete.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the listeners of all load balancers.")

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let listeners = try await options.makeClient().listeners()
            try options.output.show(listeners) { Tables.listeners(listeners, $0) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one listener and its attributes.")

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let description = try await options.makeClient().listener(listener)
            try options.output.show(description) { DetailPages.listener(description, $0) }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a listener to a load balancer.",
            discussion: """
                Returns when its sockets are open, it is kept, and every worker serves it. A TLS or HTTPS listener \
                needs --certificate and --private-key, files on the machine of the appliance.
                """
        )

        @Argument(help: "The load balancer's name.")
        var loadBalancer: String

        @Option(help: "The port where clients arrive.")
        var port: Int

        @Option(name: .customLong("protocol"), help: "TCP, UDP, TCP_UDP or TLS; HTTP or HTTPS.")
        var trafficProtocol: String

        @OptionGroup(title: "Default action")
        var action: ActionOptions

        @OptionGroup(title: "TLS and attributes")
        var settings: ListenerOptions

        @OptionGroup var options: ClientOptions

        func validate() throws {
            try action.validate(isRequired: true)
            try settings.validate()
        }

        func run() async throws {
            var request = try settings.request
            request.port = port
            request.protocol = trafficProtocol
            request.defaultAction = action.description
            let client = try options.makeClient()
            let description = try await client.createListener(request, of: loadBalancer)
            try options.output.show(description) { DetailPages.listener(description, $0) }
        }
    }

    struct Modify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a listener; what is not named stays as it is.",
            discussion: """
                Live flows and requests go on as they began. With another port the listener has another name.
                """
        )

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @Option(help: "Another port.")
        var port: Int?

        @Option(name: .customLong("protocol"), help: "Another protocol of the same kind of load balancer.")
        var trafficProtocol: String?

        @OptionGroup(title: "Default action")
        var action: ActionOptions

        @OptionGroup(title: "TLS and attributes")
        var settings: ListenerOptions

        @OptionGroup var options: ClientOptions

        func validate() throws {
            try action.validate(isRequired: false)
            try settings.validate()
            guard port == nil, trafficProtocol == nil, action.isEmpty, settings.isEmpty else { return }
            throw ValidationError("Nothing to change. Name what is to be another, such as --forward GROUP.")
        }

        func run() async throws {
            var request = try settings.request
            request.port = port
            request.protocol = trafficProtocol
            request.defaultAction = action.description
            let description = try await options.makeClient().modifyListener(listener, request)
            try options.output.show(description) { DetailPages.listener(description, $0) }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a listener and its rules; live flows go on.")

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let description = try await options.makeClient().deleteListener(listener)
            try options.output.show(description) { _ in "Listener \(description.id) is deleted.\n" }
        }
    }
}

/// What listeners have beside their port, protocol and action.
struct ListenerOptions: ParsableArguments {
    @Option(help: "The security policy; \"weir ssl-policies\" lists them.")
    var sslPolicy: String?

    @Option(
        help: ArgumentHelp(
            "The PEM file of a certificate; may be repeated, the first is the default.", valueName: "file"))
    var certificate: [String] = []

    @Option(
        help: ArgumentHelp(
            "The PEM file of its key, one for each --certificate, in the same order.", valueName: "file"))
    var privateKey: [String] = []

    @Option(help: "TLS listeners: HTTP1Only, HTTP2Only, HTTP2Optional, HTTP2Preferred or None.")
    var alpnPolicy: String?

    @Option(
        name: .customLong("attribute"),
        help: ArgumentHelp("An attribute by its ELBv2 key; may be repeated.", valueName: "key=value"))
    var attributes: [String] = []

    func validate() throws {
        guard certificate.count == privateKey.count else {
            throw ValidationError(
                "Each --certificate needs its --private-key: \(certificate.count) and \(privateKey.count) are given."
            )
        }
        _ = try attributeValues
    }

    var isEmpty: Bool {
        sslPolicy == nil && certificate.isEmpty && alpnPolicy == nil && attributes.isEmpty
    }

    private var attributeValues: [String: String]? {
        get throws {
            guard !attributes.isEmpty else { return nil }
            var values: [String: String] = [:]
            for text in attributes {
                let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2, !parts[0].isEmpty else {
                    throw ValidationError("--attribute \(text): give KEY=VALUE.")
                }
                values[String(parts[0])] = String(parts[1])
            }
            return values
        }
    }

    var request: ListenerRequest {
        get throws {
            var request = ListenerRequest()
            request.sslPolicy = sslPolicy
            request.alpnPolicy = alpnPolicy
            request.attributes = try attributeValues
            guard !certificate.isEmpty else { return request }
            request.certificates = zip(certificate, privateKey).map {
                CertificateSpecification(certificate: $0, privateKey: $1)
            }
            return request
        }
    }
}
