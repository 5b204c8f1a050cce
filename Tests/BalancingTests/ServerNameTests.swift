// Server names: one spelling for all, and exact before wildcard before default.

import Balancing
import Testing

@Suite struct `Server name` {
    @Test(arguments: [
        ("example.com", "example.com"), ("EXAMPLE.Com.", "example.com"), ("a", "a"), ("A.", "a"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"), ("1.2.3.4", "1.2.3.4"), ("a-b.c--d", "a-b.c--d"),
        ("a_b.test", "a_b.test"), (String(repeating: "a", count: 63), String(repeating: "a", count: 63)),
        (longest, longest), (longest + ".", longest),
    ])
    func `is read in lower case and without the final dot`(text: String, name: String) throws {
        #expect(try #require(ServerName(text)).description == name)
        #expect(ServerName(text) == ServerName(name))
        #expect(ServerName(text)?.withBytes { $0.count } == name.utf8.count)
    }

    /// 253 bytes.
    private static let longest =
        Array(repeating: String(repeating: "a", count: 62), count: 4).joined(separator: ".") + ".x"

    @Test(arguments: [
        "", ".", "..", ".a", "a..", "a..b", "-a", "a-", "a-.b", "a.-b", "a b", "a\0", "\0", "ä.test", "a:443",
        "[::1]", "::1", "*.a", "a/b", "a\n", String(repeating: "a", count: 64), "a." + longest,
        String(repeating: "a.", count: 200),
    ])
    func `is nothing else`(text: String) {
        #expect(ServerName(text) == nil)
    }

    @Test(arguments: [
        ("a.test", "a.test", false), ("*.A.test.", "a.test", true), ("*.test", "test", true),
    ])
    func `a pattern is a name or a wildcard below one`(text: String, name: String, isWildcard: Bool) throws {
        let pattern = try #require(ServerNamePattern(text))
        #expect(pattern.name == ServerName(name) && pattern.isWildcard == isWildcard)
    }

    @Test(arguments: ["", "*", "*.", "a*.test", "a.*.test", "*.*.test", "**.test", "*a.test", "*.a b"])
    func `a pattern is nothing else`(text: String) {
        #expect(ServerNamePattern(text) == nil)
    }
}

@Suite struct `Server name table` {
    private func table(_ rows: [(String, Int)], default value: Int? = nil) throws -> ServerNameTable {
        ServerNameTable(
            try rows.map { (pattern: try #require(ServerNamePattern($0.0)), value: $0.1) }, default: value)
    }

    private func look(_ name: String, in table: ServerNameTable) -> Int? {
        let bytes = Array(name.utf8)
        return table.value(for: bytes.span)
    }

    @Test func `takes the exact name before a wildcard before the default`() throws {
        let table = try table(
            [("*.example.com", 1), ("www.example.com", 2), ("example.com", 3), ("*.a.example.com", 4)],
            default: 0)
        for (name, value) in [
            ("www.example.com", 2), ("WWW.Example.COM.", 2), ("other.example.com", 1), ("example.com", 3),
            ("a.example.com", 1), ("x.a.example.com", 4), ("x.y.example.com", 0), ("x.www.example.com", 0),
            ("com", 0), ("", 0), (".example.com", 0), ("*.example.com", 0), ("wwwexample.com", 0),
            ("www.example.co", 0), ("www.example.comm", 0), ("bad name.example.com", 0),
        ] {
            #expect(look(name, in: table) == value, "\(name)")
        }
        #expect(table.value(for: nil) == 0)
    }

    @Test func `without a default there may be nothing`() throws {
        #expect(look("a.test", in: try table([])) == nil)
        #expect(try table([]).value(for: nil) == nil)
        #expect(look("b.test", in: try table([("a.test", 1)])) == nil)
    }

    @Test func `the first of one pattern holds`() throws {
        let table = try table([("a.test", 1), ("A.test.", 2), ("*.test", 3), ("*.TEST", 4)])
        #expect(look("a.test", in: table) == 1)
        #expect(look("b.test", in: table) == 3)
    }

    @Test func `finds among many what is there and nothing else`() throws {
        let count = 2_000
        let table = try table(
            ((0..<count).map { ("host\($0).example.test", $0) }
                + (0..<count).map { ("*.zone\($0).test", count + $0) }))
        for index in 0..<count {
            #expect(look("HOST\(index).example.test", in: table) == index)
            #expect(look("any.zone\(index).test", in: table) == count + index)
            #expect(look("zone\(index).test", in: table) == nil)
            #expect(look("two.any.zone\(index).test", in: table) == nil)
            #expect(look("host\(index + count).example.test", in: table) == nil)
        }
    }
}
