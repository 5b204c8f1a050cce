// House rules as tests: what may be imported and written where.
//
// The lists are the rules. Whoever needs an exception adds it here, with its reason, and defends it in review.

import Foundation
import Testing

@Suite struct `Module graph` {
    /// The arrows of Package.swift plus what a module may have from the system. Arrows point down only.
    private static let allowedImports: [String: Set<String>] = [
        "Balancing": [],
        "HTTPCore": ["Balancing", "CNGHTTP2"],
        "LinuxIO": ["Balancing", "CCapability", "CLinux", "Glibc", "Synchronization"],
        "TLSTermination": ["Balancing", "CLinux", "COpenSSL", "Glibc", "LinuxIO", "Synchronization"],
        "Reactor": ["Balancing", "LinuxIO", "Synchronization"],
        "Serving": ["Balancing", "LinuxIO", "Reactor", "Synchronization", "TLSTermination"],
        "NetworkMode": ["Balancing", "LinuxIO", "Reactor", "Serving", "TLSTermination"],
        "ApplicationMode": [
            "Balancing", "HTTPCore", "LinuxIO", "Reactor", "Serving", "Synchronization", "TLSTermination",
        ],
        "HealthChecking": [
            "Balancing", "HTTPCore", "LinuxIO", "Reactor", "Synchronization", "TLSTermination",
        ],
        "AdminModel": ["Foundation"],
        "ControlPlane": [
            "AdminModel", "Balancing", "Foundation", "GRDB", "GRDBSQLite", "HTTPCore", "Logging", "Metrics",
            "ServiceLifecycle",
            "Synchronization", "Yams",
        ],
        "AdminServer": [
            "AdminModel", "Balancing", "ControlPlane", "Foundation", "HTTPTypes", "Hummingbird",
            "HummingbirdCore", "Logging", "NIOCore", "NIOHTTPTypes", "NIOPosix", "ServiceLifecycle",
            "Synchronization",
        ],
        "weir": [
            "AdminModel", "AdminServer", "ApplicationMode", "ArgumentParser", "Balancing", "ControlPlane",
            "Dispatch", "Foundation",
            "Glibc", "HealthChecking", "LinuxIO", "Logging", "NIOCore", "NIOHTTP1", "NIOPosix", "NetworkMode",
            "Reactor", "ServiceLifecycle", "Serving", "Synchronization", "TLSTermination", "UnixSignals",
            "Yams",
        ],
    ]

    @Test(arguments: SourceTree.swiftSources)
    func `a module imports only what its place allows`(file: SourceFile) throws {
        let allowed = try #require(
            Self.allowedImports[file.module], "\(file.module) has no line in the table of allowed imports")
        for line in file.codeLines where line.contains("import ") {
            guard let match = line.firstMatch(of: Self.importPattern) else { continue }
            #expect(allowed.contains(String(match.1)), "\(file.path): \(line)")
        }
    }

    private static var importPattern: Regex<(Substring, Substring)> {
        /^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:public |package |internal |private |fileprivate )?import\s+(?:struct |class |enum |protocol |func |let |var |typealias )?(\w+)/
    }
}

@Suite struct `House rules` {
    /// A word of code, the modules, directories or files where it may stand, and why nowhere else.
    struct Rule: CustomTestStringConvertible {
        let name: String
        let pattern: String
        let allowed: [String]
        let reason: String

        var testDescription: String { name }
    }

    private static let controlPlane = ["AdminModel", "ControlPlane", "AdminServer", "weir"]

    private static let rules = [
        Rule(
            name: "unsafe", pattern: #"\bunsafe\b|\bUnsafe[A-Z]\w*"#,
            allowed: [
                "LinuxIO", "TLSTermination", "Sources/HTTPCore/HTTP2/",
            ],
            reason: "pointers stay inside the unsafe islands; above it there are spans and descriptors"),
        Rule(
            name: "@unchecked", pattern: #"@unchecked|nonisolated\(unsafe\)"#,
            allowed: ["LinuxIO", "TLSTermination", "Sources/weir/Weir.swift"],
            reason: "what the compiler cannot check lives where memory is managed or a thread is started"),
        Rule(
            name: "print", pattern: #"(^|[^\w.])print\("#, allowed: ["weir"],
            reason: "the appliance logs; only commands print"),
        Rule(
            name: "Date", pattern: #"\bDate\("#, allowed: controlPlane,
            reason: "data plane and core take the time as an argument, from the monotonic clock"),
        Rule(
            name: "detached tasks", pattern: #"\bTask\s*\.\s*detached\b"#, allowed: [],
            reason: "tasks are structured, so that a shutdown waits for them"),
        Rule(
            name: "system randomness", pattern: #"\bSystemRandomNumberGenerator\b|\.random\((?!.*using:)"#,
            allowed: ["ControlPlane", "Sources/AdminServer/BearerToken.swift", "weir"],
            reason: "elsewhere randomness is injected, so that a seed replays a run"),
        Rule(
            name: "traps on input", pattern: #"\bfatalError\(|\btry!"#, allowed: [],
            reason: "an error is handled or reported; a broken invariant is a precondition"),
        Rule(
            name: "public", pattern: #"\bpublic\b|\bopen (class|func|var)\b"#,
            allowed: ["Balancing", "HTTPCore", "LinuxIO", "Reactor", "Serving"],
            reason: "package access is enough, but where the data path must be inlined across modules"),
        Rule(
            name: "blocking sleep", pattern: #"\b(Thread\.sleep|usleep|nanosleep)\b|(^|[^\w.])sleep\("#,
            allowed: [], reason: "wait for an event or a deadline"),
    ]

