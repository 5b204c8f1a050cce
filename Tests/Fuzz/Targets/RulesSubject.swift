// Any text as rules and as a request: refused in words, or compiled, matched as one by one, and rewritten into what
// may stand in a request.
//
// An input is lines. The first character of a line says what it is: part of a rule, of the request, or an
// expression of its own; see `run`.
#if DEBUG

import Balancing

@testable import HTTPCore

enum RulesSubject {
    /// What the lines of an input have put together.
    private struct Scene {
        var conditions: [[RuleCondition]] = [[]]
        var transforms: [RuleTransform] = []
        var redirect = RedirectAction(protocol: "HTTPS", port: "443", statusCode: 301)
        var authority = "www.example.com"
        var path = "/"
        var query: String?
        var fields: [(name: String, value: String)] = []
        var expression = ""
    }

    static func run(_ bytes: [UInt8]) {
        var scene = Scene()
        for line in bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 63) {
            let text = String(decoding: line.dropFirst(), as: UTF8.self)
            read(line.first ?? 0, text, into: &scene)
        }
        check(scene)
    }

    private static func read(_ kind: UInt8, _ text: String, into scene: inout Scene) {
        let sides = text.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false).map(
            String.init)
        let last = sides.count > 1 ? sides[1] : ""
        func add(_ condition: RuleCondition) {
            scene.conditions[scene.conditions.count - 1].append(condition)
        }
        switch kind {
        case UInt8(ascii: "r"): scene.conditions.append([])
        case UInt8(ascii: "h"): add(.hostHeader(TextPatterns(wildcards: sides)))
        case UInt8(ascii: "p"): add(.pathPattern(TextPatterns(wildcards: sides)))
        case UInt8(ascii: "H"): add(.hostHeader(TextPatterns(regularExpressions: sides)))
        case UInt8(ascii: "P"): add(.pathPattern(TextPatterns(regularExpressions: sides)))
        case UInt8(ascii: "f"): add(.httpHeader(name: sides[0], TextPatterns(wildcards: [last])))
        case UInt8(ascii: "q"):
            add(.queryString([QueryPattern(key: sides.count > 1 ? sides[0] : nil, value: sides.last ?? "")]))
        case UInt8(ascii: "m"): add(.httpRequestMethod(sides))
        case UInt8(ascii: "i"): add(.sourceIP(sides.compactMap { IPPrefix($0) }))
        case UInt8(ascii: "u"):
            scene.transforms.append(.urlRewrite(Rewrite(regularExpression: sides[0], replacement: last)))
        case UInt8(ascii: "t"):
            scene.transforms.append(
                .hostHeaderRewrite(Rewrite(regularExpression: sides[0], replacement: last)))
        case UInt8(ascii: "l"):
            scene.redirect.path = sides[0]
            scene.redirect.query = last
        case UInt8(ascii: "o"): scene.redirect.host = sides[0]
        case UInt8(ascii: "A"): scene.authority = text
        case UInt8(ascii: "B"): scene.path = text
        case UInt8(ascii: "C"): scene.query = text
        case UInt8(ascii: "D"): scene.fields.append((sides[0], last))
        case UInt8(ascii: "e"): scene.expression = text
        default: break
        }
    }

    private static func check(_ scene: Scene) {
        let (head, bytes) = request(scene)
        checkFaults(scene)
        checkMatching(scene, head, bytes)
        checkRewriting(scene, head, bytes)
        checkExpression(scene.expression, in: bytes)
    }

    private static func request(_ scene: Scene) -> (RequestHead, [UInt8]) {
        var head = RequestHead()
        var bytes: [UInt8] = []
        func place(_ text: String) -> ByteRange {
            defer { bytes += Array(text.utf8) }
            return ByteRange(bytes.count..<bytes.count + text.utf8.count)
        }
        head.methodBytes = place("GET")
        head.path = place(scene.path)
        if let query = scene.query {
            _ = place("?")
            head.query = place(query)
            head.hasQuery = true
        }
        head.target = ByteRange(head.path.lowerBound..<bytes.count)
        head.authority = place(scene.authority)
        for (name, value) in scene.fields {
            head.fields.append(HeadField(name: place(name), value: place(value), id: .other))
        }
        return (head, bytes)
    }

    private static func checkFaults(_ scene: Scene) {
        for conditions in scene.conditions {
            let rule = ListenerRule(
                priority: 1, conditions: conditions, action: .redirect(scene.redirect),
                transforms: scene.transforms)
            for fault in RuleFault.check(rule) {
                precondition(fault.message.hasSuffix(".") && fault.message.utf8.count < 4_096, fault.message)
            }
        }
    }

    private static func checkMatching(_ scene: Scene, _ head: RequestHead, _ bytes: [UInt8]) {
        let action = RuleRoute.Action.redirect(scene.redirect)
        let rules = CompiledRules(
            scene.conditions.enumerated().map {
                RuleRoute(priority: $0.offset + 1, conditions: $0.element, action: action)
            } + [RuleRoute(priority: nil, conditions: [], action: action)])
        var scratch = RuleScratch()
        let client = IPAddress(v4: 0xC000_0207)
        let found = rules.match(head, bytes.span, client: client, scratch: &scratch)
        precondition(rules.explain(head, bytes.span, client: client).index == found, "as one by one")
        precondition(
            rules.match(head, bytes.span, client: client, scratch: &scratch) == found, "twice the same")
    }

    private static func checkRewriting(_ scene: Scene, _ head: RequestHead, _ bytes: [UInt8]) {
        var output: [UInt8] = []
        let outcome = RedirectWriter.append(
            scene.redirect, for: head, bytes.span, in: .init(isSecure: false, port: 80), to: &output)
        precondition((outcome == .written) == !output.isEmpty)
        precondition(output.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "a line of its own")
        let transforms = CompiledTransforms(scene.transforms)
        var scratch = RuleScratch()
        for isHost in [false, true] {
            var text = [UInt8(ascii: ">")]
            let outcome =
                isHost
                ? transforms.rewriteHost(head, bytes.span, scratch: &scratch, to: &text)
                : transforms.rewriteTarget(head, bytes.span, scratch: &scratch, to: &text)
            precondition((outcome == .rewritten) == (text.count > 1))
            precondition(text.count <= 1 + CompiledTransforms.targetByteCountMax)
            precondition(text.allSatisfy { $0 > 0x20 && $0 != 0x7F }, "one word")
            precondition(outcome != .rewritten || isHost || text[1] == UInt8(ascii: "/"))
        }
    }

    private static func checkExpression(_ pattern: String, in bytes: [UInt8]) {
        for ignoresCase in [false, true] {
            let expression: RegularExpression
            do throws(RegularExpressionFault) {
                expression = try RegularExpression(pattern, ignoringCase: ignoresCase)
            } catch {
                precondition((1...pattern.utf8.count + 1).contains(error.position), "a place in the text")
                continue
            }
            var scratch = RegularExpressionScratch()
            let range = 0..<bytes.count
            let isFound = expression.firstMatch(in: bytes.span, range, &scratch)
            precondition(scratch.stepCount <= UInt64(4 * (bytes.count + 2) * expression.program.count))
            if isFound {
                guard let whole = scratch.range(ofGroup: 0) else {
                    preconditionFailure("a match has a place")
                }
                for number in 0...RegularExpression.groupCountMax {
                    guard let group = scratch.range(ofGroup: number) else { continue }
                    precondition(whole.lowerBound <= group.lowerBound && group.upperBound <= whole.upperBound)
                }
            }
            precondition(
                expression.firstMatch(in: bytes.span, range, notingPlaces: false, &scratch) == isFound)
            var pool = AutomatonPool()
            if let automaton = pool.add(expression) {
                precondition(pool.matches(automaton, bytes.span, range) == isFound, "table and program agree")
            }
        }
    }
}

#endif
