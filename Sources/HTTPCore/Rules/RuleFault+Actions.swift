// What may stand in redirects, fixed responses and transforms.

import Balancing

extension RuleFault {
    private static let rewriteLengthMax = 1_024
    private static let bodyByteCountMax = 1_024
    private static let contentTypes = [
        "text/plain", "text/css", "text/html", "application/javascript", "application/json",
    ]

    // MARK: Redirects

    static func checkRedirect(_ action: RedirectAction, listener: RedirectWriter.Context?) -> [String] {
        var messages: [String] = []
        if ![301, 302].contains(action.statusCode) {
            messages.append("redirect status_code \(action.statusCode) is neither 301 nor 302; choose one.")
        }
        if !["HTTP", "HTTPS", "#{protocol}"].contains(action.protocol) {
            messages.append(
                "redirect protocol \"\(action.protocol)\" is none of HTTP, HTTPS and #{protocol}; choose one."
            )
        }
        if action.protocol == "HTTP", listener?.isSecure ?? false {
            messages.append(
                "redirect protocol HTTP would lead from HTTPS to plain text; use HTTPS or #{protocol}.")
        }
        let number = UInt16(action.port)
        if action.port != "#{port}", number ?? 0 == 0 || String(number ?? 0) != action.port {
            messages.append("redirect port \"\(action.port)\" is neither 1 to 65535 nor #{port}; choose one.")
        }
        messages += checkTemplate(action.host, "host", allowed: [.host], lengthMin: 1)
        messages += checkTemplate(action.path, "path", allowed: [.host, .path, .port], lengthMin: 1)
        messages += checkTemplate(
            action.query, "query", allowed: RedirectWriter.Placeholder.allCases, lengthMin: 0)
        if !action.path.isEmpty, !action.path.hasPrefix("/") {
            messages.append("redirect path \"\(action.path)\" does not begin with a slash; write \"/…\".")
        }
        if action.query.hasPrefix("?") {
            messages.append(
                "redirect query \"\(action.query)\" begins with a question mark, which is added by itself; "
                    + "remove it.")
        }
        if let wrong = literal(of: action.host).unicodeScalars.first(where: {
            !$0.isASCII || !HostSyntax.isNameByte(UInt8($0.value))
        }) {
            messages.append(
                "redirect host \"\(action.host)\" has \(named(wrong)), which no host name has; use letters, "
                    + "digits, - _ and a dot, and set a port as port.")
        }
        if leadsBack(action, listener) {
            messages.append(
                "the redirect leads back to where the request came from; change protocol, host, port or path."
            )
        }
        return messages
    }

    private static func leadsBack(_ action: RedirectAction, _ listener: RedirectWriter.Context?) -> Bool {
        var keepsProtocol = action.protocol == "#{protocol}"
        var keepsPort = action.port == "#{port}"
        if let listener {
            if action.protocol == (listener.isSecure ? "HTTPS" : "HTTP") { keepsProtocol = true }
            if action.port == String(listener.port) { keepsPort = true }
        }
        return keepsProtocol && keepsPort && action.host == "#{host}" && action.path == "/#{path}"
    }

    private static func checkTemplate(
        _ text: String, _ name: String, allowed: [RedirectWriter.Placeholder], lengthMin: Int
    ) -> [String] {
        let length = text.utf8.count
        guard (lengthMin...textLengthMax).contains(length) else {
            return [
                "redirect \(name) \"\(text)\" is \(length) characters long; it may have \(lengthMin) to "
                    + "\(textLengthMax)."
            ]
        }
        var messages: [String] = []
        for placeholder in RedirectWriter.Placeholder.allCases
        where !allowed.contains(placeholder) && text.contains(placeholder.rawValue) {
            let names = allowed.map(\.rawValue).joined(separator: ", ")
            messages.append(
                "redirect \(name) \"\(text)\" has \(placeholder.rawValue), which means nothing there; it may have "
                    + "\(names).")
        }
        let literal = literal(of: text)
        if literal.contains("#") {
            messages.append(
                "redirect \(name) \"\(text)\" has a \"#\" that begins no placeholder; use #{protocol}, #{host}, "
                    + "#{port}, #{path} or #{query}, or write %23.")
        } else if let wrong = literal.unicodeScalars.first(where: { !(0x21...0x7E).contains($0.value) }) {
            messages.append(
                "redirect \(name) \"\(text)\" has \(named(wrong)); use visible ASCII characters, others "
                    + "percent-encoded.")
        }
        return messages
    }

