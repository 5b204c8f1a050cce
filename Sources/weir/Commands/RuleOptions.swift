// Conditions, actions and transforms as options of a command.

import AdminModel
import ArgumentParser

/// What is done with requests or flows; at most one of the three.
struct ActionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Forward to a target group; may be repeated, then by weight (0 to 999, otherwise 1).",
            valueName: "group[=weight]"))
    var forward: [String] = []

    @Option(
        help: ArgumentHelp(
            "With --forward: a client keeps its group for so long, 1 to 604800.", valueName: "seconds"))
    var stickiness: Int?

    @Option(
        help: ArgumentHelp(
            "Redirect to protocol://host:port/path?query, any part of which may be #{protocol}, #{host}, #{port}, "
                + "#{path} or #{query}; what is left out stays as the client asked.", valueName: "url"))
    var redirect: String?

    @Option(help: "With --redirect: 301 or 302.")
    var redirectStatus: Int = 302

    @Option(help: ArgumentHelp("Answer with a status code of 2XX, 4XX or 5XX.", valueName: "code"))
    var fixedResponse: String?

    @Option(help: "With --fixed-response: such as text/plain.")
    var contentType: String?

    @Option(help: ArgumentHelp("With --fixed-response: at most 1,024 bytes.", valueName: "text"))
    var messageBody: String?

    var isEmpty: Bool { forward.isEmpty && redirect == nil && fixedResponse == nil }

    func validate(isRequired: Bool) throws {
        let count = [!forward.isEmpty, redirect != nil, fixedResponse != nil].count { $0 }
        guard count <= 1 else {
            throw ValidationError("Give one of --forward, --redirect and --fixed-response.")
        }
        if isRequired, count == 0 {
            throw ValidationError("Say what to do: --forward GROUP, --redirect URL or --fixed-response CODE.")
        }
        if forward.isEmpty, stickiness != nil { throw ValidationError("--stickiness belongs to --forward.") }
        if fixedResponse == nil, contentType != nil || messageBody != nil {
            throw ValidationError("--content-type and --message-body belong to --fixed-response.")
        }
        _ = try groups
        _ = try redirectDescription
    }

    /// Nil when none is given. To be asked for after `validate`.
    var description: ActionDescription? {
        if let redirect = try? redirectDescription { return .redirect(redirect) }
        if let fixedResponse {
            return .fixedResponse(
                FixedResponseDescription(
                    statusCode: fixedResponse, contentType: contentType, messageBody: messageBody))
        }
        guard let groups = try? groups, !groups.isEmpty else { return nil }
        return .forward(
            groups, stickiness: stickiness.map { StickinessDescription(enabled: true, duration: $0) })
    }

    private var groups: [ForwardDescription] {
        get throws {
            try forward.map { text in
                let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else { return ForwardDescription(targetGroup: text, weight: 1) }
                guard let weight = Int(parts[1]) else {
                    throw ValidationError(
                        "--forward \(text): the weight must be a whole number from 0 to 999.")
                }
                return ForwardDescription(targetGroup: String(parts[0]), weight: weight)
            }
        }
    }

    private var redirectDescription: RedirectDescription? {
        get throws {
            guard let redirect else { return nil }
            guard let parsed = RedirectTemplate.parse(redirect, statusCode: redirectStatus) else {
                throw ValidationError(
                    "--redirect \(redirect): give protocol://host:port/path?query, such as "
                        + "\"https://#{host}:443/#{path}\".")
            }
            return parsed
        }
    }
}

