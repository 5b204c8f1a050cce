// `weir load-balancers` and `target-groups`: list and show.

import AdminModel
import ArgumentParser
import Foundation

struct LoadBalancersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load-balancers",
        abstract: "List load balancers, or show one.",
        subcommands: [List.self, Show.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List all load balancers.")

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let loadBalancers = try await options.makeClient().loadBalancers()
            try options.output.show(loadBalancers) { Tables.loadBalancers(loadBalancers, $0) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one load balancer, its listeners and attributes.")

        @Argument(help: "The load balancer's name.")
        var name: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let loadBalancer = try await options.makeClient().loadBalancer(named: name)
            try options.output.show(loadBalancer) { DetailPages.loadBalancer(loadBalancer, $0) }
        }
    }
}

struct TargetGroupsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "target-groups",
        abstract: "List target groups, or show one.",
        subcommands: [List.self, Show.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List all target groups.")

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let groups = try await options.makeClient().targetGroups()
            try options.output.show(groups) { Tables.targetGroups(groups, $0) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one target group: targets, health check, attributes.")

        @Argument(help: "The target group's name.")
        var group: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let description = try await options.makeClient().targetGroup(named: group)
            try options.output.show(description) {
                DetailPages.targetGroup(description, nowSeconds: Date.nowSeconds, $0)
            }
        }
    }
}
