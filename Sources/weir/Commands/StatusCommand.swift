// `weir status`: one page about everything.

import AdminModel
import ArgumentParser
import Foundation

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "One page: load balancers, listeners, target groups, what is not healthy."
    )

    @OptionGroup var options: ClientOptions

    func run() async throws {
        let report = try await options.makeClient().status()
        try options.output.show(report) { StatusPage.render(report, nowSeconds: Date.nowSeconds, $0) }
    }
}
