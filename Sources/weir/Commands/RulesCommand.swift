// `weir rules`: which request or flow a listener sends where.

import AdminModel
import ArgumentParser

struct RulesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rules",
        abstract: "List, show, create, modify, delete and reorder the rules of a listener.",
        discussion: """
            The rule of the lowest priority number whose every condition applies is taken; with none, the default \
            action. "weir explain" tells which one a request would take.
            """,
        subcommands: [
            List.self, Show.self, Create.self, Modify.self, Delete.self, SetPriorities.self,
        ]
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the rules of a listener.")

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let response = try await options.makeClient().rules(of: listener)
            try options.output.show(response) { Tables.rules(response.rules, $0) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one rule with all its values.")

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @Argument(help: "The rule's priority, or \"default\".")
        var priority: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let rule = try await options.makeClient().rule(priority, of: listener)
            try options.output.show(rule) { DetailPages.rule(rule, $0) }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a rule to a listener.",
            discussion: "Returns when the rule is kept and every worker follows it."
        )

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @Option(help: "1 to 50000, unique in the listener; the lowest comes first.")
        var priority: Int

        @OptionGroup(title: "Conditions")
        var conditions: ConditionOptions

        @OptionGroup(title: "Action")
        var action: ActionOptions

        @OptionGroup(title: "Transforms")
        var transforms: TransformOptions

        @OptionGroup var options: ClientOptions

        func validate() throws {
            guard try conditions.descriptions != nil else {
                throw ValidationError(
                    "Say which requests the rule takes, such as --path-pattern \"/img/*\". What no rule takes goes to "
                        + "the default action.")
            }
            try action.validate(isRequired: true)
            try transforms.validate()
        }

        func run() async throws {
            let request = RuleRequest(
                priority: priority, conditions: try conditions.descriptions, action: action.description,
                transforms: transforms.descriptions)
            let rule = try await options.makeClient().createRule(request, of: listener)
            try options.output.show(rule) { Tables.rules([rule], $0) }
        }
    }

    struct Modify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a rule; what is not named stays as it is.",
            discussion: """
                With any condition, the new conditions take the place of all the old ones. Requests that the rule \
                has taken already go on.
                """
        )

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @Argument(help: "The rule's priority, or \"default\" for the default action.")
        var priority: String

        @OptionGroup(title: "Conditions")
        var conditions: ConditionOptions

        @OptionGroup(title: "Action")
        var action: ActionOptions

        @OptionGroup(title: "Transforms")
        var transforms: TransformOptions

        @Flag(help: "Take all transforms away.")
        var withoutTransforms = false

        @OptionGroup var options: ClientOptions

        func validate() throws {
            let hasConditions = try conditions.descriptions != nil
            try action.validate(isRequired: false)
            try transforms.validate()
            if withoutTransforms, transforms.descriptions != nil {
                throw ValidationError("--without-transforms contradicts the transforms beside it.")
            }
            let isEmpty =
                !hasConditions && action.isEmpty && transforms.descriptions == nil && !withoutTransforms
            if isEmpty {
                throw ValidationError("Nothing to change. Name conditions, an action or transforms.")
            }
        }

        func run() async throws {
            let request = RuleRequest(
                conditions: try conditions.descriptions, action: action.description,
                transforms: withoutTransforms ? [] : transforms.descriptions)
            let rule = try await options.makeClient().modifyRule(priority, request, of: listener)
            try options.output.show(rule) { Tables.rules([rule], $0) }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a rule, and show those that are left.")

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @Argument(help: "The rule's priority.")
        var priority: String

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let response = try await options.makeClient().deleteRule(priority, of: listener)
            try options.output.show(response) { Tables.rules(response.rules, $0) }
        }
    }

    struct SetPriorities: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set-priorities",
            abstract: "Give rules other priorities, all at once.",
            discussion:
                "All or none: \"weir rules set-priorities edge:80 10=20 20=10\" changes two rules' places."
        )

        @Argument(help: "The listener, as LOAD_BALANCER:PORT.")
        var listener: String

        @Argument(
            help: ArgumentHelp("A rule's priority and its new one.", valueName: "old=new"),
            transform: SetPriorities.parse)
        var priorities: [RulePrioritiesRequest.Change]

        @OptionGroup var options: ClientOptions

        func run() async throws {
            let request = RulePrioritiesRequest(priorities: priorities)
            let response = try await options.makeClient().setRulePriorities(request, of: listener)
            try options.output.show(response) { Tables.rules(response.rules, $0) }
        }

        static func parse(_ text: String) throws -> RulePrioritiesRequest.Change {
            let parts = text.split(separator: "=", omittingEmptySubsequences: false).map { Int($0) }
            guard parts.count == 2, let old = parts[0], let new = parts[1] else {
                throw ValidationError("\"\(text)\" must be OLD=NEW, such as 10=20.")
            }
            return RulePrioritiesRequest.Change(priority: old, newPriority: new)
        }
    }
}