    /// The text without its placeholders.
    private static func literal(of text: String) -> String {
        let bytes = Array(text.utf8)
        var rest: [UInt8] = []
        var position = 0
        while position < bytes.count {
            if let placeholder = RedirectWriter.Placeholder(in: bytes.span, at: position) {
                position += placeholder.byteCount
            } else {
                rest.append(bytes[position])
                position += 1
            }
        }
        return String(decoding: rest, as: UTF8.self)
    }

    // MARK: Fixed responses

    static func checkFixedResponse(_ response: FixedResponse) -> [String] {
        var messages: [String] = []
        if ![2, 4, 5].contains(response.statusCode / 100) {
            messages.append(
                "fixed_response status_code \(response.statusCode) is none of 200–299 and 400–599; choose one."
            )
        }
        if !response.contentType.isEmpty, !contentTypes.contains(response.contentType) {
            messages.append(
                "fixed_response content_type \"\(response.contentType)\" is none of "
                    + "\(contentTypes.joined(separator: ", ")); choose one or leave it out.")
        }
        let byteCount = response.messageBody.utf8.count
        if byteCount > bodyByteCountMax {
            messages.append(
                "fixed_response message_body has \(byteCount) bytes, more than \(bodyByteCountMax); shorten it, "
                    + "or serve it from a target.")
        }
        return messages
    }

    // MARK: Transforms

    static func checkTransforms(_ transforms: [RuleTransform]) -> [RuleFault] {
        var faults: [RuleFault] = []
        var seen: Set<String> = []
        for (index, transform) in transforms.enumerated() {
            let kind: String
            let rewrite: Rewrite
            switch transform {
            case .hostHeaderRewrite(let value):
                kind = "host_header_rewrite"
                rewrite = value
            case .urlRewrite(let value):
                kind = "url_rewrite"
                rewrite = value
            }
            var messages = checkRewrite(rewrite, kind)
            if !seen.insert(kind).inserted {
                messages.append("\(kind) stands twice, and a rule may have one; make one of both.")
            }
            faults += messages.map { RuleFault(part: .transform(index), message: $0) }
        }
        return faults
    }

    private static func checkRewrite(_ rewrite: Rewrite, _ kind: String) -> [String] {
        var messages: [String] = []
        for (name, text) in [("regex", rewrite.regularExpression), ("replace", rewrite.replacement)]
        where text.utf8.count > rewriteLengthMax {
            messages.append(
                "\(kind) \(name) has \(text.utf8.count) characters, more than \(rewriteLengthMax); shorten it."
            )
        }
        guard messages.isEmpty else { return messages }
        if rewrite.regularExpression.isEmpty {
            return ["\(kind) has an empty regex; write ^ for the beginning, or remove the transform."]
        }
        if let wrong = rewrite.replacement.unicodeScalars.first(where: { !(0x21...0x7E).contains($0.value) })
        {
            messages.append(
                "\(kind) replace \"\(rewrite.replacement)\" has \(named(wrong)); use visible ASCII characters, "
                    + "others percent-encoded.")
        }
        do throws(RegularExpressionFault) {
            let expression = try RegularExpression(
                rewrite.regularExpression, ignoringCase: kind == "host_header_rewrite")
            for (group, position) in CompiledTransforms.references(in: rewrite.replacement)
            where group > expression.groupCount {
                messages.append(
                    "\(kind) replace \"\(rewrite.replacement)\" has $\(group) at position \(position), and the "
                        + "regex has \(expression.groupCount) groups; add a group or write $$ for a dollar sign."
                )
            }
        } catch {
            messages.append("\(kind) regex \"\(rewrite.regularExpression)\" has \(error); correct it.")
        }
        return messages
    }
}
