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

    /// The same by splitting strings.
    private func reference(_ fields: [String]) -> [String] {
        func trimmed(_ text: Substring) -> Substring {
            var text = text.drop { $0 == " " || $0 == "\t" }
            while let last = text.last, last == " " || last == "\t" { text.removeLast() }
            return text
        }
        return fields.flatMap { $0.split(separator: ";", omittingEmptySubsequences: false) }.compactMap {
            piece in
            guard let equals = piece.firstIndex(of: "=") else { return nil }
            var value = trimmed(piece[piece.index(after: equals)...])
            if value.count >= 2, value.first == "\"", value.last == "\"" {
                value = value.dropFirst().dropLast()
            }
            return "\(trimmed(piece[..<equals]))=\(value)"
        }
    }

    @Test func `odd fields are read as by splitting strings`() {
        var state: UInt64 = 1
        func next(_ bound: UInt64) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % bound)
        }
        let alphabet = Array("a=;\" \tb,")
        for _ in 0..<5_000 {
            let fields = (0..<next(3) + 1).map { _ in
                String((0..<next(24)).map { _ in alphabet[next(UInt64(alphabet.count))] })
            }
            #expect(cookies(fields) == reference(fields), "\(fields)")
        }
    }
}
