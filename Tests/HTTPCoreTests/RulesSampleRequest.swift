// Requests as rule tests write them, with the places in their bytes that a parser would find.

import Balancing
import HTTPCore

struct SampleRequest {
    var method = "GET"
    var host = "www.example.com"
    var path = "/"
    /// Without the question mark; nil for none.
    var query: String?
    var fields: [(name: String, value: String)] = []
    var client = IPAddress(v4: 0xC000_0207)  // 192.0.2.7

    /// The bytes and where everything is in them.
    func head() -> (RequestHead, [UInt8]) {
        var head = RequestHead()
        var bytes: [UInt8] = []
        func place(_ text: String) -> ByteRange {
            defer { bytes += Array(text.utf8) }
            return ByteRange(bytes.count..<bytes.count + text.utf8.count)
        }
        head.methodBytes = place(method)
        _ = place(" ")
        let targetStart = bytes.count
        head.path = place(path)
        if let query {
            _ = place("?")
            head.query = place(query)
            head.hasQuery = true
        }
        head.target = ByteRange(targetStart..<bytes.count)
        _ = place(" HTTP/1.1\r\n")
        for (name, value) in [("Host", host)] + fields {
            let name = place(name)
            _ = place(": ")
            let value = place(value)
            if head.fields.isEmpty { head.authority = value }
            head.fields.append(HeadField(name: name, value: value, id: head.fields.isEmpty ? .host : .other))
            _ = place("\r\n")
        }
        _ = place("\r\n")
        head.byteCount = bytes.count
        return (head, bytes)
    }

    func index(in rules: CompiledRules) -> Int {
        let (head, bytes) = head()
        var scratch = RuleScratch()
        return rules.match(head, bytes.span, client: client, scratch: &scratch)
    }
}

extension CompiledRules {
    /// Rules of these conditions with rising priorities, and a default action.
    convenience init(conditions: [[RuleCondition]]) {
        let answer = RuleRoute.Action.fixedResponse(FixedResponse(statusCode: 200))
        self.init(
            conditions.enumerated().map {
                RuleRoute(priority: $0.offset + 1, conditions: $0.element, action: answer)
            } + [RuleRoute(priority: nil, conditions: [], action: answer)])
    }
}

extension SampleRequest {
    /// Whether a rule of this one condition applies.
    func meets(_ condition: RuleCondition) -> Bool {
        index(in: CompiledRules(conditions: [[condition]])) == 0
    }
}