/// A redirect in one text. What is left out is as ELBv2's default: as the client asked.
enum RedirectTemplate {
    static func parse(_ text: String, statusCode: Int) -> RedirectDescription? {
        var redirect = RedirectDescription(statusCode: "HTTP_\(statusCode)")
        var rest = text[...]
        if let scheme = rest.range(of: "://") {
            let name = rest[..<scheme.lowerBound]
            guard !name.isEmpty else { return nil }
            redirect.protocol = name == "#{protocol}" ? String(name) : name.uppercased()
            rest = rest[scheme.upperBound...]
            // The slash that begins the path; a placeholder has none.
            let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
            guard readAuthority(rest[..<end], into: &redirect) else { return nil }
            rest = rest[end...]
        }
        if let mark = rest.firstIndex(of: "?") {
            redirect.query = String(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        if !rest.isEmpty {
            guard rest.hasPrefix("/") else { return nil }
            redirect.path = String(rest)
        }
        return redirect
    }

    private static func readAuthority(_ text: Substring, into redirect: inout RedirectDescription) -> Bool {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        if !parts[0].isEmpty { redirect.host = String(parts[0]) }
        guard parts.count == 2 else { return true }
        redirect.port = String(parts[1])
        return !parts[1].isEmpty
    }
}

/// The conditions of a rule. Values of one option are alternatives; all options that are given must apply.
struct ConditionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The host, with * and ?; may be repeated.", valueName: "pattern"))
    var hostHeader: [String] = []

    @Option(help: ArgumentHelp("The host, as a regular expression.", valueName: "regex"))
    var hostHeaderRegex: [String] = []

    @Option(help: ArgumentHelp("The path, with * and ?; may be repeated.", valueName: "pattern"))
    var pathPattern: [String] = []

    @Option(help: ArgumentHelp("The path, as a regular expression.", valueName: "regex"))
    var pathPatternRegex: [String] = []

    @Option(
        help: ArgumentHelp(
            "A header and its value, with * and ?; values of the same name are alternatives.",
            valueName: "name:pattern"))
    var httpHeader: [String] = []

    @Option(help: ArgumentHelp("The same, as a regular expression.", valueName: "name:regex"))
    var httpHeaderRegex: [String] = []

    @Option(
        name: .customLong("http-request-method"),
        help: ArgumentHelp("The method, such as GET; may be repeated.", valueName: "method"))
    var methods: [String] = []

    @Option(
        help: ArgumentHelp(
            "An argument of the query, or a value under any key; may be repeated.", valueName: "[key=]pattern"
        ))
    var queryString: [String] = []

    @Option(help: ArgumentHelp("An address or range of clients; may be repeated.", valueName: "cidr"))
    var sourceIp: [String] = []

    @Option(help: ArgumentHelp("TCP listeners: the server name in the TLS greeting.", valueName: "name"))
    var tlsServerName: [String] = []

    @Option(help: ArgumentHelp("TCP listeners: a protocol that the client offers.", valueName: "protocol"))
    var tlsAlpn: [String] = []

    func validate() throws {
        _ = try descriptions
    }

    /// Nil when none is given.
    var descriptions: [ConditionDescription]? {
        get throws {
            var conditions: [ConditionDescription] = []
            func add(_ set: (inout ConditionDescription) -> Void) {
                var condition = ConditionDescription()
                set(&condition)
                conditions.append(condition)
            }
            if let values = Self.values(hostHeader, hostHeaderRegex) { add { $0.hostHeader = values } }
            if let values = Self.values(pathPattern, pathPatternRegex) { add { $0.pathPattern = values } }
            for header in try headers { add { $0.httpHeader = header } }
            if let values = Self.values(methods, []) { add { $0.httpRequestMethod = values } }
            if !queryString.isEmpty {
                let pairs = queryString.map { text in
                    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    return parts.count == 2
                        ? ConditionDescription.QueryValues.Pair(
                            key: String(parts[0]), value: String(parts[1]))
                        : ConditionDescription.QueryValues.Pair(key: nil, value: text)
                }
                add { $0.queryString = .init(values: pairs) }
            }
            if let values = Self.values(sourceIp, []) { add { $0.sourceIp = values } }
            if let values = Self.values(tlsServerName, []) { add { $0.tlsServerName = values } }
            if let values = Self.values(tlsAlpn, []) { add { $0.tlsAlpn = values } }
            return conditions.isEmpty ? nil : conditions
        }
    }

    private static func values(_ wildcards: [String], _ regexes: [String]) -> ConditionDescription.Values? {
        guard !wildcards.isEmpty || !regexes.isEmpty else { return nil }
        return .init(
            values: wildcards.isEmpty ? nil : wildcards, regexValues: regexes.isEmpty ? nil : regexes)
    }

    /// One condition for each name, in the order in which the names first stand.
    private var headers: [ConditionDescription.HeaderValues] {
        get throws {
            var headers: [ConditionDescription.HeaderValues] = []
            for (texts, isRegex) in [(httpHeader, false), (httpHeaderRegex, true)] {
                for text in texts {
                    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                    guard parts.count == 2, !parts[0].isEmpty else {
                        throw ValidationError("header \(text): give NAME:VALUE.")
                    }
                    let name = String(parts[0])
                    let value = String(parts[1].drop { $0 == " " })
                    let index = headers.firstIndex { $0.httpHeaderName.lowercased() == name.lowercased() }
                    if index == nil { headers.append(.init(httpHeaderName: name)) }
                    let place = index ?? headers.count - 1
                    if isRegex {
                        headers[place].regexValues = (headers[place].regexValues ?? []) + [value]
                    } else {
                        headers[place].values = (headers[place].values ?? []) + [value]
                    }
                }
            }
            return headers
        }
    }
}

/// What a rule changes in a request before it is forwarded.
struct TransformOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Rewrite what this matches in the path and query.", valueName: "regex"))
    var urlRewrite: String?

    @Option(
        help: ArgumentHelp(
            "With --url-rewrite: what takes its place; $1 is the first group.", valueName: "text"))
    var urlReplace: String?

    @Option(help: ArgumentHelp("Rewrite what this matches in the host.", valueName: "regex"))
    var hostRewrite: String?

    @Option(help: ArgumentHelp("With --host-rewrite: what takes its place.", valueName: "text"))
    var hostReplace: String?

    func validate() throws {
        guard (urlRewrite == nil) == (urlReplace == nil) else {
            throw ValidationError("--url-rewrite and --url-replace belong together.")
        }
        guard (hostRewrite == nil) == (hostReplace == nil) else {
            throw ValidationError("--host-rewrite and --host-replace belong together.")
        }
    }

    /// Nil when none is given.
    var descriptions: [TransformDescription]? {
        var transforms: [TransformDescription] = []
        if let regex = hostRewrite, let replace = hostReplace {
            transforms.append(
                TransformDescription(
                    hostHeaderRewrite: .init(rewrites: [.init(regex: regex, replace: replace)])))
        }
        if let regex = urlRewrite, let replace = urlReplace {
            transforms.append(
                TransformDescription(urlRewrite: .init(rewrites: [.init(regex: regex, replace: replace)])))
        }
        return transforms.isEmpty ? nil : transforms
    }
}
