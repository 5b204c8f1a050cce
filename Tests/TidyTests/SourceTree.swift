// The repository's files as text, and Swift files with comments and literals blanked out.
//
// A small scanner, not a parser: it knows enough of Swift's lexical rules that a word in a comment or a
// string is not taken for code. Interpolations count as part of their string.

import Foundation
import Testing

struct SourceFile: CustomTestStringConvertible {
    /// Relative to the repository.
    let path: String
    let text: String

    /// The text with comments and string literals replaced by spaces; line breaks stay.
    let code: String

    init(path: String, text: String) {
        self.path = path
        self.text = text
        code = blankingCommentsAndLiterals(text)
    }

    /// `Sources/Reactor/Reactor.swift` is of module `Reactor`.
    var module: String {
        let parts = path.split(separator: "/")
        return parts.count > 2 ? String(parts[1]) : ""
    }

    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
    var codeLines: [Substring] { code.split(separator: "\n", omittingEmptySubsequences: false) }

    /// Every identifier and keyword of the code, once.
    var identifiers: Set<String> {
        let isPart = { (byte: UInt8) in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || byte == 0x5F
        }
        return Set(code.utf8.split { !isPart($0) }.compactMap { String($0) })
    }

    /// `path:line` for each line of code that has a match.
    func places(of pattern: Regex<AnyRegexOutput>) -> [String] { places(of: pattern, in: code) }

    /// `path:line` for each line that has a match, comments and literals included.
    func placesInText(of pattern: Regex<AnyRegexOutput>) -> [String] { places(of: pattern, in: text) }

    private func places(of pattern: Regex<AnyRegexOutput>, in text: String) -> [String] {
        // One look at the whole is much faster than one at each line, and nearly always enough.
        guard text.contains(pattern.anchorsMatchLineEndings()) else { return [] }
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
            .filter { $0.element.contains(pattern) }
            .map { "\(path):\($0.offset + 1)" }
    }

    var testDescription: String { path }
}

enum SourceTree {
    static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    static let swiftSources = files(under: "Sources", withExtension: "swift")
    static let swiftTests = files(under: "Tests", withExtension: "swift")

    /// Everything that people read or run, but for what the build makes.
    static let allText: [SourceFile] =
        ["Sources", "Tests", "scripts", "config", ".ci"].flatMap { files(under: $0, withExtension: nil) }
        + ["Package.swift", "README.md", "CHANGELOG.md"].compactMap(file)

    private static func files(under directory: String, withExtension wanted: String?) -> [SourceFile] {
        let base = root.appending(path: directory)
        let names = FileManager.default.enumerator(atPath: base.path())?.compactMap { $0 as? String } ?? []
        return names.sorted()
            .filter { wanted == nil || $0.hasSuffix(".\(wanted ?? "")") }
            .filter { !$0.contains("__pycache__") && !$0.contains(".pytest_cache") }
            .compactMap { file("\(directory)/\($0)") }
    }

    private static func file(_ path: String) -> SourceFile? {
        (try? String(contentsOf: root.appending(path: path), encoding: .utf8)).map {
            SourceFile(path: path, text: $0)
        }
    }
}

private func blankingCommentsAndLiterals(_ text: String) -> String {
    enum State {
        case code
        case lineComment
        case blockComment(depth: Int)
        /// The bytes that end the literal, and whether backslashes escape.
        case literal(end: [UInt8], isRaw: Bool)
    }
    let (slash, hash, quote) = (UInt8(ascii: "/"), UInt8(ascii: "#"), UInt8(ascii: "\""))
    let (lineCommentStart, blockCommentStart) = (Array("//".utf8), Array("/*".utf8))
    let blockCommentEnd = Array("*/".utf8)
    let bytes = Array(text.utf8)
    var result = bytes
    var state = State.code
    var index = 0

    func starts(_ prefix: [UInt8]) -> Bool {
        bytes[index] == prefix[0] && bytes[index...].starts(with: prefix)
    }
    func blank(_ count: Int) {
        for position in index..<min(index + count, bytes.count) where bytes[position] != UInt8(ascii: "\n") {
            result[position] = UInt8(ascii: " ")
        }
        index += count
    }

    while index < bytes.count {
        switch state {
        case .code:
            if bytes[index] != slash, bytes[index] != hash, bytes[index] != quote {
                index += 1
            } else if starts(lineCommentStart) {
                state = .lineComment
            } else if starts(blockCommentStart) {
                state = .blockComment(depth: 1)
                blank(2)
            } else {
                let hashes = bytes[index...].prefix { $0 == hash }
                let quotes = bytes[(index + hashes.count)...].prefix { $0 == quote }
                guard !quotes.isEmpty else {
                    index += 1
                    continue
                }
                // Two quotes are an empty literal: begin and end in one.
                let quoteCount = quotes.count >= 3 ? 3 : 1
                let end = Array(quotes.prefix(quoteCount)) + hashes
                blank(hashes.count + quoteCount)
                state = .literal(end: end, isRaw: !hashes.isEmpty)
            }
        case .lineComment:
            if bytes[index] == UInt8(ascii: "\n") { state = .code }
            blank(1)
        case .blockComment(let depth):
            if starts(blockCommentEnd) {
                state = depth == 1 ? .code : .blockComment(depth: depth - 1)
                blank(2)
            } else if starts(blockCommentStart) {
                state = .blockComment(depth: depth + 1)
                blank(2)
            } else {
                blank(1)
            }
        case .literal(let end, let isRaw):
            if !isRaw, bytes[index] == UInt8(ascii: "\\") {
                blank(2)
            } else if starts(end) {
                state = .code
                blank(end.count)
            } else {
                blank(1)
            }
        }
    }
    return String(decoding: result, as: UTF8.self)
}
