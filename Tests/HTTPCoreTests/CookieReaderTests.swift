// Cookies as browsers send them, and as others do.

import HTTPCore
import Testing

@Suite struct `Cookie reading` {
    private func cookies(_ fields: [String]) -> [String] {
        let head = BuiltHead([(.userAgent, "a=1; b=2")] + fields.map { (.cookie, $0) })
        var reader = CookieReader()
        var found: [String] = []
        while let cookie = reader.next(in: head.request, head.bytes.span) {
            found.append("\(head.text(cookie.name))=\(head.text(cookie.value))")
        }
        return found
    }

    @Test(arguments: [
        (["a=1"], ["a=1"]), (["a=1; b=2;c=3"], ["a=1", "b=2", "c=3"]),
        (["a=1", "b=2; c=3"], ["a=1", "b=2", "c=3"]), ([" a = 1 ;\tb\t=\t2\t"], ["a=1", "b=2"]),
        (["a=\"quoted\""], ["a=quoted"]), (["a=\"half; b=2"], ["a=\"half", "b=2"]),
        (["a=\""], ["a=\""]), (["a=\"\""], ["a="]), (["a=;b="], ["a=", "b="]),
        (["noise; a=1; ; =x; b"], ["a=1", "=x"]), (["a=1=2==; b=2"], ["a=1=2==", "b=2"]),
        (["a=1; a=2"], ["a=1", "a=2"]), (["", ";", ";;;", " "], []), ([";a=1;"], ["a=1"]),
    ])
    func `pairs come one by one`(fields: [String], expected: [String]) {
        #expect(cookies(fields) == expected)
    }

    private func hasCookie(_ name: String, _ head: BuiltHead) -> Bool {
        head.request.hasCookie(named: name, head.bytes.span)
    }

    @Test func `a name is known by its bytes, all of them and in their case`() {
        let head = BuiltHead([(.cookie, "session=1; Session2=2")])
        #expect(hasCookie("session", head))
        #expect(!hasCookie("Session", head))
        #expect(!hasCookie("sessio", head))
        #expect(!hasCookie("session2", head))
    }

    @Test(arguments: [
        ("sid=1; Path=/", true), (" sid =1", true), ("sid=", true), ("sid", false), ("x=1; sid=2", false),
        ("sid; x=1", false), ("sidx=1", false), ("SID=1", false), ("", false),
    ])
    func `a response sets a cookie by the name before its first equals sign`(value: String, isSet: Bool) {
        let head = BuiltHead([(.cookie, "sid=1"), (.setCookie, value)])
        let isFound = head.response.setsCookie(named: "sid", head.bytes.span)
        #expect(isFound == isSet)
    }

    /// Places that lie outside of the lent bytes come from a broken caller, and must not become a trap.
    @Test func `a head of other bytes is read within those lent`() {
        let head = BuiltHead([(.cookie, "a=1; b=2"), (.setCookie, "b=2")])
        for count in 0..<head.bytes.count {
            let bytes = Array(head.bytes.prefix(count))
            _ = head.request.hasCookie(named: "b", bytes.span)
            _ = head.response.setsCookie(named: "b", bytes.span)
        }
    }
}