    @Test(arguments: rules)
    func `words of power stand where they may`(rule: Rule) throws {
        let pattern = try Regex(rule.pattern)
        for file in SourceTree.swiftSources
        where !rule.allowed.contains(where: { $0 == file.module || file.path.hasPrefix($0) }) {
            let places = file.places(of: pattern)
            #expect(places.isEmpty, "\(rule.name): \(rule.reason)")
        }
    }

    @Test(arguments: SourceTree.swiftSources + SourceTree.swiftTests)
    func `a file begins by saying what it is for`(file: SourceFile) {
        let header = file.lines.prefix { $0.hasPrefix("//") }
        #expect(file.text.hasPrefix("// "), "\(file.path) begins without a purpose comment")
        #expect(header.first.map { $0.count > 12 } ?? false, "\(file.path): the purpose is too short")
        #expect(!header.contains { $0.contains("Created by") || $0.contains("Copyright") }, "\(file.path)")
    }

    /// A comment close above names the lock or the thread that makes it true.
    @Test func `what is unchecked says why it holds`() throws {
        let pattern = try Regex(#"@unchecked|nonisolated\(unsafe\)"#)
        for file in SourceTree.swiftSources where !file.places(of: pattern).isEmpty {
            let lines = file.lines
            for (index, line) in file.codeLines.enumerated() where line.contains(pattern) {
                let above = lines[max(0, index - 6)...index]
                #expect(above.contains { $0.contains("//") }, "\(file.path):\(index + 1) says nothing")
            }
        }
    }

    @Test func `nothing is left for later in a comment`() throws {
        // Written in halves, so that this file does not accuse itself.
        let words = ["FIX" + "ME", "TO" + "DO", "XX" + "X", "HA" + "CK"].joined(separator: "|")
        let pattern = try Regex("\\b(\(words))\\b")
        for file in SourceTree.allText {
            #expect(file.placesInText(of: pattern) == [])
        }
    }

    @Test func `no file knows a home or work directory`() throws {
        let directories = ["home", "root", "work", "Users"].joined(separator: "|")
        let pattern = try Regex("/(\(directories))/")
        for file in SourceTree.allText {
            #expect(file.placesInText(of: pattern) == [])
        }
    }
}

@Suite struct `Limits table` {
    @Test func `every bound is one that the code keeps`() throws {
        let table = try #require(
            SourceTree.swiftSources.first { $0.path == "Sources/Balancing/Limits.swift" })
        let others = SourceTree.swiftSources.filter { $0.path != table.path }
        let names = table.code.matches(of: /static let (\w+)/).map { String($0.1) }
        #expect(names.count > 20)
        for name in names {
            let use = try Regex("\\bLimits\\.\(name)\\b")
            #expect(others.contains { $0.code.contains(use) }, "Limits.\(name) bounds nothing")
        }
    }
}

@Suite struct `Vocabulary` {
    /// Words that have a name of our own, and that name; see the vocabulary in the README.
    private static let synonyms = [
        "backend": "target", "backends": "targets", "upstream": "target side", "upstreams": "target groups",
        "downstream": "client side", "frontend": "listener", "frontends": "listeners",
        "cluster": "target group",
        "clusters": "target groups", "vip": "load balancer", "vhost": "rule", "acl": "rule",
    ]

    /// Two words that only together are the wrong one.
    private static let phrases = [
        "target pool", "pool target", "server pool", "real server", "origin server",
    ]

    @Test(arguments: SourceTree.swiftSources)
    func `identifiers use the words of the vocabulary`(file: SourceFile) {
        for match in file.identifiers {
            let words = words(of: match)
            for word in words {
                #expect(
                    Self.synonyms[word] == nil, "\(file.path): \(match); say \(Self.synonyms[word] ?? "")")
            }
            let phrase = words.joined(separator: " ")
            #expect(!Self.phrases.contains { phrase.contains($0) }, "\(file.path): \(match)")
        }
    }

    /// `tcpIdleTimeout` and `TCPIdleTimeout` are tcp, idle, timeout.
    private func words(of identifier: String) -> [String] {
        let letters = Array(identifier)
        var words: [String] = []
        var word = ""
        for (index, letter) in letters.enumerated() {
            let isBeginning =
                letter.isUppercase
                && (index == 0 || !letters[index - 1].isUppercase
                    || (index + 1 < letters.count && letters[index + 1].isLowercase))
            if isBeginning || !letter.isLetter {
                if !word.isEmpty { words.append(word) }
                word = ""
            }
            if letter.isLetter { word += letter.lowercased() }
        }
        if !word.isEmpty { words.append(word) }
        return words
    }

    @Test(arguments: [
        ("tcpIdleTimeout", ["tcp", "idle", "timeout"]), ("TCPIdleTimeout", ["tcp", "idle", "timeout"]),
        ("isUDP", ["is", "udp"]), ("TargetGroup", ["target", "group"]), ("snake_case", ["snake", "case"]),
    ])
    func `splits identifiers into words`(identifier: String, expected: [String]) {
        #expect(words(of: identifier) == expected)
    }
}

@Suite struct `Source scanner` {
    @Test(arguments: [
        ("a // unsafe\nb", "a          \nb"), ("a /* x /* y */ z */ b", "a                   b"),
        (#"f("unsafe") + g"#, #"f(        ) + g"#), (#""a\"b" c"#, "       c"), (#""" x"#, "   x"),
        ("\"\"\"\nunsafe \"x\"\n\"\"\" y", "   \n          \n    y"), (##"#"a"b"# c"##, "        c"),
        ("let x = #expect(y)", "let x = #expect(y)"),
    ])
    func `blanks comments and literals and nothing else`(text: String, code: String) {
        #expect(SourceFile(path: "x.swift", text: text).code == code)
    }
}
